"""Telling an edit of comments from an edit of what a shell script does.

Only where that is certain. A line that begins with `#` may be content, inside a here-document or a string of several
lines; a script in which such may be is taken as it is, so that in doubt an edit counts.
"""

from __future__ import annotations

import os
import re

from blake3 import blake3

SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "yash", "busybox"})
NEWLINE = b"\n"
_COMMENT = re.compile(rb"[ \t]*#")
_SUBSTITUTION = re.compile(rb"\$\(|`|\$\{")
# A script that prints its own comments or line numbers; and quotes in which a backslash means something.
_READS_ITSELF = re.compile(rb"\$\{?0|BASH_SOURCE|LINENO|\$'")


def is_shell(interpreter: tuple[str, ...]) -> bool:
    """Return whether a program with its arguments is a shell we know the comments of."""
    names = [os.path.basename(word) for word in interpreter if not word.startswith("-")]
    return bool(names) and (names[0] in SHELLS or (names[0] == "env" and len(names) > 1 and names[1] in SHELLS))


def code_digest(text: bytes) -> str | None:
    """Return `blake3:<hex>` of a shell script without its comments and blank lines; None where it is not certain.

    The `#!` line and our own `#|` lines stay: they say how it is run.
    """
    if _READS_ITSELF.search(text):
        return None
    lines = text.split(b"\n")
    kept = []
    for number, line in enumerate(lines):
        if _COMMENT.match(line) or not line.strip():
            is_ours = line.lstrip().startswith(b"#|") or (number == 0 and line.startswith(b"#!"))
            if line.rstrip(b"\r").endswith(b"\\") and not _COMMENT.match(line):
                return None
            if is_ours:
                kept.append(line)
            continue
        if not _is_whole(line):
            return None
        kept.append(line)
    return f"blake3:{blake3(NEWLINE.join(kept)).hexdigest()}"


def _is_whole(line: bytes) -> bool:
    """Return whether nothing that this line opens can reach into the next one."""
    if b"<<" in line or line.rstrip(b"\r").endswith(b"\\"):
        return False
    if _SUBSTITUTION.search(line) and b"'" in line and b'"' in line:
        return False  # quotes inside substitutions inside quotes: only a shell knows
    quote = 0
    at = 0
    opened: list[int] = []  # the `${` that are not closed yet, each as the quote it stands in
    while at < len(line):
        char = line[at]
        if quote == 39:  # nothing is special between single quotes
            if char == 39:
                quote = 0
        elif char == 92:
            at += 1
        elif line.startswith(b"${", at):
            opened.append(quote)
            at += 1
        elif opened and char in b"`(":
            return False  # a brace in it may not be ours
        elif opened and char == 125 and quote == opened[-1]:
            opened.pop()
        elif char == 34:
            quote = 0 if quote else 34
        elif char == 39 and not quote:
            quote = 39
        elif char == 35 and not quote and not opened and (at == 0 or line[at - 1] in b" \t;&|("):
            return True  # a comment behind the command: it stays part of the line
        at += 1
    return quote == 0 and not opened

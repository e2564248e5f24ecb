"""`#|` options at the head of a script or a cell: finding them, and nothing but them.

The head ends at the first line that is neither blank nor a comment. So a `#|` inside an argument, a
here-document or a later comment is never an option, whatever the language of the script.
"""

from __future__ import annotations

from collections.abc import Iterable

from workflow.definition.files import decoded
from workflow.definition.nodes import Node, Page
from workflow.errors import Problem


def options_in(lines: Iterable[bytes], shown: str, first_line: int, problems: list[Problem]) -> Node | None:
    """Return the options that stand at the head of `lines` as a mapping; None when there are none.

    `first_line` is the line in the file of the first of `lines`.
    """
    rows: list[int] = []
    texts: list[bytes] = []
    for number, line in enumerate(lines, first_line):
        if line.startswith(b"#|"):
            rows.append(number)
            texts.append(line[2:].rstrip(b"\r\n"))
        elif not line.startswith(b"#") and line.strip():
            break
    if not rows:
        return None
    decoded_lines = []
    for number, text in zip(rows, texts, strict=True):
        one = decoded(text, shown, problems, number)
        if one is None:
            return None
        decoded_lines.append(one)
    # One space after `#|` belongs to the sign, when every line has it.
    space = all(text.startswith(" ") for text in decoded_lines if text.strip())
    page = Page(
        shown,
        "".join(f"{text[1:] if space else text}\n" for text in decoded_lines),
        rows,
        [f"#|{text}" for text in decoded_lines],
        3 if space else 2,
    )
    from workflow.definition import yaml_text

    before = len(problems)
    node = yaml_text.read(page, problems)
    if node is not None and node.entries is None:
        problems.append(node.problem("options look like `#| key: value`", "write a comment with `# ` instead of `#|`"))
        return None
    if len(problems) > before and node is None:
        last = problems[-1]
        if not last.help:
            problems[-1] = last._replace(
                help="lines beginning with `#|` at the head of a script are its options, in YAML"
            )
    return node


def hashbang_words(line: str) -> tuple[str, ...]:
    """Return what the kernel makes of a `#!` line: the program and at most one argument (Linux execve(2)).

    Empty when the line names no program.
    """
    words = line.removeprefix("#!").strip(" \t\r\n").split(None, 1)
    return tuple(word.strip(" \t") for word in words)

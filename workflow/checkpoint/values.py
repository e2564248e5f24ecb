"""Values that steps publish: `KEY=value`, or `KEY<<END` ... `END` for more lines.

The twin of workflow_load_values in lib/step_execution.sh; read as data, never evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping

LONGEST_VALUE_BYTES = 120_000  # one string of an environment ends at 128 KiB (Linux MAX_ARG_STRLEN)
RESERVED_PREFIXES = ("WORKFLOW_", "workflow_")
# Ours, or names that some shell keeps to itself: exporting them fails there, or changes how it reads.
RESERVED_NAMES = frozenset(
    ("files_modified", "_", "IFS", "LINENO", "OPTIND", "PPID", "UID", "EUID", "GID", "EGID", "BASHOPTS", "SHELLOPTS")
)


class ValuesError(ValueError):
    """What a step published cannot be read; the message says where and why."""


def decode(data: bytes) -> dict[str, str]:
    """Read published values; of a key written twice the last one counts. Raises ValuesError."""
    values: dict[str, str] = {}
    if b"\0" in data:
        raise ValuesError("it holds a NUL byte, which no variable can")
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    if lines[-1] == "":
        lines.pop()
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        key_length = 0
        while key_length < len(line) and (
            (line[key_length].isalnum() and line[key_length].isascii()) or line[key_length] == "_"
        ):
            key_length += 1
        key, rest = line[:key_length], line[key_length:]
        if not key or key[0].isdigit() or not (rest.startswith("=") or (rest.startswith("<<") and len(rest) > 2)):
            raise ValuesError(f"line {at} is neither KEY=value nor KEY<<END: {line[:80]!r}")
        if key.startswith(RESERVED_PREFIXES) or key in RESERVED_NAMES:
            raise ValuesError(f"line {at}: the name {key} is reserved")
        if rest.startswith("="):
            value = rest[1:]
        else:
            end = rest[2:]
            first = at
            while at < len(lines) and lines[at] != end:
                at += 1
            if at == len(lines):
                raise ValuesError(f"line {first}: {key}<<{end} has no closing line {end}")
            value = "\n".join(lines[first:at])
            at += 1
        if len(value.encode("utf-8", "surrogateescape")) > LONGEST_VALUE_BYTES:
            raise ValuesError(f"{key} is longer than {LONGEST_VALUE_BYTES:,} bytes; publish the path of a file instead")
        values[key] = value
    return values


def encode(values: Mapping[str, str]) -> bytes:
    """Return values in the form that `decode` and the shell read."""
    parts = []
    for key, value in values.items():
        if "\n" in value:
            end = "END"
            lines = set(value.split("\n"))
            while end in lines:
                end += "_"
            parts.append(f"{key}<<{end}\n{value}\n{end}\n")
        else:
            parts.append(f"{key}={value}\n")
    return "".join(parts).encode("utf-8", "surrogateescape")

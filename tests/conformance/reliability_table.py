"""Write docs/reliability.md: which tests prove which case of the reliability catalogue, found in their docstrings.

A test cites a case as `Case 24: ...`, `Cases 33-40`, `Cases 5, 6` or `RELIABILITY 33, 34`. Run it with `--write`.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reliability.md"
CITED = re.compile(r"\b(?:[Cc]ases?|RELIABILITY) ((?:\d+(?:-\d+)?)(?:(?:, | and )\d+(?:-\d+)?)*)")
CASES = {
    1: "kill -9 before and after every state-changing call of a run",
    3: "kill -9 during a resume",
    5: "an I/O error once",
    6: "an I/O error for ever",
    7: "a full disk, once and for ever",
    9: "short writes",
    10: "a marker cut at every length",
    11: "every bit flip of a marker, a state, a checkpoint.json",
    13: "an empty marker",
    14: "checkpoint.json deleted or damaged",
    15: "temporary files of earlier crashes",
    17: "a read-only or full disk at the start",
    19: "no inodes, no quota",
    20: "two runs created in the same second",
    22: "two resumes at once",
    23: "sixteen racers",
    24: "a stale lock after kill -9",
    26: "a holder on another host",
    27: "a file system that cannot lock",
    29: "status and logs during a run",
    30: "the lock deleted by hand",
    31: "a runner that is stopped and goes on",
    33: "Ctrl-C once, twice, three times",
    34: "a step that ignores INT and TERM",
    36: "a grandchild that keeps stdout open",
    37: "a fork loop during the kill",
    38: "a time limit and a TERM trap",
    39: "TERM as PID 1 of a container",
    40: "the terminal is closed",
    42: "the step's shell killed, or only its child",
    43: "a step that reads stdin",
    44: "a step that kills its parent or its process group",
    47: "the text of a completed step was edited",
    48: "steps inserted or renumbered",
    49: "a failed step that left its output",
    51: "what a step reads changed: a file, a program on its PATH",
    52: "a file that was absent at first appears",
    54: "a variable that counts for a step changed",
    55: "a program or an interpreter was upgraded",
    56: "an input changes while the step runs",
    57: "a step of which nothing can be known",
    58: "an output deleted or modified by hand",
    60: "touched and not changed",
    61: "a link retargeted, the executable bit changed",
    62: "a step with effects elsewhere",
    63: "a moved or copied project",
    64: "names with newlines, quotes, `$()`, stray bytes",
    66: "hostile JSON",
    67: "cycles, duplicate and huge numbers",
    68: "a newer format",
    69: "huge and binary output",
    72: "an archive that wants out: links, devices, `..`, duplicates, extensions",
    74: "a bomb: by ratio, by count, by size",
    75: "an archive cut off at any length, or with any bit flipped",
    76: "an archive that is not what its manifest or its digest says",
    77: "an imported run carried on without trust",
    79: "a run directory that is a link, foreign, or open to all",
    80: "umask 000",
}


def cited() -> dict[int, list[str]]:
    """Return the tests that cite each case, as `path::name`, sorted."""
    found: dict[int, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_bytes(), str(path))
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            for numbers in CITED.findall(ast.get_docstring(node) or ""):
                for part in re.split(r", | and ", numbers):
                    first, _, last = part.partition("-")
                    for case in range(int(first), int(last or first) + 1):
                        found.setdefault(case, set()).add(f"{path.relative_to(ROOT)}::{node.name}")
    return {case: sorted(tests) for case, tests in found.items()}


def page() -> str:
    """Return the text of docs/reliability.md."""
    lines = [
        "# Reliability: each case, and the tests that prove it",
        "",
        "Written by `python tests/conformance/reliability_table.py --write` from the docstrings of the tests.",
        "",
        "| case | what happens | tests |",
        "|---|---|---|",
    ]
    tests = cited()
    for case, what in CASES.items():
        lines.append(f"| {case} | {what} | {'<br>'.join(f'`{test}`' for test in tests.get(case, ())) or 'none'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    missing = [str(case) for case in CASES if case not in cited()]
    print(f"{len(CASES)} cases, without a test: {', '.join(missing) or 'none'}")
    sys.exit(bool(missing) or (PAGE.exists() and PAGE.read_text(encoding="utf-8") != page()))

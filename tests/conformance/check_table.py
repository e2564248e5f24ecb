"""Check docs/conformance.md: each row names a requirement, what does it, and tests that exist.

A test is `path::name`. Tests under tests/conformance/ that carry an id in their name (`test_a12_resumes_newest`,
`test_a12_s12_...`) belong in that id's row; `--write` puts them there. The last line printed is a summary.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs/conformance.md"
NONE_YET = "none yet"
ROW = re.compile(r"^\| ([FSRMA]\d+) \| (.*?) \| (.*?) \| (.*?) \|$")


class Row(NamedTuple):
    """One requirement. `tests` are `path::name`, in the order they are written."""

    line: int
    id: str
    promise: str
    how: str
    tests: tuple[str, ...]

    def render(self) -> str:
        named = "<br>".join(f"`{test}`" for test in self.tests) or NONE_YET
        return f"| {self.id} | {self.promise} | {self.how} | {named} |"


def rows(text: str) -> list[Row]:
    """Return the rows of the table in order."""
    return [
        Row(number, match[1], match[2], match[3], tuple(re.findall(r"`([^`]+)`", match[4])))
        for number, line in enumerate(text.splitlines(), 1)
        if (match := ROW.match(line))
    ]


def tests_in(path: Path) -> set[str]:
    """Return the names of the tests in one file: functions, methods and classes that begin with test or Test."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_bytes(), str(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.name.lower().startswith("test")
    }


def tests_by_id() -> dict[str, list[str]]:
    """Return the conformance tests under the ids their names carry."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests/conformance").glob("test_*.py")):
        for name in sorted(tests_in(path)):
            head = re.match(r"test((?:_[fsrma]\d+)+)(?:_|$)", name.lower())
            for identifier in re.findall(r"[fsrma]\d+", head[1]) if head else []:
                found.setdefault(identifier.upper(), []).append(f"{path.relative_to(ROOT).as_posix()}::{name}")
    return found


def exists(test: str) -> bool:
    """Whether `path::name` is there. A name may have a class in front and a parameter behind."""
    name, _, member = test.partition("::")
    path = ROOT / name
    return path.is_file() and all(part.partition("[")[0] in tests_in(path) for part in member.split("::") if part)


def problems(table: list[Row], by_id: dict[str, list[str]]) -> list[str]:
    """Return everything wrong with the table, one sentence each."""
    found = []
    seen: set[str] = set()
    for row in table:
        place = f"docs/conformance.md:{row.line}: {row.id}"
        if row.id in seen:
            found.append(f"{place} stands here twice")
        seen.add(row.id)
        found.extend(f"{place} names {test}, which does not exist" for test in row.tests if not exists(test))
        missing = [test for test in by_id.get(row.id, []) if test not in row.tests]
        found.extend(
            f"{place} lacks {test}; python tests/conformance/check_table.py --write adds it" for test in missing
        )
    found.extend(f"{tests[0]} carries {name}, which has no row" for name, tests in by_id.items() if name not in seen)
    if not table:
        found.append("docs/conformance.md has no rows")
    return found


def updated(text: str, by_id: dict[str, list[str]]) -> str:
    """Return the table with tests that are gone removed and conformance tests added."""
    lines = text.splitlines()
    for row in rows(text):
        kept = [test for test in row.tests if exists(test)]
        kept += [test for test in by_id.get(row.id, []) if test not in kept]
        lines[row.line - 1] = row._replace(tests=tuple(kept)).render()
    return "\n".join(lines) + "\n"


def main() -> int:
    by_id = tests_by_id()
    text = TABLE.read_text(encoding="utf-8")
    if "--write" in sys.argv[1:]:
        text = updated(text, by_id)
        TABLE.write_text(text, encoding="utf-8")
    table = rows(text)
    found = problems(table, by_id)
    for problem in found:
        print(f"error: {problem}")
    unproved = [row.id for row in table if not row.tests]
    if unproved:
        print(f"no test yet: {', '.join(unproved)}")
    print(f"{len(table)} requirements, {len(table) - len(unproved)} with tests that exist")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

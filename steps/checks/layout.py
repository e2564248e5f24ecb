"""Rooms exist; no file has outgrown one idea; nothing large or generated is kept; steps can be run."""

from __future__ import annotations

import os
import re

from steps.checks.project_files import ROOT, finish, project_files, publish, shown

ROOMS = (
    "workflow/model.py",
    "workflow/errors.py",
    "workflow/events.py",
    "workflow/session.py",
    "workflow/definition",
    "workflow/planning",
    "workflow/execution",
    "workflow/checkpoint",
    "workflow/reporting",
    "workflow/library",
    "workflow/cli",
    "lib",
    "steps",
    "tests",
    "docs",
    "examples",
    "benchmarks",
    ".checkpoints/README.md",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "pyproject.toml",
)
MOST_LINES = 450
MOST_BYTES = 200_000

# A file may be longer only with its reason written here.
LONGER: dict[str, str] = {}

GENERATED = re.compile(r"\.(pyc|pyo|so|whl|tar\.gz|log|coverage|complete)$")


def problems() -> list[str]:
    """Return everything wrong with the layout, one sentence each."""
    found = [f"{room} is missing" for room in ROOMS if not (ROOT / room).exists()]
    for path in project_files():
        name = shown(path)
        size = path.stat().st_size
        if size > MOST_BYTES:
            found.append(f"{name} holds {size:,} bytes; keep at most {MOST_BYTES:,} under version control")
        if GENERATED.search(name):
            found.append(f"{name} is a generated file; add it to .gitignore")
        if path.suffix in {".py", ".sh"} and name not in LONGER:
            lines = path.read_bytes().count(b"\n")
            if lines > MOST_LINES:
                found.append(f"{name} has {lines} lines, over {MOST_LINES}; split it, or give a reason in LONGER")
        if re.match(r"steps/step_\d\d_\w+\.sh$", name) and not os.access(path, os.X_OK):
            found.append(f"{name} is not executable; chmod +x {name}")
    found.extend(f"LONGER names {name}, which is gone" for name in LONGER if not (ROOT / name).exists())
    return found


if __name__ == "__main__":
    files = project_files()
    publish("PYTHON_FILES", sum(path.suffix == ".py" for path in files))
    finish(problems(), f"{len(files)} files, all in their rooms and of readable size")

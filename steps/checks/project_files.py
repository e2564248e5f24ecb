"""Which files belong to the project, and how a check ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Only consulted where git does not answer (an unpacked source archive).
NOT_OURS = {
    ".git",
    ".venv",
    "build",
    "dist",
    "out",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
}


def project_files() -> list[Path]:
    """Return every file that is, or would be, under version control, sorted; without git, all but the known caches."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return sorted(
            path
            for path in ROOT.rglob("*")
            if path.is_file() and not NOT_OURS.intersection(path.relative_to(ROOT).parts)
        )
    names = {name.decode("utf-8", "surrogateescape") for name in listing.split(b"\0") if name}
    return sorted(path for name in names if (path := ROOT / name).is_file())


def shown(path: Path) -> str:
    """Return the path as a message shows it: from the top of the project when it lies inside."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def finish(problems: Sequence[str], summary: str) -> None:
    """Print every problem and leave with 1, or print the summary."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(summary)


def publish(key: str, value: object) -> None:
    """Hand a value to later steps, the way `publish` of steps/common.sh does."""
    import os

    build = Path(os.environ.get("BUILD_DIR") or ROOT / "build")
    (build / "values").mkdir(parents=True, exist_ok=True)
    (build / "values" / key).write_text(f"{value}\n", encoding="utf-8")
    if output := os.environ.get("WORKFLOW_OUTPUT"):
        with open(output, "a", encoding="utf-8") as stream:
            stream.write(f"{key}={value}\n")

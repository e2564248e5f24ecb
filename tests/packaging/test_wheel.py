"""The built wheel works for a stranger: with its runtime dependencies only, far from this checkout."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

import workflow

ROOT = Path(__file__).resolve().parents[2]

# One worker for the whole file, so that the wheel is built once.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("wheel")]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the build step of the project's own workflow; return its build directory and what it printed."""
    directory = tmp_path_factory.mktemp("build")
    # Python's own variables would let the checkout leak into the empty environment.
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("WORKFLOW_", "PYTHON", "COVERAGE_"))
    }
    done = subprocess.run(
        ["sh", str(ROOT / "steps/step_10_build.sh")],
        env=env | {"BUILD_DIR": str(directory)},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory, done.stdout


def wheel_names(directory: Path) -> list[str]:
    (wheel,) = (directory / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_installed_program_runs_a_step_in_an_empty_directory(build: tuple[Path, str]) -> None:
    _, printed = build
    assert workflow.__version__ in printed
    assert re.search(r"^\.checkpoints/workflow_\d{8}_\d{6}/step_00\.complete$", printed, re.MULTILINE)


def test_the_shell_programs_and_the_explanation_of_checkpoints_are_inside(build: tuple[Path, str]) -> None:
    directory, _ = build
    shipped = {
        name.removeprefix("workflow/lib/") for name in wheel_names(directory) if name.startswith("workflow/lib/")
    }
    assert "step_execution.sh" in shipped
    assert shipped == {path.name for path in (ROOT / "lib").glob("*.sh")} | {"checkpoints-README.md"}


def test_nothing_else_is_inside(build: tuple[Path, str]) -> None:
    directory, _ = build
    tops = {name.split("/")[0] for name in wheel_names(directory)}
    assert tops == {"workflow", f"workflow-{workflow.__version__}.dist-info"}
    assert not [name for name in wheel_names(directory) if name.endswith(".pyc")]


def test_the_environment_holds_no_tool_of_ours(build: tuple[Path, str]) -> None:
    directory, _ = build
    python = directory / "smoke/venv/bin/python"
    listing = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout.lower()
    assert "click" in listing
    assert not re.search(r"^(pytest|hypothesis|coverage|mypy|ruff)\b", listing, re.MULTILINE)

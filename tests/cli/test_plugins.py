"""Observers of other packages: found by name, told of everything, and never in the way."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project, clean_env

GOOD = """
import json, os
from workflow.events import RunFinished, SnapshotMade, StepFinished

class Counter:
    workflow_api = 1
    def __init__(self):
        self.told = []
    def on_event(self, event):
        self.told.append(type(event).__name__)
    def close(self):
        with open("told.json", "w") as file:
            json.dump(self.told, file)
"""


def package(
    place: Path,
    text: str,
    name: str = "counter",
    target: str = "Counter",
    dist: str = "metrics",
    group: str = "workflow.observers",
) -> None:
    """Put an installed package with one entry point into a directory, as pip would."""
    module = f"{dist}_plugin"
    (place / f"{module}.py").write_text(text)
    about = place / f"{dist}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{target}\n")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "site"
    path.mkdir()
    return path


def env(place: Path, names: str | None = "counter") -> dict[str, str]:
    return {"PYTHONPATH": f"{ROOT}:{place}"} | ({} if names is None else {"WORKFLOW_OBSERVERS": names})


def test_an_observer_that_is_named_is_told_of_everything(project: Project, place: Path) -> None:
    package(place, GOOD)
    project.steps(2)
    done = project.run(env=env(place))
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads((project.path / "told.json").read_text())
    assert (told[0], told[-1]) == ("RunStarted", "RunFinished")
    assert told.count("StepFinished") == 2
    assert "SnapshotMade" in told
    assert "Tick" not in told


def test_an_observer_that_nobody_names_is_not_even_looked_for(project: Project, place: Path) -> None:
    package(place, GOOD)
    project.steps(1)
    done = project.run(env={**env(place, None), "PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    assert not (project.path / "told.json").exists()
    assert "workflow.plugins" not in done.stderr
    assert "importlib.metadata" not in done.stderr


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        (GOOD, "countr", "did you mean `counter`?"),
        (GOOD, "something-else", "installed are: counter"),
        (GOOD.replace("workflow_api = 1", ""), "counter", "does not say which interface"),
        (GOOD.replace("workflow_api = 1", "workflow_api = 0"), "counter", "was written for 0; this version has"),
        ("raise RuntimeError('no licence')", "counter", "cannot be loaded: RuntimeError('no licence')"),
        ("import sys; sys.exit(3)", "counter", "cannot be loaded: SystemExit(3)"),
        ("x = 1", "counter", "cannot be loaded: AttributeError"),
        ("class Counter:\n    workflow_api = 1\n", "counter", "has no `on_event`"),
    ],
)
def test_an_observer_that_cannot_be_had_is_said_before_anything_runs(
    project: Project, place: Path, text: str, names: str, message: str
) -> None:
    package(place, text)
    project.steps(1)
    done = project.run(env=env(place, names))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert project.executions == []
    doctor = project.run("doctor", env=env(place, names))
    assert doctor.returncode == 1
    assert "observers" in doctor.stdout


def test_two_packages_with_one_name_are_not_chosen_between(project: Project, place: Path) -> None:
    package(place, GOOD)
    package(place, GOOD, dist="other")
    project.steps(1)
    done = project.run(env=env(place))
    assert done.returncode == 2
    assert "metrics 1.0 and other 1.0" in done.stderr


@pytest.mark.parametrize("what", ["raise ValueError('full')", "import sys; sys.exit(9)", "raise KeyboardInterrupt"])
def test_an_observer_that_raises_harms_nothing(project: Project, place: Path, what: str) -> None:
    package(place, GOOD.replace("self.told.append(type(event).__name__)", what))
    project.steps(2)
    done = project.run(env=env(place))
    assert done.returncode == 0
    assert project.markers == [0, 1]
    assert done.stderr.count("warning: the observer counter was left behind: ") == 1


def test_an_observer_that_hangs_holds_nothing_up(project: Project, place: Path) -> None:
    package(place, GOOD.replace("self.told.append(type(event).__name__)", "import time; time.sleep(60)"))
    project.steps(3)
    started = time.monotonic()
    done = project.run(env=env(place))
    assert done.returncode == 0
    assert time.monotonic() - started < 20
    assert "still works on what it was told" in done.stderr


def test_doctor_lists_what_is_installed(project: Project, place: Path) -> None:
    package(place, GOOD)
    project.steps(1)
    said = project.run("doctor", env=env(place)).stdout
    assert "installed: counter (metrics 1.0); in use: counter" in said
    assert "none is installed beside our own" in project.run("doctor").stdout


STORE = """
import os, pickle
from workflow.library.stores import MemoryStore

class Shelf(MemoryStore):
    workflow_api = 1
    def __init__(self, label="none"):
        super().__init__()
        self.label = label
"""
PROGRAM = """
from workflow import Checkpointer, Workflow, open_store

if __name__ == "__main__":
    keeper = Checkpointer(open_store(NAME, label="mine"))
    assert keeper.store.label == "mine"
    assert Workflow("w", checkpointer=keeper).step("a", run="echo x >>ran").run()
    assert [it.trigger for it in keeper.list()][-1] == "completion"
"""


def program(project: Project, place: Path, name: str) -> subprocess.CompletedProcess[str]:
    file = project.file("program.py", PROGRAM.replace("NAME", repr(name)))
    words = [sys.executable, str(file)]
    return subprocess.run(
        words, cwd=project.path, env=clean_env(env(place, None)), capture_output=True, text=True, check=False
    )


def test_a_program_opens_a_store_of_another_package(project: Project, place: Path) -> None:
    """M8."""
    package(place, STORE, name="shelf", target="Shelf", group="workflow.stores")
    done = program(project, place, "shelf")
    assert done.returncode == 0, done.stderr
    assert (project.path / "ran").read_text() == "x\n"
    project.steps(1)
    assert "stores for programs: shelf (metrics 1.0)" in project.run("doctor", env=env(place, None)).stdout


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (STORE, "shelv", "open_store is asked for shelv, and no such store is installed"),
        (STORE.replace("workflow_api = 1", ""), "shelf", "does not say which interface"),
        (STORE.replace("(MemoryStore)", "").replace("super().__init__()", "pass"), "shelf", "has no `save`"),
        (STORE.replace("label=", "title="), "shelf", "cannot be loaded: TypeError"),
    ],
)
def test_a_store_that_cannot_be_had_is_said(project: Project, place: Path, text: str, name: str, message: str) -> None:
    package(place, text, name="shelf", target="Shelf", group="workflow.stores")
    done = program(project, place, name)
    assert done.returncode == 1  # the program's own: it did not expect it
    assert message in done.stderr
    assert not (project.path / "ran").exists()

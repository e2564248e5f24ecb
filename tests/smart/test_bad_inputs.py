"""Inputs that are not as inputs should be: gone while they are read, not to be read, a hundred thousand of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.cli.support import document
from tests.conftest import Project, clean_env
from tests.smart.test_world import Sandbox, chain, step
from workflow.model import Input, Reason
from workflow.planning import digests

__all__ = ["chain"]  # a fixture

LARGEST_RUNNER_BYTES = 400 << 20
# Runs a command and says how much memory the largest process of it took: of other tests nothing counts.
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def test_the_digests_of_another_algorithm_are_not_believed(chain: Sandbox) -> None:
    path = chain.path / "cache" / "digests"
    path.write_bytes(path.read_bytes().replace(b"digests 1 blake3 ", b"digests 1 sha256 ", 1))
    (problem,) = chain.world().problems
    assert "another version or algorithm; it is begun anew" in problem
    assert chain.run() == []
    time.sleep(0.01)
    found = digests.Digests(str(path), "here")
    found.load()
    assert found.problem == ""


def test_files_that_come_and_go_while_they_are_looked_at(tmp_path: Path) -> None:
    """Whatever is met is a digest, an absence, or a reason to run: no other end."""
    path = tmp_path / "here"
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            path.write_bytes(b"x" * 1000)
            path.unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    met = set()
    try:
        give_up_at = time.monotonic() + 20
        while len(met) < 3 and time.monotonic() < give_up_at:
            try:
                met.add("there" if digests.Digests(str(tmp_path / "none"), "m").of(str(path)).is_there else "absent")
            except digests.UnreadableError as error:
                met.add(str(error.strerror))
    finally:
        is_over.set()
        other.join()
    assert {"there", "absent"} <= met
    assert met <= {"there", "absent", "it vanished while it was looked at", "it changes while it is being read"}


def test_an_input_that_vanishes_while_it_is_looked_at_is_a_reason_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"1")
    sandbox = Sandbox(tmp_path, [step(0, "s", inputs=(Input("a"),))], {"s": lambda *_: None})
    assert sandbox.run() == ["s"]
    real = os.open

    def vanish(path: object, *rest: object, **more: object) -> int:
        if str(path).endswith("/a"):
            raise FileNotFoundError(2, "No such file or directory")
        return real(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("workflow.planning.digests.os.open", vanish)
    os.utime(tmp_path / "a")
    (reason,) = sandbox.world().judge(sandbox.steps[0], {}).reasons
    assert reason == Reason("forced", "never reused: its input a cannot be read (it vanished while it was looked at)")


def test_a_directory_that_cannot_be_read_is_a_reason_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a").write_bytes(b"1")
    sandbox = Sandbox(tmp_path, [step(0, "s", inputs=(Input("src/**"),))], {"s": lambda *_: None})
    assert sandbox.run() == ["s"]
    assert sandbox.run() == []
    real = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("/src"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    (tmp_path / "src/b").write_bytes(b"2")
    monkeypatch.setattr("workflow.planning.globs.os.scandir", refuse)
    (reason,) = sandbox.world().judge(sandbox.steps[0], {}).reasons
    assert "src" in reason.detail
    assert "cannot be read" in reason.detail


@pytest.mark.parametrize("count", [3_000, pytest.param(100_000, marks=[pytest.mark.proof, pytest.mark.timeout(900)])])
def test_many_inputs_are_all_looked_at_in_bounded_memory(project: Project, count: int) -> None:
    for folder in range(count // 1000):
        (project.path / f"in/{folder}").mkdir(parents=True)
        for number in range(1000):
            (project.path / f"in/{folder}/{number}").write_bytes(b"%d" % number)
    text = "steps: [{name: a, run: 'echo x >>ran; : >out', inputs: ['in/**'], outputs: [out]}]\n"
    project.file("workflow.yaml", text)
    words = [sys.executable, "-c", MEASURED, sys.executable, "-m", "workflow", "run", "--smart", "-q"]
    for number, change in enumerate((None, None, f"in/{count // 1000 - 1}/999")):
        if change is not None:
            (project.path / change).write_bytes(b"other")
        done = subprocess.run(words, cwd=project.path, env=clean_env(), check=True, stdout=subprocess.PIPE)
        assert int(done.stdout) < LARGEST_RUNNER_BYTES
        assert (project.path / "ran").read_text().count("x") == (1, 1, 2)[number]
    why = document(project.run("explain", "a", "--json"))
    assert len(why["inputs"]) >= count

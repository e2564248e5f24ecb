"""`on_interrupt`: what a resume does with a step that was cut short."""

from __future__ import annotations

import signal
import sys
import time

import pexpect
import pytest

from tests.conftest import Project, clean_env


def cut_short(project: Project, word: str, *, how: signal.Signals = signal.SIGINT) -> str:
    """Interrupt a run in its second step; return the id of the run."""
    project.step(0)
    project.step(1, f"#| on_interrupt: {word}\necho 01 >>ran.txt; [ -e mended ] || {{ echo >started; sleep 60; }}")
    project.step(2)
    runner = project.start("run")
    give_up_at = time.monotonic() + 20
    while not (project.path / "started").exists():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    runner.send_signal(how)
    runner.wait(20)
    project.file("mended", "")
    return project.newest_run.name


def test_rerun_runs_it_again_unasked(project: Project) -> None:
    cut_short(project, "rerun")
    assert project.run("resume").returncode == 0
    assert project.executions == ["00", "01", "01", "02"]


@pytest.mark.parametrize("word", ["fail", "ask"])
def test_without_anybody_to_ask_it_stays_undone_and_says_what_to_type(project: Project, word: str) -> None:
    run_id = cut_short(project, word)
    ended = project.run("resume")
    assert ended.returncode == 1
    assert f"workflow mark {run_id} 01 --done" in ended.stderr
    assert project.executions == ["00", "01"]
    assert project.run("resume").returncode == 1, "the second time too"


def test_a_step_that_died_with_its_runner_counts_as_cut_short(project: Project) -> None:
    cut_short(project, "fail", how=signal.SIGKILL)
    assert project.run("resume", "--end-running").returncode == 1
    assert project.executions == ["00", "01"]


@pytest.mark.parametrize(
    ("word", "executions"), [("--pending", ["00", "01", "01", "02"]), ("--done", ["00", "01", "02"])]
)
def test_a_persons_word_settles_it(project: Project, word: str, executions: list[str]) -> None:
    run_id = cut_short(project, "fail")
    assert project.run("mark", run_id, "1", word).returncode == 0
    assert project.run("resume").returncode == 0
    assert project.executions == executions


def test_naming_the_step_runs_it(project: Project) -> None:
    cut_short(project, "fail")
    assert project.run("resume", "--from-step", "1").returncode == 0
    assert project.executions == ["00", "01", "01", "02"]


def test_ask_asks_on_a_terminal_and_goes_by_the_answer(project: Project) -> None:
    cut_short(project, "ask")
    for answer, status in (("n", 1), ("y", 0)):
        child = pexpect.spawn(
            sys.executable,
            ["-m", "workflow", "resume"],
            cwd=str(project.path),
            env=clean_env(),
            encoding="utf-8",
            timeout=20,
        )
        child.expect_exact("Resume it?")
        child.sendline("y")
        child.expect("Run it again")
        child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == status, child.before
    assert project.executions == ["00", "01", "01", "02"]


def test_force_does_not_ask(project: Project) -> None:
    cut_short(project, "ask")
    assert project.run("resume", "--force").returncode == 0

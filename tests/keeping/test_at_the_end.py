"""What a run that has ended does about others: within the retention, for a short while, without asking."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.cli.support import events, hanging_step, start_until
from tests.conftest import Project
from tests.keeping.old_runs import completed, copied, dated_back, failed, may_fail, touched


def declare(project: Project, **words: object) -> None:
    """Write a definition with these words of the retention, or of the section above it."""
    inner = {key: value for key, value in words.items() if key != "max_size_mb"}
    lines = ["steps: steps", "checkpoints:"]
    if "max_size_mb" in words:
        lines.append(f"  max_size_mb: {words['max_size_mb']}")
    lines.append(f"  retention: {{{', '.join(f'{key}: {value}' for key, value in inner.items())}}}")
    project.file("workflow.yaml", "\n".join(lines) + "\n")


def notes(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("note: ")]


def test_by_itself_a_run_clears_what_is_older_than_a_week(project: Project) -> None:
    """D3."""
    may_fail(project)
    new = completed(project, 6)
    bad = failed(project, 5)
    old, old_bad = copied(new, 8), copied(bad, 9)
    ended = project.run()
    assert ended.returncode == 0
    (note,) = notes(ended.stderr) or notes(ended.stdout)
    assert note.startswith("note: removed 1 old run (")
    assert note.endswith(" and 1 run marked abandoned: not carried on for 7 days and older than 7 days")
    assert [run.exists() for run in (new, bad, old, old_bad)] == [True, True, False, True]
    assert (old_bad / "abandoned").exists()
    assert not (bad / "abandoned").exists()
    # Said once; and the second has nothing to do.
    assert "note: " not in (again := project.run()).stdout + again.stderr
    # Nobody asks for it, and it can be carried on all the same.
    assert project.run("resume", old_bad.name).returncode == 0


def test_events_tell_it_before_the_run_has_finished(project: Project) -> None:
    project.steps(1)
    copied(completed(project, 1), 8)
    told = events(project.run("run", "--json"))
    assert told[-1]["event"] == "run_finished"
    (notice,) = [it for it in told if it["event"] == "notice"]
    assert notice["level"] == "note"
    assert notice["message"].startswith("removed 1 old run (")


def test_a_run_that_was_touched_since_is_not_old(project: Project) -> None:
    project.steps(1)
    old = dated_back(completed(project, 0), 30, touched_days=3)
    assert project.run().returncode == 0
    assert old.exists()


def test_no_more_than_the_number_stay_and_the_oldest_go(project: Project) -> None:
    project.steps(1)
    declare(project, max_count=3)
    first = completed(project, 5)
    others = [copied(first, 4 - number) for number in range(3)]
    assert project.run().returncode == 0
    assert [run.name for run in project.runs[:2]] == [run.name for run in others[1:]]
    assert len(project.runs) == 3


def test_fifty_is_the_standard(project: Project) -> None:
    project.steps(1)
    first = completed(project, 5)
    for number in range(51):
        copied(first, 4, number + 1)
    assert project.run().returncode == 0
    assert len(project.runs) == 50
    assert not first.exists()


def test_a_failed_run_clears_too(project: Project) -> None:
    may_fail(project)
    old = copied(completed(project, 1), 8)
    failed(project, 0)
    assert not old.exists()


def test_completed_runs_that_are_not_kept_go_at_once_and_say_so(project: Project) -> None:
    """D3: `keep_completed: false`."""
    may_fail(project)
    before = completed(project, 2)
    declare(project, keep_completed="false")
    bad = failed(project, 1)
    assert not before.exists()
    ended = project.run()
    assert ended.returncode == 0
    assert "is removed: completed runs are not kept" in ended.stdout + ended.stderr
    assert [run.name for run in project.runs] == [bad.name]
    # A run that did not complete stays, and is removed once it has.
    assert project.run("resume").returncode == 0
    assert project.runs == []
    assert project.executions == ["00", "01", "00", "00", "01", "01"]
    assert sorted(os.listdir(project.path / ".checkpoints")) == [".gitignore", "README.md", "audit.jsonl", "cache"]


def test_failed_runs_that_are_not_kept_go_by_age(project: Project) -> None:
    may_fail(project)
    bad = failed(project, 1)
    old = copied(bad, 3)
    declare(project, keep_failed="false", max_age_days=2)
    assert project.run().returncode == 0
    assert bad.exists()
    assert not old.exists()


def test_the_size_of_all_runs_is_kept_below_its_limit(project: Project) -> None:
    project.step(0, "head -c 400000 /dev/zero")
    first = completed(project, 3)
    for days in (2, 1):
        copied(first, days)
    declare(project, max_size_mb=1.3, max_age_days=30)
    ended = project.run()
    assert ended.returncode == 0
    assert len(project.runs) == 2
    assert "more than 1.3 MB" in ended.stdout + ended.stderr
    assert not first.exists()


def test_live_and_pinned_runs_and_those_of_others_stay(project: Project, tmp_path: Path) -> None:
    hanging_step(project, 0)
    runner = start_until(project, "here_00", "run")
    live = touched(project.newest_run, 40)
    project.file("other/step_00_a.sh", "true\n")
    assert project.run("run", "other").returncode == 0
    pinned = dated_back(project.newest_run, 20)
    assert project.run("checkpoint", "pin", pinned.name).returncode == 0
    linked = copied(pinned, 21)
    (linked / "pinned").unlink()
    linked.rename(tmp_path / "elsewhere")
    linked.symlink_to(tmp_path / "elsewhere")
    os.utime(linked, (0, 0), follow_symlinks=False)
    declare(project, max_count=1)
    assert project.run("run", "other").returncode == 0
    assert live.exists()
    assert pinned.exists()
    assert linked.is_symlink()
    assert (tmp_path / "elsewhere/workflow.json").exists()
    (project.path / "go").touch()
    assert runner.wait(20) == 0


@pytest.mark.parametrize("plan", ["rename:N:EROFS", "unlink:N:EIO"])
def test_what_goes_wrong_with_old_runs_harms_no_exit_code(project: Project, plan: str) -> None:
    project.steps(1)
    first = completed(project, 1)
    old = copied(first, 8)
    operation, _, code = plan.split(":")
    for index in range(1 if operation == "unlink" else 8, 60):
        if not old.exists():
            old = copied(first, 8)
        ended = project.run(env={"WORKFLOW_FAULT": f"{operation}:{index}:{code}"})
        if "cannot remove" in ended.stdout + ended.stderr:
            break
    else:
        raise AssertionError("no index was that of the removal")
    assert ended.returncode == 0
    assert "warning: old runs were not cleared: cannot remove" in ended.stdout + ended.stderr
    assert "completed in" in ended.stdout
    assert project.run().returncode == 0
    assert not old.exists()
    assert [it for it in os.listdir(project.path / ".checkpoints") if it.startswith(".trash")] == []


def test_ten_thousand_old_runs_cost_no_seconds(project: Project) -> None:
    """Whether they are kept, or so many that they cannot go at once."""
    project.steps(1)
    root = project.path / ".checkpoints"
    assert project.run().returncode == 0
    usual = []
    for _ in range(3):
        started = time.monotonic()
        project.run("-q")
        usual.append(time.monotonic() - started)
    names = [f"workflow_2020{1 + n // 2000:02d}01_{n % 2000:06d}" for n in range(10_000)]
    for name in names:
        (root / name / "state").mkdir(parents=True)
        os.utime(root / name, (0, 0))
        os.utime(root / name / "state", (0, 0))
    started = time.monotonic()
    ended = project.run("-q")
    took_s = time.monotonic() - started
    assert ended.returncode == 0
    assert took_s < max(usual) + 2.0, f"{took_s:.2f} s instead of {max(usual):.2f} s"
    left = len([it for it in os.listdir(root) if it.startswith("workflow_2020")])
    assert 0 < left < 10_000
    loud = project.run()
    assert "there is more to clear" in loud.stdout + loud.stderr


@pytest.mark.parametrize("options", [[], ["--output", "group"]])
def test_what_the_last_steps_said_is_seen_although_the_run_becomes_an_archive(
    project: Project, options: list[str]
) -> None:
    (project.path / "workflow.yaml").write_text(
        "name: t\ncheckpoints: {compress: true}\nsteps:\n"
        "  - {name: a, run: echo first-words}\n  - {name: b, run: seq 100000}\n",
        encoding="utf-8",
    )
    result = project.run(*options)
    assert result.returncode == 0, result.stderr
    assert "first-words" in result.stdout
    assert result.stdout.count("\n") > 100_000
    assert not project.runs, "it is an archive"

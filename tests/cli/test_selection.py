"""Which steps: --from-step, --until, --only, --retry-failed, --skip-failed, and what is never left out silently."""

from __future__ import annotations

import pytest

from tests.cli.support import assert_helped, document, tree
from tests.conftest import Project


def marks(project: Project) -> list[str]:
    """Return what ran since the last call."""
    ran = project.executions
    (project.path / "ran.txt").unlink(missing_ok=True)
    return ran


@pytest.mark.parametrize("name", ["2", "02", "step_02", "s2"])
def test_a_step_is_named_by_number_or_name(project: Project, name: str) -> None:
    project.steps(4)
    assert project.run("-q", "--only", name).returncode == 0
    assert project.executions == ["02"]


@pytest.mark.parametrize("words", [("run", "--from-step", ""), ("run", "--only", ""), ("explain", "")])
def test_an_empty_name_names_no_step(project: Project, words: tuple[str, ...]) -> None:
    """Not even one whose text stands in workflow.yaml, and that has no script."""
    project.file("workflow.yaml", "steps: [{name: s, run: 'echo s >>ran.txt'}]\n")
    assert_helped(project.run(*words), 2, "a step is named by its number or its name")
    assert project.executions == []


def test_until_ends_with_that_step_and_the_rest_stays_to_be_done(project: Project) -> None:
    project.steps(4)
    assert project.run("-q", "--until", "1").returncode == 0
    assert marks(project) == ["00", "01"]
    assert document(project.run("status", "--json"))["status"] == "paused"
    assert project.run("-q", "--resume").returncode == 0
    assert marks(project) == ["02", "03"]


def test_from_step_in_a_new_run_leaves_what_is_before(project: Project) -> None:
    """S15, D11: --from-task is the same word."""
    project.steps(4)
    assert project.run("-q", "--from-step", "2").returncode == 0
    assert marks(project) == ["02", "03"]
    assert project.run("-q", "--from-task", "3").returncode == 0
    assert marks(project) == ["03"]


def test_from_step_in_a_resume_runs_complete_ones_again(project: Project) -> None:
    """S15: that step onwards, whatever is marked."""
    project.steps(4)
    project.run("-q")
    marks(project)
    assert project.run("-q", "resume", "--from-step", "2").returncode == 2  # the command comes first
    assert project.run("resume", "-q", "--from-step", "2").returncode == 0
    assert marks(project) == ["02", "03"]
    assert project.markers == [0, 1, 2, 3]


def test_from_and_until_together_are_a_window(project: Project) -> None:
    project.steps(5)
    assert project.run("-q", "--from-step", "1", "--until", "3").returncode == 0
    assert marks(project) == ["01", "02", "03"]


def test_only_runs_those_steps_in_order(project: Project) -> None:
    project.steps(5)
    assert project.run("-q", "--only", "3", "--only", "s1").returncode == 0
    assert marks(project) == ["01", "03"]
    assert project.run("resume", "-q", "--only", "1").returncode == 0
    assert marks(project) == ["01"]


def test_a_step_that_runs_again_loses_its_marker_first(project: Project) -> None:
    """A step that was complete and fails now is not complete."""
    project.step(0, "[ ! -e broken ]")
    project.run("-q")
    project.file("broken", "")
    assert project.run("resume", "-q", "--only", "0").returncode == 1
    assert project.markers == []


def test_retry_failed_runs_what_failed_and_nothing_else(project: Project) -> None:
    """S17, S45."""
    project.step(0)
    project.step(1, "echo 01 >>ran.txt\n[ -e ok ]")
    project.step(2)
    project.run("-q")
    marks(project)
    assert project.run("--resume", "--retry-failed", "-q").returncode == 1
    assert marks(project) == ["01"]
    project.file("ok", "")
    result = project.run("--resume", "--retry-failed", "-q")
    assert result.returncode == 0
    assert marks(project) == ["01"]
    assert document(project.run("status", "--json"))["status"] == "paused"
    assert project.run("--resume", "-q").returncode == 0
    assert marks(project) == ["02"]


def test_retry_failed_with_nothing_failed_says_so(project: Project) -> None:
    project.steps(2)
    project.run("-q", "--until", "0")
    result = project.run("--resume", "--retry-failed")
    assert result.returncode == 0
    assert "0 steps to run" in result.stdout


def test_skip_failed_carries_on_past_failures_and_is_no_success(project: Project) -> None:
    """S16: exit 1 at the end, the failed step stays failed."""
    project.step(0)
    project.step(1, "echo 01 >>ran.txt\nexit 5")
    project.step(2)
    project.run("-q")
    marks(project)
    result = project.run("--resume", "--skip-failed")
    assert result.returncode == 1
    assert marks(project) == ["02"]
    assert project.markers == [0, 2]
    # never 0 while anything is left undone, however often it is said
    assert project.run("--resume", "--skip-failed").returncode == 1
    assert marks(project) == []
    status = document(project.run("status", "--json"))
    assert status["status"] == "failed"
    assert [step["status"] for step in status["steps"]] == ["completed", "failed", "completed"]


def test_skip_failed_stops_at_a_new_failure_and_passes_it_the_next_time(project: Project) -> None:
    """S16: what failed before is passed; a failure of this very run is first told, as always."""
    project.step(0, "exit 5")
    project.step(1)
    project.step(2, "exit 6")
    project.step(3)
    assert project.run("-q").returncode == 1
    assert project.run("--resume", "--skip-failed", "-q").returncode == 1
    assert marks(project) == ["01"]
    assert project.run("--resume", "--skip-failed", "-q").returncode == 1
    assert marks(project) == ["03"]
    assert project.markers == [1, 3]


def test_skip_failed_leaves_what_needs_the_failed_step(project: Project) -> None:
    project.file(
        "workflow.yaml",
        """steps:
  - {name: a, run: echo a >>ran.txt; exit 1}
  - {name: b, needs: [a], run: echo b >>ran.txt}
  - {name: c, needs: [b], run: echo c >>ran.txt}
  - {name: d, needs: [], run: echo d >>ran.txt}
""",
    )
    assert project.run("-q", "-j", "1").returncode == 1
    marks(project)
    assert project.run("--resume", "--skip-failed", "-q").returncode == 1
    assert marks(project) == ["d"]


def test_what_is_left_undone_without_being_asked_for_is_never_called_done(project: Project) -> None:
    """The exit code of a selection speaks of the selection; the status of the run of all."""
    project.steps(3)
    result = project.run("--only", "1")
    assert result.returncode == 0
    assert "completed in" not in result.stdout.splitlines()[-1]
    assert result.stdout.splitlines()[-1].startswith("help: workflow resume ")


@pytest.mark.parametrize("words", [["--only", "1"], ["--until", "0"], ["--from-step", "1"], ["--retry-failed"]])
def test_plan_says_what_a_run_with_the_same_words_does(project: Project, words: list[str]) -> None:
    """Plan equals run: the same decisions, step by step."""
    project.step(0)
    project.step(1, "echo 01 >>ran.txt\nexit 1")
    project.step(2)
    project.run("-q")
    marks(project)
    before = tree(project)
    plan = document(project.run("plan", "--resume", "--json", *words))
    assert tree(project) == before
    will = [f"{step['step']:02d}" for step in plan["steps"] if step["choice"] == "run"]
    project.run("--resume", "-q", *words)
    ran = marks(project)
    assert ran == will[: len(ran)]
    assert plan["will_run"] == len(will)

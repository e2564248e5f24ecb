"""Attempts after the first: how many, for what, how far apart, and across the death of the runner."""

from __future__ import annotations

import itertools

import pytest

from tests.cli.support import wait_for
from tests.conftest import Project
from tests.scheduling.support import (
    attempts_of,
    begin,
    ended,
    flow,
    kill_runner,
    ok,
    state_of,
    states,
)

# Every attempt leaves a line; it ends well when there are N of them.
COUNTED = "echo x >>ran.txt; [ $(wc -l <ran.txt) -ge {enough} ]"


def test_without_retries_and_with_a_limit_of_none_there_is_one_attempt(project: Project) -> None:
    flow(project, f"steps:\n- {{name: a, retries: 0, run: '{COUNTED.format(enough=2)}'}}\n")
    ended(project.run("run", "-q"), 1)
    assert project.executions == ["x"]


def test_it_is_tried_again_until_it_ends_well_and_no_longer(project: Project) -> None:
    flow(project, f"steps:\n- {{name: a, retries: 5, run: '{COUNTED.format(enough=3)}'}}\n")
    ok(project.run("run", "-q"))
    assert project.executions == ["x"] * 3
    assert [it["exit_code"] for it in attempts_of(project, 0)] == [1, 1, 0]
    assert [it["number"] for it in attempts_of(project, 0)] == [1, 2, 3]


def test_when_they_are_used_up_it_is_failed_and_a_resume_begins_a_new_series(project: Project) -> None:
    flow(project, f"steps:\n- {{name: a, retries: 2, run: '{COUNTED.format(enough=5)}'}}\n")
    ended(project.run("run", "-q"), 1)
    assert project.executions == ["x"] * 3
    assert states(project) == {"a": "failed"}
    ok(project.run("resume", "-q"))
    assert project.executions == ["x"] * 5


CLASSES = {
    "its code": ("[3]", "exit 3", True),
    "another code": ("[3, 5]", "exit 4", False),
    "any exit": ("[exit]", "exit 4", True),
    "an exit is no signal": ("[signal]", "exit 4", False),
    "a signal": ("[signal]", "kill -9 $$", True),
    "a signal by its code": ("[137]", "kill -9 $$", True),
    "a signal is no exit": ("[exit]", "kill -9 $$", False),
    "a timeout": ("[timeout]", "sleep 30", True),
    "a timeout is no signal": ("[signal, exit, 143, 124]", "sleep 30", False),
    "an output that is missing": ("[output_missing]", "true", True),
    "a missing output is no exit": ("[exit, 1]", "true", False),
    "a full disk": ("[no_space]", 'echo "cp: No space left on device" >&2; exit 1', True),
    "a full disk by its code": ("[1]", 'echo "cp: No space left on device" >&2; exit 1', True),
    "a full disk is another class than an exit": ("[exit]", 'echo "cp: No space left on device" >&2; exit 1', False),
}


@pytest.mark.parametrize("case", CLASSES)
def test_on_exit_says_which_failures_are_tried_again(project: Project, case: str) -> None:
    on_exit, command, is_again = CLASSES[case]
    more = "timeout: 0.3, " if command.startswith("sleep") else ""
    more += "outputs: [made], " if command == "true" else ""
    text = f"if [ -e second ]; then touch made; exit 0; fi; touch second; {command}"
    flow(project, f"steps:\n- name: a\n  run: |\n    {text}\n  retries: {{limit: 1, on_exit: {on_exit}}}\n")
    path = project.path / "workflow.yaml"
    if more:
        path.write_text(path.read_text() + "  " + more.rstrip(", ") + "\n")
    result = project.run("run", "-q")
    ended(result, 0 if is_again else 124 if "timeout" in more else 1)
    assert len(attempts_of(project, 0)) == (2 if is_again else 1)


def gaps(project: Project, number: int) -> list[float]:
    """Return the seconds between the end of each attempt and the start of the next."""
    attempts = attempts_of(project, number)
    return [later["started"] - earlier["ended"] for earlier, later in itertools.pairwise(attempts)]


def test_the_wait_grows_by_the_backoff_up_to_its_bound(project: Project) -> None:
    flow(
        project,
        f"""\
steps:
- name: a
  run: {COUNTED.format(enough=4)}
  retries: {{limit: 3, delay: 0.2, backoff: exponential, max_delay: 0.5}}
""",
    )
    ok(project.run("run", "-q"))
    first, second, third = gaps(project, 0)
    # A wait is never shorter (but for two clocks that differ); how much longer it is is up to the machine.
    assert 0.19 <= first < 2
    assert 0.39 <= second < 2
    assert 0.49 <= third < 2


def test_the_slot_is_free_while_a_step_waits(project: Project) -> None:
    flow(
        project,
        """\
steps:
- parallel:
  - {name: a, retries: {limit: 1, delay: 1s}, run: 'echo a >>ran.txt; [ -e b_ran ]'}
  - {name: b, run: 'echo b >>ran.txt; touch b_ran'}
""",
    )
    ok(project.run("run", "-q", "-j", "1"))
    assert project.executions == ["a", "b", "a"]


def test_what_comes_after_waits_through_the_retries(project: Project) -> None:
    flow(
        project,
        """\
steps:
- {name: a, retries: {limit: 1, delay: 0.3}, run: 'echo a >>ran.txt; [ $(wc -l <ran.txt) -gt 1 ]'}
- {name: b, run: 'echo b >>ran.txt'}
""",
    )
    ok(project.run("run", "-q"))
    assert project.executions == ["a", "a", "b"]


def is_waiting(project: Project) -> bool:
    return bool(project.runs) and state_of(project, 0).get("status") == "waiting"


def test_a_wait_survives_the_death_of_the_runner(project: Project) -> None:
    """The resume waits for what is left, and counts on: three attempts in all, not five."""
    flow(
        project,
        """\
steps:
- {name: a, retries: {limit: 2, delay: 2s}, run: 'echo x >>ran.txt; exit 3'}
""",
    )
    process = begin(project, lambda: is_waiting(project), "run")
    kill_runner(process)
    recorded = state_of(project, 0)
    ended(project.run("resume", "-q"), 1)
    assert project.executions == ["x"] * 3
    attempts = attempts_of(project, 0)
    assert [it["epoch"] for it in attempts] == [1, 2, 2]
    assert len(recorded["attempts"]) == 1
    first, second = gaps(project, 0)
    assert 1.9 <= first < 10
    assert 1.9 <= second < 10


def test_a_resume_does_not_wait_again_for_what_has_passed(project: Project) -> None:
    flow(
        project,
        """\
steps:
- {name: a, retries: {limit: 1, delay: 1s}, run: 'echo x >>ran.txt; [ $(wc -l <ran.txt) -ge 2 ]'}
""",
    )
    process = begin(project, lambda: is_waiting(project), "run")
    kill_runner(process)
    since = attempts_of(project, 0)[0]["ended"]
    import time

    wait_for(lambda: time.time() > since + 1.0)
    began = time.time()
    ok(project.run("resume", "-q"))
    assert attempts_of(project, 0)[1]["started"] - began < 0.95


def test_a_step_between_two_attempts_is_cancelled_by_the_failure_of_another_and_counts_on(project: Project) -> None:
    flow(
        project,
        """\
steps:
- parallel:
  - {name: a, retries: {limit: 2, delay: 30s}, run: 'echo a >>ran.txt; exit 3'}
  - {name: b, run: 'until grep -qs waiting $WORKFLOW_RUN_DIR/state/step_00_state.json; do sleep 0.02; done; exit 4'}
- {name: c, run: 'true'}
""",
    )
    result = ended(project.run("run", "-j", "2"), 1)
    assert project.executions == ["a"]
    assert "first to fail: 01 b" in result.stdout
    assert state_of(project, 0)["status"] == "waiting"


def test_a_failure_after_the_runner_died_is_tried_again_when_retries_are_left(project: Project) -> None:
    """The outcome of the orphan is taken over, and with it what its `retries` say: three attempts, not four."""
    flow(
        project,
        """\
steps:
- name: a
  retries: 2
  run: |
    echo x >>ran.txt
    [ ! -e here ] || exit 3
    touch here
    until [ -e go ]; do sleep 0.02; done
    exit 3
""",
    )
    process = begin(project, "here", "run")
    kill_runner(process)
    project.file("go", "")
    ended(project.run("resume", "-q"), 1)
    assert project.executions == ["x"] * 3


def test_a_tolerated_failure_after_the_runner_died_is_tried_again_first(project: Project) -> None:
    """As it would have been had the runner lived: `continue_on_error` is for when the retries are used up."""
    flow(
        project,
        """\
steps:
- name: a
  retries: 1
  continue_on_error: true
  run: |
    echo x >>ran.txt
    [ ! -e here ] || exit 0
    touch here
    until [ -e go ]; do sleep 0.02; done
    exit 3
""",
    )
    process = begin(project, "here", "run")
    kill_runner(process)
    project.file("go", "")
    ok(project.run("resume", "-q"))
    assert project.executions == ["x"] * 2
    assert project.markers == [0]

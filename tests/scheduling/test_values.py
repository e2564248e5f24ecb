"""Published values: never those of a sibling, always those of what a step waits for; the same after a resume."""

from __future__ import annotations

from tests.cli.support import wait_for
from tests.conftest import Project
from tests.scheduling.support import begin, ended, flow, kill_runner, ok

PUBLISH = "echo {name}={value} >>$WORKFLOW_OUTPUT"
SEEN = "echo {step}:${{A-}}${{B-}}${{C-}} >>ran.txt"


def test_what_a_sibling_published_in_time_is_not_seen(project: Project) -> None:
    """The sibling is complete, marker and all, before the other begins: it still sees nothing of it."""
    flow(
        project,
        f"""\
steps:
- {{name: first, run: '{PUBLISH.format(name="A", value="a")}'}}
- parallel:
  - {{name: b, run: '{PUBLISH.format(name="B", value="b")}'}}
  - {{name: c, run: '{SEEN.format(step="c")}; {PUBLISH.format(name="C", value="c")}'}}
- {{name: join, run: '{SEEN.format(step="join")}'}}
""",
    )
    ok(project.run("run", "-q", "-j", "1"))
    assert project.executions == ["c:a", "join:abc"]


def test_what_is_needed_through_others_is_seen_and_what_is_beside_is_not(project: Project) -> None:
    flow(
        project,
        f"""\
steps:
- {{name: a, needs: [], run: '{PUBLISH.format(name="A", value="a")}'}}
- {{name: b, needs: [], run: '{PUBLISH.format(name="B", value="b")}'}}
- {{name: mid, needs: [a], run: '{SEEN.format(step="mid")}'}}
- {{name: end, needs: [mid], run: '{SEEN.format(step="end")}'}}
""",
    )
    ok(project.run("run", "-q", "-j", "1"))
    assert project.executions == ["mid:a", "end:a"]


def test_of_two_that_publish_one_name_the_larger_number_wins_whoever_was_last(project: Project) -> None:
    flow(
        project,
        f"""\
steps:
- parallel:
  - name: slow
    run: until [ -e $WORKFLOW_RUN_DIR/step_01.complete ]; do sleep 0.02; done; {PUBLISH.format(name="A", value="slow")}
  - {{name: quick, run: '{PUBLISH.format(name="A", value="quick")}'}}
- {{name: join, run: '{SEEN.format(step="join")}'}}
""",
    )
    ok(project.run("run", "-q", "-j", "2"))
    assert project.executions == ["join:quick"]


RESUMED = f"""\
steps:
- {{name: first, run: '{PUBLISH.format(name="A", value="$(cat said)")}'}}
- parallel:
  - {{name: b, run: '{PUBLISH.format(name="B", value="b")}'}}
  - {{name: c, run: '{SEEN.format(step="c")}; touch here; until [ -e go ]; do sleep 0.02; done; test -e good'}}
- {{name: join, run: '{SEEN.format(step="join")}'}}
"""


def test_a_resume_gives_the_same_values(project: Project) -> None:
    """The sibling is complete long before the resume: what it published is still none of c's business."""
    flow(project, RESUMED)
    project.file("said", "one")
    process = begin(project, "here", "run", "-j", "2")
    wait_for(lambda: 1 in project.markers)
    kill_runner(process)
    project.file("said", "two")
    project.file("go", "")
    ended(project.run("resume", "-q", "-j", "2"), 1)
    project.file("good", "")
    ok(project.run("resume", "-q", "-j", "2"))
    assert project.executions == ["c:one", "c:one", "c:one", "join:oneb"]


def test_a_retry_and_a_condition_see_what_the_step_sees(project: Project) -> None:
    flow(
        project,
        f"""\
steps:
- {{name: first, run: '{PUBLISH.format(name="A", value="a")}'}}
- parallel:
  - {{name: b, run: '{PUBLISH.format(name="B", value="b")}'}}
  - name: c
    if: '[ "${{A-}}${{B-}}" = a ]'
    retries: 1
    run: '{SEEN.format(step="c")}; [ $(grep -c c: ran.txt) -gt 1 ]'
""",
    )
    ok(project.run("run", "-q", "-j", "1"))
    assert project.executions == ["c:a", "c:a"]


def test_values_do_not_leak_from_step_to_step_of_one_worker(project: Project) -> None:
    """One worker runs all of them; each has a copy of its own."""
    flow(
        project,
        f"""\
steps:
- {{name: a, needs: [], run: '{PUBLISH.format(name="A", value="a")}'}}
- {{name: b, needs: [a], run: '{SEEN.format(step="b")}'}}
- {{name: c, needs: [], run: '{SEEN.format(step="c")}'}}
- {{name: d, needs: [b], run: '{SEEN.format(step="d")}'}}
""",
    )
    ok(project.run("run", "-q", "-j", "1"))
    assert sorted(project.executions) == ["b:a", "c:", "d:a"]


def test_what_a_tolerated_failure_published_is_not_seen(project: Project) -> None:
    flow(
        project,
        f"""\
steps:
- {{name: a, continue_on_error: true, run: '{PUBLISH.format(name="A", value="a")}; exit 3'}}
- parallel:
  - {{name: b, run: '{SEEN.format(step="b")}'}}
""",
    )
    ok(project.run("run", "-q"))
    assert project.executions == ["b:"]

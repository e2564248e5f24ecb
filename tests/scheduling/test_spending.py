"""What steps say that they cost: added up once each, over attempts, iterations and resumes, and bounded by `limits`."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Project, clean_env
from workflow.checkpoint import spending

LOOP = """\
limits: {cost: %s}
steps:
- name: loop
  run: |
    echo x >>ran.txt
    echo cost_incurred=0.1 >>"$WORKFLOW_OUTPUT"
    echo tokens_used=100 >>"$WORKFLOW_OUTPUT"
  repeat: {until: '[ $(wc -l <ran.txt) -ge 15 ]', max_iterations: 50}
- {name: after, run: echo after >>ran.txt}
"""


def values(project: Project) -> dict[str, float]:
    """Return the sums that `workflow metrics` tells of the newest run."""
    result = project.run("metrics", "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["values"]  # type: ignore[no-any-return]


def test_a_loop_stops_at_its_limit_and_goes_on_when_that_is_raised(project: Project) -> None:
    """Ten times 0.1 are 1; nothing is lost and nothing repeated over the two resumes."""
    project.file("workflow.yaml", LOOP % "1.0")
    first = project.run("run")
    assert first.returncode == 4, first.stderr
    assert "the limit of cost is reached: 1 spent of 1" in first.stderr
    assert "workflow resume workflow_" in first.stderr
    assert project.executions == ["x"] * 10
    assert json.loads(project.run("status", "--json").stdout)["status"] == "paused"

    again = project.run("resume")
    assert again.returncode == 4
    assert project.executions == ["x"] * 10

    project.file("workflow.yaml", LOOP % "2")
    last = project.run("resume")
    assert last.returncode == 0, last.stderr
    assert project.executions == ["x"] * 15 + ["after"]
    assert values(project) == {"cost_incurred": 1.5, "tokens_used": 1500}


def test_a_loop_that_is_over_when_its_limit_is_reached_is_complete(project: Project) -> None:
    """Its test costs nothing and is asked; the step after it is what is not started."""
    project.file("workflow.yaml", LOOP % "1.5")
    assert project.run("run").returncode == 4
    assert project.markers == [0]
    assert "after" not in project.executions


def test_what_runs_may_end_when_a_limit_is_reached(project: Project) -> None:
    project.file(
        "workflow.yaml",
        """\
limits: {tokens: 5}
jobs: 2
steps:
- {name: quick, needs: [], run: 'echo tokens_used=9 >>"$WORKFLOW_OUTPUT"'}
- {name: slow, needs: [], run: 'sleep 1; echo slow >>ran.txt'}
- {name: never, needs: [quick], run: echo never >>ran.txt}
""",
    )
    result = project.run("run")
    assert result.returncode == 4, result.stderr
    assert project.markers == [0, 1]
    assert project.executions == ["slow"]


def test_a_run_that_is_done_when_its_limit_is_reached_is_done(project: Project) -> None:
    project.file("workflow.yaml", "limits: {cost: 1}\nsteps:\n- run: echo cost_incurred=7 >>$WORKFLOW_OUTPUT\n")
    assert project.run("run").returncode == 0


def test_attempts_that_fail_cost_what_they_cost(project: Project) -> None:
    project.file(
        "workflow.yaml",
        """\
steps:
- name: tries
  run: |
    echo x >>ran.txt
    echo cost_incurred=2 >>"$WORKFLOW_OUTPUT"
    [ $(wc -l <ran.txt) -ge 3 ]
  retries: 5
""",
    )
    assert project.run("run").returncode == 0
    assert values(project)["cost_incurred"] == 6


def test_no_attempt_is_tried_again_beyond_the_limit(project: Project) -> None:
    project.file(
        "workflow.yaml",
        """\
limits: {cost: 3}
steps:
- name: tries
  run: |
    echo x >>ran.txt
    echo cost_incurred=2 >>"$WORKFLOW_OUTPUT"
    [ $(wc -l <ran.txt) -ge 4 ]
  retries: 9
""",
    )
    assert project.run("run").returncode == 4
    assert project.executions == ["x", "x"]
    project.file("workflow.yaml", (project.path / "workflow.yaml").read_text().replace("cost: 3", "cost: 30"))
    assert project.run("resume").returncode == 0
    assert values(project)["cost_incurred"] == 8


def test_an_iteration_that_publishes_nothing_costs_nothing(project: Project) -> None:
    project.file(
        "workflow.yaml",
        """\
steps:
- name: loop
  run: |
    echo x >>ran.txt
    [ $(wc -l <ran.txt) -ne 2 ] || exit 0
    echo cost_incurred=5 >>"$WORKFLOW_OUTPUT"
  repeat: {max_iterations: 4}
""",
    )
    assert project.run("run").returncode == 0
    assert values(project)["cost_incurred"] == 15


def test_a_retry_that_says_nothing_does_not_hide_what_comes_after_it(project: Project) -> None:
    """The retry of the first iteration begins with an empty file: what the second publishes stands at its start."""
    project.file(
        "workflow.yaml",
        """\
steps:
- name: loop
  run: |
    echo x >>ran.txt
    case $(wc -l <ran.txt) in
    1) echo cost_incurred=0.25 >>"$WORKFLOW_OUTPUT"; exit 1 ;;
    3) echo cost_incurred=1 >>"$WORKFLOW_OUTPUT" ;;
    esac
  retries: 1
  repeat: {max_iterations: 2}
""",
    )
    assert project.run("run").returncode == 0
    assert project.executions == ["x"] * 3
    assert values(project)["cost_incurred"] == 1.25


def test_a_loop_that_begins_anew_in_silence_does_not_hide_what_comes_after(project: Project) -> None:
    project.file(
        "workflow.yaml",
        """\
steps:
- name: loop
  run: |
    echo x >>ran.txt
    [ $(wc -l <ran.txt) -ne 3 ] || exit 0
    echo cost_incurred=1 >>"$WORKFLOW_OUTPUT"
  repeat: {max_iterations: 2}
""",
    )
    assert project.run("run").returncode == 0
    assert project.run("resume", project.newest_run.name, "--from-step", "loop").returncode == 0
    assert project.executions == ["x"] * 4
    assert values(project)["cost_incurred"] == 3


def test_going_back_in_time_takes_no_cost_back(project: Project) -> None:
    project.file("workflow.yaml", "steps:\n- run: echo cost_incurred=3 >>$WORKFLOW_OUTPUT\n- run: 'true'\n")
    assert project.run("run", "--checkpoint-every", "1").returncode == 0
    run = project.newest_run.name
    assert project.run("resume", run, "--from-step", "0").returncode == 0
    assert values(project)["cost_incurred"] == 6


@pytest.mark.parametrize("said", ["abc", "nan", "inf", "-1", "1e400", "1e16", "1,5", "0x10", "1_000", "", "٣"])
def test_what_is_no_amount_is_told_and_not_counted(project: Project, said: str) -> None:
    project.file("workflow.yaml", f"steps:\n- run: echo 'cost_incurred={said}' >>$WORKFLOW_OUTPUT\n")
    result = project.run("run", env={"PYTHONUTF8": "1"})
    assert result.returncode == 0
    assert "is no amount" in result.stderr + result.stdout
    assert "cost_incurred" not in values(project)


@pytest.mark.parametrize("limit", ["0", "-1", "x", ".nan", ".inf", "1e300"])
@pytest.mark.parametrize("word", ["cost", "tokens"])
def test_a_limit_that_is_none_is_refused(project: Project, word: str, limit: str) -> None:
    project.file("workflow.yaml", f"limits: {{{word}: {limit}}}\nsteps:\n- run: 'true'\n")
    result = project.run("run")
    assert result.returncode == 2, result.stderr
    assert "workflow.yaml:1" in result.stderr
    assert not project.runs


def test_a_policy_bounds_what_may_be_spent(project: Project) -> None:
    project.file("workflow.yaml", LOOP % "100")
    project.file("policy.yaml", "limits: {tokens: 200}\n")
    assert project.run("run", "--policy", "policy.yaml").returncode == 4
    assert project.executions == ["x", "x"]


def test_a_run_that_spends_nothing_has_no_file_for_it(project: Project) -> None:
    project.steps(3)
    assert project.run("run").returncode == 0
    assert not (project.newest_run / "state/spending").exists()


def test_a_run_that_spends_nothing_does_not_load_what_counts_it(project: Project) -> None:
    project.steps(1)
    code = (
        "import sys\n"
        "import workflow.cli.main\n"
        "try: workflow.cli.main.main()\n"
        "except SystemExit as ended: assert not ended.code, ended.code\n"
        "print('loaded' if 'workflow.checkpoint.spending' in sys.modules else 'not loaded')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "run"],
        cwd=project.path,
        env=clean_env(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.endswith("\nnot loaded\n"), result.stdout + result.stderr


@given(st.decimals(min_value=0, max_value=10**15, allow_nan=False, places=6))
def test_an_amount_survives_being_written_and_read(value: Decimal) -> None:
    assert spending.amount(spending.text(value)) == value


def test_a_line_that_was_cut_off_does_not_count_and_does_not_harm_the_next(project: Project) -> None:
    project.file("workflow.yaml", LOOP % "0.5")
    assert project.run("run").returncode == 4
    path = project.newest_run / "state/spending"
    with path.open("ab") as file:
        file.write(b"00 9 9 9 99 cost_inc")
    project.file("workflow.yaml", LOOP % "100")
    assert project.run("resume").returncode == 0
    assert values(project)["cost_incurred"] == 1.5

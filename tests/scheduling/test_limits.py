"""`-j`, `jobs` and `limits`: how many steps are inside at once, counted by the steps themselves."""

from __future__ import annotations

import pytest

from tests.conftest import Project
from tests.scheduling.support import at_once, counted, ended, flow, ok

# Inside until as many as may be have been there together, but not for ever.
SHORT = counted("sleep 0.15")


def many(project: Project, count: int, top: str = "", options: str = "") -> None:
    flow(
        project,
        f"{top}\nsteps:\n- {{name: a, matrix: {{n: {list(range(count))}}}, {options} run: '{SHORT}'}}\n",
    )


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_no_more_run_at_once_than_were_asked_for(project: Project, jobs: int) -> None:
    many(project, 6)
    ok(project.run("run", "-q", "-j", str(jobs)))
    assert at_once(project) == jobs


def test_the_definition_says_it_and_the_command_line_has_the_last_word(project: Project) -> None:
    many(project, 6, "jobs: 3")
    ok(project.run("run", "-q"))
    assert at_once(project) == 3
    (project.path / "inside.log").unlink()
    ok(project.run("run", "-q", "-j", "2"))
    assert at_once(project) == 2


def test_processors_are_counted(project: Project) -> None:
    many(project, 6, "limits: {cpus: 4}", "resources: {cpus: 2},")
    ok(project.run("run", "-q", "-j", "6"))
    assert at_once(project) == 2


def test_parts_of_a_processor_are_counted(project: Project) -> None:
    many(project, 6, "limits: {cpus: 1}", "resources: {cpus: 0.25},")
    ok(project.run("run", "-q", "-j", "6"))
    assert at_once(project) == 4


def test_memory_is_counted(project: Project) -> None:
    many(project, 6, "limits: {memory: 1G, cpus: 64}", "resources: {memory: 300M},")
    ok(project.run("run", "-q", "-j", "6"))
    assert at_once(project) == 3


def test_beside_one_that_wants_all_nothing_runs(project: Project) -> None:
    flow(
        project,
        f"""\
limits: {{cpus: 2}}
steps:
- parallel:
  - {{name: first, run: '{SHORT}'}}
  - {{name: big, resources: {{cpus: 2}}, run: 'echo in >>inside.log; {SHORT}; echo out >>inside.log'}}
  - {{name: small, run: '{SHORT}'}}
  - {{name: tiny, run: '{SHORT}'}}
""",
    )
    ok(project.run("run", "-q", "-j", "4"))
    lines = (project.path / "inside.log").read_text().split()
    at = lines.index("in")
    assert lines[at : at + 4] == ["in", "+", "-", "out"]
    assert lines[:at].count("+") == lines[:at].count("-")


def test_what_the_machine_does_not_have_runs_alone(project: Project) -> None:
    many(project, 3, "", "resources: {memory: 4000T},")
    ok(project.run("run", "-q", "-j", "3"))
    assert at_once(project) == 1


def test_one_that_does_not_fit_lets_smaller_ones_pass(project: Project) -> None:
    flow(
        project,
        """\
limits: {cpus: 2}
steps:
- parallel:
  - {name: first, run: 'until [ -e small_ran ]; do sleep 0.02; done; echo first >>ran.txt'}
  - {name: big, resources: {cpus: 2}, run: 'echo big >>ran.txt'}
  - {name: small, run: 'touch small_ran; echo small >>ran.txt'}
""",
    )
    ok(project.run("run", "-q", "-j", "3", timeout=20))
    assert project.executions[-1] == "big"


def test_more_than_the_limit_is_refused_before_anything_runs(project: Project) -> None:
    many(project, 2, "limits: {cpus: 2}", "resources: {cpus: 3},")
    result = ended(project.run("run", "-q"), 2)
    assert "could never run" in result.stderr
    assert not project.runs

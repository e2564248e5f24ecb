"""The definition changed since: what is complete is bypassed and named; identity is content, not number."""

from __future__ import annotations

import json

from tests.cli.support import document
from tests.conftest import Project


def stopped(project: Project) -> None:
    """Leave a run of four steps whose last one failed."""
    for number in range(3):
        project.step(number)
    project.step(3, "[ -e ok ] && echo 03 >>ran.txt")
    assert project.run("-q").returncode == 1
    project.file("ok", "")
    (project.path / "ran.txt").unlink()


def test_an_edited_complete_step_is_bypassed_and_named(project: Project) -> None:
    """RELIABILITY 47, S55: never silently; the next command is said."""
    stopped(project)
    project.step(1, "echo new >>ran.txt")
    plan = document(project.run("plan", "--resume", "--json"))
    assert plan["steps"][1]["choice"] == "bypass"
    assert "script-changed" in [reason["code"] for reason in plan["steps"][1]["reasons"]]
    result = project.run("--resume")
    assert result.returncode == 0
    assert project.executions == ["03"]
    assert "1 step changed since" in result.stderr
    assert "01" in result.stderr
    assert "--revalidate" in result.stderr


def test_revalidate_runs_what_changed_and_what_depends_on_it(project: Project) -> None:
    """RELIABILITY 47, S19, S47: in plain order everything after it depends on it."""
    stopped(project)
    project.step(1, "echo new >>ran.txt")
    assert project.run("--resume", "--revalidate", "-q").returncode == 0
    assert project.executions == ["new", "02", "03"]
    # and once that is done, nothing is left to revalidate
    assert project.run("resume", "--revalidate", "-q").returncode == 0
    assert project.executions == ["new", "02", "03"]


def test_revalidate_spares_what_does_not_depend_on_the_change(project: Project) -> None:
    text = """steps:
  - {name: a, needs: [], run: echo a >>ran.txt}
  - {name: b, needs: [a], run: echo b >>ran.txt}
  - {name: c, needs: [], run: echo c >>ran.txt}
  - {name: d, needs: [b], run: echo d >>ran.txt}
"""
    project.file("workflow.yaml", text)
    assert project.run("-q", "--no-parallel").returncode == 0
    project.file("workflow.yaml", text.replace("echo b", "echo B"))
    assert project.run("resume", "--revalidate", "-q").returncode == 0
    assert project.executions == ["a", "b", "c", "d", "B", "d"]


def test_a_variable_of_a_step_is_part_of_what_it_is(project: Project) -> None:
    """RELIABILITY 54."""
    project.step(0, "#| env: {A: '1'}\necho $A >>ran.txt")
    project.run("-q")
    project.step(0, "#| env: {A: '2'}\necho $A >>ran.txt")
    plan = document(project.run("plan", "--resume", project.newest_run.name, "--revalidate", "--json"))
    codes = [reason["code"] for reason in plan["steps"][0]["reasons"]]
    assert "env-changed" in codes
    assert project.run("resume", "--revalidate", "-q").returncode == 0
    assert project.executions == ["1", "2"]


def test_a_touched_script_is_the_same_script(project: Project) -> None:
    """RELIABILITY 60."""
    stopped(project)
    (project.path / "steps/step_01_s1.sh").touch()
    (project.path / "steps/step_01_s1.sh").chmod(0o700)
    result = project.run("--resume", "--revalidate")
    assert "changed" not in result.stderr
    assert project.executions == ["03"]


def test_a_step_inserted_before_complete_ones_moves_them(project: Project) -> None:
    """RELIABILITY 48: 01 and 02 become 02 and 03; only the new one and the failed one run."""
    stopped(project)
    steps = project.path / "steps"
    for number in (3, 2, 1):
        (steps / f"step_{number:02d}_s{number}.sh").rename(steps / f"step_{number + 1:02d}_s{number}.sh")
    project.step(1, "echo inserted >>ran.txt", name="inserted")
    plan = document(project.run("plan", "--resume", "--json"))
    assert [step["choice"] for step in plan["steps"]] == ["bypass", "run", "bypass", "bypass", "run"]
    result = project.run("--resume")
    assert result.returncode == 0, result.stderr
    assert "renumbered" in result.stderr
    assert project.executions == ["inserted", "03"]
    assert project.markers == [0, 1, 2, 3, 4]
    for number, name in enumerate(["s0", "inserted", "s1", "s2", "s3"]):
        assert f"STEP_NAME={name}\n" in (project.newest_run / f"step_{number:02d}.complete").read_text()
        state = json.loads((project.newest_run / f"state/step_{number:02d}_state.json").read_text())
        assert (state["step"], state["name"]) == (number, name)


def test_a_step_renamed_and_renumbered_is_known_by_its_content(project: Project) -> None:
    """RELIABILITY 48."""
    stopped(project)
    steps = project.path / "steps"
    (steps / "step_01_s1.sh").rename(steps / "step_10_better.sh")
    assert project.run("--resume", "-q").returncode == 0
    assert project.executions == ["03"]


def test_another_step_under_an_old_number_is_not_complete(project: Project) -> None:
    """RELIABILITY 48: never by number alone."""
    stopped(project)
    (project.path / "steps/step_01_s1.sh").unlink()
    project.step(1, "echo other >>ran.txt", name="other")
    assert project.run("--resume", "-q").returncode == 0
    assert project.executions == ["other", "03"]


def test_two_steps_that_swap_numbers_swap_their_markers(project: Project) -> None:
    """RELIABILITY 48: also when a kill comes in between, as each name says who it is."""
    stopped(project)
    steps = project.path / "steps"
    (steps / "step_00_s0.sh").rename(steps / "x")
    (steps / "step_01_s1.sh").rename(steps / "step_00_s1.sh")
    (steps / "x").rename(steps / "step_01_s0.sh")
    assert project.run("--resume", "-q").returncode == 0
    assert project.executions == ["03"]
    assert project.markers == [0, 1, 2, 3]


def test_a_step_that_is_gone_from_the_definition_is_no_obstacle(project: Project) -> None:
    stopped(project)
    (project.path / "steps/step_02_s2.sh").unlink()
    assert project.run("--resume", "-q").returncode == 0
    assert project.executions == ["03"]
    assert document(project.run("status", "--json"))["status"] == "completed"


def test_a_step_appended_to_a_complete_run_makes_it_resumable(project: Project) -> None:
    project.steps(2)
    project.run("-q")
    project.step(2)
    assert project.run("resume", "-q").returncode == 0
    assert project.executions == ["00", "01", "02"]


def test_a_step_that_was_copied_under_new_names_has_never_run(project: Project) -> None:
    """RELIABILITY 48: one marker never stands for two steps."""
    project.step(0, 'echo "$WORKFLOW_STEP" >>ran.txt')
    project.step(1, "[ -e ok ]")
    project.run("-q")
    (project.path / "steps/step_00_s0.sh").unlink()
    for number, name in ((2, "eu"), (3, "us")):
        project.step(number, 'echo "$WORKFLOW_STEP" >>ran.txt', name=name)
    project.file("ok", "")
    assert project.run("--resume", "-q").returncode == 0
    assert project.executions == ["00", "02", "03"]

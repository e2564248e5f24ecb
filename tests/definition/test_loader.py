"""Which definition is taken, what a definition needs as a whole, and how it is written down and read back."""

from __future__ import annotations

import json
import os

import pytest

from workflow.definition.loader import load
from workflow.definition.options import duration_s
from workflow.definition.resolved import from_resolved, resolved
from workflow.errors import UsageError


def usage_error(project, source=None, **params):
    with pytest.raises(UsageError) as caught:
        project.load(source, **params)
    assert caught.value.exit_code == 2
    return caught.value


def test_workflow_yaml_comes_before_the_steps_directory(project):
    project.script("step_00_a.sh")
    assert project.load().source == f"{project.path}/steps"
    project.file("steps: [{run: x}]\n", "workflow.yml")
    assert project.load().source == f"{project.path}/workflow.yml"
    project.file("steps: [{run: x}]\n")
    assert project.load().source == f"{project.path}/workflow.yaml"


def test_nothing_to_run_says_how_to_make_a_first_step(project):
    error = usage_error(project)
    assert "steps/step_00_hello.sh" in error.help
    assert "init" not in error.help


def test_the_first_step_of_the_help_is_a_step(project):
    command = usage_error(project).help.split(": ", 1)[1].rpartition(" && ")[0]
    assert os.system(f"cd {project.path} && {command}") == 0
    assert project.load().steps[0].name == "hello"


def test_a_source_that_does_not_exist_names_the_nearest(project):
    project.script("step_00_a.sh")
    assert usage_error(project, "stpes").help == "did you mean `steps`?"
    assert "directory of numbered steps" in usage_error(project, "zzz").help
    assert usage_error(project, "a/b/c").message == "there is no a/b/c"


def test_a_dangling_workflow_yaml_is_not_passed_over(project):
    project.script("step_00_a.sh")
    (project.path / "workflow.yaml").symlink_to("gone")
    assert "symbolic link to gone" in usage_error(project).message


@pytest.mark.parametrize("source", ["pipe", "pipe.yaml"])
def test_a_named_pipe_is_no_source_and_nobody_waits_for_it(project, source):
    os.mkfifo(project.path / source)
    assert "a named pipe" in usage_error(project, source).message


def test_a_source_with_a_nul_or_too_long_is_an_error(project):
    assert usage_error(project, "a\0b").exit_code == 2
    assert usage_error(project, "a" * 5000).exit_code == 2


def test_the_project_may_be_given_relative(project, monkeypatch):
    project.script("step_00_a.sh")
    monkeypatch.chdir(project.path)
    assert load(".", None).project == str(project.path)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (90, 90.0), (1.5, 1.5), ("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("1h30m", 5400.0), ("2d", 172800.0),
        ("1.5h", 5400.0),         ("1d2h3m4s", 93784.0), ("1h 30m", 5400.0), (" 5m ", 300.0), ("0.5s", 0.5),
    ],
)  # fmt: skip
def test_durations_are_seconds_or_units(said, seconds):
    assert duration_s(said) == seconds


@pytest.mark.parametrize(
    "said",
    ["", " ", "s", "m5", "5x", "-5s", "0s", 0, -1, "30m1h", "1..5s", "3650d", 315360000, "9" * 400, "1e5", "٥s", "5 m"],
)
def test_what_is_no_duration_is_none(said):
    assert duration_s(said) is None


def test_params_replace_those_of_every_step_that_declares_them(project):
    project.file("steps:\n- {run: x, params: {A: 1, B: 2}}\n- {run: x, params: {A: 3}}\n- {run: x}\n")
    workflow = project.load(A="new")
    assert [step.params for step in workflow.steps] == [(("A", "new"), ("B", "2")), (("A", "new"),), ()]


def test_a_param_that_no_step_declares_names_the_nearest(project):
    project.file("steps:\n- {run: x, params: {TARGET: 1}}\n")
    assert usage_error(project, TARGTE="x").help == "did you mean `TARGET`?"
    assert usage_error(project, zzz="x").help == "there are TARGET"


def test_needs_may_be_names_numbers_or_either_as_text(project):
    project.file(
        "steps:\n- {name: a, run: x}\n- {name: b, run: x, needs: []}\n"
        "- {run: x, needs: [b, 0, '00', a]}\n- {run: x, needs: '02'}\n"
    )
    assert [step.needs for step in project.load().steps] == [None, (), (0, 1), (2,)]


@pytest.mark.parametrize(
    ("needs", "message", "advice"),
    [
        ("[biuld]", "there is no step `biuld`", "did you mean `build`?"),
        ("7", "there is no step `7`", "there are 00 build, 01 2 and 02 test"),
        ("[test]", "a step cannot need itself", "take it out of `needs`"),
        (
            "[2]",
            "`2` is the number of one step and the name of another",
            "rename the other one: a name should not be a number",
        ),
        (f"[{'9' * 18}]", "there is no step", "there are"),
    ],
)
def test_needs_that_make_no_sense_are_told(yaml_problem, needs, message, advice):
    own = "" if needs == "[2]" else f", needs: {needs}"
    last = f"- {{name: last, run: x, needs: {needs}}}\n" if needs == "[2]" else ""
    problem = yaml_problem(
        f"steps:\n- {{name: build, run: x}}\n- {{name: '2', run: x}}\n- {{name: test, run: x{own}}}\n{last}"
    )
    assert message in problem.message
    assert advice in problem.help


def test_a_cycle_is_one_problem_with_the_whole_way_round(yaml_problem):
    problem = yaml_problem(
        "steps:\n- {name: a, run: x, needs: c}\n- {name: b, run: x, needs: [a]}\n- {name: c, run: x, needs: [b]}\n"
    )
    assert problem.message == "these steps wait for each other: 00 a -> 02 c -> 01 b -> 00 a"
    assert problem.line == 2


def test_a_cycle_through_plain_order_says_that_plain_order_counts(yaml_problem):
    problem = yaml_problem("steps:\n- {name: a, run: x, needs: 2}\n- {name: b, run: x}\n- {name: c, run: x}\n")
    assert problem.message == "these steps wait for each other: 00 a -> 02 c -> 00 a"
    assert "without `needs`" in problem.help


def test_numbers_that_clash_name_both_lines(yaml_problem):
    problem = yaml_problem(
        "steps:\n- {name: a, run: x, number: 3}\n- {name: b, run: x}\n- {name: c, run: x, number: 4}\n"
    )
    assert problem.message == "two steps have the number 04: `b` (workflow.yaml:3) and `c` (workflow.yaml:4)"
    assert (problem.line, problem.column, problem.help) == (4, 29, "give it a number of its own, like `number: 5`")


def test_a_working_directory_may_be_absolute(project, tmp_path):
    (project.path / "sub").mkdir()
    project.file(
        f"steps:\n- {{run: x, working_directory: {tmp_path}}}\n- {{run: x, working_directory: {project.path}/sub}}\n"
    )
    assert [step.working_directory for step in project.load().steps] == [str(tmp_path), "sub"]


def test_a_missing_working_directory_names_the_nearest(project):
    (project.path / "source").mkdir()
    project.script("step_00_a.sh", "#| working_directory: sourec\n")
    assert project.problem().help == "did you mean `source`?"


def test_a_resolved_workflow_comes_back_exactly(project):
    (project.path / "sub").mkdir()
    project.script(
        b"step_04_caf\xe9\n.sh",
        "#!/bin/sh\n#| env: {A: '', B: 'é'}\n#| outputs: [a, b]\n#| timeout: 1.5\n#| needs: []\n",
    )
    project.file("""\
name: demo
limits: {time: 2d}
checkpoints: {private: true}
steps:
- {run: x, params: {P: 1}, working_directory: sub, on_interrupt: fail, interactive: true}
- {name: b, run: y, needs: [0], shell: bash}
- steps: steps
""")
    workflow = project.load(P="2")
    document = resolved(workflow)
    text = json.dumps(document)
    assert from_resolved(json.loads(text)) == workflow
    assert resolved(from_resolved(document)) == document


def test_a_resolved_plain_step_holds_no_defaults(project):
    project.script("step_00_a.sh")
    (entry,) = resolved(project.load())["steps"]
    assert sorted(entry) == ["content_digest", "interpreter", "name", "number", "script"]


@pytest.mark.parametrize(
    "document", [{}, {"name": "a", "project": "b", "source": "c", "steps": [{"number": 1}]}, {"steps": 3}]
)
def test_what_is_no_resolved_workflow_is_a_value_error(document):
    with pytest.raises(ValueError, match="no resolved workflow"):
        from_resolved(document)


@pytest.mark.parametrize(
    "unknown", [{"checkpoints": {"speed": 1}}, {"steps": [{"number": 0, "name": "a", "script": "a", "x": 1}]}]
)
def test_a_resolved_workflow_with_keys_of_another_version_is_a_value_error(unknown):
    with pytest.raises(ValueError, match="no resolved workflow"):
        from_resolved({"name": "a", "project": "b", "source": "c", "steps": [], **unknown})

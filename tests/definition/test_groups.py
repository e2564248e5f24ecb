"""Groups: lists below `parallel:`, the option of that name, and that a name means one group."""

from __future__ import annotations

import json
import time

import pytest


def groups_of(workflow):
    return [(step.number, step.name, step.group) for step in workflow.steps]


def test_a_list_of_steps_is_a_group_and_numbers_count_through_it(project):
    project.file("""\
steps:
- {name: a, run: x}
- name: checks
  parallel:
  - {name: b, run: x}
  - {name: c, run: x}
- parallel: [{name: d, run: x}, {name: e, run: x}]
- {name: f, run: x}
""")
    assert groups_of(project.load()) == [
        (0, "a", None), (1, "b", "checks"), (2, "c", "checks"), (3, "d", "group_03"), (4, "e", "group_03"),
        (5, "f", None),
    ]  # fmt: skip


def test_the_same_in_json(project):
    steps = [{"name": "g", "parallel": [{"run": "x"}, {"run": "y"}]}, {"run": "z", "parallel": "h"}]
    project.file(json.dumps({"steps": steps}), "flow.json")
    assert [step.group for step in project.load("flow.json").steps] == ["g", "g", "h"]


def test_the_option_names_the_group_in_scripts_cells_and_items(project):
    project.script("step_00_a.sh", "#| parallel: g\n")
    project.script("step_01_b.sh", "#!/bin/sh\n#| parallel: g\n")
    project.script("step_02_c.sh")
    assert [step.group for step in project.load("steps").steps] == ["g", "g", None]
    project.file("# %% a\n#| parallel: g\n# %% b\n#| parallel: g\n# %% c\n", "flow.sh")
    assert [step.group for step in project.load("flow.sh").steps] == ["g", "g", None]
    project.file("steps:\n- {run: x, parallel: g}\n- {run: x, parallel: g}\n- {run: x}\n")
    assert [step.group for step in project.load().steps] == ["g", "g", None]


def test_a_directory_may_be_taken_in_as_a_group(project):
    project.script("step_03_a.sh")
    project.script("step_04_b.sh", "#| timeout: 5m\n")
    project.file("steps:\n- run: x\n- {name: g, parallel: [{steps: steps}]}\n- run: y\n")
    assert groups_of(project.load()) == [
        (0, "step_00", None), (3, "a", "g"), (4, "b", "g"), (5, "step_05", None),
    ]  # fmt: skip


def test_a_script_without_options_in_a_group_is_still_looked_at(project):
    project.script("step_03_a.py", "print()\n")
    project.file("steps:\n- {name: g, parallel: [{steps: steps}]}\n")
    assert project.problem().message == "nothing says what runs this script"


def test_needs_may_name_a_group(project):
    project.file("""\
steps:
- {name: a, run: x}
- {name: g, parallel: [{name: b, run: x}, {name: c, run: x}]}
- {name: d, run: x, needs: g}
- {name: e, run: x, needs: [a, g, 3]}
""")
    assert [step.needs for step in project.load().steps] == [None, None, None, (1, 2), (0, 1, 2, 3)]


def test_a_group_of_the_name_of_its_only_step_means_that_step(project):
    project.file("steps:\n- {name: g, run: x, parallel: g}\n- {run: x, needs: g}\n")
    assert project.load().steps[1].needs == (0,)


@pytest.mark.parametrize(
    ("steps", "message", "place", "advice"),
    [
        ("- parallel: []\n", "`parallel` wants a list of steps, not an empty list", (2, 13), ""),
        ("- parallel:\n", "`parallel` wants a list of steps, not nothing", (2, 3), ""),
        ("- {parallel: {a: 1}}\n", "`parallel` wants a list of steps, not a mapping", (2, 14), ""),
        ("- {parallel: g}\n", "this step has no `run`", (2, 4), "say what it does, like `run: make`"),
        (
            "- {parallel: [{run: x}], needs: 1}\n",
            "`needs` is no option beside a list of steps",
            (2, 26),
            "`needs` is an option of a step: put it into each step of the list",
        ),
        ("- {parallel: [{run: x}], nmae: g}\n", "`nmae` is no option", (2, 26), "did you mean `name`?"),
        ("- {parallel: [{run: x}], name: 3}\n", "`name` wants a text, not the number 3", (2, 32), "put it in quotes"),
        ("- parallel: [make]\n", "a step wants a mapping", (2, 14), "write `- run: make`"),
        (
            "- parallel: [{run: x}, {parallel: [{run: y}]}]\n",
            "this is a group inside a group",
            (2, 25),
            "take one of them out: steps of one group run side by side already",
        ),
        ("- parallel: [{run: x, parallel: g}]\n", "this is a group inside a group", (2, 23), "take one of them out"),
        ("- parallel: [{steps: nope}]\n", "there is no directory nope", (2, 22), ""),
        ("- {run: x, parallel: 3}\n", "`parallel` wants the name of a group, not the number 3", (2, 22), "put it in"),
        (
            "- {run: x, parallel: g, interactive: true}\n",
            "an interactive step cannot be in a parallel group: it needs the terminal to itself",
            (2, 25),
            "take `interactive` or `parallel` out",
        ),
        (
            "- parallel: [{run: x, interactive: true}]\n",
            "an interactive step cannot be in a parallel group: it needs the terminal to itself",
            (2, 23),
            "move the step out of the list, or take `interactive` out",
        ),
    ],
)
def test_what_is_wrong_with_a_group_is_told_with_its_place(yaml_problem, steps, message, place, advice):
    problem = yaml_problem("steps:\n" + steps)
    assert message in problem.message
    assert (problem.line, problem.column) == place
    assert problem.help.startswith(advice)
    assert bool(problem.help) == bool(advice)


def test_a_list_in_a_script_says_where_lists_stand(project):
    project.script("step_00_a.sh", "#| parallel: [a]\n")
    problem = project.problem()
    assert problem.message == "`parallel` wants the name of a group, not a list"
    assert "`- parallel: [...]`" in problem.help


def test_a_group_in_two_pieces_names_both_places(yaml_problem):
    problem = yaml_problem(
        "steps:\n- {run: x, parallel: g}\n- {run: x, parallel: g}\n- {run: x}\n- {run: x, parallel: g}\n"
        "- {run: x}\n- {run: x, parallel: g}\n"
    )
    assert problem.message == "the group `g` is in two pieces: workflow.yaml:2 and workflow.yaml:5"
    assert (problem.line, problem.column) == (5, 22)
    assert "another name" in problem.help


def test_numbers_and_not_lines_make_neighbours(project, yaml_problem):
    project.file("steps:\n- {run: x, parallel: g}\n- {run: x, number: 9}\n- {run: x, parallel: g, number: 1}\n")
    assert [step.group for step in project.load().steps] == ["g", "g", None]
    problem = yaml_problem(
        "steps:\n- {run: x, parallel: g}\n- {run: x, parallel: g, number: 9}\n- {run: x, number: 5}\n"
    )
    assert "in two pieces" in problem.message


@pytest.mark.parametrize(
    "second", ["- {name: g, parallel: [{run: y}]}", "- {run: y, parallel: g}", "- {name: g, run: y, matrix: {A: [1]}}"]
)
def test_two_groups_of_one_name_are_an_error_even_as_neighbours(yaml_problem, second):
    problem = yaml_problem(f"steps:\n- {{name: g, parallel: [{{run: x}}]}}\n{second}\n")
    assert problem.message == "two groups have the name `g`: workflow.yaml:2 and workflow.yaml:3"
    assert problem.help == "rename one of them: a name means one group"


def test_a_name_that_is_one_of_a_step_and_of_a_group_is_told_where_it_is_used(project, yaml_problem):
    text = "steps:\n- {name: g, run: x}\n- {name: g, parallel: [{name: a, run: x}, {name: b, run: x}]}\n"
    project.file(text)
    assert len(project.load().steps) == 3
    problem = yaml_problem(text + "- {name: c, run: x, needs: [a, g]}\n")
    assert problem.message == "`g` is the name of step 00 and the name of the group of 01 and 02"
    assert (problem.line, problem.column) == (4, 32)
    assert problem.help == "rename one of them, or say which by the numbers"


def test_a_number_may_be_the_name_of_a_group_as_long_as_nobody_needs_it(yaml_problem):
    problem = yaml_problem("steps:\n- {run: x}\n- {run: x, parallel: '0'}\n- {run: x, needs: 0}\n")
    assert problem.message == "`0` is the number of step 00 and the name of the group of 01"


@pytest.mark.parametrize(
    ("needs", "message", "advice"),
    [
        ("checsk", "there is no step or group `checsk`", "did you mean `checks`?"),
        ("zzzzz", "there is no step or group `zzzzz`", "there are 00 a, 01 b and 02 c; groups: checks"),
        ("checks", "a step cannot need itself, and it is one of the group `checks`", "take it out of `needs`"),
    ],
)
def test_needs_of_groups_that_make_no_sense(yaml_problem, needs, message, advice):
    problem = yaml_problem(
        "steps:\n- {name: a, run: x}\n- name: checks\n  parallel:\n  - {name: b, run: x}\n"
        f"  - {{name: c, run: x, needs: [{needs}]}}\n"
    )
    assert (problem.message, problem.help, problem.line) == (message, advice, 6)


def test_a_cycle_through_a_group_says_that_it_counts(yaml_problem):
    problem = yaml_problem(
        "steps:\n- {name: g, parallel: [{name: a, run: x}, {name: b, run: x, needs: c}]}\n- {name: c, run: x}\n"
    )
    assert problem.message == "these steps wait for each other: 01 b -> 02 c -> 01 b"
    assert "before its group" in problem.help
    assert (problem.line, problem.column) == (2, 68)


def test_a_broken_item_of_a_group_makes_no_second_problem(yaml_problem):
    problem = yaml_problem("steps:\n- {name: g, parallel: [make, {name: b, run: x}]}\n- {run: x, needs: [make]}\n")
    assert problem.line == 2
    problem = yaml_problem("steps:\n- {name: 3, parallel: [{name: b, run: x}]}\n- {run: x, needs: [g]}\n")
    assert problem.line == 2


def test_needs_that_come_to_millions_are_refused(project):
    lines = [f"- {{run: x, parallel: g{number // 2500}, needs: [g]}}" for number in range(2500)]
    first = "".join(f"  - {{name: a{number}, run: x}}\n" for number in range(2500))
    project.file("steps:\n- name: g\n  parallel:\n" + first + "\n".join(lines) + "\n")
    problem = project.problem()
    assert "the needs of all steps come to more than 5,000,000" in problem.message
    assert "put a step between" in problem.help


def test_a_thousand_groups_load_in_no_time(project):
    project.file("steps:\n" + "".join(f"- {{run: x, parallel: g{n // 10}, needs: []}}\n" for n in range(5000)))
    started = time.process_time()
    assert len({step.group for step in project.load().steps}) == 500
    assert time.process_time() - started < 10

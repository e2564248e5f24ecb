"""A matrix becomes one step for each combination, in a group, with numbers and names of their own."""

from __future__ import annotations

import json

import pytest

from workflow.definition.matrix import MOST_COMBINATIONS
from workflow.model import NO_RULES

TEST = "{name: test, run: x, matrix: {OS: [linux, mac], PY: [3.10, 3.11]}}"


def shape(workflow):
    return [(step.number, step.name, step.group, step.rules.matrix) for step in workflow.steps]


def test_the_first_key_varies_slowest_and_values_stay_as_they_are_written(project):
    project.file(f"steps:\n- {{run: x}}\n- {TEST}\n- {{run: y}}\n")
    workflow = project.load()
    assert shape(workflow)[1:5] == [
        (1, "test-linux-3.10", "test", (("OS", "linux"), ("PY", "3.10"))),
        (2, "test-linux-3.11", "test", (("OS", "linux"), ("PY", "3.11"))),
        (3, "test-mac-3.10", "test", (("OS", "mac"), ("PY", "3.10"))),
        (4, "test-mac-3.11", "test", (("OS", "mac"), ("PY", "3.11"))),
    ]
    assert {step.rules.matrix_of for step in workflow.steps[1:5]} == {"test"}
    assert (workflow.steps[5].number, workflow.steps[5].rules) == (5, NO_RULES)
    assert all(step.env == () for step in workflow.steps)


@pytest.mark.parametrize("value", ["1.10", "010", "0x1F", "no", "true", "1_000", "1:30", "9" * 30, "'null'", '""'])
def test_a_value_is_text_number_or_truth_as_written(project, value):
    project.file(f"steps:\n- {{name: a, run: x, matrix: {{V: [{value}]}}}}\n")
    (step,) = project.load().steps
    assert step.rules.matrix == (("V", value.strip("'\"")),)


def test_the_same_in_json_scripts_and_cells(project):
    project.file(json.dumps({"steps": [{"name": "a", "run": "x", "matrix": {"V": [1, "b", True]}}]}), "flow.json")
    project.file("# %% a\n#| matrix: {V: [1, b, true]}\necho\n# %% last\n", "flow.sh")
    project.script("step_00_a.sh", "#| matrix: {V: [1, b, true]}\n")
    project.script("step_03_last.sh")
    expected = [(0, "a-1", "a"), (1, "a-b", "a"), (2, "a-true", "a")]
    for source in ("flow.json", "flow.sh", "steps"):
        found = [step[:3] for step in shape(project.load(source))]
        assert found[:3] == expected
        assert found[3:] == ([] if source == "flow.json" else [(3, "last", None)])


def test_numbers_of_json_keep_their_zeros(project):
    project.file('{"steps": [{"name": "a", "run": "x", "matrix": {"V": [3.10]}}]}', "flow.json")
    assert project.load("flow.json").steps[0].rules.matrix == (("V", "3.10"),)


def test_a_matrix_in_a_group_is_of_that_group(project):
    project.file(f"steps:\n- {{name: g, parallel: [{TEST}, {{name: b, run: y}}]}}\n- {{run: x, needs: [test]}}\n")
    workflow = project.load()
    assert {step.group for step in workflow.steps[:5]} == {"g"}
    assert workflow.steps[5].needs == (0, 1, 2, 3)
    project.file("steps:\n- {name: a, run: x, parallel: g, matrix: {A: [1, 2]}}\n- {run: x, parallel: g}\n")
    assert [step.group for step in project.load().steps] == ["g", "g", "g"]


def test_needs_may_name_all_or_one(project):
    project.file(f"steps:\n- {TEST}\n- {{run: x, needs: test}}\n- {{run: x, needs: [test-mac-3.10, 1]}}\n")
    assert [step.needs for step in project.load().steps[4:]] == [(0, 1, 2, 3), (1, 2)]


def test_all_other_options_are_shared(project):
    project.file(
        "steps:\n- {run: z}\n- {name: a, run: x, needs: [], timeout: 5, env: {E: 1}, matrix: {A: [1, 2]}, retries: 2,"
        " approval: ok?}\n"
    )
    first, second = project.load().steps[1:]
    assert first.needs == second.needs == ()
    assert first.env == second.env == (("E", "1"),)
    assert first.rules.retries.limit == second.rules.retries.limit == 2
    assert (first.rules.approval, second.timeout_s, first.text) == ("ok?", 5.0, "x")


def test_names_have_no_blanks_slashes_or_control_characters_and_never_collide(project):
    values = '["a b", a/b, "a\\tb", a_b_2, "x\\u202ey", "", "' + "long" * 50 + '1", "' + "long" * 50 + '2"]'
    project.file(f"steps:\n- {{name: n, run: x, matrix: {{V: {values}}}}}\n")
    names = [step.name for step in project.load().steps]
    assert names == ["n-a_b", "n-a_b_2", "n-a_b_3", "n-a_b_2_2", "n-x_y", "n-_", "n-" + "long" * 15,
                     "n-" + "long" * 15 + "_2"]  # fmt: skip


def test_a_script_needs_its_numbers_free_and_is_told_how_to_make_room(project):
    project.script("step_03_test.sh", "#| matrix: {A: [1, 2, 3]}\n")
    for name in ("step_04_b.sh", "step_05_c.sh", "step_06_d.sh", "step_20_e.sh"):
        project.script(name)
    problem = project.problem()
    assert problem.message == (
        "the matrix of `test` takes the numbers 03 to 05, but 04 is that of steps/step_04_b.sh (1 more in the way)"
    )
    assert (problem.path, problem.line, problem.column) == ("steps/step_03_test.sh", 1, 12)
    # They keep their order, and no name is taken when its command runs.
    assert problem.help == (
        "mv steps/step_06_d.sh steps/step_08_d.sh && mv steps/step_05_c.sh steps/step_07_c.sh"
        " && mv steps/step_04_b.sh steps/step_06_b.sh"
    )


def test_the_commands_of_the_help_make_room(project):
    import subprocess

    project.script("step_03_test.sh", "#| matrix: {A: [1, 2, 3]}\n")
    project.script("step_04_b.sh")
    project.script("step_06_c.sh", "#| matrix: {A: [1, 2]}\n")
    advice = project.problem().help
    subprocess.run(["sh", "-ec", advice], cwd=project.path, check=True)
    assert [step.number for step in project.load().steps] == [3, 4, 5, 6, 7, 8]


def test_many_in_the_way_are_one_problem_with_the_first_command(project):
    project.script("step_03_test.sh", f"#| matrix: {{A: {list(range(20))}}}\n")
    for number in range(4, 16):
        project.script(f"step_{number:02d}_s{number}.sh")
    problem = project.problem()
    assert "(11 more in the way)" in problem.message
    assert problem.help.startswith("mv steps/step_15_s15.sh steps/step_34_s15.sh and so on: 12 scripts")


def test_an_item_in_the_way_gets_a_number_of_its_own(yaml_problem):
    problem = yaml_problem(
        "steps:\n- {name: b, run: x, number: 2}\n- {name: a, run: x, number: 1, matrix: {A: [1, 2, 3]}}\n"
    )
    assert "takes the numbers 01 to 03, but 02 is that of `b` (workflow.yaml:2)" in problem.message
    assert (problem.line, problem.help) == (3, "give that one a number of its own, like `number: 4`")


def test_a_matrix_on_the_number_of_another_step_is_the_usual_clash(project):
    project.script("step_03_a.sh")
    project.script("step_03_b.sh", "#| matrix: {A: [1, 2]}\n")
    problem = project.problem()
    assert problem.message == "two steps have the number 03: steps/step_03_a.sh and steps/step_03_b.sh"
    assert problem.help == "mv steps/step_03_b.sh steps/step_05_b.sh"


@pytest.mark.parametrize(
    ("options", "message", "column"),
    [
        ("matrix: {}", "`matrix` wants a mapping of names to lists of values, like", 20),
        ("matrix: 3", "not the number 3", 20),
        ("matrix: {A: []}", "`A` wants a list of values, like `[linux, mac]`, not an empty list", 24),
        ("matrix: {A: x}", "`A` wants a list of values, like `[linux, mac]`, not the text `x`", 24),
        ("matrix: {A: [[1]]}", "an entry of `A` wants a text, a number, true or false, not a list", 25),
        ("matrix: {A: [null]}", "an entry of `A` wants a text, a number, true or false, not nothing", 25),
        ("matrix: {1A: [1]}", "`1A` cannot be the name of a variable", 21),
        ("matrix: {WORKFLOW_A: [1]}", "`WORKFLOW_A` is kept for workflow itself", 21),
        ("matrix: {A: [1, b, 1]}", "the value `1` of `A` stands here twice", 31),
        ("matrix: {A: [1]}, env: {A: 1}", "`A` is a key of `matrix` and a variable in `env`", 21),
        ("matrix: {A: [1]}, params: {A: 1}", "`A` is a key of `matrix` and a variable in `params`", 21),
        ("matrix: {A: [1]}, interactive: true", "an interactive step cannot have a matrix", 30),
        ("matrix: {A: [1, 2]}, number: 999999", "the numbers of this matrix go up to 1,000,000", 20),
        ("matrix: {A: [1]}, needs: step_00", "a step cannot need itself, and it is one of the matrix", 37),
        ("matrix: {A: [1, 2]}, needs: step_00-2", "a step cannot need itself", 40),
    ],
)
def test_what_is_wrong_with_a_matrix_is_told_with_its_place(yaml_problem, options, message, column):
    problem = yaml_problem(f"steps:\n- {{run: x, {options}}}\n")
    assert message in problem.message
    assert (problem.line, problem.column) == (2, column)


def test_a_wrong_matrix_makes_no_second_problem(yaml_problem):
    text = (
        "steps:\n- {name: a, run: x, matrix: {A: []}}\n- {run: x, number: 1}\n- {run: x}\n- {run: x, needs: [9, a-1]}\n"
    )
    assert yaml_problem(text).line == 2


def test_too_many_combinations_are_counted_before_they_are_made(yaml_problem, project):
    values = str(list(range(1000)))
    problem = yaml_problem(f"steps:\n- run: x\n  matrix: {{A: {values}, B: {values}, C: {values}, D: {values}}}\n")
    assert f"makes 1,000,000,000,000 steps; a workflow may have {MOST_COMBINATIONS:,} of them" in problem.message
    keys = ", ".join(f"K{number}: [1, 2]" for number in range(20_000))
    problem = yaml_problem(f"steps: [{{run: x, matrix: {{{keys}}}}}]")
    assert problem.message == "this matrix has 20,000 keys; 32 is the most"
    keys = ", ".join(f"K{number}: {list(range(100))}" for number in range(32))
    problem = yaml_problem(f"steps: [{{run: x, matrix: {{{keys}}}}}]")
    assert "makes more than 1,000,000,000,000,000 steps" in problem.message
    hundred = str(list(range(100)))
    project.file(f"steps:\n- {{name: a, run: x, matrix: {{A: {hundred}, B: {hundred}}}}}\n")
    assert len(project.load().steps) == MOST_COMBINATIONS
    project.file(
        f"steps:\n- {{name: a, run: x, matrix: {{A: {hundred}, B: {hundred}}}}}\n- {{run: x, matrix: {{A: [1]}}}}\n"
    )
    assert "with those before it" in project.problem().message


def test_two_matrices_of_one_name_are_one_problem(project):
    project.script("step_03_test.sh", "#| matrix: {A: [1, 2]}\n")
    project.script("step_05_b.sh", "#| needs: test\n")
    project.script("step_07_test.sh", "#| matrix: {A: [3, 4]}\n")
    message = "two steps have the name `test`: steps/step_03_test.sh and steps/step_07_test.sh"
    assert project.problem().message == message


def test_a_name_made_of_values_may_be_taken(yaml_problem):
    problem = yaml_problem("steps:\n- {name: a, run: x, matrix: {A: [1, 2]}}\n- {name: a-2, run: x}\n")
    assert problem.message == "two steps have the name `a-2`: workflow.yaml:2 and workflow.yaml:3"


def test_a_matrix_and_a_group_of_one_name_are_ambiguous(yaml_problem):
    problem = yaml_problem(
        "steps:\n- {name: g, parallel: [{name: m, run: x, matrix: {A: [1, 2]}}]}\n"
        "- {name: b, run: x, parallel: m}\n- {run: x, needs: m}\n"
    )
    assert problem.message == "`m` is the name of the matrix of 00 and 01 and the name of the group of 02"


def test_a_cycle_through_a_matrix_points_at_its_needs(yaml_problem):
    problem = yaml_problem("steps:\n- {name: a, run: x, needs: b, matrix: {A: [1, 2]}}\n- {name: b, run: x}\n")
    assert problem.message == "these steps wait for each other: 00 a-1 -> 02 b -> 00 a-1"
    assert (problem.line, problem.column) == (2, 28)


def test_params_are_those_of_every_step_of_the_matrix(project):
    project.file("steps:\n- {name: a, run: x, params: {P: 1}, matrix: {A: [1, 2]}}\n")
    assert [step.params for step in project.load(P="9").steps] == [(("P", "9"),)] * 2

"""workflow.yaml becomes a workflow, or says all that is wrong with it, each at its place."""

from __future__ import annotations

import pytest
from blake3 import blake3

from workflow.definition.nodes import DEEPEST_NESTING
from workflow.model import CheckpointSettings, Source


def test_a_workflow_with_every_word_that_works(project):
    (project.path / "sub").mkdir()
    project.file("""\
name: demo
jobs: 1
limits: {time: 1h30m}
checkpoints:
  directory: state
  durability: process
  private: true
steps:
  - name: build
    run: make
    env: {MODE: fast, N: 1.10, B: no, E: ""}
    params:
      TARGET: all
    timeout: 90s
    outputs: [out/a, /abs/b]
    working_directory: sub
  - name: test
    number: 10
    run: |
      make test
    shell: bash -eu -o pipefail
    needs: build
    interactive: true
    on_interrupt: ask
    executor: local
  - run: "#!/usr/bin/env python3 -u\\nprint(1)\\n"
""")
    workflow = project.load()
    assert workflow.name == "demo"
    assert workflow.time_limit_s == 5400.0
    assert workflow.checkpoints == CheckpointSettings("state", "process", True)
    build, test, last = workflow.steps
    assert build.env == (("MODE", "fast"), ("N", "1.10"), ("B", "no"), ("E", ""))
    assert build.params == (("TARGET", "all"),)
    assert (build.number, build.timeout_s, build.working_directory) == (0, 90.0, "sub")
    assert build.outputs == ("out/a", "/abs/b")
    assert build.interpreter == ("sh", "-e")
    assert build.source == Source("workflow.yaml", 9)
    assert (test.number, test.needs, test.interactive, test.on_interrupt) == (10, (0,), True, "ask")
    assert test.interpreter == ("bash", "-eu", "-o", "pipefail")
    assert test.text == "make test\n"
    assert test.content_digest == "blake3:" + blake3(b"make test\n").hexdigest()
    assert (last.number, last.name) == (11, "step_11")
    assert last.interpreter == ("/usr/bin/env", "python3 -u")


def test_the_name_of_the_project_is_the_standard_name(project):
    project.file("steps: [{run: x}]\n")
    assert project.load().name == "project"


@pytest.mark.parametrize(
    "text", ["no", "yes", "on", "1.10", "0x1F", "010", "null_", "1:30", "2026-01-01", ".nan", "1_000", "9" * 1000]
)
def test_values_of_variables_stay_as_they_are_written(project, text):
    project.file(f"steps:\n- run: x\n  env:\n    A: {text}\n  params: {{P: {text}}}\n")
    (step,) = project.load().steps
    assert step.env == (("A", text),)
    assert step.params == (("P", text),)


def test_names_of_variables_that_look_like_truth_stay_names(project):
    project.file("steps:\n- run: x\n  env: {no: 1, on: 2, y: 3}\n")
    assert project.load().steps[0].env == (("no", "1"), ("on", "2"), ("y", "3"))


def test_numbers_with_leading_zeros_are_decimal(project):
    project.file("steps:\n- {run: x, number: 08}\n- {run: x, number: 010, needs: [08]}\n")
    assert [(step.number, step.needs) for step in project.load().steps] == [(8, None), (10, (8,))]


def test_a_directory_is_taken_in_whole(project):
    project.script("step_03_a.sh")
    project.file("steps: steps\n")
    assert [step.number for step in project.load().steps] == [3]


def test_a_directory_is_taken_in_at_its_place_and_items_count_on(project):
    project.script("step_03_a.sh")
    project.script("step_07_b.sh")
    project.file("steps:\n- run: first\n- steps: steps\n- run: last\n")
    workflow = project.load()
    assert [step.number for step in workflow.steps] == [0, 3, 7, 8]
    assert workflow.steps[1].script == "steps/step_03_a.sh"


def test_a_clash_with_a_directory_names_both(project):
    project.script("step_00_a.sh")
    project.file("steps:\n- run: first\n- steps: steps\n")
    problem = project.problem()
    assert "two steps have the number 00" in problem.message
    assert "workflow.yaml:2" in problem.message
    assert problem.help == "mv steps/step_00_a.sh steps/step_01_a.sh"


def test_anchors_aliases_and_merge_keys_work(project):
    project.file("""\
steps:
- &base
  name: a
  run: x
  env: &env {A: 1}
- <<: *base
  name: b
  env: {<<: [*env], B: 2}
""")
    first, second = project.load().steps
    assert (second.text, second.env) == ("x", (("B", "2"), ("A", "1")))
    assert first.name == "a"


def test_a_byte_order_mark_is_no_part_of_the_text(project):
    project.file(b"\xef\xbb\xbfsteps: [{run: x}]\r\n")
    assert project.load().steps[0].text == "x"


def test_text_may_be_larger_than_a_command_line_holds(project):
    project.file("steps:\n- run: |\n" + "    echo 0123456789\n" * 20_000)
    assert len(project.load().steps[0].text) > 128 * 1024


def test_a_thousand_steps_load(project):
    project.file("steps:\n" + "".join(f"- {{name: s{n}, run: x, timeout: 5m}}\n" for n in range(1000)))
    assert len(project.load().steps) == 1000


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("", "this file is empty", 0, 0),
        ("# nothing\n", "this file is empty", 0, 0),
        ("name: x\n", "the workflow has no `steps`", 0, 0),
        ("- a\n", "a workflow is a mapping", 1, 1),
        ("steps:\n", "`steps` wants a list of steps", 1, 1),
        ("steps: []\n", "the list of steps is empty", 1, 8),
        ("steps: nowhere\n", "there is no directory nowhere", 1, 8),
        ("steps: [echo]\n", "a step wants a mapping", 1, 9),
        ("steps: [{name: a}]\n", "this step has no `run`", 1, 10),
        ("steps:\n\t- run: x\n", "a tab cannot indent", 2, 1),
        ("steps: [1,", "the text ends in the middle of something", 1, 11),
        ("steps: a: b\n", "a `:` cannot stand here", 1, 9),
        ("name: 'abc\n", "a quote that opens here is never closed", 1, 7),
        ("name: @x\n", "a value cannot begin with `@`", 1, 7),
        ("name: *x\n", "no `&` anchor of this name", 1, 7),
        ("name: &x [*x]\n", "stands inside what it stands for", 1, 11),
        ("name: !!python/object/apply:os.system [x]\nsteps: [{run: x}]", "means nothing here", 1, 7),
        ("name: a\n--- \nb", "a second document", 2, 1),
        ('name: "\\q"\n', "escape", 1, 8),
        ("steps: [{run: x}]\nsteps: []\n", "the key `steps` stands here twice; it was first in line 1", 2, 1),
        ("steps: [{run: x}]\n? [a]\n: b\n", "a key must be a plain word", 2, 3),
        ("steps: [{run: x}]\n<<: 3\n", "`<<:` takes in mappings only", 2, 5),
        ('steps: [{run: "a\\0b"}]\n', "a NUL character", 1, 15),
        ("name: a\x00b\n", "a NUL byte", 1, 8),
        ("name: a\x07b\n", "the character U+0007 cannot stand in YAML", 1, 8),
        (
            "steps: [{run: x}]\njobs: 513\n",
            "`jobs` wants a whole number from 1 to 512, not the number 513",
            2,
            7,
        ),
        ("steps: [{run: x}]\nlimits: {time: 0}\n", "`time` wants a duration", 2, 16),
        ("steps: [{run: x}]\nlimits: {time: 1x}\n", "`time` wants a duration", 2, 16),
        ("steps: [{run: x}]\nlimits: [1]\n", "`limits` wants a mapping of words like `time:`, not a list", 2, 9),
        ("steps: [{run: x}]\ncheckpoints: {durability: ful}\n", "`durability` wants full or process", 2, 27),
        ("steps: [{run: x}]\nname: 5\n", "`name` wants a text, not the number 5", 2, 7),
        ("steps: [{run: x, timeout: [1]}]\n", "`timeout` wants a duration like 90s, 5m, 1h30m or 2d", 1, 27),
        ("steps: [{run: x, timeout: .nan}]\n", "`timeout` wants a duration", 1, 27),
        ("steps: [{run: x, timeout: -.inf}]\n", "`timeout` wants a duration", 1, 27),
        ("steps: [{run: x, interactive: yes}]\n", "`interactive` wants true or false, not the text `yes`", 1, 31),
        ("steps: [{run: x, number: -1}]\n", "`number` wants a whole number from 0 to 999999", 1, 26),
        ("steps: [{run: x, number: 1000000}]\n", "`number` wants a whole number from 0 to 999999", 1, 26),
        ("steps: [{run: x, number: 1.5}]\n", "`number` wants a whole number", 1, 26),
        (
            "steps: [{run: x, needs: [[1]]}]\n",
            "an entry of `needs` wants the number or the name of a step, not a list",
            1,
            26,
        ),
        ("steps: [{run: x, outputs: ['*.o']}]\n", "patterns (`*`, `?`, `[`) are not available", 1, 28),
        ("steps: [{run: x, outputs: ['']}]\n", "an entry of `outputs` wants a path, not an empty text", 1, 28),
        ("steps: [{run: x, env: [A]}]\n", "`env` wants a mapping", 1, 23),
        ("steps: [{run: x, env: {1A: b}}]\n", "`1A` cannot be the name of a variable", 1, 24),
        ('steps: [{run: x, env: {"A\\n": b}}]\n', "cannot be the name of a variable", 1, 24),
        ("steps: [{run: x, params: {WORKFLOW_X: b}}]\n", "`WORKFLOW_X` is kept for workflow itself", 1, 27),
        ("steps: [{run: x, env: {A: }}]\n", "`A` wants a text, a number, true or false, not nothing", 1, 24),
        ('steps: [{run: x, shell: "\'"}]\n', "a quote in `shell` is not closed", 1, 25),
        ("steps: [{run: x, shell: \"''\"}]\n", "`shell` names no program", 1, 25),
        ("steps: [{run: x, working_directory: nope}]\n", "there is no directory nope", 1, 37),
        ("steps: [{run: x, working_directory: workflow.yaml}]\n", "workflow.yaml is not a directory", 1, 37),
        ("steps: [{run: x, executor: slurm}]\n", "`executor` wants local", 1, 28),
        ("steps: [{run: ''}]\n", "`run` wants the text of a shell script, not an empty text", 1, 15),
        ("steps:\n- run: '#!\n'\n", "the `#!` line names no program", 2, 8),
        ("steps:\n- {steps: a, run: b}\n", "`run` cannot stand beside `steps`", 2, 14),
        ("script: x\nsteps: [{run: x}]\n", "`script` is no option at the top", 1, 1),
        ("steps: [{run: x, script: y}]\n", "`script` is no option for a step", 1, 18),
    ],
)
def test_what_is_wrong_is_told_with_its_place(yaml_problems, text, message, line, column):
    problem = next(problem for problem in yaml_problems(text) if message in problem.message)
    assert (problem.path, problem.line, problem.column) == ("workflow.yaml", line, column)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("stpes: []\nsteps: [{run: x}]\n", "did you mean `steps`?"),
        ("steps: [{run: x, tiemout: 5}]\n", "did you mean `timeout`?"),
        ("steps: [{run: x, on_interrupt: rerum}]\n", "did you mean `rerun`?"),
        ("steps: [{run: x}]\nenv: {A: b}\n", "`env` is an option of a step: put it there"),
        ("steps: [{run: x}]\ncheckpoints: {directry: x}\n", "did you mean `directory`?"),
        ("steps: [{run: x, interactive: on}]\n", "write true"),
        ("steps: [{run: x, env: {A: }}]\n", 'write `A: ""` for an empty text'),
        ("steps: [{run: x, name: 5}]\n", "put it in quotes if it is meant as text"),
        ("steps: [echo hi]\n", "write `- run: echo hi`"),
    ],
)
def test_the_help_is_the_next_thing_to_write(yaml_problem, text, advice):
    assert yaml_problem(text).help == advice


def test_all_problems_are_told_at_once_sorted_by_line(yaml_problems):
    problems = yaml_problems(
        "jbos: 3\nsteps:\n- {run: x, tiemout: 1, interactive: 7}\n- {run: x, needs: [nobody], secrets: 3}\n"
    )
    assert [problem.line for problem in problems] == [1, 3, 3, 4, 4]


def test_a_wrong_number_makes_no_second_problem_of_the_steps_after_it(yaml_problem):
    problem = yaml_problem(
        "steps:\n- {run: x, number: -5}\n- {run: x}\n- {run: x, number: 1}\n- {run: x, needs: [5, 7]}\n"
    )
    assert problem.line == 2


def test_the_caret_is_under_the_value(yaml_problem):
    problem = yaml_problem("steps:\n- run: x\n  timeout: forever\n")
    assert problem.source_line[problem.column - 1 :][: problem.length] == "forever"


def test_deep_nesting_is_refused_without_recursion(yaml_problem):
    assert f"more than {DEEPEST_NESTING} deep" in yaml_problem("name: " + "[" * 200_000).message
    assert f"more than {DEEPEST_NESTING} deep" in yaml_problem("- " * 100_000).message


def test_aliases_that_grow_into_a_billion_values_are_refused(yaml_problem):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "more than 1,000,000 values" in yaml_problem("\n".join(lines)).message


def test_aliases_that_nest_without_end_are_refused(yaml_problem):
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200)]
    assert f"more than {DEEPEST_NESTING} deep" in yaml_problem("\n".join(lines)).message


def test_a_number_of_a_million_digits_is_refused_at_once_and_not_printed(yaml_problem):
    problem = yaml_problem(f"steps: [{{run: x, timeout: {'9' * 1_000_000}}}]\n")
    assert "1,000,000 digits" in problem.message
    assert len(problem.source_line) < 1000


def test_bytes_that_are_not_utf8_are_told_with_offset_and_line(project):
    project.file(b"name: x\nsteps: [{run: caf\xe9}]\n")
    problem = project.problem()
    assert problem.message == "byte 25 (0xe9) is not UTF-8"
    assert (problem.line, problem.column) == (2, 18)


def test_utf16_is_recognised(project):
    project.file("steps: [{run: x}]\n".encode("utf-16"))
    assert "UTF-16" in project.problem().help


def test_a_file_larger_than_64_mib_is_refused_unread(project):
    with project.file("").open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    assert project.problem().message == "this file is larger than 64 MiB"


def test_the_slow_reader_of_pyyaml_does_as_well(project, mocker):
    import yaml

    mocker.patch.object(yaml, "CSafeLoader", None)
    project.file("steps:\n- name: a\n  run: x\n  env: {N: 1.10}\n")
    assert project.load().steps[0].env == (("N", "1.10"),)
    for text in (
        "a: b: c",
        "steps: [",
        "a: 'x",
        "a: *x",
        "a: \x07",
        "\t- x",
        "a: @x",
        "a: x\n--- b",
        '"\\q"',
        "[" * 5000,
    ):
        project.file(text)
        assert project.problem().line == (2 if "---" in text else 1)

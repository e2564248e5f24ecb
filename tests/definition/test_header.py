"""`#|` lines at the head of a script are its options, and nothing else is."""

from __future__ import annotations

import pytest


def step(project, text, name="step_00_a.sh"):
    project.script(name, text)
    return project.load().steps[0]


def test_options_stand_after_the_hashbang(project):
    found = step(project, "#!/bin/sh\n#| timeout: 5m\n#| interactive: true\necho\n")
    assert (found.timeout_s, found.interactive) == (300.0, True)


def test_options_stand_among_comments_and_blank_lines(project):
    found = step(project, "#!/bin/sh\n# Copyright\n\n#| timeout: 5m\n  \n# more\n#| env:\n#|   A: b\n\necho\n")
    assert (found.timeout_s, found.env) == (300.0, (("A", "b"),))


def test_a_comment_between_two_lines_of_options_does_not_part_them(project):
    assert step(project, "#| env:\n# why\n#|   A: b\n").env == (("A", "b"),)


@pytest.mark.parametrize("text", ["#|timeout: 5m\n#|env:\n#|  A: b\n", "#| timeout: 5m\n#| env:\n#|   A: b\n#|\n"])
def test_the_space_after_the_sign_is_optional(project, text):
    found = step(project, text)
    assert (found.timeout_s, found.env) == (300.0, (("A", "b"),))


@pytest.mark.parametrize(
    "text",
    [
        "cat <<END\n#| timeout: 5m\nEND\n",
        "echo x\n#| timeout: 5m\n",
        "true  #| timeout: 5m\n",
        " #| timeout: 5m\n",
        "# | timeout: 5m\n",
        "## #| timeout: 5m\n",
        "printf '%s\\n' '\n#| timeout: 5m\n'\n",
        ": '#000' => x #| y\n",
    ],
)
def test_lines_further_down_are_never_options(project, text):
    assert step(project, text).timeout_s is None


def test_a_shell_function_before_ends_the_head(project):
    assert step(project, "#| timeout: 5m\nset -e\n#| timeout: [\n").timeout_s == 300.0


def test_any_language_with_that_comment_has_options(project):
    found = step(project, "#!/usr/bin/env python3\n#| params: {N: 3}\nprint('''\n#| no: [\n''')\n", "step_00_a.py")
    assert found.params == (("N", "3"),)


def test_carriage_returns_do_not_become_part_of_values(project):
    assert step(project, b"#| env: {A: b}\r\n#| timeout: 5m\r\necho\r\n").env == (("A", "b"),)


def test_a_block_of_text_keeps_its_lines(project):
    found = step(project, "#| env:\n#|   A: |\n#|     one\n#|     two\n")
    assert found.env == (("A", "one\ntwo\n"),)


def test_a_problem_stands_at_the_scripts_own_line_and_column(project):
    project.script("step_00_a.sh", "#!/bin/sh\n# comment\n#| timeout: 5m\n\n#|    \n#| interactive: perhaps\n")
    problem = project.problem()
    assert (problem.path, problem.line, problem.column) == ("steps/step_00_a.sh", 6, 17)
    assert problem.source_line == "#| interactive: perhaps"
    assert problem.source_line[problem.column - 1 :][: problem.length] == "perhaps"


def test_a_syntax_error_stands_at_the_scripts_own_line(project):
    project.script("step_00_a.sh", "#!/bin/sh\n# c\n#| env: {A: b\n#| timeout: 5m\necho\n")
    problem = project.problem()
    assert problem.line in (3, 4)
    assert problem.source_line.startswith("#| ")


def test_text_without_a_key_is_no_option(project):
    project.script("step_00_a.sh", "#| just words\n")
    problem = project.problem()
    assert problem.message == "options look like `#| key: value`"
    assert problem.line == 1


def test_empty_option_lines_are_nothing(project):
    assert step(project, "#|\n#| \n").env == ()


def test_option_lines_that_are_not_utf8_are_a_problem(project):
    project.script("step_00_a.sh", b"#!/bin/sh\n#| name: caf\xe9\n")
    problem = project.problem()
    assert "not UTF-8" in problem.message
    assert problem.line == 2


def test_the_rest_of_the_script_may_hold_any_bytes(project):
    assert step(project, b"#| timeout: 1m\nprintf '\xe9\xff\x01'\n").timeout_s == 60.0


@pytest.mark.parametrize(
    ("option", "words"), [("run: echo", "`run` is for workflow.yaml"), ("number: 3", "name of its file")]
)
def test_words_that_make_no_sense_in_a_script_say_so(project, option, words):
    project.script("step_00_a.sh", f"#| {option}\n")
    assert words in project.problem().message


def test_a_word_of_the_workflow_says_where_it_belongs(project):
    project.script("step_00_a.sh", "#| jobs: 4\n")
    assert "top of workflow.yaml" in project.problem().help


def test_a_twice_given_option_is_a_problem_at_the_second(project):
    project.script("step_00_a.sh", "#| timeout: 1m\n# x\n#| timeout: 2m\n")
    problem = project.problem()
    assert problem.line == 3
    assert "line 1" in problem.message

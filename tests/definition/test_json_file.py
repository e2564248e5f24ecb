"""A definition in JSON is read strictly, with places."""

from __future__ import annotations

import json
import os

import pytest

from workflow.definition import json_text
from workflow.definition.nodes import DEEPEST_NESTING, Page, plain


def read(text):
    problems = []
    node = json_text.read(Page("x.json", text), problems)
    return node, problems


def test_a_workflow_in_json_is_the_same_workflow(project):
    document = {
        "name": "demo",
        "steps": [{"name": "a", "run": "x", "env": {"A": "b\n\U0001f98a", "N": 1.5, "T": True}}],
    }
    project.file("\ufeff" + json.dumps(document, indent="\t"), "flow.json")
    workflow = project.load("flow.json")
    assert workflow.steps[0].env == (("A", "b\n\U0001f98a"), ("N", "1.5"), ("T", "true"))
    assert workflow.steps[0].source.line == 4


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        "x",
        'é"\\/\b\f\n\r\t',
        0,
        -1,
        1.5,
        1e10,
        True,
        False,
        None,
        [[], {}, [1, "a", None]],
        {"a": {"b": [{"c": 1}]}, "": 2},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_values_are_those_of_the_json_module(value, indent):
    node, problems = read(json.dumps([value], indent=indent))
    assert not problems
    assert plain(node) == [value]


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ('{"steps": [', "a value was expected here", 1, 12),
        ('{"steps": [1,]}', "cannot stand before `]`", 1, 14),
        ('{"a": 1,}', "cannot stand before `}`", 1, 9),
        ('{\n "a" 1}', "a `:` after this key", 2, 6),
        ("{a: 1}", "a key in double quotes", 1, 2),
        ('{"a": 1 "b": 2}', "a `,` or `}` was expected", 1, 9),
        ('{"a": NaN}', "`NaN` is no JSON", 1, 7),
        ('{"a": -Infinity}', "`-Infinity` is no JSON", 1, 7),
        ('{"a": 01}', "`01` is no JSON value", 1, 7),
        ('{"a": yes}', "`yes` is no JSON value", 1, 7),
        ('{"a": "x', "never closed", 1, 7),
        ('{"a": "x\ny"}', "cannot stand in a JSON string", 1, 9),
        ('{"a": "\\q"}', "cannot stand in a JSON string", 1, 8),
        ('{"a": "\\ud800"}', "lone surrogate", 1, 7),
        ('{"a": "\\u0000"}', "a NUL character", 1, 7),
        ('{"a": 1} x', "there is more after the end", 1, 10),
        ('{"a": {"b": 1},\n "a": 2}', "the key `a` stands here twice; it was first in line 1", 2, 2),
        ("[" * 100_000, f"more than {DEEPEST_NESTING} deep", 1, DEEPEST_NESTING + 1),
        ('{"a":' * 100_000, f"more than {DEEPEST_NESTING} deep", 1, None),
    ],
)
def test_what_is_no_json_is_told_with_its_place(text, message, line, column):
    _, (problem,) = read(text)
    assert message in problem.message
    assert problem.line == line
    assert column is None or problem.column == column


def test_a_number_of_a_million_digits_is_refused_at_once(project):
    project.file(f'{{"steps": [{{"run": "x", "timeout": {"9" * 1_000_000}}}]}}', "flow.json")
    assert "1,000,000 digits" in project.problem("flow.json").message


def test_a_huge_document_on_one_line_takes_no_longer_than_on_many():
    node, problems = read("[" + "1," * 300_000 + "1]")
    assert not problems
    assert node.items[-1].column == 600_001


def test_an_empty_file_says_so(project):
    project.file(" \n", "flow.json")
    assert project.problem("flow.json").message == "this file is empty"


def test_names_that_are_not_utf8_can_be_written_as_escapes(project):
    project.file('{"steps": [{"run": "x", "outputs": ["caf\\udce9"]}]}', "flow.json")
    assert os.fsencode(project.load("flow.json").steps[0].outputs[0]) == b"caf\xe9"


def test_options_in_json_have_their_places(project):
    project.file('{\n  "steps": [\n    {"run": "x",\n     "tiemout": 5}\n  ]\n}\n', "flow.json")
    problem = project.problem("flow.json")
    assert (problem.line, problem.column, problem.help) == (4, 6, "did you mean `timeout`?")

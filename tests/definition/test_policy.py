"""A policy changes a definition before its steps are built, and what is wrong with it is shown in its own file."""

from __future__ import annotations

import json

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.definition.loader import load
from workflow.definition.resolved import from_resolved, resolved
from workflow.definition.schemas import schema
from workflow.errors import DefinitionError, Problem, UsageError
from workflow.model import Retention, Source, Workflow

DEFINITION = """\
jobs: 3
limits: {cpus: 2}
checkpoints: {max_size_mb: 5, retention: {max_count: 4, keep_failed: false}}
steps:
  - {name: fetch, run: 'true', env: {A: 1, B: 2}, params: {P: x}, resources: {cpus: 1, memory: 1G}, timeout: 5s}
  - {name: build, run: 'true', matrix: {os: [mac, linux]}}
  - {name: last, run: 'true'}
"""
# What says which step it is, and what it does and waits for.
FIXED = {"name", "number", "run", "needs", "parallel", "matrix"}


@pytest.fixture
def load_with(project):
    project.file(DEFINITION)

    def one(text: str | bytes, name: str = "policy.yaml") -> Workflow:
        project.file(text, name)
        return load(str(project.path), None, policy=name)

    return one


@pytest.fixture
def problems_with(load_with):
    def several(text: str | bytes, name: str = "policy.yaml") -> list[Problem]:
        with pytest.raises(DefinitionError) as caught:
            load_with(text, name)
        assert caught.value.exit_code == 2
        caught.value.render().encode("utf-8")
        return list(caught.value.problems)

    return several


def test_variables_for_every_step_win_over_the_definition_and_those_of_one_step_over_both(load_with):
    workflow = load_with("env: {A: 7, C: 1.10}\nsteps: {fetch: {env: {C: q}}}\n")
    assert dict(workflow.steps[0].env) == {"A": "7", "B": "2", "C": "q"}
    assert dict(workflow.steps[3].env) == {"A": "7", "C": "1.10"}


def test_env_params_and_resources_change_word_by_word_and_others_as_a_whole(load_with):
    workflow = load_with(
        "steps:\n  fetch: {resources: {memory: 4G}, params: {Q: y}, retries: 2, timeout: 1h, shell: bash -eu,\n"
        "    continue_on_error: true, lock: one, if: always, outputs: [out], on_interrupt: ask, approval: sure,\n"
        "    repeat: {max_iterations: 2}, executor: local}\n"
    )
    step = workflow.steps[0]
    assert (step.rules.cpus, step.rules.memory_bytes) == (1.0, 4 << 30)
    assert dict(step.params) == {"P": "x", "Q": "y"}
    assert (step.timeout_s, step.interpreter, step.outputs) == (3600.0, ("bash", "-eu"), ("out",))
    assert step.rules.retries.limit == 2
    assert step.rules.repeat is not None
    assert (step.rules.continue_on_error, step.rules.lock, step.rules.condition) == (True, "one", "always")
    assert (step.on_interrupt, step.rules.approval) == ("ask", "sure")
    assert workflow.steps[3].rules.retries.limit == 0


def test_every_option_of_a_step_can_be_given_but_those_that_say_which_it_is():
    said = schema("policy")["properties"]["steps"]["additionalProperties"]["properties"]
    whole = schema("workflow")
    step = whole["$defs"]["step"]["properties"]
    assert said == {word: rule for word, rule in step.items() if word not in FIXED}
    for word in ("checkpoints", "limits"):
        assert schema("policy")["properties"][word] == whole["properties"][word]


def test_limits_and_checkpoints_change_word_by_word(load_with):
    workflow = load_with(
        "limits: {time: 1h, jobs: 5}\ncheckpoints: {task_interval: 3, max_size_mb: 0, retention: {max_age_days: 2}}\n"
    )
    assert (workflow.time_limit_s, workflow.limits.cpus, workflow.limits.jobs) == (3600.0, 2.0, 5)
    assert workflow.checkpoints.task_interval == 3
    assert workflow.checkpoints.max_size_mb is None
    assert workflow.checkpoints.retention == Retention(2, 4, keep_failed=False)


def test_it_is_known_where_each_setting_was_written_down(load_with, project):
    workflow = load_with("checkpoints:\n  max_size_mb: 9\n  retention:\n    max_age_days: 2\n")
    assert workflow.policy == str(project.path / "policy.yaml")
    assert workflow.said_at == {
        "max_size_mb": Source("policy.yaml", 2),
        "retention.max_age_days": Source("policy.yaml", 4),
        "retention.max_count": Source("workflow.yaml", 3),
        "retention.keep_failed": Source("workflow.yaml", 3),
    }


def test_a_step_is_named_by_its_number_too_and_a_matrix_as_a_whole(load_with):
    workflow = load_with("steps: {0: {timeout: 1}, build: {timeout: 2}, '03': {timeout: 3}}\n")
    assert [step.timeout_s for step in workflow.steps] == [1.0, 2.0, 2.0, 3.0]


@pytest.mark.parametrize("name", ["policy.json", "policy.yaml"])
def test_json_is_a_policy_too(load_with, name):
    assert load_with('{"steps": {"last": {"timeout": "2h"}}}', name).steps[3].timeout_s == 7200.0


def test_it_changes_scripts_and_cells(project):
    project.script("step_00_a.sh", "#| timeout: 3\n#| env: {A: 1}\n:\n")
    project.script("step_01_b.sh", ":\n")
    project.file("env: {B: 2}\nlimits: {jobs: 2}\nsteps: {a: {timeout: 9}}\n", "p.yaml")
    workflow = load(str(project.path), "steps", policy="p.yaml")
    assert [(step.timeout_s, dict(step.env)) for step in workflow.steps] == [
        (9.0, {"A": "1", "B": "2"}),
        (None, {"B": "2"}),
    ]
    assert workflow.limits.jobs == 2
    project.file("#!/bin/sh\n# %% one\n:\n", "all.sh")
    project.file("steps: {one: {timeout: 4}}\n", "p.yaml")
    assert load(str(project.path), "all.sh", policy="p.yaml").steps[0].timeout_s == 4.0


def test_parameters_of_the_command_line_win_over_those_of_a_policy(project):
    project.file("steps: [{name: a, run: x, params: {P: 1}}]\n")
    project.file("steps: {a: {params: {P: 2}}}\n", "p.yaml")
    assert load(str(project.path), None, policy="p.yaml").steps[0].params == (("P", "2"),)
    assert load(str(project.path), None, policy="p.yaml", params={"P": "3"}).steps[0].params == (("P", "3"),)


def test_everything_wrong_is_said_at_once_in_the_file_and_line_it_stands_in(problems_with):
    problems = problems_with(
        "limits: {time: 5x}\n"
        "bar: 1\n"
        "env: {WORKFLOW_X: 1}\n"
        "steps:\n"
        "  fetch: {timeuot: 1, needs: [last], secrets: [x]}\n"
        "  bulid: {timeout: 1}\n"
        "  last: 5\n"
        "timeout: 3\n"
    )
    told = [(problem.line, problem.message.split(" ", 1)[0], problem.help) for problem in problems]
    assert all(problem.path == "policy.yaml" and problem.source_line and problem.column for problem in problems)
    assert [(line, word) for line, word, _ in told] == [
        (1, "`time`"),
        (2, "`bar`"),
        (3, "`WORKFLOW_X`"),
        (5, "`timeuot`"),
        (5, "`needs`"),
        (5, "`secrets`"),
        (6, "there"),
        (7, "`last`"),
        (8, "`timeout`"),
    ]
    assert told[3][2] == "did you mean `timeout`?"
    assert "change it in the definition" in told[4][2]
    assert "not available in this version" in problems[5].message
    assert told[6][2] == "did you mean `build`?"
    assert "below `steps:`" in told[8][2]


def test_values_that_fit_their_type_and_nothing_else_are_shown_in_the_policy(problems_with):
    (problem,) = problems_with("steps:\n  fetch:\n    resources: {cpus: 64}\n")
    assert (problem.path, problem.line) == ("policy.yaml", 3)
    assert "could never run" in problem.message


def test_two_names_of_one_step_are_told(problems_with):
    (problem,) = problems_with("steps:\n  fetch: {timeout: 1}\n  '0': {timeout: 2}\n")
    assert (problem.line, problem.message) == (3, "`0` and `fetch` are the same step")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this policy is empty"),
        ("# nothing\n", "this policy is empty"),
        ("[1]\n", "a policy is a mapping"),
        ("text\n", "a policy is a mapping"),
        ("a: [\n", "the text ends in the middle"),
        ("steps: [a]\n", "`steps` wants a mapping of steps to options"),
        ("steps: {last: {timeout: [1]}}\n", "`timeout` wants a duration"),
        ("checkpoints: {enabled: 5}\n", "`enabled` wants true or false"),
        ("checkpoints: no\n", "`checkpoints` wants a mapping"),
        ("env: {A: [1]}\n", "`A` wants a text"),
        (b"env: {A: \xff}\n", "is not UTF-8"),
        (b"env: {A: \0}\n", "a NUL byte cannot be part of a definition"),
        ("steps: {last: &a {env: *a}}\n", ""),
    ],
)
def test_what_is_no_policy_is_refused_with_a_place(problems_with, text, message):
    problems = problems_with(text)
    assert message in problems[0].message
    assert problems[0].path == "policy.yaml"


def test_a_policy_that_is_not_there_names_the_nearest(load_with, project):
    load_with("env: {A: 1}\n")
    with pytest.raises(UsageError, match=r"there is no policy policy\.yml") as caught:
        load(str(project.path), None, policy="policy.yml")
    assert caught.value.help == "did you mean `policy.yaml`?"


@pytest.mark.parametrize("path", [".", "/dev/null"])
def test_what_is_no_file_is_no_policy(load_with, project, path):
    load_with("env: {A: 1}\n")
    with pytest.raises(DefinitionError, match="not a file"):
        load(str(project.path), None, policy=path)


def test_problems_of_the_definition_and_of_the_policy_are_told_together(project):
    project.file("steps: [{name: a, run: x, timeout: soon}]\n")
    project.file("steps: {a: {retries: no}}\n", "p.yaml")
    with pytest.raises(DefinitionError) as caught:
        load(str(project.path), None, policy="p.yaml")
    assert [problem.path for problem in caught.value.problems] == ["p.yaml", "workflow.yaml"]


WORDS = st.sampled_from(
    [
        "checkpoints",
        "env",
        "limits",
        "steps",
        "retention",
        "time",
        "jobs",
        "cpus",
        "memory",
        "resources",
        "params",
        "retries",
        "limit",
        "delay",
        "timeout",
        "if",
        "shell",
        "outputs",
        "enabled",
        "max_count",
        "name",
        "needs",
        "matrix",
        "parallel",
        "secrets",
        "working_directory",
        "repeat",
        "until",
        "lock",
        "A",
        "é",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 10**6) | st.floats() | st.sampled_from(["", "1G", "5s", "x", "always"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
SAID = st.dictionaries(WORDS, VALUES, max_size=3)
STEPS = st.dictionaries(st.sampled_from(["fetch", "build", "0", "03", "nope", ""]), SAID, max_size=3)


@given(st.fixed_dictionaries({}, optional={"steps": STEPS | VALUES, "limits": SAID, "checkpoints": SAID, "env": SAID}))
@hypothesis.settings(max_examples=200, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_whatever_a_policy_says_it_is_taken_or_refused_with_a_place(project, said):
    project.file(DEFINITION)
    project.file(json.dumps(said), "policy.json")
    refused = None
    try:
        workflow = load(str(project.path), None, policy="policy.json")
    except DefinitionError as error:
        refused = error
    if refused is not None:
        assert {problem.path for problem in refused.problems} == {"policy.json"}
        refused.render().encode("utf-8")
        return
    assert [step.number for step in workflow.steps] == [0, 1, 2, 3]
    assert from_resolved(json.loads(json.dumps(resolved(workflow)))) == workflow

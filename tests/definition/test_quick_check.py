"""The quick yes says yes to nothing that jsonschema would refuse, and to what people write."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.conftest import clean_env
from tests.definition.conftest import Project
from workflow.definition.checks import rules
from workflow.definition.quick_check import is_surely_valid
from workflow.definition.schemas import schema

STEP = schema("workflow")["$defs"]["step"]["properties"]
INNER = {word for name in ("retries", "resources", "repeat") for word in STEP[name]["properties"]}
WORDS = sorted({*schema("workflow")["properties"], *STEP, "nonsense"})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 2_000_000)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", " ", "x", "full", "local", "fail", "90s", "a*b", "2G", "exponential", "timeout", "5\n"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*WORDS, *sorted(INNER), "A", "WORKFLOW_X", "1"]), inner, max_size=4)
    ),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=5)


@pytest.mark.parametrize("section", ["step", "group", "workflow"])
@given(value=MAPPINGS)
def test_a_yes_is_always_right(section: str, value: dict[str, Any]) -> None:
    if is_surely_valid(value, rules(section)):
        assert Draft202012Validator(rules(section)).is_valid(value)


@pytest.mark.parametrize(
    "value",
    [
        {"name": "build", "run": "make", "env": {"A": "1"}, "outputs": ["a", "b"], "timeout": "5m", "needs": ["x", 3]},
        {"number": 7, "shell": "bash -eu", "working_directory": "src", "params": {"P": 1}, "interactive": True},
        {"if": "always", "parallel": "g", "matrix": {"A": ["1"], "B": ["x", "y"]}, "retries": 3, "lock": "a.b-c"},
        {"retries": {"limit": 3, "delay": 0, "backoff": "exponential", "max_delay": "1m", "on_exit": [3, "oom"]}},
        {"retries": {"limit": 0, "backoff": 1.5, "jitter": 0.5, "on_exit": 75}, "continue_on_error": True},
        {"resources": {"cpus": 1.5, "memory": "2G"}, "approval": "ok?", "repeat": {"until": "x", "max_iterations": 1}},
        {"on_interrupt": "ask", "executor": "local", "timeout": 1.5, "needs": "x", "outputs": "made"},
    ],
)
def test_a_right_step_gets_its_yes(value: dict[str, Any]) -> None:
    assert is_surely_valid(value, rules("step"))


def test_a_right_definition_does_not_load_jsonschema(project: Project) -> None:
    project.file("name: x\ncheckpoints: {durability: process}\nsteps:\n  - {name: a, run: 'true', timeout: 5m}\n")
    program = (
        "import os, sys; from workflow.definition.loader import load\n"
        "load(os.getcwd(), None); sys.exit('jsonschema' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=project.path, env=clean_env(), check=False)
    assert ended.returncode == 0

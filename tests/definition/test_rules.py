"""The options that say when, how often and beside what a step runs; and the limits of the whole."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.definition.resolved import from_resolved, resolved
from workflow.definition.rules import memory_bytes
from workflow.model import NO_RULES, Limits, Repeat, Retries, Rules, Source, Step, Workflow

OPTIONS = Path(__file__).resolve().parents[2] / "docs/reference/options.md"

SAID = [
    ("if: always", Rules(condition="always")),
    ("if: failure", Rules(condition="failure")),
    ("if: ' test -f x '", Rules(condition="test -f x")),
    ("if: 'true'", Rules(condition="true")),
    ("continue_on_error: true", Rules(continue_on_error=True)),
    ("continue_on_error: false", NO_RULES),
    ("retries: 0", NO_RULES),
    ("retries: 1000", Rules(retries=Retries(1000))),
    ("retries: {limit: 3}", Rules(retries=Retries(3))),
    ("retries: {limit: 3, delay: 0}", Rules(retries=Retries(3))),
    ("retries: {limit: 3, delay: 0s, backoff: constant}", Rules(retries=Retries(3))),
    ("retries: {limit: 1, delay: 1m30s, backoff: 1.5}", Rules(retries=Retries(1, 90.0, 1.5))),
    ("retries: {limit: 1, delay: 2, backoff: exponential, max_delay: 1m, jitter: 0.5}",
     Rules(retries=Retries(1, 2.0, 2.0, 60.0, 0.5))),
    ("retries: {limit: 1, on_exit: 75}", Rules(retries=Retries(1, on_exit=("75",)))),
    ("retries: {limit: 1, on_exit: oom}", Rules(retries=Retries(1, on_exit=("oom",)))),
    ("retries: {limit: 1, on_exit: [75, timeout, 75, 1]}", Rules(retries=Retries(1, on_exit=("75", "timeout", "1")))),
    ("lock: data.base_1-x", Rules(lock="data.base_1-x")),
    ("resources: {cpus: 2}", Rules(cpus=2.0)),
    ("resources: {cpus: 0.5, memory: 1.5GiB}", Rules(cpus=0.5, memory_bytes=3 << 29)),
    ("approval: Ship it?", Rules(approval="Ship it?")),
    ("repeat: {until: test -e done}", Rules(repeat=Repeat("test -e done"))),
    ("repeat: {max_iterations: 1000000}", Rules(repeat=Repeat("", 1_000_000))),
]  # fmt: skip


@pytest.mark.parametrize(("said", "rules"), SAID)
def test_it_means_the_same_in_yaml_scripts_and_cells(project, said, rules):
    project.file(f"steps:\n- run: x\n  {said}\n")
    project.script("step_00_a.sh", f"#!/bin/sh\n#| {said}\n")
    project.file(f"# %% a\n#| {said}\n", "flow.sh")
    for source in ("workflow.yaml", "steps", "flow.sh"):
        (step,) = project.load(source).steps
        assert step.rules == rules
        assert (step.rules is NO_RULES) == (rules == NO_RULES)


@pytest.mark.parametrize(
    ("said", "message", "advice"),
    [
        ("if: true", "`if` wants always, failure or a shell test", 'a test is a command, in quotes: `if: "true"`'),
        ("if: false", "not false", 'in quotes: `if: "false"`'),
        ("if: ''", "not an empty text", ""),
        ("if: ' '", "`if` wants", ""),
        ("if:", "not nothing", ""),
        ("if: 1", "not the number 1", "put it in quotes"),
        ("if: failed", "`if` knows always, failure and shell tests, not `failed`", "did you mean `failure`?"),
        ("if: always()", "`if` knows", "did you mean `always`?"),
        ("if: success()", "`if` knows", "take it out: without `if` a step runs when nothing failed"),
        ("continue_on_error: yes", "`continue_on_error` wants true or false", "write true"),
        ("retries: -1", "`retries` wants a whole number from 0 to 1000, or a mapping like", ""),
        ("retries: 1001", "not the number 1001", ""),
        ("retries: 1.5", "not the number 1.5", ""),
        ("retries: true", "not true", ""),
        ("retries: {delay: 1s}", "`retries` has no `limit`", "it wants a whole number from 0 to 1000, or"),
        ("retries: {limit: -3}", "`limit` wants a whole number from 0 to 1000, not the number -3", ""),
        ("retries: {limit: 1, tries: 3}", "`tries` is no option in `retries`", "known here: limit, delay"),
        ("retries: {limit: 1, deley: 3}", "`deley` is no option in `retries`", "did you mean `delay`?"),
        ("retries: {limit: 1, delay: -1}", "`delay` wants a duration like 5s", ""),
        ("retries: {limit: 1, delay: 5x}", "`delay` wants a duration like 5s", ""),
        ("retries: {limit: 1, delay: 1..5s}", "`delay` wants a duration like 5s", ""),
        ("retries: {limit: 1, delay: 1, max_delay: 0}", "`max_delay` wants a duration like 90s", ""),
        ("retries: {limit: 1, delay: 1, max_delay: 0s}", "`max_delay` wants a duration like 90s", ""),
        ("retries: {limit: 1, delay: 9, max_delay: 1s}", "`max_delay` is less than `delay`", "make it at least as"),
        ("retries: {limit: 1, backoff: 2}", "`backoff` changes nothing where there is no `delay`", "say how long"),
        ("retries: {limit: 1, delay: 0, jitter: 1}", "`jitter` changes nothing where there is no `delay`", "say how"),
        ("retries: {limit: 1, delay: 1, backoff: 0.5}", "`backoff` wants a number from 1 to 100", ""),
        ("retries: {limit: 1, delay: 1, backoff: expo}", "`backoff` wants a number from 1 to 100", ""),
        ("retries: {limit: 1, delay: 1, backoff: exponentail}", "not the text", "did you mean `exponential`?"),
        ("retries: {limit: 1, delay: 1, backoff: '2'}", "not the text `2`", "write the number without quotes"),
        ("retries: {limit: 1, delay: 1, jitter: 1.1}", "`jitter` wants a number from 0 to 1", ""),
        ("retries: {limit: 1, on_exit: []}", "`on_exit` wants an exit code from 1 to 255, or one of exit", ""),
        ("retries: {limit: 1, on_exit: 0}", "`on_exit` wants an exit code from 1 to 255", ""),
        ("retries: {limit: 1, on_exit: [256]}", "an entry of `on_exit` wants an exit code", ""),
        ("retries: {limit: 1, on_exit: [tiemout]}", "an entry of `on_exit`", "did you mean `timeout`?"),
        ("retries: {limit: 1, on_exit: '75'}", "`on_exit` wants", "write the number without quotes"),
        ("lock: a b", "`lock` wants a name of letters, digits", ""),
        ("lock: .a", "`lock` wants a name of letters, digits", ""),
        ("lock: -a", "`lock` wants a name of letters, digits", ""),
        ("lock: a/b", "`lock` wants a name of letters, digits", ""),
        (f"lock: {'a' * 101}", "`lock` wants a name of letters, digits", ""),
        ('lock: "a\\n"', "`lock` wants a name of letters, digits", ""),
        ("lock: é", "`lock` wants a name of letters, digits", ""),
        ("lock: 3", "not the number 3", "put it in quotes"),
        ("resources: {}", "`resources` wants a mapping like `{cpus: 2, memory: 4G}`, not an empty mapping", ""),
        ("resources: {cpus: 0}", "`cpus` wants a number of CPUs, more than 0", ""),
        ("resources: {cpus: -1}", "`cpus` wants a number of CPUs, more than 0", ""),
        ("resources: {memory: 0}", "`memory` wants an amount of memory like 512M, 2G or 1.5GiB", ""),
        ("resources: {memory: 0M}", "`memory` wants an amount of memory", ""),
        ("resources: {memory: -2G}", "`memory` wants an amount of memory", ""),
        ("resources: {memory: 2 apples}", "`memory` wants an amount of memory", ""),
        ("resources: {memory: 1.5}", "`memory` wants an amount of memory", ""),
        ("resources: {gpus: 1}", "`gpus` is no option in `resources`", "did you mean `cpus`?"),
        ("resources: {time: 1h}", "`time` is known but not available in this version", "take it out for now"),
        ("approval: ''", "`approval` wants the question a person is asked, not an empty text", ""),
        ("approval: true", "`approval` wants the question a person is asked, not true", "put it in quotes"),
        ("repeat: {}", "`repeat` wants a mapping like", ""),
        ("repeat: 3", "`repeat` wants a mapping like", ""),
        ("repeat: {until: ''}", "`until` wants a shell test like `test -f done`, not an empty text", ""),
        ("repeat: {max_iterations: 0}", "`max_iterations` wants a whole number from 1 to 1000000", ""),
        ("repeat: {max_iterations: 1000001}", "`max_iterations` wants a whole number from 1 to 1000000", ""),
        ("repeat: {untill: x}", "`untill` is no option in `repeat`", "did you mean `until`?"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place(project, said, message, advice):
    project.file(f"steps:\n- run: x\n  {said}\n")
    in_yaml = project.problem()
    project.script("step_00_a.sh", f"#!/bin/sh\n#| {said}\n")
    in_script = project.problem("steps")
    assert in_yaml.message == in_script.message
    assert message in in_yaml.message
    assert advice in in_yaml.help
    assert bool(in_yaml.help) == bool(advice)
    assert (in_yaml.path, in_yaml.line, in_script.path, in_script.line) == (
        "workflow.yaml", 3, "steps/step_00_a.sh", 2,
    )  # fmt: skip
    assert in_yaml.column >= 3
    assert in_script.column >= 4


def test_everything_wrong_in_one_option_is_told_at_once(yaml_problems):
    said = "{limit: -1, delay: 5x, backoff: 0, jitter: 2, on_exit: [0, foo]}"
    assert len(yaml_problems(f"steps:\n- {{run: x, retries: {said}}}\n")) == 6


@pytest.mark.parametrize(
    ("said", "amount"),
    [
        ("512M", 512 << 20), ("2G", 2 << 30), ("1.5GiB", 3 << 29), ("1k", 1024), ("1 KiB", 1024), ("1KB", 1000),
        ("2GB", 2 * 10**9), ("2gb", 2 * 10**9), ("100", 100), ("100B", 100), (100, 100), ("1T", 1 << 40),
        (1 << 62, 1 << 62),
        ("", None), ("G", None), ("0", None), ("0.1", None), ("-1", None), ("1iB", None), ("1.G", None), ("1e9", None),
        ("1P", None), ("٣M", None), ("9" * 30, None), ("1 2", None), ("9" * 200, None),
    ],
)  # fmt: skip
def test_an_amount_of_memory_is_bytes_or_a_unit(said, amount):
    assert memory_bytes(said) == amount


@pytest.mark.parametrize(
    ("top", "limits"),
    [
        ("jobs: 512\n", Limits(jobs=512)),
        ("limits: {jobs: 4, cpus: 2, memory: 1G}\n", Limits(4, 2.0, 1 << 30)),
        ("jobs: 4\nlimits: {jobs: 4, cpus: 0.5}\n", Limits(4, 0.5)),
        ("limits: {time: 1h}\n", Limits()),
        ("limits: {cost: 2.5, tokens: 100000}\n", Limits(cost=2.5, tokens=100000.0)),
        ("", Limits()),
    ],
)
def test_limits_are_what_may_run_side_by_side_and_what_may_be_spent(project, top, limits):
    project.file(f"{top}steps: [{{run: x}}]\n")
    assert project.load().limits == limits


@pytest.mark.parametrize(
    ("top", "message", "line", "column"),
    [
        ("jobs: 0", "`jobs` wants a whole number from 1 to 512, not the number 0", 1, 7),
        ("jobs: 1.5", "`jobs` wants a whole number from 1 to 512", 1, 7),
        ("limits: {jobs: 513}", "`jobs` wants a whole number from 1 to 512", 1, 16),
        ("limits: {cpus: 0}", "`cpus` wants a number of CPUs, more than 0", 1, 16),
        ("limits: {memory: lots}", "`memory` wants an amount of memory", 1, 18),
        ("limits: {memory: 0G}", "`memory` wants an amount of memory", 1, 18),
        ("limits: {disk: 1}", "`disk` is no option in `limits`", 1, 10),
        ("jobs: 3\nlimits: {jobs: 4}", "`jobs` is 3 at the top (line 1) and 4 in `limits`", 2, 16),
    ],
)
def test_limits_that_make_no_sense_are_told(yaml_problem, top, message, line, column):
    problem = yaml_problem(f"{top}\nsteps: [{{run: x}}]\n")
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)


def test_a_step_that_could_never_run_is_told(yaml_problems):
    cpus, memory = yaml_problems(
        "limits: {cpus: 2, memory: 1G}\nsteps:\n- {run: x, resources: {cpus: 2, memory: 1024M}}\n"
        "- {run: x, resources: {cpus: 2.5, memory: 1.1GiB}}\n"
    )
    assert cpus.message == "this step asks for 2.5 CPUs, and `limits` allows 2: it could never run"
    assert memory.message == "this step asks for 1.1GiB of memory, and `limits` allows 1G: it could never run"
    assert (cpus.line, cpus.column, memory.column) == (4, 30, 43)
    assert memory.help == "ask for less, or raise `memory` in `limits`"


RULES = st.builds(
    Rules,
    st.sampled_from(["", "always", "test -f x"]),
    st.booleans(),
    st.builds(Retries, st.integers(0, 9), st.sampled_from([0.0, 1.5]), st.sampled_from([1.0, 2.0]),
              st.sampled_from([None, 60.0]), st.sampled_from([0.0, 0.5]), st.sampled_from([(), ("75", "oom")])),
    st.sampled_from(["", "db"]),
    st.sampled_from([0.0, 1.5]),
    st.sampled_from([0, 1 << 40]),
    st.sampled_from([(), (("A", "1"), ("B", "\udce9"))]),
    st.sampled_from(["", "base"]),
    st.sampled_from(["", "really?"]),
    st.none() | st.builds(Repeat, st.sampled_from(["", "x"]), st.sampled_from([None, 7])),
)  # fmt: skip


@given(
    RULES,
    st.sampled_from([None, "g"]),
    st.builds(Limits, *(st.sampled_from([None, it]) for it in (3, 0.5, 9, 2.5, 1e5))),
)
def test_rules_groups_and_limits_come_back_exactly(rules, group, limits):
    step = Step(0, "a", Source("a", 0), script="a", group=group, rules=rules)
    workflow = Workflow("w", "/p", "/p/steps", (step,), limits=limits)
    document = resolved(workflow)
    assert from_resolved(json.loads(json.dumps(document))) == workflow
    assert ("rules" in document["steps"][0]) == (rules != NO_RULES)
    assert ("limits" in document) == (limits != Limits())


def test_a_step_without_rules_shares_the_one_object_also_when_read_back(project):
    project.script("step_00_a.sh", "#| timeout: 5\n")
    project.script("step_01_b.sh")
    workflow = project.load()
    assert all(step.rules is NO_RULES for step in (*workflow.steps, *from_resolved(resolved(workflow)).steps))


@pytest.mark.parametrize(
    "unknown", [{"limits": {"disk": 1}}, {"steps": [{"number": 0, "name": "a", "script": "a", "rules": {"x": 1}}]},
                {"steps": [{"number": 0, "name": "a", "script": "a", "rules": 3}]},
                {"steps": [{"number": 0, "name": "a", "script": "a", "rules": {"retries": {"x": 1}}}]}],
)  # fmt: skip
def test_rules_of_another_version_are_a_value_error(unknown):
    with pytest.raises(ValueError, match="no resolved workflow"):
        from_resolved({"name": "a", "project": "b", "source": "c", "steps": [], **unknown})


def test_rules_do_not_load_jsonschema(project):
    import subprocess
    import sys

    from tests.conftest import clean_env

    lines = "\n".join(f"- name: s{number}\n  run: x\n  {said}" for number, (said, _) in enumerate(SAID))
    project.file(f"jobs: 3\nlimits: {{cpus: 8, memory: 8G}}\nsteps:\n{lines}\n- {{parallel: [{{run: x}}], name: g}}\n")
    program = (
        "import os, sys; from workflow.definition.loader import load\n"
        "load(os.getcwd(), None); sys.exit('jsonschema' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=project.path, env=clean_env(), check=False)
    assert ended.returncode == 0


# Those before the chapter on policies, which are no definitions.
EXAMPLES = re.findall(
    r"```yaml\n(.*?)```", OPTIONS.read_text(encoding="utf-8").partition("\n## Policies")[0], re.DOTALL
)


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_of_the_reference_loads(project, text):
    project.file(text)
    assert project.load().steps


def test_the_matrix_of_the_reference_gives_the_names_it_says(project):
    text = OPTIONS.read_text(encoding="utf-8")
    project.file(next(example for example in EXAMPLES if "matrix:" in example))
    said = re.findall(r"`(\d\d [^`]+)`", text[text.index("This is `00 test-linux-3.10`") :])
    titles = [step.title for step in project.load().steps]
    assert said[: len(titles)] == titles

"""Configuration, policies and the environment keep the promises of docs/conformance.md; test names carry the ids."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.cli.support import document, tree
from tests.conftest import ROOT, Project
from tests.docs.documents import section

S37 = {
    "enabled": True,
    "directory": "runs",
    "interval_minutes": 5,
    "task_interval": 10,
    "validate_on_resume": True,
    "strict_hash_check": True,
    "compress": True,
    "max_size_mb": 500,
}
S38 = {"max_age_days": 30, "max_count": 50, "keep_failed": True, "keep_completed": False}


def in_force(project: Project, *words: str, **env: str) -> dict[str, tuple[object, str]]:
    answer = document(project.run("doctor", "--json", *words, env=env))
    return {it["key"]: (it["value"], it["from"]) for it in answer["settings"]}


def test_s37_s38_every_key_can_be_set_and_is_in_force(project: Project) -> None:
    section = {**S37, "retention": S38}
    project.file("workflow.yaml", f"checkpoints: {json.dumps(section)}\nsteps: [{{run: ':'}}]\n")
    found = in_force(project)
    for key, value in S37.items():
        assert found[key] == (value, "definition")
    for key, value in S38.items():
        assert found[f"retention.{key}"] == (value, "definition")


def test_s39_a17_the_environment_overrides_all_of_them(project: Project) -> None:
    project.file("workflow.yaml", "checkpoints: {interval_minutes: 9, directory: a}\nsteps: [{run: ':'}]\n")
    # What a settings file of the shell holds.
    found = in_force(project, CHECKPOINT_DIR=".checkpoints", CHECKPOINT_RETENTION_DAYS="7", CHECKPOINT_ENABLED="true")
    assert found["directory"] == (".checkpoints", "environment")
    assert found["retention.max_age_days"] == (7, "environment")
    assert found["enabled"] == (True, "environment")
    found = in_force(
        project,
        CHECKPOINT_ENABLED="true",
        WORKFLOW_CHECKPOINT_ENABLED="false",
        WORKFLOW_CHECKPOINT_DIR="b",
        WORKFLOW_CHECKPOINT_INTERVAL="2",
    )
    assert found["enabled"] == (False, "environment")
    assert found["directory"] == ("b", "environment")
    assert found["interval_minutes"] == (2, "environment")


def test_a17_checkpoints_switched_off_leave_no_trace(project: Project) -> None:
    project.step(0, ":")
    before = tree(project)
    assert project.run(env={"CHECKPOINT_ENABLED": "false"}).returncode == 0
    assert tree(project) == before


def test_s11_s21_a_run_under_a_policy_is_resumed_under_another(project: Project) -> None:
    project.file("build.yaml", "steps: [{name: a, run: echo a-$WHO >>ran.txt}, {name: b, run: test $WHO = two}]\n")
    project.file("one.yaml", "env: {WHO: one}\n")
    project.file("two.yaml", "env: {WHO: two}\n")
    assert project.run("run", "--plan", "build.yaml", "--policy", "one.yaml").returncode == 1
    assert project.run("--resume", "--policy", "two.yaml").returncode == 0
    assert project.executions == ["a-one"]
    master = json.loads((project.newest_run / "checkpoint.json").read_text())
    assert master["policy_file"] == str(project.path / "two.yaml")


def test_s45_after_a_network_loss_only_the_failed_step_runs_again(project: Project) -> None:
    project.step(0)
    project.step(1, "echo 01 >>ran.txt; [ -e network ]", name="pull_image")
    project.step(2)
    assert project.run().returncode == 1
    project.file("network", "")
    assert project.run("--resume").returncode == 0
    assert project.executions == ["00", "01", "01", "02"]


def test_s46_after_running_out_of_memory_the_limit_is_raised_in_the_policy(project: Project) -> None:
    """A container that the kernel kills ends with 137; what it may have comes from its environment."""
    project.step(0)
    project.step(1, '[ "${MEMORY%G}" -ge 4 ] || kill -KILL $$\necho 01 >>ran.txt', name="build")
    project.file("policy.yaml", "limits: {memory: 2G}\nsteps: {build: {resources: {memory: 2G}, env: {MEMORY: 2G}}}\n")
    assert project.run("run", "--policy", "policy.yaml").returncode == 1
    last = document(project.run("status", "--json"))
    assert last["steps"][1]["exit_code"] == 137
    # One of the two alone would be refused: the step could never run.
    project.file("policy.yaml", "limits: {memory: 2G}\nsteps: {build: {resources: {memory: 4G}, env: {MEMORY: 4G}}}\n")
    refused = project.run("--resume", "--policy", "policy.yaml")
    assert refused.returncode == 2
    assert "policy.yaml:2" in refused.stderr
    project.file("policy.yaml", "limits: {memory: 4G}\nsteps: {build: {resources: {memory: 4G}, env: {MEMORY: 4G}}}\n")
    assert project.run("--resume", "--policy", "policy.yaml").returncode == 0
    assert project.executions == ["00", "01"]


def test_s47_a_changed_policy_takes_effect_on_what_is_validated_again(project: Project) -> None:
    project.file(
        "workflow.yaml",
        "steps:\n"
        "  - {name: fetch, run: echo fetch >>ran.txt}\n"
        "  - {name: lint, run: echo lint-$LINTERS >>ran.txt, env: {LINTERS: one}}\n"
        "  - {name: build, run: 'echo build >>ran.txt; [ -e go ]'}\n",
    )
    assert project.run().returncode == 1
    project.file("policy.yaml", "steps: {lint: {env: {LINTERS: one+two}}}\n")
    project.file("go", "")
    told = project.run("plan", "--resume", "--policy", "policy.yaml")
    assert "env-changed" in told.stdout
    assert project.run("--resume", "--policy", "policy.yaml", "--revalidate").returncode == 0
    assert project.executions == ["fetch", "lint-one", "build", "lint-one+two", "build"]


@pytest.mark.parametrize("words", [["--policy", "gone.yaml"], ["--resume", "--policy", "gone.yaml"]])
def test_s21_a_policy_that_is_not_there_is_an_error_and_nothing_runs(project: Project, words: list[str]) -> None:
    project.steps(1)
    result = project.run("run", *words)
    assert result.returncode == 2
    assert "there is no policy gone.yaml" in result.stderr
    assert project.executions == []


def test_s56_every_cadence_that_is_advised_can_be_set(project: Project) -> None:
    page = (ROOT / "docs/how-to/settings.md").read_text(encoding="utf-8")
    rows = [row for row in section(page, "How often a snapshot is made").splitlines() if row.startswith("| ")][1:]
    advised = [dict(yaml.safe_load(word) for word in re.findall(r"`([^`]+)`", row)) for row in _as_pairs(rows)]
    # Short steps: every ten; long ones: every five minutes.
    assert {"task_interval": 10, "interval_minutes": 0} in advised
    assert {"interval_minutes": 5} in advised
    for settings in advised:
        project.file("workflow.yaml", f"checkpoints: {json.dumps(settings)}\nsteps: [{{run: ':'}}]\n")
        found = in_force(project)
        assert {key: found[key][0] for key in settings} == {key: value or None for key, value in settings.items()}
        assert project.run().returncode == 0


def _as_pairs(rows: list[str]) -> list[str]:
    """Return the rows with `key: value` written as a pair."""
    return [re.sub(r"`(\w+): (\d+)`", r"`[\1, \2]`", row) for row in rows]

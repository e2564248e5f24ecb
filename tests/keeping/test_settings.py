"""Flag, else environment, else policy, else definition, else standard: for every key, and said where from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import assert_helped, document
from tests.conftest import Project
from workflow.definition.loader import load
from workflow.definition.schemas import schema
from workflow.errors import UsageError
from workflow.in_force import VARIABLES, Flags, in_force, names, value_of
from workflow.model import CheckpointSettings, Retention, Workflow

# key -> (as written in the definition, as written in a policy, what those mean)
WRITTEN: dict[str, tuple[Any, Any, Any, Any]] = {
    "directory": ("runs", "others", "runs", "others"),
    "durability": ("process", "full", "process", "full"),
    "private": (True, False, True, False),
    "enabled": (False, True, False, True),
    "interval_minutes": (7, 0, 7, None),
    "task_interval": (3, 4, 3, 4),
    "max_snapshots": (5, 6, 5, 6),
    "validate_on_resume": (False, True, False, True),
    "strict_hash_check": (False, True, False, True),
    "compress": (True, False, True, False),
    "max_size_mb": (500, 0, 500, None),
    "archive": (False, True, False, True),
    "metrics_interval": (10, 0, 10, None),
    "resume": ("auto", "manual", "auto", "manual"),
    "retention.max_age_days": (30, 0, 30, None),
    "retention.max_count": (10, 11, 10, 11),
    "retention.keep_failed": (False, True, False, True),
    "retention.keep_completed": (False, True, False, True),
}


def section(key: str, value: Any) -> str:
    group, _, word = key.rpartition(".")
    inner = {word: value}
    return json.dumps({"checkpoints": {group: inner} if group else inner})


def defined(path: Path, key: str, *, policy: bool = False) -> Workflow:
    text = json.loads(section(key, WRITTEN[key][0]))
    (path / "workflow.json").write_text(json.dumps({**text, "steps": [{"run": ":"}]}))
    (path / "p.json").write_text(section(key, WRITTEN[key][1]))
    return load(str(path), "workflow.json", policy="p.json" if policy else None)


def test_every_key_of_the_section_has_a_name_and_a_standard() -> None:
    assert names() == list(WRITTEN)
    known = schema("workflow")["properties"]["checkpoints"]["properties"]
    plain = [word for word in known if word != "retention"]
    assert set(WRITTEN) == {*plain, *(f"retention.{word}" for word in known["retention"]["properties"])}
    effective = in_force(None, Flags(), {})
    assert effective.settings == CheckpointSettings()
    assert {origin.kind for origin in effective.origins.values()} == {"standard"}


@pytest.mark.parametrize("key", list(WRITTEN))
def test_the_definition_wins_over_the_standard_and_a_policy_over_both(tmp_path: Path, key: str) -> None:
    effective = in_force(defined(tmp_path, key), Flags(), {})
    assert value_of(effective.settings, key) == WRITTEN[key][2]
    assert effective.origins[key] == ("definition", "workflow.json:1")
    changed = in_force(defined(tmp_path, key, policy=True), Flags(), {})
    assert value_of(changed.settings, key) == WRITTEN[key][3]
    assert changed.origins[key] == ("policy", "p.json:1")
    others = {name: origin.kind for name, origin in changed.origins.items() if name != key}
    assert set(others.values()) == {"standard"}


ENVIRONMENT = {
    "CHECKPOINT_DIR": ("/elsewhere", "/elsewhere"),
    "CHECKPOINT_RETENTION_DAYS": ("0.5", 0.5),
    "CHECKPOINT_ENABLED": ("no", False),
    "WORKFLOW_CHECKPOINT_DIR": ("/other", "/other"),
    "WORKFLOW_CHECKPOINT_INTERVAL": ("2.5", 2.5),
    "WORKFLOW_CHECKPOINT_ENABLED": ("OFF", False),
}


@pytest.mark.parametrize("variable", list(VARIABLES))
def test_the_environment_wins_over_policy_and_definition(tmp_path: Path, variable: str) -> None:
    key = VARIABLES[variable]
    text, value = ENVIRONMENT[variable]
    effective = in_force(defined(tmp_path, key, policy=True), Flags(), {variable: text})
    assert value_of(effective.settings, key) == value
    assert effective.origins[key] == ("environment", variable)
    # An empty one is as good as none.
    assert in_force(defined(tmp_path, key, policy=True), Flags(), {variable: ""}).origins[key].kind == "policy"


def test_the_longer_names_win_over_the_shorter() -> None:
    environ = {
        "CHECKPOINT_DIR": "a",
        "WORKFLOW_CHECKPOINT_DIR": "b",
        "CHECKPOINT_ENABLED": "false",
        "WORKFLOW_CHECKPOINT_ENABLED": "true",
    }
    effective = in_force(None, Flags(), environ)
    assert (effective.settings.directory, effective.settings.enabled) == ("b", True)
    assert str(effective.origins["enabled"]) == "WORKFLOW_CHECKPOINT_ENABLED"


def test_flags_win_over_everything_and_0_means_none() -> None:
    environ = {"WORKFLOW_CHECKPOINT_DIR": "b", "CHECKPOINT_ENABLED": "true", "WORKFLOW_CHECKPOINT_INTERVAL": "9"}
    effective = in_force(None, Flags("c", False, 4, 90.0, 3), environ)
    assert effective.settings == dataclasses.replace(
        CheckpointSettings(), directory="c", enabled=False, task_interval=4, interval_minutes=1.5, max_snapshots=3
    )
    kinds = {name: origin for name, origin in effective.origins.items() if origin.kind == "flag"}
    assert {name: origin.where for name, origin in kinds.items()} == {
        "directory": "--checkpoint-dir",
        "enabled": "--no-checkpoint",
        "task_interval": "--checkpoint-every",
        "interval_minutes": "--checkpoint-interval",
        "max_snapshots": "--max-snapshots",
    }
    none = in_force(None, Flags(every=0, interval_s=0.0), environ).settings
    assert (none.task_interval, none.interval_minutes) == (None, None)
    with pytest.raises(UsageError, match="--max-snapshots"):
        in_force(None, Flags(max_snapshots=0), {})


def test_a_preset_wins_over_the_environment_and_any_other_flag_over_it() -> None:
    environ = {"WORKFLOW_CHECKPOINT_INTERVAL": "9"}
    effective = in_force(None, Flags(preset="balanced", metrics_interval=0), environ)
    settings = effective.settings
    assert (settings.task_interval, settings.metrics_interval, settings.archive) == (5, None, True)
    assert str(effective.origins["task_interval"]) == "--preset balanced"
    assert str(effective.origins["metrics_interval"]) == "--metrics-interval"
    minimal = in_force(None, Flags(preset="minimal"), environ).settings
    assert (minimal.task_interval, minimal.metrics_interval, minimal.archive) == (20, None, False)


@pytest.mark.parametrize(
    ("preset", "wanted"), [("aggressive", (1, 1, True)), ("balanced", (5, 10, True)), ("minimal", (20, None, False))]
)
def test_a_preset_sets_all_that_it_says_whatever_the_definition_says(
    preset: str, wanted: tuple[int, int | None, bool], project: Project
) -> None:
    other = "archive: true" if preset == "minimal" else "archive: false"
    project.file(
        "workflow.yaml",
        f"checkpoints: {{task_interval: 7, metrics_interval: 3, {other}}}\nsteps: [{{run: ':'}}]\n",
    )
    settings = in_force(load(str(project.path), None), Flags(preset=preset), {}).settings
    assert (settings.task_interval, settings.metrics_interval, settings.archive) == wanted


def test_a_retention_of_0_days_is_no_limit_and_leaves_the_others() -> None:
    workflow = Workflow("w", "/p", "/p/w", (), checkpoints=CheckpointSettings(retention=Retention(3, 4, False, False)))
    changed = in_force(workflow, Flags(), {"CHECKPOINT_RETENTION_DAYS": "0"}).settings
    assert changed.retention == Retention(None, 4, keep_failed=False, keep_completed=False)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("CHECKPOINT_ENABLED", "maybe"),
        ("WORKFLOW_CHECKPOINT_ENABLED", "2"),
        ("CHECKPOINT_RETENTION_DAYS", "-1"),
        ("CHECKPOINT_RETENTION_DAYS", "abc"),
        ("CHECKPOINT_RETENTION_DAYS", "nan"),
        ("CHECKPOINT_RETENTION_DAYS", "inf"),
        ("CHECKPOINT_RETENTION_DAYS", "1e400"),
        ("CHECKPOINT_RETENTION_DAYS", "٣"),
        ("CHECKPOINT_RETENTION_DAYS", "9" * 5000 + "\n\x1b[31m"),
        ("WORKFLOW_CHECKPOINT_INTERVAL", "5m"),
        ("WORKFLOW_CHECKPOINT_INTERVAL", "525601"),
    ],
)
def test_a_variable_that_makes_no_sense_is_a_usage_error_that_names_it(
    project: Project, variable: str, text: str
) -> None:
    project.steps(1)
    for words in (["run"], ["plan"], ["doctor"], ["--resume"]):
        result = project.run(*words, env={variable: text})
        assert_helped(result, 2, f"error: {variable} wants", f"unset {variable}")
        assert "\x1b" not in result.stderr
        assert len(result.stderr) < 400
    assert not project.runs
    assert project.executions == []


def test_a_run_goes_by_what_is_in_force_and_a_resume_by_what_is_then(project: Project) -> None:
    project.file("workflow.yaml", "steps: [{run: ':'}, {run: 'test -e go'}]\n")
    project.file("p.yaml", "checkpoints: {private: true, interval_minutes: 2}\n")
    assert project.run("--policy", "p.yaml", env={"CHECKPOINT_RETENTION_DAYS": "3"}).returncode == 1
    kept = json.loads((project.newest_run / "workflow.json").read_text())
    assert kept["definition"]["checkpoints"] == {
        "private": True,
        "interval_minutes": 2,
        "retention": {"max_age_days": 3.0},
    }
    assert kept["policy_file"] == "p.yaml"
    assert (project.newest_run / "workflow.json").stat().st_mode & 0o777 == 0o600
    project.file("go", "")
    assert project.run("resume").returncode == 0
    kept = json.loads((project.newest_run / "workflow.json").read_text())
    assert kept["definition"]["checkpoints"] == {"private": True, "interval_minutes": 2}


def test_what_is_kept_is_no_part_of_the_plan(project: Project) -> None:
    """S55: the hash of the plan tells whether something else would be done, not whether it is kept elsewhere."""
    project.file("workflow.yaml", "steps: [{run: ':'}]\n")
    hashes = set()
    for words, env in (([], {}), ([], {"CHECKPOINT_RETENTION_DAYS": "1"}), (["--checkpoint-dir", "b"], {})):
        assert project.run("run", *words, env=env).returncode == 0
        hashes.add(document(project.run("status", "--json", *words))["plan_hash"])
    assert len(hashes) == 1
    project.file("workflow.yaml", "steps: [{run: 'true'}]\n")
    project.run()
    assert document(project.run("status", "--json"))["plan_hash"] not in hashes


@pytest.mark.parametrize("given", ["flag", "environment", "policy", "definition"])
def test_the_directory_of_runs_is_found_wherever_it_is_given(project: Project, given: str) -> None:
    project.step(0)
    project.step(1, "[ -e go ]")
    words: list[str] = []
    env = {}
    if given == "flag":
        words = ["--checkpoint-dir", "kept"]
    elif given == "environment":
        env = {"CHECKPOINT_DIR": "kept"}
    elif given == "policy":
        project.file("p.yaml", "checkpoints: {directory: kept}\n")
        words = ["--policy", "p.yaml"]
    else:
        project.file("workflow.yaml", "checkpoints: {directory: kept}\nsteps: steps\n")
    result = project.run("run", *words, env=env)
    assert result.returncode == 1, result.stderr
    (run,) = (project.path / "kept").glob("workflow_*")
    assert not project.runs
    project.file("go", "")
    assert project.run("--resume", *words, env=env).returncode == 0
    assert project.executions == ["00"]
    assert {path.name for path in run.glob("*.complete")} == {"step_00.complete", "step_01.complete"}
    found = {it["key"]: it for it in document(project.run("doctor", "--json", *words, env=env))["settings"]}
    assert found["directory"]["value"] == "kept"
    assert found["directory"]["from"] == given

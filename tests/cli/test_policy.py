"""`--policy FILE` on run, resume and plan: recorded, used again, replaced, and never half applied."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.cli.support import assert_helped, assert_refused, document, tree
from tests.conftest import Project


@pytest.fixture
def failing(project: Project) -> Project:
    """A run under p.yaml that failed in its second step."""
    project.file(
        "workflow.yaml",
        "steps:\n"
        "  - {name: one, run: 'echo one-$MODE >>ran.txt'}\n"
        "  - {name: two, run: 'echo two-$MODE-$SIZE >>ran.txt; [ \"$SIZE\" = large ]', env: {SIZE: small}}\n",
    )
    project.file("p.yaml", "env: {MODE: ci}\n")
    assert project.run("run", "--policy", "p.yaml").returncode == 1
    assert project.executions == ["one-ci", "two-ci-small"]
    return project


def test_the_policy_is_on_record(failing: Project) -> None:
    master = json.loads((failing.newest_run / "checkpoint.json").read_text())
    assert master["policy_file"] == str(failing.path / "p.yaml")
    assert json.loads((failing.newest_run / "workflow.json").read_text())["policy_file"] == "p.yaml"
    assert document(failing.run("status", "--json"))["policy_file"] == str(failing.path / "p.yaml")


def test_a_plain_resume_goes_by_the_recorded_policy_as_it_is_now(failing: Project) -> None:
    failing.file("p.yaml", "env: {MODE: ci}\nsteps: {two: {env: {SIZE: large}}}\n")
    assert failing.run("resume").returncode == 0
    assert failing.executions[2:] == ["two-ci-large"]


def test_another_policy_replaces_the_recorded_one(failing: Project) -> None:
    failing.file("q.yaml", "steps: {two: {env: {SIZE: large}}}\n")
    result = failing.run("--resume", "--policy", "q.yaml")
    assert result.returncode == 0, result.stderr
    assert failing.executions[2:] == ["two--large"]
    # It was ci when it ran: that is said, and left alone.
    assert "bypassed all the same: 00 (env-changed)" in result.stderr
    assert json.loads((failing.newest_run / "workflow.json").read_text())["policy_file"] == "q.yaml"


def test_a_run_without_a_policy_gets_one_on_resume(project: Project) -> None:
    project.step(0)
    project.step(1, '[ "$SIZE" = large ] && echo 01 >>ran.txt', name="two")
    assert project.run().returncode == 1
    project.file("q.yaml", "steps: {two: {env: {SIZE: large}}}\n")
    assert project.run("resume", "--policy", "q.yaml").returncode == 0
    assert project.executions == ["00", "01"]


def test_a_recorded_policy_that_is_gone_is_named(failing: Project) -> None:
    (failing.path / "p.yaml").unlink()
    before = tree(failing)
    for words in (["resume"], ["--resume"], ["plan", "--resume"]):
        assert_helped(failing.run(*words), 2, "the policy that this run goes by is gone: p.yaml", "--policy FILE")
    assert tree(failing) == before
    failing.file("q.yaml", "steps: {two: {env: {SIZE: large}}}\n")
    assert failing.run("resume", "--policy", "q.yaml").returncode == 0


def test_a_project_that_was_moved_takes_its_policy_along(failing: Project) -> None:
    failing.file("p.yaml", "env: {MODE: ci}\nsteps: {two: {env: {SIZE: large}}}\n")
    moved = Project(failing.path.parent / "moved")
    shutil.move(failing.path, moved.path)
    result = moved.run("resume")
    assert result.returncode == 0, result.stderr
    assert moved.executions[2:] == ["two-ci-large"]


def test_a_policy_is_named_from_where_one_is(failing: Project) -> None:
    elsewhere = Project(failing.path.parent / "elsewhere")
    elsewhere.path.mkdir()
    elsewhere.file("q.yaml", "steps: {two: {env: {SIZE: large}}}\n")
    words = ["--checkpoint-dir", str(failing.path / ".checkpoints"), "--policy", "q.yaml"]
    result = elsewhere.run("resume", *words)
    assert result.returncode == 0, result.stderr
    master = json.loads((failing.newest_run / "checkpoint.json").read_text())
    assert master["policy_file"] == str(elsewhere.path / "q.yaml")


def test_a_plan_sees_the_policy_and_writes_nothing(failing: Project) -> None:
    failing.file("q.yaml", "env: {MODE: other}\n")
    before = tree(failing)
    plan = document(failing.run("plan", "--resume", "--revalidate", "--policy", "q.yaml", "--json"))
    assert [step["choice"] for step in plan["steps"]] == ["run", "run"]
    assert plan["steps"][0]["reasons"][0]["code"] == "env-changed"
    assert tree(failing) == before


def test_the_plain_shell_goes_by_the_policy_too(failing: Project) -> None:
    import subprocess

    subprocess.run(["sh", str(failing.newest_run / "resume.sh")], cwd=failing.path, check=False, capture_output=True)
    assert failing.executions[2:] == ["two-ci-small"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ("there is no policy p.yaml",)),
        ("", ("this policy is empty", "p.yaml")),
        ("steps: {nope: {timeout: 1}}\n", ("there is no step `nope`", "p.yaml:1:9", "^^^^")),
        ("steps: {tow: {timeout: 1}}\n", ("did you mean `two`?",)),
        ("steps: {two: {secrets: [A]}}\n", ("`secrets` is known but not available",)),
        (
            "steps: {two: {tiemout: 1}}\nlimits: {time: soon}\n",
            ("did you mean `timeout`?", "2 problems", "p.yaml:2:"),
        ),
    ],
)
def test_a_wrong_policy_is_told_before_anything_runs(project: Project, text: str | None, words: tuple[str]) -> None:
    project.step(0, name="one")
    project.step(1, name="two")
    if text is not None:
        project.file("p.yaml", text)
    for command in (["run"], ["plan"], ["--resume"], ["doctor"]):
        assert_refused(project.run(*command, "--policy", "p.yaml"), 2, *words)
    assert project.executions == []
    assert not (project.path / ".checkpoints").exists()


@pytest.mark.parametrize("kind", ["directory", "device"])
def test_what_is_no_file_is_no_policy(project: Project, kind: str) -> None:
    project.steps(1)
    path = "/dev/null" if kind == "device" else "steps"
    assert_refused(project.run("run", "--policy", path), 2, f"this is a {kind}, not a file")
    assert project.executions == []

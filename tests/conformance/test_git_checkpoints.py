"""Checkpoints of the work tree in git keep the promises of docs/conformance.md; test names carry the ids."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.cli.support import assert_helped, wait_for
from tests.conftest import Project
from tests.worktree.support import at, git, kept, numbers, repository


def iterating(project: Project) -> Project:
    """Ten iterations of one step, each of which adds a line to result.txt and rewrites prompt.md."""
    project.file("prompt.md", "begin\n")
    flow = """\
git: true
steps:
  - name: rounds
    repeat: {max_iterations: 10}
    run: |
      echo "$WORKFLOW_ITERATION" >>result.txt
      echo "goal $WORKFLOW_ITERATION" >prompt.md
"""
    project.file("workflow.yaml", flow)
    return repository(project)


def test_r2_r4_commits_come_by_themselves_after_every_n_iterations(project: Project) -> None:
    """On where the definition says so; prompt, files made, time and number of the iteration are in them."""
    iterating(project)
    before_at = int(time.time())
    assert project.run("run", "--checkpoint-interval", "5").returncode == 0
    first, second = numbers(project)[:2]
    assert kept(project, first, "prompt.md") == "goal 5\n"
    assert kept(project, second, "result.txt").split() == [str(number) for number in range(1, 11)]
    ref = f"refs/workflow/{project.newest_run.name}/{first}"
    assert "Iteration: 5\n" in git(project, "log", "-1", "--format=%B", ref)
    assert before_at <= int(git(project, "log", "-1", "--format=%ct", ref)) <= time.time()


def test_r3_no_git_leaves_them_out(project: Project) -> None:
    iterating(project)
    assert project.run("run", "--no-git", "--checkpoint-interval", "1").returncode == 0
    assert numbers(project) == []
    assert len(list((project.newest_run / "snapshots").glob("*.json"))) >= 10


def test_r5_commits_are_found_by_a_fixed_phrase(project: Project) -> None:
    iterating(project)
    project.run("run", "--checkpoint-interval", "5")
    lines = git(project, "log", "--all", "--oneline").splitlines()
    found = [line for line in lines if "workflow checkpoint" in line]
    assert len(found) == len(numbers(project))
    assert all(f"{project.newest_run.name}@" in line for line in found)


def test_r13_a_commit_is_found_brought_back_and_work_goes_on_from_it(project: Project) -> None:
    for number in range(4):
        project.step(number)
    repository(project)
    project.run("run", "--git", "--checkpoint-every", "1")
    assert project.run("checkpoint", "restore", at(project, 2)).returncode == 0
    assert project.executions == ["00", "01"]
    assert project.run("resume", at(project, 2), "--force").returncode == 0
    assert project.executions == ["00", "01", "02", "03"]
    # By git alone, too: a commit is a commit.
    git(project, "checkout", f"refs/workflow/{project.newest_run.name}/1", "--", "ran.txt")
    assert project.executions == ["00"]


def test_r23_checkpoints_are_shared_through_a_repository_and_polled_elsewhere(project: Project, tmp_path: Path) -> None:
    shared, elsewhere = tmp_path / "shared.git", tmp_path / "elsewhere"
    iterating(project)
    git(tmp_path, "init", "-q", "--bare", str(shared))
    git(tmp_path, "clone", "-q", str(project.path), str(elsewhere))
    git(elsewhere, "remote", "set-url", "origin", str(shared))
    git(project, "remote", "add", "origin", str(shared))
    project.run("run", "--checkpoint-interval", "5")
    assert project.run("checkpoint", "push", "origin").returncode == 0
    other = Project(elsewhere)

    def has_come() -> bool:  # as `watch -n 60 workflow checkpoint fetch origin` does
        told = json.loads(other.run("checkpoint", "fetch", "origin", "--json").stdout)
        return bool(told["moved"] or told["same"])

    wait_for(has_come)
    assert other.run("checkpoint", "restore", at(project, 1)).returncode == 0
    assert (elsewhere / "prompt.md").read_text() == "goal 5\n"


def test_r27_not_a_git_repository_is_told_with_both_ways_out(project: Project) -> None:
    project.steps(1)
    assert_helped(project.run("run", "--git"), 2, "not a git repository", "git init", "git commit", "--no-git")
    assert project.run("run", "--no-git").returncode == 0
    repository(project)
    assert project.run("run", "--git").returncode == 0
    assert numbers(project) == [1]

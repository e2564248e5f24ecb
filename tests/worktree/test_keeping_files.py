"""The files of the work tree are committed with every snapshot, and everything else of git stays as it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.support import assert_helped, kill, start_until, wait_for
from tests.conftest import Project
from tests.worktree.support import at, files_below, git, kept, names_kept, numbers, refs, repository, state_of_git

EACH = ("--git", "--checkpoint-every", "1")


@pytest.fixture
def appending(project: Project) -> Project:
    """Three steps that append their numbers to ran.txt, in a repository."""
    project.steps(3)
    return repository(project)


def test_each_commit_has_the_files_as_the_steps_before_it_left_them(appending: Project) -> None:
    assert appending.run(*EACH).returncode == 0
    assert [kept(appending, number, "ran.txt").split() for number in numbers(appending)] == [
        ["00"],
        ["00", "01"],
        ["00", "01", "02"],
        ["00", "01", "02"],
    ]


def test_git_and_the_work_tree_are_byte_for_byte_as_before(appending: Project) -> None:
    """HEAD, branch, staged and unstaged changes, stash, hooks, settings, reflogs, ignored files."""
    appending.file("staged", "1\n")
    git(appending, "stash", "push", "-uqm", "mine")
    appending.file("staged", "2\n")
    git(appending, "add", "staged")
    appending.file("staged", "3\n")
    appending.file("ignored", "secret\n")
    appending.script(".git/hooks/post-commit", "#!/bin/sh\ntouch hooked\n")
    appending.script(".git/hooks/reference-transaction", "#!/bin/sh\ntouch hooked\n")
    git(appending, "config", "core.logAllRefUpdates", "always")
    (appending.path / "ran.txt").write_text("")
    before = state_of_git(appending)
    tree_before = files_below(appending.path, but=(".git/", ".checkpoints/", "ran.txt"))
    status_before = git(appending, "--no-optional-locks", "status", "--porcelain")
    assert appending.run(*EACH).returncode == 0
    assert len(numbers(appending)) == 4
    assert state_of_git(appending) == before
    assert files_below(appending.path, but=(".git/", ".checkpoints/", "ran.txt")) == tree_before
    assert git(appending, "--no-optional-locks", "status", "--porcelain") == status_before
    assert "ignored" not in names_kept(appending, 1)
    assert kept(appending, 1, "staged") == "3\n"
    git(appending, "fsck", "--strict")


def test_a_commit_is_found_by_its_phrase_and_says_what_it_is_of(appending: Project) -> None:
    appending.run(*EACH)
    found = git(appending, "log", "--all", "--oneline", "--grep", "workflow checkpoint").splitlines()
    assert len(found) == 4
    text = git(appending, "log", "-1", "--format=%B%an", refs(appending)[1])
    assert text.startswith(f"workflow checkpoint {at(appending, 2)} step 01 s1 (auto)\n")
    assert "Completed: 2 of 3 steps" in text
    assert text.endswith("workflow\n")
    assert git(appending, "log", "--oneline", "--grep", "workflow checkpoint") == "", "and no branch has it"


@pytest.mark.parametrize("said", ["true", "{max_file_mb: 1}"])
def test_the_definition_switches_it_on_and_a_flag_off(project: Project, said: str) -> None:
    project.file("workflow.yaml", f"git: {said}\nsteps:\n  - run: echo 1 >made\n")
    repository(project)
    assert project.run().returncode == 0
    assert kept(project, 1, "made") == "1\n"
    assert project.run("--no-git").returncode == 0
    assert not numbers(project)


def test_without_a_word_about_git_nothing_is_kept(appending: Project) -> None:
    before = state_of_git(appending)
    assert appending.run("--checkpoint-every", "1").returncode == 0
    assert not refs(appending)
    assert state_of_git(appending) == before


def test_iterations_count_as_steps_do(project: Project) -> None:
    """--checkpoint-interval 2: after every second of six iterations, each with what it left."""
    flow = "steps:\n  - {name: loop, repeat: {max_iterations: 6}, run: 'echo $WORKFLOW_ITERATION >>log'}\n"
    project.file("workflow.yaml", flow)
    repository(project)
    assert project.run("--git", "--checkpoint-interval", "2").returncode == 0
    assert [len(kept(project, number, "log").split()) for number in numbers(project)] == [2, 4, 6, 6]
    assert "Iteration: 4" in git(project, "log", "-1", "--format=%B", refs(project)[1])


def test_snapshots_that_are_trimmed_take_their_commits_along(appending: Project) -> None:
    assert appending.run(*EACH, "--max-snapshots", "2").returncode == 0
    assert numbers(appending) == [3, 4]


def test_removed_runs_and_snapshots_take_their_commits_along(appending: Project) -> None:
    for _ in range(3):
        appending.run(*EACH)
    first, second, third = (run.name for run in appending.runs)
    assert appending.run("checkpoint", "delete", f"{third}@2", "--force").returncode == 0
    assert numbers(appending) == [1, 3, 4]
    assert appending.run("checkpoint", "delete", first, "--force").returncode == 0
    assert not [ref for ref in refs(appending) if f"/{first}/" in ref]
    assert appending.run("checkpoint", "prune", third, "--keep", "1", "--force").returncode == 0
    assert numbers(appending) == [4]
    assert appending.run("checkpoint", "compress", second).returncode == 0
    assert [ref for ref in refs(appending) if second in ref], "an archive keeps them"
    assert appending.run("checkpoint", "prune", "--force").returncode == 0
    assert not refs(appending)


def test_the_retention_takes_commits_along(project: Project) -> None:
    flow = "git: true\ncheckpoints: {retention: {max_count: 1}}\nsteps:\n  - run: echo 1 >made\n"
    project.file("workflow.yaml", flow)
    repository(project)
    for _ in range(3):
        project.run()
    assert len(project.runs) == 1
    assert [ref.split("/")[2] for ref in refs(project)] == [project.newest_run.name]


def test_another_project_of_the_repository_keeps_its_own_refs(project: Project) -> None:
    """Two projects may have runs of one id: only the one it is of removes a commit."""
    for name in ("a", "b"):
        project.script(f"{name}/steps/01_s.sh", "echo 1 >made\n")
    repository(project)
    one, two = Project(project.path / "a"), Project(project.path / "b")
    assert one.run("--git").returncode == 0
    (two.path / ".checkpoints").mkdir()
    one.newest_run.rename(two.path / ".checkpoints" / one.newest_run.name)
    assert two.run("checkpoint", "prune", "--force").returncode == 0
    assert not two.runs
    assert len(refs(project)) == 1


def test_a_snapshot_from_outside_keeps_files_too(project: Project) -> None:
    project.file("workflow.yaml", "git: true\nsteps:\n  - run: echo 1 >made\n")
    repository(project)
    project.run()
    project.file("made", "2\n")
    assert project.run("checkpoint", "create").returncode == 0
    assert kept(project, 2, "made") == "2\n"


def test_files_over_the_guard_are_left_out_and_named_once(project: Project) -> None:
    project.file("workflow.yaml", "git: {max_file_mb: 0.001}\nsteps:\n  - run: echo 1 >made\n  - run: echo 2 >made\n")
    project.file("large", "x" * 2000)
    repository(project)
    result = project.run("--checkpoint-every", "1")
    assert result.returncode == 0
    assert (result.stdout + result.stderr).count("large (2.0 kB)") == 1
    assert "large" not in names_kept(project, 1)
    assert kept(project, 2, "made") == "2\n"


@pytest.mark.parametrize("bound", ["max_files: 3", "max_total_mb: 0.001"])
def test_of_a_work_tree_over_the_guard_nothing_is_kept(project: Project, bound: str) -> None:
    project.file("workflow.yaml", f"git: {{{bound}}}\nsteps:\n  - run: echo 1\n  - run: echo 2\n")
    for number in range(3):
        project.file(f"f{number}", "x" * 1000)
    repository(project)
    result = project.run("--checkpoint-every", "1")
    assert result.returncode == 0
    assert (result.stdout + result.stderr).count("the work tree holds") == 1
    assert not refs(project)


def test_no_repository_is_one_message_with_the_remedy(project: Project) -> None:
    project.steps(1)
    assert_helped(project.run("--git"), 2, "not a git repository", "git init", "--no-git")
    assert not project.executions


def test_a_definition_that_asks_for_it_in_vain_is_warned_once_and_runs(project: Project) -> None:
    project.file("workflow.yaml", "git: true\nsteps:\n  - run: echo 1\n  - run: echo 2\n")
    result = project.run("--checkpoint-every", "1")
    assert result.returncode == 0
    assert (result.stdout + result.stderr).count("not a git repository") == 1
    project.file("workflow.yaml", "git: {required: true}\nsteps:\n  - run: echo 1\n")
    assert_helped(project.run(), 2, "not a git repository")
    assert project.run("--no-git").returncode == 0


def test_a_home_directory_is_no_work_tree(appending: Project) -> None:
    result = appending.run("--git", env={"HOME": str(appending.path)})
    assert_helped(result, 2, "home directory", "--no-git")


def test_git_that_fails_is_a_warning_once_and_harms_no_run(appending: Project, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *write-tree*) echo fatal: no luck >&2; exit 1;; esac\nexec {real} "$@"\n'
    )
    program.chmod(0o755)
    result = appending.run(*EACH, env={"PATH": f"{program.parent}:{os.environ['PATH']}"})
    assert result.returncode == 0
    assert (result.stdout + result.stderr).count("no luck") == 1
    assert appending.executions == ["00", "01", "02"]


def _no_commits(project: Project) -> None:
    git(project, "update-ref", "-d", "HEAD")


def _detached(project: Project) -> None:
    git(project, "checkout", "-q", "--detach")


def _merging(project: Project) -> None:
    git(project, "checkout", "-qb", "other")
    project.file("both", "other\n")
    git(project, "add", "both")
    git(project, "commit", "-qm", "other")
    git(project, "checkout", "-q", "-")
    project.file("both", "mine\n")
    git(project, "add", "both")
    git(project, "commit", "-qm", "mine")
    assert "both" in git(project, "merge", "other", check=False)


def _submodule(project: Project) -> None:
    other = project.path.parent / "other"
    other.mkdir()
    git(other, "init", "-q")
    (other / "inside").write_text("1\n")
    git(other, "add", ".")
    git(other, "commit", "-qm", "x")
    git(project, "submodule", "add", "-q", str(other), "sub")
    git(project, "clone", "-q", str(other), "embedded")


def _linked(project: Project) -> None:
    (project.path / "down").mkdir()
    project.file("down/tracked", "1\n")
    git(project, "add", "down")
    (project.path / "down").rename(project.path / "elsewhere")
    (project.path / "down").symlink_to("elsewhere")


@pytest.mark.parametrize("make", [_no_commits, _detached, _merging, _submodule, _linked])
def test_a_repository_in_any_state_is_kept_and_stays_in_it(appending: Project, make) -> None:
    make(appending)
    before = state_of_git(appending)
    result = appending.run(*EACH)
    assert result.returncode == 0, result.stderr
    assert "no git checkpoint" not in result.stdout + result.stderr
    assert len(numbers(appending)) == 4
    assert state_of_git(appending) == before
    names = names_kept(appending, 1)
    assert "embedded" not in names
    if make is _submodule:
        assert git(appending, "ls-tree", refs(appending)[0], "sub").startswith("160000 commit")
    if make is _merging:
        assert "<<<<<<<" in kept(appending, 1, "both")
    if make is _linked:
        assert git(appending, "ls-tree", refs(appending)[0], "down").startswith("120000 blob")


def test_a_linked_work_tree_elsewhere_is_kept_in_the_same_repository(appending: Project, tmp_path: Path) -> None:
    git(appending, "worktree", "add", "-q", str(tmp_path / "second"))
    second = Project(tmp_path / "second")
    assert second.run(*EACH).returncode == 0
    assert len(numbers(second)) == 4
    assert len(refs(appending)) == 4


def test_inside_a_hook_of_git_its_variables_mean_nothing(appending: Project, tmp_path: Path) -> None:
    env = {"GIT_DIR": str(tmp_path / "nowhere"), "GIT_INDEX_FILE": str(tmp_path / "index"), "GIT_WORK_TREE": "/"}
    assert appending.run(*EACH, env=env).returncode == 0
    assert len(numbers(appending)) == 4
    assert not (tmp_path / "index").exists()


def test_two_runs_at_once_keep_files_beside_each_other(appending: Project) -> None:
    first = appending.start("run", *EACH)
    second = appending.start("run", *EACH)
    assert (first.wait(60), second.wait(60)) == (0, 0)
    assert len(refs(appending)) == 8


@pytest.mark.parametrize("wait_s", [0.0, 0.05, 0.1, 0.2, 0.3, 0.5])
def test_a_kill_at_any_moment_leaves_git_usable_and_the_resume_keeps_on(appending: Project, wait_s: float) -> None:
    import time

    for number in range(3, 8):
        appending.step(number)
    process = start_until(appending, "ran.txt", "run", *EACH)
    time.sleep(wait_s)
    kill(process)
    # By os.walk, which minds no directory that is gone before it is looked into.
    wait_for(lambda: not any(name.endswith(".lock") for it in os.walk(appending.path / ".git") for name in it[2]))
    git(appending, "add", "ran.txt")
    git(appending, "commit", "-qm", "meanwhile")
    git(appending, "fsck", "--strict")
    before = state_of_git(appending)
    resumed = appending.run("resume", *EACH, "--force")
    assert resumed.returncode == 0
    assert state_of_git(appending) == before
    assert kept(appending, max(numbers(appending)), "ran.txt").split()[-1] == "07", resumed.stdout


def test_a_run_that_is_over_and_lacks_its_last_commit_gets_one(appending: Project) -> None:
    """A kill between the last snapshot and its commit leaves the run so."""
    assert appending.run(*EACH).returncode == 0
    before = numbers(appending)
    git(appending, "update-ref", "-d", refs(appending)[-1])
    assert appending.run("resume", *EACH, "--force").returncode == 0
    assert numbers(appending) == [*before[:-1], before[-1] + 1]
    assert kept(appending, max(numbers(appending)), "ran.txt").split()[-1] == "02"
    assert appending.run("resume", *EACH, "--force").returncode == 0
    assert numbers(appending) == [*before[:-1], before[-1] + 1], "once is enough"


def test_commits_of_a_person_meanwhile_do_not_suffer(appending: Project) -> None:
    for number in range(3, 20):
        appending.step(number, f"sleep 0.05; echo {number:02d} >>ran.txt")
    process = appending.start("run", *EACH)
    made = 0
    while process.poll() is None:
        appending.file(f"mine_{made}", "x\n")
        git(appending, "add", f"mine_{made}")
        git(appending, "commit", "-qm", f"mine {made}")
        made += 1
    assert process.returncode == 0
    assert int(git(appending, "rev-list", "--count", "HEAD")) == made + 1
    assert "no git checkpoint" not in (appending.path / "stdout.txt").read_text()
    assert len(numbers(appending)) == 21
    git(appending, "fsck", "--strict")


def test_locks_that_a_machine_left_when_it_died_are_in_nobodys_way(appending: Project) -> None:
    appending.step(1, "exit 3")
    assert appending.run(*EACH).returncode == 1
    index_lock = appending.newest_run.parent / "cache/worktree_1/index.lock"
    index_lock.write_text("")
    next_number = max(numbers(appending)) + 1
    ref_lock = appending.path / f".git/refs/workflow/{appending.newest_run.name}/{next_number}.lock"
    ref_lock.write_text("")
    others = appending.file(".git/refs/heads/mine.lock", "")
    appending.step(1)
    result = appending.run("resume", *EACH, "--force")
    assert result.returncode == 0
    assert "no git checkpoint" not in result.stdout + result.stderr
    assert next_number in numbers(appending)
    assert not index_lock.exists()
    assert others.exists(), "that one is not ours"


def test_objects_that_were_pruned_meanwhile_are_made_again(appending: Project) -> None:
    """Our index may know files whose objects went with the last ref that had them."""
    assert appending.run(*EACH).returncode == 0
    assert appending.run("checkpoint", "prune", "--force").returncode == 0
    git(appending, "gc", "-q", "--prune=now")
    assert appending.run(*EACH).returncode == 0
    assert len(numbers(appending)) == 4
    git(appending, "fsck", "--strict", "--connectivity-only")
    assert kept(appending, 4, "ran.txt").split() == ["00", "01", "02"] * 2

"""Files come back as a snapshot met them, whatever they are called; nothing is lost on the way."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.support import assert_helped, document, start_until
from tests.conftest import Project, newest_run_of
from tests.worktree.support import at, files_below, git, names_kept, refs, repository, state_of_git

ODD = [
    "new\nline",
    'quo"te',
    "$(touch x)",
    "-leading",
    "tab\there",
    "sp ace",
    "ünï",
    "\udcff\udcfe",
    "*",
    ":(glob)x",
    "a" * 200,
]
OUTSIDE = (".git/", ".checkpoints/")


@pytest.fixture
def made(project: Project) -> Project:
    """A run of one step whose snapshot 1 kept files of all kinds."""
    project.file("edited", "before\n")
    project.file("removed", "before\n")
    project.file("dir/renamed", "before " * 50 + "\n")
    project.script("executable", "#!/bin/sh\n")
    project.file("plain", "x\n")
    (project.path / "binary").write_bytes(bytes(range(256)) * 40)
    (project.path / "crlf").write_bytes(b"a\r\nb\r\n")
    (project.path / "link").symlink_to("edited")
    (project.path / "dangling").symlink_to("no\nwhere")
    for name in ODD:
        Path(os.fsencode(f"{project.path}/{name}").decode("utf-8", "surrogateescape")).write_text(f"{len(name)}\n")
    project.script("steps/step_00_s.sh", "#!/bin/sh\nexit 0\n")
    repository(project)
    assert project.run("--git").returncode == 0
    return project


def contents(project: Project) -> dict[str, tuple[object, ...]]:
    """Return modes and contents of the work tree, without times."""
    found = files_below(project.path, but=OUTSIDE)
    return {path: (it[0], it[3]) for path, it in found.items()}


def spoil(project: Project) -> None:
    path = project.path
    (path / "edited").write_text("after\n")
    (path / "removed").unlink()
    (path / "dir/renamed").rename(path / "moved")
    (path / "dir").rmdir()
    (path / "executable").chmod(0o644)
    (path / "plain").chmod(0o755)
    (path / "binary").write_bytes(b"\0\1")
    (path / "crlf").write_bytes(b"a\nb\n")
    (path / "link").unlink()
    (path / "link").write_text("no link\n")
    (path / "dangling").unlink()
    (path / "dangling").symlink_to("elsewhere")
    for name in ODD:
        os.unlink(f"{path}/{name}")
    (path / "made since").write_text("new\n")
    (path / "ignored").write_text("ignored\n")


def test_files_of_every_kind_come_back_and_go_again(made: Project) -> None:
    before = contents(made)
    assert set(names_kept(made, 1)) == set(before)
    spoil(made)
    spoiled = contents(made)
    git_before = state_of_git(made)
    result = made.run("checkpoint", "restore", at(made, 1))
    assert result.returncode == 0, result.stderr
    assert contents(made) == before | {name: spoiled[name] for name in ("moved", "made since", "ignored")}
    assert "left alone, not there at" in result.stdout
    # What was replaced is a snapshot, too.
    safety = result.stdout.splitlines()[-1].rpartition(" ")[2]
    assert safety == at(made, 2)
    assert made.run("checkpoint", "restore", safety).returncode == 0
    now = contents(made)
    assert {name: now[name] for name in spoiled} == spoiled
    assert state_of_git(made) == git_before
    git(made, "fsck", "--strict")


def test_a_dry_run_writes_nothing_anywhere(made: Project) -> None:
    spoil(made)
    before = files_below(made.path)
    told = document(made.run("checkpoint", "restore", at(made, 1), "--dry-run", "--json"))
    assert files_below(made.path) == before
    assert told["is_dry_run"] is True
    assert told["before"] is None
    changes = {it["path"]: it["change"] for it in told["restored"]}
    assert changes["edited"] == "changed"
    assert changes["removed"] == "added"
    assert changes["executable"] == "changed"
    assert sorted(told["left"]) == ["made since", "moved"]


def test_only_the_paths_that_were_named_come_back(made: Project) -> None:
    spoil(made)
    assert made.run("checkpoint", "restore", at(made, 1), "dir", "edited").returncode == 0
    assert (made.path / "dir/renamed").exists()
    assert (made.path / "edited").read_text() == "before\n"
    assert not (made.path / "removed").exists()
    assert_helped(made.run("checkpoint", "restore", at(made, 1), "edted"), 2, "edted", "edited")
    assert_helped(made.run("checkpoint", "restore", at(made, 1), "../x"), 2, "not in the work tree")


def test_what_is_ignored_now_is_kept_before_it_is_replaced(made: Project) -> None:
    made.file(".git/info/exclude", "plain\nedited\n")
    git(made, "rm", "-q", "--cached", "plain")
    made.file("plain", "precious\n")
    result = made.run("checkpoint", "restore", at(made, 1), "plain")
    assert (made.path / "plain").read_text() == "x\n"
    assert made.run("checkpoint", "restore", result.stdout.splitlines()[-1].rpartition(" ")[2], "plain").returncode == 0
    assert (made.path / "plain").read_text() == "precious\n"


@pytest.mark.parametrize("what", ["directory", "link", "file"])
def test_nothing_is_removed_to_make_room(made: Project, what: str) -> None:
    path = made.path
    if what == "directory":
        (path / "edited").unlink()
        (path / "edited").mkdir()
        (path / "edited/mine").write_text("mine\n")
    else:
        (path / "dir/renamed").unlink()
        (path / "dir").rmdir()
        if what == "link":
            (path / "dir").symlink_to("steps")
        else:
            (path / "dir").write_text("mine\n")
    (path / "removed").unlink()
    before = files_below(path, but=(".git/objects/", ".checkpoints/audit.jsonl"))
    assert_helped(made.run("checkpoint", "restore", at(made, 1)), 3, "nothing was restored", "move it away")
    assert files_below(path, but=(".git/objects/", ".checkpoints/audit.jsonl")) == before


def test_files_are_not_changed_below_a_run_that_goes_on(project: Project) -> None:
    project.step(0, "echo 1 >made")
    project.step(1, "echo 2 >made; : >here; sleep 20")
    repository(project)
    process = start_until(project, "here", "run", "--git", "--checkpoint-every", "1")
    try:
        assert_helped(project.run("checkpoint", "restore", at(project, 1)), 75, "running")
        assert (project.path / "made").read_text() == "2\n"
    finally:
        process.terminate()
        process.wait(20)
    assert project.run("checkpoint", "restore", at(project, 1)).returncode == 0
    assert (project.path / "made").read_text() == "1\n"


def test_from_the_commit_of_a_snapshot_the_run_goes_on(project: Project) -> None:
    """Both halves: the files, and where the steps stood."""
    for number in range(3):
        project.step(number, f"echo {number:02d} >>ran.txt")
    repository(project)
    project.run("--git", "--checkpoint-every", "1")
    assert project.run("checkpoint", "restore", at(project, 1)).returncode == 0
    assert project.executions == ["00"]
    assert project.run("resume", at(project, 1), "--force").returncode == 0
    assert project.executions == ["00", "01", "02"]


def test_a_name_without_kept_files_says_which_there_are(made: Project) -> None:
    assert_helped(made.run("checkpoint", "restore", made.newest_run.name), 2, "names no snapshot", at(made, 1))
    assert_helped(made.run("checkpoint", "restore", at(made, 7)), 3, "no files are kept", at(made, 1))
    assert_helped(made.run("checkpoint", "restore", "nonsense@1"), 3, "no files are kept")


def test_a_project_below_the_top_brings_back_its_own_files(project: Project) -> None:
    project.file("beside", "1\n")
    project.script("sub/steps/00_s.sh", "echo 1 >made\n")
    repository(project)
    sub = Project(project.path / "sub")
    assert sub.run("--git").returncode == 0
    project.file("beside", "2\n")
    sub.file("made", "2\n")
    name = f"{newest_run_of(sub).name}@1"
    told = document(sub.run("checkpoint", "restore", name, "--json"))
    assert [it["path"] for it in told["restored"]] == ["made"]
    assert (project.path / "beside").read_text() == "2\n"
    assert sub.run("checkpoint", "restore", name, "../beside").returncode == 0
    assert (project.path / "beside").read_text() == "1\n"


def test_what_differs_between_two_snapshots_is_told_file_by_file(project: Project) -> None:
    text = "".join(f"line {number}\n" for number in range(50))
    project.file("old", text)
    project.step(0, "echo 1 >made; echo 1 >gone")
    project.step(1, "mv old new; echo 2 >made; rm gone; echo something else >fresh")
    repository(project)
    project.run("--git", "--checkpoint-every", "1")
    before = files_below(project.path)
    told = document(project.run("checkpoint", "diff", at(project, 1), at(project, 2), "--json"))
    assert {it["path"]: (it["change"], it["before"]) for it in told["files"]} == {
        "made": ("changed", None),
        "gone": ("removed", None),
        "fresh": ("added", None),
        "new": ("renamed", "old"),
    }
    text_said = project.run("checkpoint", "diff", at(project, 1), at(project, 2)).stdout
    assert "files: 4 files changed" in text_said
    assert "  > old -> new" in text_said
    assert files_below(project.path) == before
    same = document(project.run("checkpoint", "diff", at(project, 2), at(project, 3), "--json"))
    assert same["files"] == []
    runs = document(project.run("checkpoint", "diff", project.newest_run.name, at(project, 3), "--json"))
    assert runs["files"] is None


def test_commits_go_to_a_shared_repository_and_come_from_it(made: Project, tmp_path: Path) -> None:
    shared, other = tmp_path / "shared.git", tmp_path / "other"
    git(tmp_path, "init", "-q", "--bare", str(shared))
    git(tmp_path, "clone", "-q", str(made.path), str(other))
    git(made, "remote", "add", "backup", "../shared.git")
    before = state_of_git(made)
    assert document(made.run("checkpoint", "push", "backup", "--json"))["moved"] == [at(made, 1)]
    assert document(made.run("checkpoint", "push", "backup", "--json"))["same"] == 1
    assert state_of_git(made) == before
    there = Project(other)
    told = document(there.run("checkpoint", "fetch", str(shared), "--json"))
    assert told == {"remote": str(shared), "verb": "fetch", "moved": [at(made, 1)], "same": 0, "differing": []}
    there.file("edited", "after\n")
    result = there.run("checkpoint", "restore", at(made, 1))
    assert result.returncode == 0
    assert (other / "edited").read_text() == "before\n"
    # There is no run here: what was replaced is kept beside it.
    safety = result.stdout.splitlines()[-1].rpartition(" ")[2]
    assert there.run("checkpoint", "restore", safety).returncode == 0
    assert (other / "edited").read_text() == "after\n"


def test_what_is_not_the_same_on_both_sides_stays_as_it_is(made: Project, tmp_path: Path) -> None:
    shared = tmp_path / "shared.git"
    git(tmp_path, "init", "-q", "--bare", str(shared))
    made.run("checkpoint", "push", str(shared))
    (ref,) = refs(made)
    theirs = git(shared, "rev-parse", ref)
    git(made, "update-ref", ref, "HEAD")
    result = made.run("checkpoint", "fetch", str(shared))
    assert result.returncode == 3
    assert "not the same on both sides" in result.stdout
    assert git(made, "rev-parse", ref) == git(made, "rev-parse", "HEAD")
    git(made, "update-ref", "-d", ref)
    assert made.run("checkpoint", "fetch", str(shared), at(made, 1)).returncode == 0
    assert git(made, "rev-parse", ref) == theirs


def test_a_remote_that_is_none_names_those_there_are(made: Project) -> None:
    assert_helped(made.run("checkpoint", "push", "origin"), 2, "no remote origin", "git remote add")
    git(made, "remote", "add", "backup", "/nowhere")
    assert_helped(made.run("checkpoint", "fetch", "bakcup"), 2, "backup")
    assert_helped(made.run("checkpoint", "fetch", "backup"), 3, "git: ")
    assert_helped(made.run("checkpoint", "fetch", "ext::sh -c 'touch pwned'"), 2, "not run")
    assert not (made.path / "pwned").exists()


def test_nothing_that_a_repository_names_is_run(made: Project, tmp_path: Path) -> None:
    """Hooks, filters, monitors, programs: in the configuration and in the attributes, for each of the commands."""
    trap = tmp_path / "trap"
    trap.write_text(f'#!/bin/sh\necho "$0 $*" >>{tmp_path}/sprung\ncat\n')
    trap.chmod(0o755)
    for hook in (
        "reference-transaction",
        "post-index-change",
        "pre-push",
        "post-checkout",
        "post-commit",
        "pre-commit",
    ):
        made.script(f".git/hooks/{hook}", trap.read_text())
    program = str(trap)
    for name in (
        *("core.fsmonitor", "core.sshCommand", "core.gitProxy", "core.askPass", "core.pager", "core.editor"),
        *("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.command", "diff.evil.textconv"),
        *("diff.external", "credential.helper", "gpg.program", "core.alternateRefsCommand", "merge.evil.driver"),
        *("uploadpack.packObjectsHook", "remote.backup.uploadpack", "remote.backup.receivepack"),
    ):
        git(made, "config", name, program)
    git(made, "config", "commit.gpgSign", "true")
    git(made, "config", "filter.evil.required", "true")
    git(made, "config", "core.hooksPath", ".git/hooks")
    made.file(".git/info/attributes", "* filter=evil diff=evil merge=evil\n")
    made.file("dir/.gitattributes", "* filter=evil diff=evil text eol=crlf ident\n")
    shared = tmp_path / "shared.git"
    git(tmp_path, "init", "-q", "--bare", str(shared))
    git(made, "config", "remote.backup.url", str(shared))
    made.file("steps/step_01_t.sh", "echo t >>dir/renamed; echo >>edited\n")
    assert made.run("--git", "--checkpoint-every", "1").returncode == 0
    assert made.run("checkpoint", "diff", at(made, 1), at(made, 2)).returncode == 0
    assert made.run("checkpoint", "push", "backup").returncode == 0
    made.file("edited", "after\n")
    assert made.run("checkpoint", "restore", at(made, 1)).returncode == 0
    assert made.run("checkpoint", "fetch", "backup").returncode == 0
    assert made.run("--smart", "--changed-since", "HEAD").returncode == 0
    assert made.run("checkpoint", "delete", made.runs[0].name, "--force").returncode == 0
    assert not (tmp_path / "sprung").exists(), (tmp_path / "sprung").read_text()
    assert (made.path / "edited").read_text() != "after\n"
    git(made, "status", check=False)
    assert (tmp_path / "sprung").exists(), "the trap works"


def test_files_come_back_where_the_run_itself_is_damaged_or_gone(made: Project) -> None:
    name = at(made, 1)
    made.file("edited", "after\n")
    (made.newest_run / "workflow.json").write_bytes(b"{")
    result = made.run("checkpoint", "restore", name)
    assert result.returncode == 0, result.stderr
    assert (made.path / "edited").read_text() == "before\n"
    assert "before_restore@" in result.stdout


def test_what_is_brought_back_and_shared_is_in_the_audit_log_without_passwords(made: Project) -> None:
    run_id = made.newest_run.name
    (made.path / "edited").write_text("after\n")
    assert made.run("checkpoint", "restore", f"{run_id}@1", "edited", "--dry-run").returncode == 0
    assert made.run("checkpoint", "restore", f"{run_id}@1", "edited").returncode == 0
    subprocess.run(["git", "init", "-q", "--bare", made.path / "shared.git"], check=True)
    assert made.run("checkpoint", "push", f"file://{made.path}/shared.git", run_id).returncode == 0
    assert made.run("checkpoint", "fetch", "ssh://ada:hunter2@localhost:1/none.git").returncode != 0
    log = (made.path / ".checkpoints/audit.jsonl").read_text()
    assert "hunter2" not in log
    entries = [json.loads(line) for line in log.splitlines()]
    said = [(it["operation"], it["outcome"]) for it in entries]
    assert said[-3:] == [("restore", "done"), ("push", "done"), ("fetch", "failed")]
    restored, pushed, _ = entries[-3:]
    assert (restored["checkpoint"], restored["files"]) == (f"{run_id}@1", 1)
    assert restored["before"] == f"{run_id}@2"
    assert pushed["remote"].endswith("/shared.git")

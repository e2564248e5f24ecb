"""`checkpoint delete`, `clean` and `prune` as people type them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pexpect
import pytest

from tests.cli.support import assert_helped, document, hanging_step, start_until, tree
from tests.conftest import Project
from tests.keeping.old_runs import completed, copied, dated_back, failed, may_fail, touched
from tests.processes.support import terminal
from workflow.cli.durations import age_s
from workflow.errors import UsageError


def names(project: Project) -> list[str]:
    return [run.name for run in project.runs]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Five runs: completed and failed ones, old and new, and one that was cut short."""
    project = Project(tmp_path_factory.mktemp("made"))
    may_fail(project)
    done, bad = completed(project, 2), failed(project, 1)
    # All at once, and not one by one: a run that ends clears what is old.
    found = {"old": copied(done, 20), "old failed": copied(bad, 15), "new": done, "new failed": bad}
    paused = copied(bad, 10)
    (paused / "state/step_01_state.json").unlink()
    touched(paused, 10)
    return project.path, {word: run.name for word, run in {**found, "old paused": paused}.items()}


@pytest.fixture
def kinds(project: Project, made: tuple[Path, dict[str, str]]) -> dict[str, Path]:
    shutil.copytree(made[0], project.path, dirs_exist_ok=True)
    return {word: project.path / ".checkpoints" / name for word, name in made[1].items()}


def left_of(kinds: dict[str, Path]) -> set[str]:
    return {word for word, run in kinds.items() if run.exists()}


@pytest.mark.parametrize(
    ("words", "goes"),
    [
        (("--older-than", "7d"), "old, old failed, old paused"),
        (("--older-than", "12"), "old, old failed"),
        (("--older-than", "36h"), "old, old failed, old paused, new"),
        (("--failed", "--completed"), "old, new, old failed, new failed"),
        (("--failed", "--older-than", "7d"), "old failed"),
        (("--keep", "2"), "old, old failed, old paused"),
        (("--failed", "--keep", "1"), "old failed"),
        (("--completed", "--keep", "1", "--older-than", "30"), ""),
        ((), "old"),
    ],
)
def test_clean_removes_what_passes_every_filter(
    project: Project, kinds: dict[str, Path], words: tuple[str, ...], goes: str
) -> None:
    gone = set(filter(None, goes.split(", ")))
    before = tree(project.path)
    planned = document(project.run("checkpoint", "clean", *words, "--dry-run", "--json"))
    assert tree(project.path) == before
    assert {it["run_id"] for it in planned["removed"]} == {kinds[word].name for word in gone}
    assert planned["is_dry_run"] is True
    done = document(project.run("checkpoint", "clean", *words, "--yes", "--json"))
    assert left_of(kinds) == set(kinds) - gone
    assert done["removed"] == planned["removed"]
    assert done["removed_count"] == len(gone)
    assert done["freed_bytes"] == sum(it["size_bytes"] for it in done["removed"])


def test_without_a_filter_old_unfinished_runs_are_marked_abandoned(project: Project, kinds: dict[str, Path]) -> None:
    said = project.run("checkpoint", "clean", "--force")
    assert said.returncode == 0
    assert said.stdout.startswith("removed 1 run (")
    assert "marked 2 runs abandoned" in said.stdout
    for word in ("old failed", "old paused"):
        text = (kinds[word] / "abandoned").read_text()
        assert text.startswith("BY=retention\nAT=20")
        assert "NOTE=not%20carried%20on%20for%207%20days\n" in text
    assert not (kinds["new failed"] / "abandoned").exists()
    again = project.run("checkpoint", "clean", "--force")
    assert again.stdout == "nothing to remove\n"
    assert project.run("checkpoint", "clean", "--failed", "--older-than", "7d", "--yes").returncode == 0
    assert left_of(kinds) == {"new", "new failed"}


def test_the_retention_of_the_definition_is_what_clean_goes_by(project: Project, kinds: dict[str, Path]) -> None:
    text = "steps: steps\ncheckpoints:\n  retention: {max_age_days: 12, max_count: 0, keep_failed: false}\n"
    project.file("workflow.yaml", text)
    assert project.run("checkpoint", "clean", "--force").returncode == 0
    assert left_of(kinds) == {"new", "new failed", "old paused"}


def test_a_run_cannot_be_half_gone_and_looked_at(project: Project) -> None:
    project.steps(1)
    project.run("-q")
    removed = project.run("checkpoint", "delete", project.newest_run.name, "--force")
    assert removed.returncode == 0
    assert removed.stdout.startswith("removed 1 run (")
    assert sorted(os.listdir(project.path / ".checkpoints")) == [".gitignore", "README.md", "audit.jsonl", "cache"]


def test_delete_takes_several_runs_by_name_or_path(project: Project) -> None:
    project.steps(1)
    for _ in range(3):
        project.run("-q")
    first, second, third = project.runs
    gone = project.run("checkpoints", "delete", first.name, f".checkpoints/{second.name}/", "-y")
    assert gone.returncode == 0
    assert names(project) == [third.name]


def test_delete_removes_nothing_when_one_of_the_names_is_wrong(project: Project) -> None:
    project.steps(1)
    project.run("-q")
    run_id = project.newest_run.name
    wrong = project.run("checkpoint", "delete", run_id, f"{run_id}_7", "--force")
    assert_helped(wrong, 3, "there is no run", "did you mean", run_id)
    assert names(project) == [run_id]
    assert_helped(project.run("checkpoint", "delete", f"{run_id}@3", "--force"), 3, "there is no snapshot", "@3")
    for name in (f"{run_id}@", f"{run_id}@x", f"{run_id}@-1", f"{run_id}@{'9' * 40}"):
        assert_helped(project.run("checkpoint", "delete", name, "--force"), 3, "there is no snapshot")


def test_delete_removes_a_snapshot_and_leaves_the_run(project: Project) -> None:
    project.steps(1)
    project.run("-q")
    run = project.newest_run
    directory = run / "snapshots"
    directory.mkdir(exist_ok=True)
    for number in (1001, 1002):
        (directory / f"{number}_manual.json").write_text("{}\n")
    done = project.run("checkpoint", "delete", f"{run.name}@1001", "--force", "--json")
    assert [it["name"] for it in document(done)["removed"]] == [f"{run.name}@1001"]
    assert {it.name for it in directory.iterdir()} >= {"1002_manual.json"}
    assert not (directory / "1001_manual.json").exists()
    assert project.run("status").returncode == 0


def test_the_newest_snapshot_stays_so_that_its_number_is_not_given_again(project: Project) -> None:
    project.steps(2)
    project.run("-q", "--checkpoint-every", "1")
    run = project.newest_run
    names = sorted(it.name for it in (run / "snapshots").iterdir())
    newest = len(names)
    refused = project.run("checkpoint", "delete", f"{run.name}@1", f"{run.name}@{newest}", "--force")
    assert_helped(refused, 2, f"{run.name}@{newest}", "newest snapshot", "workflow checkpoint create")
    assert sorted(it.name for it in (run / "snapshots").iterdir()) == names
    # With its run it goes, and once there is a newer one, by itself.
    made = document(project.run("checkpoint", "create", run.name, "--json"))
    assert made["number"] == newest + 1
    assert project.run("checkpoint", "delete", f"{run.name}@{newest}", "--force").returncode == 0
    assert document(project.run("checkpoint", "create", run.name, "--json"))["number"] == newest + 2
    assert project.run("checkpoint", "delete", f"{run.name}@{newest + 2}", run.name, "--force").returncode == 0
    assert project.runs == []


def test_prune_without_a_run_removes_all_and_warns(project: Project) -> None:
    may_fail(project)
    failed(project, 3)
    completed(project, 0)
    pruned = project.run("checkpoint", "prune", "--force")
    assert pruned.returncode == 0
    assert "warning: this removes ALL runs" in pruned.stderr
    assert pruned.stdout.startswith("removed 2 runs (")
    assert project.runs == []
    assert project.run("checkpoint", "prune", "--force").stdout == "nothing to remove\n"


@pytest.mark.parametrize("verb", ["clean --keep 0", "prune", "delete RUN"])
def test_without_a_terminal_nothing_goes_unless_forced(project: Project, verb: str) -> None:
    """D1."""
    project.steps(1)
    project.run("-q")
    run_id = project.newest_run.name
    words = ["checkpoint", *verb.replace("RUN", run_id).split()]
    refused = project.run(*words)
    assert refused.returncode == 2
    assert "error: " in refused.stderr
    assert "without a terminal there is nobody to ask" in refused.stderr
    assert refused.stderr.splitlines()[-1] == "help: to do it: --yes (or --force); to see what would go: --dry-run"
    assert project.run(*words, input="y\n").returncode == 2
    assert names(project) == [run_id]


@pytest.mark.parametrize(
    ("answer", "code", "stays"), [("y", 0, False), ("n", 1, True), ("", 1, True), ("\x03", 130, True)]
)
def test_on_a_terminal_it_asks_and_no_is_the_default(project: Project, answer: str, code: int, stays: bool) -> None:
    project.steps(1)
    project.run("-q")
    run_id = project.newest_run.name
    child = terminal(project, "checkpoint", "clean", "--keep", "0")
    child.expect(r"Remove 1 run \([0-9]+ kB\)\? \[y/N\]")
    assert run_id in child.before
    if answer == "\x03":
        child.sendintr()
    else:
        child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    assert (names(project) == [run_id]) == stays


def test_a_live_run_is_never_removed(project: Project) -> None:
    project.step(0)
    hanging_step(project, 1)
    runner = start_until(project, "here_01", "run")
    run_id = project.newest_run.name
    busy = project.run("checkpoint", "delete", run_id, "--force")
    assert_helped(busy, 75, run_id, f"process {runner.pid}", "a live run is not removed")
    for words in (("prune", "--force"), ("clean", "--keep", "0", "--force"), ("clean", "--older-than", "0", "--yes")):
        left = project.run("checkpoint", *words)
        assert left.returncode == 0
        assert left.stdout == "nothing to remove\n"
        assert f"note: {run_id} is left alone: live: run by process {runner.pid}" in left.stderr
    (project.path / "go").touch()
    assert runner.wait(20) == 0
    assert project.markers == [0, 1]


def test_a_run_whose_step_outlived_its_runner_is_live(project: Project) -> None:
    hanging_step(project, 0)
    runner = start_until(project, "here_00", "run")
    runner.kill()
    runner.wait(10)
    run_id = project.newest_run.name
    assert_helped(project.run("checkpoint", "delete", run_id, "--force"), 75, "steps of it still run")
    assert "is left alone: live" in project.run("checkpoint", "prune", "--force").stderr
    (project.path / "go").touch()
    assert project.run("resume").returncode == 0
    assert project.executions == ["00"]


def test_a_pinned_run_is_never_removed(project: Project) -> None:
    project.steps(1)
    project.run("-q")
    run = touched(project.newest_run, 99)
    assert project.run("checkpoint", "pin", run.name, "--note", "the release").returncode == 0
    named = project.run("checkpoint", "delete", run.name, "--force")
    assert_helped(named, 2, "is pinned by", "the release", f"checkpoint pin {run.name} --off")
    for words in (("prune",), ("clean",), ("clean", "--older-than", "7d"), ("clean", "--completed")):
        left = project.run("checkpoint", *words, "--force")
        assert left.returncode == 0
        assert f"note: {run.name} is left alone: pinned" in left.stderr
    assert names(project) == [run.name]
    assert project.run("checkpoint", "pin", run.name, "--off").returncode == 0
    assert project.run("checkpoint", "clean", "--force").stdout.startswith("removed 1 run")


def test_what_is_no_directory_of_ours_is_left_and_said(project: Project, tmp_path: Path) -> None:
    project.steps(1)
    project.run("-q")
    mine = project.newest_run
    linked, foreign, plain = (mine.with_name(f"workflow_2026010{number}_000000") for number in (1, 2, 3))
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(mine, elsewhere)
    linked.symlink_to(elsewhere)
    plain.write_text("not a run")
    can_give_away = os.geteuid() == 0
    if can_give_away:
        shutil.copytree(mine, foreign)
        os.chown(foreign, 65534, 65534)
    said = project.run("checkpoint", "prune", "--force")
    assert said.returncode == 0
    assert f"note: {linked.name} is left alone: a link" in said.stderr
    assert f"note: {plain.name} is left alone: no directory" in said.stderr
    assert linked.is_symlink()
    assert (elsewhere / "workflow.json").exists()
    assert not mine.exists()
    if can_give_away:
        assert f"note: {foreign.name} is left alone: of another user (uid 65534)" in said.stderr
        assert (foreign / "workflow.json").exists()
        assert_helped(project.run("checkpoint", "delete", foreign.name, "--force"), 3, "belongs to another user")
    assert_helped(project.run("checkpoint", "delete", linked.name, "--force"), 3, "is a link or a file")


def test_a_run_that_cannot_be_read_goes_by_age_only_when_that_is_asked_for(project: Project) -> None:
    project.steps(1)
    project.run("-q")
    run = dated_back(project.newest_run, 60)
    (run / "workflow.json").write_text("{")
    touched(run, 60)
    kept = project.run("checkpoint", "clean", "--force")
    assert "it cannot be read, so nothing is decided about it" in kept.stderr
    assert run.exists()
    planned = document(project.run("checkpoint", "clean", "--older-than", "30", "--dry-run", "--json"))
    assert planned["removed"][0]["status"] == "unreadable"
    assert project.run("checkpoint", "clean", "--older-than", "30", "--yes").returncode == 0
    assert project.runs == []


def test_a_run_that_died_before_its_first_step_is_cleared(project: Project) -> None:
    project.steps(1)
    project.run("-q", env={"WORKFLOW_FAULT": "rename:3:die"})
    run = project.newest_run
    assert not (run / "workflow.json").exists()
    assert project.run("checkpoint", "prune", "--force").returncode == 0
    assert run.exists(), "it may be just starting"
    touched(run, 8)
    assert project.run("checkpoint", "clean", "--force").stdout.startswith("removed 1 run")


def test_leftovers_of_a_removal_that_was_cut_short_are_swept(project: Project) -> None:
    project.steps(1)
    project.run("-q")
    run = project.newest_run
    run.rename(run.with_name(f".trash-{run.name}-0badcafe"))
    assert project.run("status").returncode == 3
    swept = project.run("checkpoint", "clean")
    assert swept.returncode == 0
    assert sorted(os.listdir(project.path / ".checkpoints")) == [".gitignore", "README.md", "audit.jsonl", "cache"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("clean", "--older-than", "7q"), "--older-than 7q: that is no age"),
        (("clean", "--keep", "some"), "--keep"),
        (("clean", "--keep", "-1"), "--keep"),
        (("clean", "everything"), "too much for"),
        (("clean", "--faild"), "--failed"),
        (("prune", "--keep", "3"), "--keep trims the snapshots of one run"),
        (("prune", "--older-than", "3"), "--older-than trims the snapshots of one run"),
        (("delete",), "delete wants a run"),
        (("pin",), "wants RUN"),
        (("pin", "RUN", "--off", "--note", "x"), "--note goes with what is said"),
    ],
)
def test_what_cannot_be_is_refused_with_an_example(
    made: tuple[Path, dict[str, str]], words: tuple[str, ...], said: str
) -> None:
    project = Project(made[0])
    before = names(project)
    run_id = made[1]["new"]
    refused = project.run("checkpoint", *(word.replace("RUN", run_id) for word in words))
    assert_helped(refused, 2, said)
    assert names(project) == before


@pytest.mark.parametrize("words", ["7d", "7 days", "1w", "168h", "7", "7.0", "6d24h", " 7D ", "10080m", "604800s"])
def test_ages_may_be_said_in_many_ways(words: str) -> None:
    assert age_s(words, "--older-than") == 7 * 86400


@pytest.mark.parametrize(
    "words", ["", "d", "7q", "-1", "1e9", "٣", "7d\nrm", "inf", "nan", "1..5d", "7d7", "9" * 40, "0x7"]
)
def test_what_is_no_age_is_refused_with_an_example(words: str) -> None:
    with pytest.raises(UsageError) as caught:
        age_s(words, "--older-than")
    assert caught.value.help.startswith("for example: --older-than 7d")


def test_where_there_is_nothing_there_is_nothing_to_do(project: Project) -> None:
    before = tree(project.path)
    for words in (("clean",), ("clean", "--failed"), ("prune",), ("prune", "--json"), ("clean", "--dry-run")):
        said = project.run("checkpoint", *words)
        assert said.returncode == 0, said.stderr
    assert tree(project.path) == before
    assert_helped(project.run("checkpoint", "delete", "workflow_20260101_000000"), 3, "there is no run")


def test_a_disk_that_refuses_is_told_with_125(project: Project) -> None:
    project.steps(1)
    for _ in range(3):
        project.run("-q")
    before = names(project)
    refused = project.run("checkpoint", "prune", "--force", "--json", env={"WORKFLOW_FAULT": "rename:1:EROFS:forever"})
    assert refused.returncode == 125
    answer = json.loads(refused.stdout)
    assert (answer["removed_count"], answer["freed_bytes"]) == (0, 0)
    assert "Read-only file system" in answer["problem"]
    assert "error: cannot remove " in refused.stderr
    assert names(project) == before
    # One that cannot go does not keep the others.
    once = project.run("checkpoint", "prune", "--force", env={"WORKFLOW_FAULT": "rename:1:EACCES"})
    assert once.returncode == 125
    assert names(project) == before[:1]


def test_checkpoints_behind_a_link_are_cleaned_there(project: Project, tmp_path: Path) -> None:
    """R28: the directory moved to a larger disk, a link in its place."""
    project.steps(1)
    project.run("-q")
    shutil.move(project.path / ".checkpoints", tmp_path / "larger")
    (project.path / ".checkpoints").symlink_to(tmp_path / "larger")
    assert project.run("checkpoint", "prune", "--force").returncode == 0
    assert sorted(os.listdir(tmp_path / "larger")) == [".gitignore", "README.md", "audit.jsonl", "cache"]
    assert project.run().returncode == 0

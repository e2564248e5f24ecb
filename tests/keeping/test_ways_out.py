"""What is refused or left alone says what to type instead, and what is typed then works."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.cli.support import assert_helped, hanging_step, start_until, tree
from tests.conftest import Project, clean_env
from tests.keeping.looking_support import STEPS, complete_run, failed_run
from tests.keeping.snapshot_support import named

FULL_DISK = {"WORKFLOW_FAULT": "write:1:ENOSPC:forever"}


def typed(project: Project, text: str) -> subprocess.CompletedProcess[str]:
    """Type a command line that a message gave."""
    words = text.replace("workflow ", f'"{sys.executable}" -m workflow ', 1)
    return subprocess.run(
        ["sh", "-c", words], cwd=project, env=clean_env(), capture_output=True, text=True, check=False
    )


def command_in(message: str, start: str) -> str:
    """Return the command of a help that begins so."""
    found = re.search(rf"{re.escape(start)}[^;\n]*", message)
    assert found, message
    return found[0]


def archives(project: Project) -> list[str]:
    return sorted(it.name for it in (project.path / ".checkpoints").iterdir() if it.name.startswith("workflow_"))


# ---------------------------------------------------------------- words and names


def test_a_status_that_no_run_has_lists_those_there_are(project: Project) -> None:
    failed_run(project)
    refused = project.run("checkpoint", "list", "--status", "done")
    assert_helped(refused, 2, "--status done", "there are: ", "completed", "abandoned")
    assert "did you mean" not in refused.stderr
    assert_helped(
        project.run("checkpoint", "list", "--status", "complete"), 2, "did you mean completed?", "there are: "
    )


def test_a_name_that_would_be_cut_is_refused(project: Project) -> None:
    complete_run(project)
    before = named_snapshots(project)
    assert_helped(
        project.run("checkpoint", "create", "--name", 201 * "n"), 2, "at most 200 characters", "201", "shorter"
    )
    assert named_snapshots(project) == before
    assert project.run("checkpoint", "create", "--name", 200 * "n").returncode == 0
    assert named(project)[-1] == ("manual", 200 * "n")


def named_snapshots(project: Project) -> list[str]:
    return sorted(os.listdir(project.newest_run / "snapshots"))


def test_a_step_may_name_its_snapshot_at_any_length(project: Project) -> None:
    project.step(0, f'. "$WORKFLOW_LIB/step_execution.sh"; step_checkpoint {300 * "n"}')
    result = project.run()
    assert result.returncode == 0, result.stderr
    assert ("manual", 200 * "n") in named(project)


# ---------------------------------------------------------------- runs to carry on


@pytest.mark.parametrize("verb", ["", "compress"])
def test_where_all_runs_are_abandoned_the_help_takes_one_up(project: Project, verb: str) -> None:
    run_id = failed_run(project).name
    assert project.run("checkpoint", "abandon", run_id).returncode == 0
    if verb:
        assert project.run("checkpoint", verb, run_id).returncode == 0
    refused = project.run("resume")
    assert_helped(refused, 3, "it is abandoned", "else start with: workflow run")
    (project.path / "mended").touch()
    again = typed(project, command_in(refused.stderr, f"workflow resume {run_id}"))
    assert again.returncode == 4, again.stderr  # it waits for an approval, so it went on
    assert "flaky" in again.stdout + again.stderr


def test_the_newest_of_the_abandoned_is_the_one_that_is_named(project: Project) -> None:
    old = failed_run(project).name
    new = failed_run(project).name
    for run_id in (old, new):
        assert project.run("checkpoint", "abandon", run_id).returncode == 0
    assert f"workflow resume {new}" in project.run("resume").stderr


def imported(project: Project) -> tuple[Project, str]:
    """Return a directory that holds a run that was imported, and nothing of its project."""
    run_id = failed_run(project).name
    assert project.run("checkpoint", "export", run_id, "--out", "run.tar.gz").returncode == 0
    place = project.path.with_name("elsewhere")
    place.mkdir()
    elsewhere = Project(place)
    assert elsewhere.run("checkpoint", "import", project.path / "run.tar.gz").returncode == 0
    return elsewhere, run_id


@pytest.mark.parametrize("words", [("resume", "RUN", "--trust"), ("resume", "--dry-run", "RUN"), ("plan", "--resume")])
def test_an_imported_run_without_its_project_says_what_to_put_there(project: Project, words: tuple[str, ...]) -> None:
    elsewhere, run_id = imported(project)
    before = tree(elsewhere)
    refused = elsewhere.run(*(word.replace("RUN", run_id) for word in words))
    assert_helped(
        refused, 2, f"the definition of {run_id} is not here", "workflow.yaml", "put the files of its project"
    )
    assert {path: facts[-1] for path, facts in tree(elsewhere).items()} == {
        path: facts[-1] for path, facts in before.items()
    }
    elsewhere.file("workflow.yaml", STEPS)
    (elsewhere.path / "mended").touch()
    again = typed(elsewhere, command_in(refused.stderr, f"workflow resume {run_id} --trust"))
    assert again.returncode == 4, again.stderr
    assert elsewhere.executions == ["flaky"]


def test_a_definition_that_was_renamed_can_be_named(project: Project) -> None:
    run_id = failed_run(project).name
    (project.path / "workflow.yaml").rename(project.path / "nightly.yaml")
    (project.path / "mended").touch()
    refused = project.run("resume", run_id)
    assert_helped(refused, 2, f"the definition of {run_id} is not here: there is no workflow.yaml", "put it back")
    again = typed(project, command_in(refused.stderr, "workflow run NAME").replace("NAME", "nightly.yaml"))
    assert again.returncode == 4, again.stderr
    assert project.executions == ["build", "plain", "flaky", "flaky"]


# ---------------------------------------------------------------- archives


def test_compress_all_names_each_run_that_stays_once(project: Project) -> None:
    failed_run(project)
    (project.path / "mended").touch()
    assert project.run("-q").returncode == 4
    run_id = project.newest_run.name
    said = project.run("checkpoint", "compress", "--all")
    assert said.returncode == 0, said.stderr
    (note,) = said.stderr.splitlines()
    assert note == f"note: not compressed: {run_id} is paused; to pack it all the same, name it"


def test_compress_all_names_a_live_run_once(project: Project) -> None:
    hanging_step(project, 0)
    runner = start_until(project, "here_00", "run")
    run_id = project.newest_run.name
    said = project.run("checkpoint", "compress", "--all")
    (project.path / "go").touch()
    assert runner.wait(20) == 0
    assert said.stderr.count(run_id) == 1, said.stderr


@pytest.mark.parametrize(
    "words", [("status", "RUN"), ("resume", "RUN"), ("checkpoint", "show", "RUN"), ("checkpoint", "compress", "RUN")]
)
def test_a_damaged_archive_of_ours_is_put_back_or_given_up(project: Project, words: tuple[str, ...]) -> None:
    run_id = complete_run(project).name
    assert project.run("checkpoint", "compress", run_id).returncode == 0
    archive = project.path / f".checkpoints/{run_id}.tar.gz"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:300])
    refused = project.run(*(word.replace("RUN", run_id) for word in words))
    assert_helped(refused, 3, "cannot be used", "put a copy of that file back")
    assert "where it came from" not in refused.stderr
    given_up = typed(project, command_in(refused.stderr, f"workflow checkpoint delete {run_id}") + " --yes")
    assert given_up.returncode == 0, given_up.stderr
    assert archives(project) == []
    archive.write_bytes(whole)
    assert project.run("status", run_id).returncode == 0


def test_a_damaged_file_that_came_from_elsewhere_is_made_again_there(project: Project) -> None:
    run_id = complete_run(project).name
    assert project.run("checkpoint", "export", run_id, "--out", f"{run_id}.tar.gz").returncode == 0
    archive = project.path / f"{run_id}.tar.gz"
    archive.write_bytes(archive.read_bytes()[:300])
    assert_helped(project.run("checkpoint", "import", archive.name, "--as-new"), 3, "where it came from")


# ---------------------------------------------------------------- pin and abandon


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("pin", "RUN"), "that RUN is pinned could not be recorded"),
        (("pin", "RUN", "--note", "keep; it"), "that RUN is pinned could not be recorded"),
        (("abandon", "RUN"), "that RUN is abandoned could not be recorded"),
    ],
)
@pytest.mark.parametrize("is_archive", [False, True])
def test_a_full_disk_says_to_say_the_word_again(
    project: Project, words: tuple[str, ...], what: str, is_archive: bool
) -> None:
    run_id = failed_run(project).name
    if is_archive:
        assert project.run("checkpoint", "compress", run_id).returncode == 0
    typed_words = ["checkpoint", *(word.replace("RUN", run_id) for word in words)]
    refused = project.run(*typed_words, env=FULL_DISK)
    assert_helped(refused, 125, what.replace("RUN", run_id), "No space left on device", "make room")
    assert "workflow resume" not in refused.stderr
    assert "checkpoint clean, or" not in refused.stderr
    again = typed(project, refused.stderr.rstrip().rpartition("then: ")[2])
    assert again.returncode == 0, again.stderr
    assert (project.path / f".checkpoints/{run_id}" / ("pinned" if words[0] == "pin" else "abandoned")).exists()


def test_a_disk_that_may_not_be_written_is_not_told_as_a_full_one(project: Project) -> None:
    run_id = failed_run(project).name
    refused = project.run("checkpoint", "pin", run_id, env={"WORKFLOW_FAULT": "open:1:EACCES:forever"})
    assert_helped(refused, 125, "Permission denied", "writable", f"workflow checkpoint pin {run_id}")
    assert "make room" not in refused.stderr


@pytest.mark.parametrize(
    ("before", "words", "said"),
    [
        ((), ("pin", "RUN", "--off"), "was not pinned"),
        ((), ("abandon", "RUN", "--off"), "was not abandoned"),
        (("pin", "RUN", "--note", "keep"), ("pin", "RUN"), "is pinned already"),
        (("pin", "RUN", "--note", "keep"), ("pin", "RUN", "--note", "keep"), "is pinned already"),
        (("abandon", "RUN"), ("abandon", "RUN"), "is abandoned already"),
    ],
)
def test_a_word_that_stands_already_leaves_the_archive_alone(
    project: Project, before: tuple[str, ...], words: tuple[str, ...], said: str
) -> None:
    run_id = failed_run(project).name
    if before:
        assert project.run("checkpoint", *(word.replace("RUN", run_id) for word in before)).returncode == 0
    assert project.run("checkpoint", "compress", run_id).returncode == 0
    there = tree(project.path / ".checkpoints")
    answer = project.run("checkpoint", *(word.replace("RUN", run_id) for word in words))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert f"{run_id} {said}" in answer.stdout
    assert tree(project.path / ".checkpoints") == there


def test_another_note_is_written(project: Project) -> None:
    run_id = failed_run(project).name
    assert project.run("checkpoint", "pin", run_id, "--note", "keep").returncode == 0
    assert project.run("checkpoint", "compress", run_id).returncode == 0
    assert project.run("checkpoint", "pin", run_id, "--note", "for the audit").returncode == 0
    assert archives(project) == [run_id]
    assert "audit" in (project.newest_run / "pinned").read_text()


def test_a_complete_archive_is_not_unpacked_to_refuse_that_it_is_abandoned(project: Project) -> None:
    run_id = complete_run(project).name
    assert project.run("checkpoint", "compress", run_id).returncode == 0
    assert_helped(project.run("checkpoint", "abandon", run_id), 2, "is complete")
    assert archives(project) == [f"{run_id}.tar.gz"]


# ---------------------------------------------------------------- help of the commands


def test_help_names_only_what_there_is(project: Project) -> None:
    for words in (("--help",), ("checkpoint", "--help")):
        said = " ".join(project.run(*words).stdout.split())
        assert "pack" not in said.split()
        assert "trust" not in said
        assert "RUN@N" in said

"""Ways in which a step could be skipped that must run: each was possible once."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.smart.test_world import Sandbox, joined, step
from workflow.checkpoint import records
from workflow.checkpoint.durable import Disk
from workflow.model import Input, Repeat, Rules, Smart
from workflow.planning import comments, globs
from workflow.planning.evidence import bytes_digest
from workflow.planning.git_changes import unchanged_since
from workflow.planning.ledger import Ledger


def test_a_step_that_needs_one_of_which_nothing_is_known_runs(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    free = step(0, "free")
    bound = step(1, "bound", inputs=(Input("x"),), needs=(0,))
    sandbox = Sandbox(tmp_path, [free, bound], {"free": lambda *_: None, "bound": lambda *_: None})
    assert sandbox.run() == ["free", "bound"]
    assert sandbox.run() == ["free", "bound"]


def test_what_a_needed_step_made_is_looked_at_as_it_is_now(tmp_path: Path) -> None:
    """With --only the needed step itself is not asked."""
    (tmp_path / "a").write_bytes(b"1")
    up = step(0, "up", inputs=(Input("a"),), outputs=("b",))
    down = step(1, "down", inputs=(Input("a"),), needs=(0,), outputs=("c",))
    sandbox = Sandbox(tmp_path, [up, down], {"up": joined("a", to="b"), "down": joined("b", to="c")})
    sandbox.run()
    assert sandbox.run() == []
    (tmp_path / "b").write_bytes(b"other")
    assert sandbox.reasons()["down"] == ["upstream-changed"]


def test_a_script_edited_after_the_definition_was_read_counts_as_what_it_is(tmp_path: Path) -> None:
    script = tmp_path / "s.sh"
    script.write_text("#!/bin/sh\necho 1\n")
    (tmp_path / "x").write_bytes(b"1")
    read = replace(
        step(0, "s", inputs=(Input("x"),)), text=None, script="s.sh", content_digest=bytes_digest(script.read_bytes())
    )
    sandbox = Sandbox(tmp_path, [read], {"s": lambda *_: None})
    script.write_text("#!/bin/sh\necho 2\n")  # and this is what runs
    assert sandbox.run() == ["s"]
    script.write_text("#!/bin/sh\necho 1\n")
    assert sandbox.reasons() == {"s": ["script-changed"]}


def test_an_interpreter_in_the_working_directory_and_one_behind_a_wrapper_count(tmp_path: Path) -> None:
    place = tmp_path / "deep"
    place.mkdir()
    for name in ("own", "wrapped"):
        (place / name).write_text("#!/bin/sh\n")
        (place / name).chmod(0o755)
    (tmp_path / "x").write_bytes(b"1")
    words = {"inputs": (Input("../x"),), "working_directory": "deep"}
    steps = [
        step(0, "own", interpreter=("./own",), **words),
        step(1, "wrapped", interpreter=("env", "-u", "HOME", "./wrapped"), **words),
        step(2, "found", interpreter=("wrapped",), env=(("PATH", str(place)),), **words),
    ]
    sandbox = Sandbox(tmp_path, steps, {it.name: lambda *_: None for it in steps})
    sandbox.run()
    assert sandbox.run() == []
    (place / "own").write_text("#!/bin/sh\n:\n")
    assert sandbox.run() == ["own"]
    (place / "wrapped").write_text("#!/bin/sh\n:\n")
    assert sandbox.run() == ["wrapped", "found"]


def test_an_exclusion_stops_at_slashes_and_spares_hidden_names(tmp_path: Path) -> None:
    for name in ("a/b", "axb", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert "a/b" in globs.expand(str(tmp_path), ["**", "!a?b"]).paths
    assert "a/b" in globs.expand(str(tmp_path), ["**", "!a[!x]b"]).paths
    assert "axb" not in globs.expand(str(tmp_path), ["**", "!a?b"]).paths
    assert ".hidden" in globs.expand(str(tmp_path), [".*", "!*"]).paths


def test_a_directory_that_is_left_out_is_looked_into_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_bytes(b"")
    left_out = [str(tmp_path / ".git")]
    assert globs.expand(str(tmp_path), ["."], left_out).paths == [".", "./.git"]
    assert ".git/HEAD" in globs.expand(str(tmp_path), [".git"], left_out).paths
    assert ".git/HEAD" in globs.expand(str(tmp_path), [".git/*"], left_out).paths


def test_what_lies_behind_a_link_that_is_an_output_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_bytes(b"1")
    (tmp_path / "out").symlink_to("real")
    sandbox = Sandbox(tmp_path, [step(0, "s", outputs=("out",))], {"s": lambda *_: None})
    sandbox.run()
    assert sandbox.run() == []
    (tmp_path / "real" / "f").write_bytes(b"2")
    assert sandbox.reasons() == {"s": ["output-changed"]}


def test_a_repeated_step_is_never_reused(tmp_path: Path) -> None:
    """A resume goes on with rounds that saw the inputs of before."""
    rules = Rules(repeat=Repeat(max_iterations=2))
    (tmp_path / "x").write_bytes(b"1")
    sandbox = Sandbox(tmp_path, [step(0, "s", inputs=(Input("x"),), rules=rules)], {"s": lambda *_: None})
    assert sandbox.run() == ["s"]
    assert sandbox.run() == ["s"]


def test_what_edits_a_file_again_gets_it_as_it_was_before(tmp_path: Path) -> None:
    """`key` is made between the two writers: that it will change is known when the turn of the first comes."""
    (tmp_path / "src").write_bytes(b"s")
    (tmp_path / "seed").write_bytes(b"1")
    steps = [
        step(0, "build", inputs=(Input("src"),), outputs=("app",)),
        step(1, "key", inputs=(Input("seed"),), outputs=("key",)),
        step(2, "sign", inputs=(Input("app"), Input("key")), outputs=("app",)),
    ]
    makes = {"build": joined("src", to="app"), "key": joined("seed", to="key"), "sign": joined("app", "key", to="app")}
    sandbox = Sandbox(tmp_path, steps, makes)
    sandbox.run()
    assert sandbox.run() == []
    (tmp_path / "seed").write_bytes(b"2")
    assert sandbox.run() == ["build", "key", "sign"]
    assert (tmp_path / "app").read_bytes() == b"s2"
    assert sandbox.run() == []


@pytest.mark.timeout(60)
def test_many_steps_that_append_to_one_file_take_no_time(tmp_path: Path) -> None:
    (tmp_path / "all").write_bytes(b"")

    def append(path: Path, one: object) -> None:
        with (path / "all").open("ab") as file:
            file.write(b"x")

    steps = [step(number, f"s{number}", inputs=(Input("all"),), outputs=("all",)) for number in range(40)]
    sandbox = Sandbox(tmp_path, steps, {it.name: append for it in steps})
    sandbox.run()
    assert sandbox.run() == []


def test_two_runners_of_one_workflow_keep_what_the_other_knows(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    steps = [step(0, "s", inputs=(Input("x"),)), step(1, "t", inputs=(Input("x"),))]
    sandbox = Sandbox(tmp_path, steps, {"s": lambda *_: None, "t": lambda *_: None})
    sandbox.run()
    disk = Disk()
    one, other = sandbox.world(), sandbox.world()
    other.begins(steps[1], disk)
    one.begins(steps[0], disk)
    one.save(disk)  # knows nothing of `s` any more, and the other has not ended
    assert sandbox.reasons() == {"s": ["never-run"], "t": ["never-run"]}


def test_projects_that_keep_their_runs_in_one_place_know_nothing_of_each_other(tmp_path: Path) -> None:
    ran = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "workflow.yaml").write_text(
            "name: w\nsmart: true\nsteps: [{name: s, inputs: [x], run: ':'}]\n"
        )
        (tmp_path / name / "x").write_bytes(b"1")
        project = Project(tmp_path / name)
        result = project.run("--checkpoint-dir", str(tmp_path / "runs"))
        assert result.returncode == 0, result.stderr
        ran.append("reused" in result.stdout)
    assert ran == [False, False]


def test_a_run_without_smart_in_between_is_a_run(project: Project) -> None:
    """A step that makes no file: nothing else tells that it ran with something else meanwhile."""
    project.file("workflow.yaml", "steps: [{name: s, inputs: [x], run: 'cat x >>ran.txt'}]\n")
    project.file("x", "A\n")
    project.run("--smart")
    project.file("x", "B\n")
    project.run()
    project.file("x", "A\n")
    project.run("--smart")
    assert project.executions == ["A", "B", "A"]


def test_variables_from_a_file_count(project: Project) -> None:
    project.file("workflow.yaml", "smart: true\nsteps: [{name: s, inputs: [x], run: 'echo $V >>ran.txt'}]\n")
    project.file("x", "1")
    for value in ("1", "1", "2"):
        project.file("e", f"V={value}\n")
        assert project.run("--env-file", "e").returncode == 0
    assert project.executions == ["1", "2"]


def test_a_step_that_was_tried_twice_is_known(project: Project) -> None:
    project.file(
        "workflow.yaml",
        "smart: true\nsteps:\n"
        "  - {name: s, retries: 1, inputs: [x], run: 'echo s >>ran.txt; [ -e y ] || { : >y; exit 1; }'}\n",
    )
    project.file("x", "1")
    assert project.run().returncode == 0
    assert project.run().returncode == 0
    assert project.executions == ["s", "s"]


def test_files_that_git_was_told_to_overlook_are_not_vouched_for(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    git("config", "core.fileMode", "false")
    git("update-index", "--assume-unchanged", "a")
    git("update-index", "--skip-worktree", "b")
    os.chmod(tmp_path / "c", 0o755)
    assert unchanged_since(str(tmp_path), "HEAD", os.environ).same == frozenset()


@pytest.mark.parametrize("text", [b"echo $'a\\' # \n#x'\n", b'grep "^##" "$0"\n## help\n', b"echo $LINENO\n# x\n"])
def test_scripts_that_may_mean_their_comments_are_taken_as_they_are(text: bytes) -> None:
    assert comments.code_digest(text) is None


def test_a_ledger_of_another_version_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    sandbox = Sandbox(tmp_path, [step(0, "s", inputs=(Input("x"),))], {"s": lambda *_: None}, Smart(enabled=True))
    sandbox.run()
    path = tmp_path / "cache" / "successes-w.json"
    document = records.decode_document(path.read_bytes())
    path.write_bytes(records.encode_document({**document, "version": 99}))
    ledger = Ledger(str(tmp_path / "cache"), "w")
    assert ledger.get("s") is None
    assert "version" in ledger.problem

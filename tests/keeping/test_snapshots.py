"""The files of snapshots: numbers, damage, limits, and two who make one at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.support import assert_helped, document, hanging_step, start_until, tree, wait_for
from tests.conftest import Project, clean_env
from tests.keeping.snapshot_support import layout_of, named, snapshot, triggers, words
from workflow.checkpoint import durable, snapshots
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.errors import CheckpointError, NotRecordedError, RunBusyError, UsageError
from workflow.keeping.trimming import trim
from workflow.upkeep import RunPinnedError

TASKS: dict[str, object] = {"tasks": {"00": {"name": "a", "status": "pending"}}}


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    path = tmp_path / "workflow_20261120_171500"
    path.mkdir()
    return RunLayout(str(path))


def make(layout: RunLayout, times: int = 1, **more: object) -> None:
    for _ in range(times):
        snapshots.write(durable.Disk(), layout, TASKS, trigger="auto", **more)  # type: ignore[arg-type]


def numbers(layout: RunLayout) -> list[int]:
    return [entry.number for entry in snapshots.listed(layout)]


def test_what_was_written_is_read_again(layout: RunLayout) -> None:
    assert (snapshots.listed(layout), snapshots.newest(layout)) == ([], None)
    name = "caf\u00e9\n\udcff" + 300 * "x"
    entry = snapshots.write(durable.Disk(), layout, {"status": "paused", **TASKS}, trigger="manual", name=name)
    assert os.path.basename(entry.path) == "0001_manual.json"
    seen = snapshots.read(layout, 1)
    assert (seen["checkpoint_id"], seen["trigger"], seen["name"]) == (f"{layout.run_id}@1", "manual", name[:200])
    (head,) = snapshots.heads(layout)
    assert (head.number, head.trigger, head.name, head.status) == (1, "manual", name[:200], "paused")
    assert head.created == seen["created"]


def test_only_names_of_snapshots_count(layout: RunLayout) -> None:
    make(layout, 2)
    for name in ("README", "0003_auto.json.damaged", "3_auto.json", ".tmp-0004_auto.json-x", "0005_AUTO.json"):
        Path(layout.snapshots_dir, name).touch()
    assert numbers(layout) == [1, 2]
    Path(layout.snapshots_dir, "12345_auto.json").touch()
    make(layout)
    assert numbers(layout) == [1, 2, 12345, 12346]
    # What a kill left of a write is gone by then.
    assert ".tmp-0004_auto.json-x" not in os.listdir(layout.snapshots_dir)


def test_the_newest_stay_and_one_can_be_spared(layout: RunLayout) -> None:
    make(layout, 5, most=3)
    assert numbers(layout) == [3, 4, 5]
    make(layout, most=2, spare=3)
    assert numbers(layout) == [3, 5, 6]


def test_every_bit_and_every_length_is_checked(layout: RunLayout) -> None:
    make(layout)
    path = Path(layout.snapshot(1, "auto"))
    whole = path.read_bytes()
    bad = [whole[:length] for length in range(len(whole))]
    bad += [
        whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :] for at in range(len(whole)) for bit in range(8)
    ]
    for data in bad:
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="is damaged"):
            snapshots.read(layout, 1)
    path.unlink()
    with pytest.raises(CheckpointError, match="there is no snapshot"):
        snapshots.read(layout, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint_id": "workflow_20200101_000000@1"}, "it says that it is"),
        ({"tasks": [1]}, "where the steps stood"),
        ({"tasks": {"00": 7}}, "where the steps stood"),
        ({"version": "99.0.0"}, "was written in format 99.0.0"),
    ],
)
def test_what_is_whole_and_not_ours_is_refused(layout: RunLayout, change: dict[str, object], message: str) -> None:
    from workflow.checkpoint import records

    make(layout)
    seen = snapshots.read(layout, 1)
    seen.pop("checksum")
    Path(layout.snapshot(1, "auto")).write_bytes(records.encode_document({**seen, **change}))
    with pytest.raises(CheckpointError, match=message):
        snapshots.read(layout, 1)


def test_a_process_that_was_stopped_with_the_lock_holds_nobody_up_for_long(layout: RunLayout) -> None:
    make(layout)
    code = (
        "import fcntl, os, sys, time\n"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\nprint('held', flush=True)\ntime.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, layout.snapshots_dir], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        started = time.monotonic()
        with pytest.raises(NotRecordedError, match="locked"):
            make(layout)
        assert time.monotonic() - started < 5
    finally:
        holder.kill()
        holder.communicate()
    make(layout)
    assert numbers(layout) == [1, 2]


def test_a_number_is_given_once_whoever_asks(layout: RunLayout) -> None:
    """Six processes, each making twenty at once: a hundred and twenty numbers."""
    code = (
        "import sys\nfrom workflow.checkpoint import durable, snapshots\n"
        "from workflow.checkpoint.layout import RunLayout\n"
        "for _ in range(20):\n"
        "    snapshots.write(durable.Disk(), RunLayout(sys.argv[1]), {'tasks': {}}, trigger=sys.argv[2])\n"
    )
    makers = [
        subprocess.Popen([sys.executable, "-c", code, layout.path, trigger], env=clean_env())
        for trigger in ("auto", "manual", "error", "completion", "auto", "manual")
    ]
    assert [maker.wait(60) for maker in makers] == [0] * 6
    assert numbers(layout) == list(range(1, 121))
    for number in numbers(layout):
        assert snapshots.read(layout, number)["number"] == number


def test_a_run_and_commands_beside_it_take_different_numbers(project: Project) -> None:
    for number in range(60):
        project.step(number, "sleep 0.02")
    project.step(60, "until [ -e go ]; do sleep 0.02; done")
    runner = project.start("run", "--checkpoint-every", "1", "--max-snapshots", "1000")
    wait_for(lambda: project.runs and list(project.newest_run.glob("*.complete")))
    for _ in range(4):
        made = document(project.run("checkpoint", "create", "--json"))
        assert made["status"] == "in_progress"
    (project.path / "go").touch()
    assert runner.wait(60) == 0
    found = triggers(project)
    assert (found.count("manual"), found[-1]) == (4, "completion")
    assert 50 <= found.count("auto") <= 61


def test_create_from_outside_sees_what_is_done_and_what_runs(project: Project) -> None:
    project.step(0)
    hanging_step(project, 1)
    process = start_until(project, "here_01", "run")
    wait_for((project.newest_run / "step_00.complete").exists)
    result = project.run("checkpoint", "create", project.newest_run.name, "--name", "while it\nruns")
    assert result.stdout == (
        f"snapshot {project.newest_run.name}@1 made (while it\\nruns): in_progress, 1 of 2 steps completed\n"
    )
    assert words(snapshot(project, 1)) == {"00": "completed", "01": "running"}
    assert snapshot(project, 1)["recovery_context"]["agents_to_restore"] == [{"worker": 1, "step": "01"}]
    project.file("go", "")
    assert process.wait(20) == 0
    # The runner makes the same of what it saw itself.
    ours = snapshot(project, 2)
    assert words(ours) == {"00": "completed", "01": "completed"}
    assert snapshot(project, 1)["tasks"]["00"] == ours["tasks"]["00"]


def test_inside_and_outside_say_the_same_of_a_run(project: Project) -> None:
    library = '. "$WORKFLOW_LIB/step_execution.sh"'
    project.step(0, f"#| outputs: [out]\n{library}\nstep_output A 1\necho x >out")
    project.step(1, "#| if: test -e nothing\ntrue")
    project.step(2, "#| continue_on_error: true\nexit 4")
    project.step(3, "#| repeat: {max_iterations: 2}\ntrue")
    assert project.run("run").returncode == 0
    inside = snapshot(project, 0)
    for path in (project.newest_run / "snapshots").iterdir():
        path.unlink()  # so that nothing is taken from there
    assert project.run("checkpoint", "create").returncode == 0
    outside = snapshot(project, 0)
    varying = ("trigger", "created", "last_checkpoint", "updated_at", "checksum")
    assert [outside.pop(key) and inside.pop(key) and None for key in varying] == [None] * 5
    assert outside == inside
    assert set(words(inside).values()) == {"completed", "skipped", "failed"}


def test_create_is_refused_in_words(project: Project) -> None:
    assert_helped(project.run("checkpoint", "create"), 3, "there are no runs")
    project.steps(1)
    project.run("run")
    run = project.newest_run.name
    assert_helped(project.run("checkpoint", "create", "workflow_20200101_000000"), 3, run)
    assert_helped(project.run("checkpoint", "create", f"{run}@1"), 2, "is a snapshot")
    assert_helped(project.run("checkpoint", "create", ""), 2, "empty")
    assert_helped(project.run("checkpoint", "create", run, run), 2, "too much")
    (project.newest_run / "workflow.json").write_text("{}")
    assert_helped(project.run("checkpoint", "create", run), 3, "workflow.json")
    assert named(project) == [("completion", "")]


def test_find_tells_one_thing_that_is_wrong_from_another(project: Project) -> None:
    project.steps(1)
    project.run("run")
    root = CheckpointRoot(str(project.path / ".checkpoints"))
    run = project.newest_run.name
    assert snapshots.find(root, f"{run}@1")[1] == 1
    assert snapshots.find(root, f"{run}@0001")[1] == 1
    for name in ("@1", f"{run}@", f"{run}@x", f"{run}@-1", f"{run}@1@1", f"{run}@\u0661", f"{run}@{'9' * 30}"):
        with pytest.raises(UsageError):
            snapshots.find(root, name)
    for name in (f"{run}@0", f"{run}@2", "workflow_20200101_000000@1"):
        with pytest.raises(CheckpointError):
            snapshots.find(root, name)


# ---------------------------------------------------------------- trimming


def aged(layout: RunLayout, number: int, days: float) -> None:
    from workflow.checkpoint import records

    entry = next(it for it in snapshots.listed(layout) if it.number == number)
    seen = snapshots.read(layout, number)
    seen.pop("checksum")
    created = records.utc_text(time.time() - days * 86400)
    Path(entry.path).write_bytes(records.encode_document({**seen, "created": created}))


def test_trim_keeps_what_is_young_or_among_the_newest(layout: RunLayout) -> None:
    make(layout, 8)
    assert trim(layout, None, None, False).removed == []
    for number in (1, 2, 3, 5, 7):
        aged(layout, number, 31)
    before = tree(layout.path)
    dry = trim(layout, None, None, True)
    assert (dry.removed, dry.kept) == ([1, 2, 3], [4, 5, 6, 7, 8])
    assert tree(layout.path) == before
    done = trim(layout, None, None, False)
    assert (done.removed, done.freed_bytes) == (dry.removed, dry.freed_bytes)
    assert numbers(layout) == [4, 5, 6, 7, 8]
    assert trim(layout, 40 * 86400.0, None, False).removed == []
    assert trim(layout, 7 * 86400.0, None, False).removed == [5, 7]
    assert trim(layout, None, 2, False).removed == [4]
    assert trim(layout, 0.0, 0, False).removed == [6]
    # The newest stays whatever is said: its number must not be given again.
    assert numbers(layout) == [8]


def test_trim_leaves_live_and_pinned_runs_alone(project: Project) -> None:
    hanging_step(project, 0)
    process = start_until(project, "here_00", "run")
    layout = layout_of(project)
    for _ in range(2):
        project.run("checkpoint", "create")
    with pytest.raises(RunBusyError):
        trim(layout, None, 1, False)
    assert trim(layout, None, 1, True).removed == [1]
    project.file("go", "")
    process.wait(20)
    Path(layout.pinned).touch()
    with pytest.raises(RunPinnedError, match="pinned"):
        trim(layout, None, 1, False)
    os.unlink(layout.pinned)
    assert trim(layout, None, 1, False).removed == [1, 2]
    assert json.loads(Path(layout.snapshot(3, "completion")).read_text())["number"] == 3


def test_a_snapshot_says_failed_only_with_the_step_that_failed(project: Project) -> None:
    """A step is known to have failed a moment before that is recorded, and the one before it is told of meanwhile."""
    for number in range(6):
        project.step(2 * number, ":")
        project.step(2 * number + 1, f"[ -e mended{number} ] || {{ : >mended{number}; exit 1; }}")
    while project.run("--resume", "--checkpoint-every", "1").returncode != 0:
        pass
    documents = [json.loads(path.read_text()) for path in (project.newest_run / "snapshots").iterdir()]
    assert sum(it["status"] == "failed" for it in documents) >= 6
    for it in documents:
        assert (it["status"] == "failed") == bool(it["failed"]), (it["trigger"], it["failed"], it["status"])

"""Every state a power cut can leave, worked out from what the one writer really did.

The operations of a commit are recorded through a Disk that also performs them. A model of a file system then
says what may be on the disk after a power cut at any moment: bytes that were not synced are there, not there,
cut or zero; changes of names that were not synced are there or not, each by itself. In every such state the
program's own readers are asked. (Real file systems are kinder: this is the worst that POSIX allows.)
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from workflow.checkpoint import commits, renumber, store
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.checkpoint.marker import Marker, encode
from workflow.checkpoint.records import StepRecord, decode_document, digest
from workflow.model import Attempt, Reason, Source, Status, Step, Workflow
from workflow.planning.record import read_record

RUN_ID = "workflow_20261120_171500"
STEPS = (Step(0, "fetch", Source("steps/step_00_fetch.sh"), script="a"),
         Step(1, "build", Source("steps/step_01_build.sh"), script="b"))  # fmt: skip


class Inode:
    """A file: what was written, and how much of it is surely on the disk."""

    def __init__(self) -> None:
        self.data = b""
        self.is_synced = False

    def __deepcopy__(self, memo: object) -> Inode:
        copy = Inode()
        copy.data, copy.is_synced = self.data, self.is_synced
        return copy


class Change(NamedTuple):
    """One change of one directory: `name` now means `inode` (None: nothing)."""

    directory: str
    name: str
    inode: Inode | None


class Moment(NamedTuple):
    """The model after an operation: what names surely mean, and which changes may or may not have arrived."""

    after: str
    sure: dict[tuple[str, str], Inode]
    open_changes: tuple[tuple[Change, ...], ...]
    contents: dict[int, tuple[bytes, bool]]
    told: bool


class Recorder:
    """Stands in for `os` inside the writer: performs every call, and keeps the model beside it."""

    def __init__(self) -> None:
        self.sure: dict[tuple[str, str], Inode] = {}
        self.now: dict[tuple[str, str], Inode] = {}
        self.pending: list[tuple[Change, ...]] = []
        self.files: dict[int, Inode] = {}
        self.directories: dict[int, str] = {}
        self.moments: list[Moment] = []
        self.told = False

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        fd = os.open(path, flags, mode)
        if flags & os.O_DIRECTORY:
            self.directories[fd] = path
            return fd
        key = os.path.split(path)
        if flags & os.O_CREAT and key not in self.now:
            self._change((Change(*key, Inode()),))
        self.files[fd] = self.now[key]
        self._mark(f"open {key[1]}")
        return fd

    def write(self, fd: int, data: bytes) -> int:
        written = os.write(fd, data)
        self.files[fd].data += bytes(data[:written])
        self.files[fd].is_synced = False
        self._mark("write")
        return written

    def fsync(self, fd: int) -> None:
        os.fsync(fd)
        if fd in self.files:
            self.files[fd].is_synced = True
        else:
            directory = self.directories[fd]
            kept: list[tuple[Change, ...]] = []
            for changes in self.pending:
                done = [change for change in changes if change.directory == directory]
                for change in done:
                    self._apply(self.sure, change)
                if len(done) < len(changes):
                    kept.append(tuple(change for change in changes if change not in done))
            self.pending = kept
        self._mark("fsync")

    def sync_everything(self) -> bool:
        """What syncfs does: all bytes, and all names as they are now."""
        for inode in self.now.values():
            inode.is_synced = True
        self.sure, self.pending = dict(self.now), []
        self._mark("syncfs")
        return True

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)
        was, now = os.path.split(old), os.path.split(new)
        self._change((Change(*was, None), Change(*now, self.now[was])))
        self._mark(f"rename to {now[1]}")

    def unlink(self, path: str) -> None:
        os.unlink(path)
        self._change((Change(*os.path.split(path), None),))
        self._mark("unlink")

    def close(self, fd: int) -> None:
        os.close(fd)
        self.files.pop(fd, None)
        self.directories.pop(fd, None)

    def tell(self) -> None:
        """The commit has returned: from here on people count on it."""
        self.told = True
        self._mark("told")

    def _change(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            self._apply(self.now, change)
        # A rename is one change to its directory in every journal, and two where directories differ.
        self.pending.append(changes)

    @staticmethod
    def _apply(names: dict[tuple[str, str], Inode], change: Change) -> None:
        if change.inode is None:
            names.pop((change.directory, change.name), None)
        else:
            names[change.directory, change.name] = change.inode

    def _mark(self, after: str) -> None:
        inodes = {*self.sure.values(), *(it.inode for group in self.pending for it in group if it.inode)}
        contents = {id(inode): (inode.data, inode.is_synced) for inode in inodes}
        self.moments.append(Moment(after, dict(self.sure), tuple(self.pending), contents, self.told))


def states_of(moment: Moment) -> Iterator[dict[tuple[str, str], bytes]]:
    """Yield every set of files that may be on the disk after a power cut at this moment."""
    seen = set()
    for arrived in itertools.product((False, True), repeat=len(moment.open_changes)):
        names = dict(moment.sure)
        for is_there, changes in zip(arrived, moment.open_changes, strict=True):
            for change in changes if is_there else ():
                Recorder._apply(names, change)
        keys = sorted(names)
        for contents in itertools.product(*(contents_of(*moment.contents[id(names[key])]) for key in keys)):
            state = tuple(zip(keys, contents, strict=True))
            if state not in seen:
                seen.add(state)
                yield dict(state)


def contents_of(data: bytes, is_synced: bool) -> tuple[bytes, ...]:
    """What may be read of a file: all of it when synced, else also nothing, half of it, or zeros."""
    return (data,) if is_synced or not data else (data, b"", data[: len(data) // 2], bytes(len(data)))


def put_on_disk(state: dict[tuple[str, str], bytes], where: Path, originally: str) -> RunLayout:
    """Write a state below another directory and return its layout."""
    shutil.rmtree(where, ignore_errors=True)
    run = where / RUN_ID
    (run / "state").mkdir(parents=True)
    for (directory, name), data in state.items():
        (run / os.path.relpath(directory, originally) / name).write_bytes(data)
    return RunLayout(str(run))


def record_of(step: Step, colour: str = "", attempt: int = 1) -> StepRecord:
    return StepRecord(
        step,
        Status.SUCCEEDED,
        (Attempt(attempt, attempt, 1795204581.0, ended_at=1795204582.0, exit_code=0),),
        Reason("never-run", "no marker"),
        "blake3:" + "c" * 64,
        {"script": "blake3:" + "d" * 64},
        {"COLOUR": colour} if colour else {},
        {},
    )


@pytest.fixture
def recording(tmp_path: Path, mocker: Callable[..., object]) -> tuple[Recorder, Disk, RunLayout]:
    """A writer whose system calls are recorded, in a run directory that is there already."""
    run = tmp_path / "original" / RUN_ID
    (run / "state").mkdir(parents=True)
    recorder = Recorder()
    mocker.patch("workflow.checkpoint.durable.os", recorder)  # type: ignore[attr-defined]
    return recorder, Disk(), RunLayout(str(run))


def commit(recorder: Recorder, disk: Disk, layout: RunLayout, record: StepRecord, epoch: int = 1) -> Marker:
    marker = commits.commit_done(disk, layout, record, run_id=RUN_ID, epoch=epoch)
    recorder.tell()
    return marker


def all_states(recorder: Recorder, layout: RunLayout, where: Path) -> Iterator[tuple[Moment, RunLayout]]:
    count = 0
    for moment in recorder.moments:
        for state in states_of(moment):
            count += 1
            yield moment, put_on_disk(state, where, layout.path)
    print(f"{count} states")
    assert count > 10, "the writer makes fewer states than its rules allow: is it recorded at all?"


def test_a_commit_is_whole_or_absent_after_any_power_cut(
    recording: tuple[Recorder, Disk, RunLayout], tmp_path: Path
) -> None:
    """A marker that can be read vouches for a state that can be read; once told, it is there."""
    recorder, disk, layout = recording
    commit(recorder, disk, layout, record_of(STEPS[0], "blue"))
    for moment, survived in all_states(recorder, layout, tmp_path / "after"):
        markers = store.read_markers(survived)
        assert not markers.damaged, f"after {moment.after}: {markers.damaged}"
        if moment.told:
            assert set(markers.whole) == {0}, "told, and lost"
        for number, marker in markers.whole.items():
            state = store.States(survived).raw(number)
            assert state is not None, f"after {moment.after}: a marker without its state"
            assert digest(state) == marker.state_digest, f"after {moment.after}: a marker with a torn state"
            assert decode_document(state)["outputs"]["COLOUR"] == "blue"


@pytest.fixture
def reused(
    recording: tuple[Recorder, Disk, RunLayout], monkeypatch: pytest.MonkeyPatch
) -> tuple[Recorder, Disk, RunLayout, list[commits.StagedDone]]:
    """Two reused steps with outputs, written and without their names."""
    recorder, disk, layout = recording
    monkeypatch.setattr(Disk, "sync_file_system", lambda *_: recorder.sync_everything())
    made = ("/elsewhere/made",)
    records = [
        record_of(step)._replace(status=Status.REUSED, files=made, output_digests={}, is_settled=True) for step in STEPS
    ]
    staged = [commits.stage_done(disk, layout, record, epoch=1) for record in records]
    del recorder.moments[:]  # until now there are temporary names only, and nobody reads those
    return recorder, disk, layout, staged


def test_reused_steps_committed_together_are_whole_or_absent_after_any_power_cut(
    reused: tuple[Recorder, Disk, RunLayout, list[commits.StagedDone]], tmp_path: Path
) -> None:
    """All states are durable under their names before the first marker gets its own."""
    recorder, disk, layout, staged = reused
    assert commits.commit_all_done(disk, layout, staged)
    recorder.tell()
    for moment, survived in all_states(recorder, layout, tmp_path / "after"):
        markers = store.read_markers(survived)
        assert not markers.damaged, f"after {moment.after}: {markers.damaged}"
        assert not moment.told or set(markers.whole) == {0, 1}, "told, and lost"
        for number, marker in markers.whole.items():
            state = store.States(survived).raw(number)
            assert state is not None, f"after {moment.after}: a marker without its state"
            assert digest(state) == marker.state_digest


def test_the_model_sees_markers_that_come_before_their_states(
    reused: tuple[Recorder, Disk, RunLayout, list[commits.StagedDone]], tmp_path: Path
) -> None:
    recorder, disk, layout, staged = reused
    disk.put_in_order(layout.path, ([it.marker for it in staged], [it.state for it in staged]))
    without_state = 0
    for _, survived in all_states(recorder, layout, tmp_path / "after"):
        whole = store.read_markers(survived).whole
        without_state += any(store.States(survived).raw(number) is None for number in whole)
    assert without_state


def test_the_second_of_two_commits_never_harms_the_first(
    recording: tuple[Recorder, Disk, RunLayout], tmp_path: Path
) -> None:
    """What was told stays told, whatever happens to the step after it."""
    recorder, disk, layout = recording
    commit(recorder, disk, layout, record_of(STEPS[0], "blue"))
    del recorder.moments[:-1]
    commit(recorder, disk, layout, record_of(STEPS[1]))
    workflow = Workflow(name="w", project=str(tmp_path), source="steps", steps=STEPS)
    for moment, survived in all_states(recorder, layout, tmp_path / "after"):
        recorded = read_record(survived, workflow, [0, 1])
        assert recorded.facts[0].is_done, f"after {moment.after}: {recorded.notices}"
        assert recorded.values == {"COLOUR": "blue"}
        assert not recorded.damaged
    assert recorded.facts[1].is_done


def test_a_step_that_runs_again_is_never_complete_with_its_old_state(
    recording: tuple[Recorder, Disk, RunLayout], tmp_path: Path
) -> None:
    """The marker goes first, durably; until the new one is there the step counts as not done."""
    recorder, disk, layout = recording
    commit(recorder, disk, layout, record_of(STEPS[0], "blue"))
    recorder.told = False
    disk.remove(layout.marker(0))
    del recorder.moments[:-1]
    commit(recorder, disk, layout, record_of(STEPS[0], "green", attempt=2), epoch=2)
    workflow = Workflow(name="w", project=str(tmp_path), source="steps", steps=STEPS)
    for moment, survived in all_states(recorder, layout, tmp_path / "after"):
        recorded = read_record(survived, workflow, [0, 1])
        if recorded.facts[0].is_done:
            assert recorded.values == {"COLOUR": "green"}, f"after {moment.after}: the old outcome came back"
            assert recorded.markers[0].epoch == 2
        else:
            assert not moment.told


def test_a_failed_attempt_never_leaves_a_completion(
    recording: tuple[Recorder, Disk, RunLayout], tmp_path: Path
) -> None:
    """Case 49: a marker of before is gone durably, and a state alone means nothing."""
    recorder, disk, layout = recording
    commit(recorder, disk, layout, record_of(STEPS[0]))
    disk.remove(layout.marker(0))
    del recorder.moments[:-1]
    commits.commit_not_done(disk, layout, record_of(STEPS[0], attempt=2)._replace(status=Status.FAILED))
    for moment, survived in all_states(recorder, layout, tmp_path / "after"):
        assert store.read_markers(survived) == store.Markers({}, {}), moment.after


def test_renumbering_loses_no_completion(recording: tuple[Recorder, Disk, RunLayout], tmp_path: Path) -> None:
    """Case 48: a step that got another number is found under the old one or the new one."""
    recorder, disk, layout = recording
    marker = commit(recorder, disk, layout, record_of(STEPS[0], "blue"))
    del recorder.moments[:-1]
    renumber.renumber(disk, layout, {4: 0}, {4: marker}, set())
    for moment, survived in all_states(recorder, layout, tmp_path / "after"):
        whole = store.read_markers(survived).whole
        assert whole, f"after {moment.after}: the completion is lost"
        for number, found in whole.items():
            assert found.name == "fetch"
            state = store.States(survived).raw(number)
            # Of the old one, the state may be gone already when its marker comes back.
            if number == 4:
                assert state is not None
                assert digest(state) == found.state_digest
        assert 4 in whole or store.States(survived).raw(0) is not None


def test_the_model_finds_what_is_wrong_with_a_careless_writer(
    recording: tuple[Recorder, Disk, RunLayout], tmp_path: Path
) -> None:
    """The same commit without fsync: the model must see finished steps lost and markers torn."""
    recorder, disk, layout = recording
    commits.commit_done(disk, layout, record_of(STEPS[0], "blue"), run_id=RUN_ID, epoch=1, durability="process")
    recorder.tell()
    lost = torn = without_state = 0
    for moment, survived in all_states(recorder, layout, tmp_path / "after"):
        markers = store.read_markers(survived)
        torn += bool(markers.damaged)
        lost += moment.told and not markers.whole
        without_state += bool(markers.whole) and store.States(survived).raw(0) in (None, b"")
    assert lost
    assert torn
    assert without_state


def test_settling_makes_a_quick_commit_as_durable_as_a_full_one(
    recording: tuple[Recorder, Disk, RunLayout], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`durability: process`, once it was made durable behind the next step, where there is no syncfs."""
    monkeypatch.setattr(Disk, "sync_file_system", lambda *_: False)
    recorder, disk, layout = recording
    record = record_of(STEPS[0], "blue")
    commits.commit_done(disk, layout, record, run_id=RUN_ID, epoch=1, durability="process")
    commits.settle(disk, layout, [record])
    recorder.tell()
    for state in states_of(recorder.moments[-1]):
        survived = put_on_disk(state, tmp_path / "after", layout.path)
        assert set(store.read_markers(survived).whole) == {0}
        assert decode_document(store.States(survived).raw(0) or b"")["outputs"]["COLOUR"] == "blue"


def test_the_names_of_new_directories_are_made_durable(tmp_path: Path, mocker: Callable[..., object]) -> None:
    """A power cut in the first run of a project: what is told done must not vanish with `.checkpoints` itself."""
    synced: list[str] = []
    real_fsync = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real_fsync(fd)

    mocker.patch("workflow.checkpoint.durable.os.fsync", fsync)  # type: ignore[attr-defined]
    root, disk = CheckpointRoot(f"{tmp_path}/deep/er/.checkpoints"), Disk()
    store.prepare_root(root, disk, b"read me\n")
    layout = store.create_run(root, disk, 1795204581.0)
    made = [f"{tmp_path}/deep", f"{tmp_path}/deep/er", root.path, layout.path]
    assert [path for path in made if os.path.dirname(path) not in synced] == []
    disk.write(layout.steps_sh, b"")
    assert layout.path in synced, "the names of state/ and logs/"


def test_the_marker_of_the_model_is_the_one_on_the_disk(
    recording: tuple[Recorder, Disk, RunLayout], tmp_path: Path
) -> None:
    """The recording follows what is really written."""
    recorder, disk, layout = recording
    marker = commit(recorder, disk, layout, record_of(STEPS[0]))
    assert Path(layout.marker(0)).read_bytes() == encode(marker)
    (last,) = states_of(recorder.moments[-1])
    assert last[os.path.split(layout.marker(0))] == encode(marker)

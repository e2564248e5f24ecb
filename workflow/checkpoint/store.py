"""The files of a run: made, read, and committed in the order that keeps a marker true.

Truth is `workflow.json`, the step states and the markers; `checkpoint.json` and everything else is
derived from them and may be lost.
"""

from __future__ import annotations

import os
import stat
import time
from typing import NamedTuple

from workflow.checkpoint import packed, records, streams
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import DAMAGED, FORMAT_VERSION, CheckpointRoot, RunLayout
from workflow.checkpoint.marker import Marker, MarkerDamagedError, decode
from workflow.checkpoint.records import Document, RecordDamagedError, RecordNewerError
from workflow.errors import CheckpointError, NotRecordedError, listed, nearest, one_line
from workflow.model import Attempt

# Records are appended, so the last ones have the highest epoch; enough for some even after a torn line.
EXITS_TAIL_BYTES = 4096
# No lock covers what lies beside the runs; a write there lasts milliseconds.
LONGEST_WRITE_S = 3600.0
LATEST_START = 253402300800.0  # the year 10000, where the text of an instant ends
GITIGNORE = b"# Checkpoints stay on this machine; only the README is kept under version control.\n*\n!README.md\n"


class Markers(NamedTuple):
    """What the markers of a run say: whole ones by step number, and why the others are not whole."""

    whole: dict[int, Marker]
    damaged: dict[int, str]


def prepare_root(root: CheckpointRoot, disk: Disk, readme: bytes) -> None:
    """Make the checkpoint directory with its README and .gitignore where they are missing.

    Raises NotRecordedError: a read-only or full disk fails here, before anything runs.
    """
    if not os.path.isdir(root.path):
        disk.make_directories(root.path)
    for path, content in ((root.readme, readme), (root.gitignore, GITIGNORE)):
        if not os.path.lexists(path):
            disk.write(path, content, sync=False)
    for directory in (root.path, root.cache):
        disk.sweep_temporaries(directory, older_than_s=LONGEST_WRITE_S)
    streams.sweep_nurseries(root.path)


def create_run(root: CheckpointRoot, disk: Disk, now_at: float) -> RunLayout:
    """Make the directory of a new run, exclusively: a second start in the same second gets `_2`.

    Its name is durable on return. Raises NotRecordedError.
    """
    base = time.strftime("workflow_%Y%m%d_%H%M%S", time.gmtime(now_at))
    run_id, again = base, 1
    while True:
        layout = root.run(run_id)
        try:
            disk.make_directory(layout.path, exist_ok=False)
            if not any(os.path.lexists(path) for path in layout.archives):
                break
            disk.remove_empty_directory(layout.path)  # an archive has the name already
        except FileExistsError:
            pass
        again += 1
        run_id = f"{base}_{again}"
    for directory in (layout.state_dir, layout.logs_dir, layout.lib):
        disk.make_directory(directory)
    try:
        disk.sync_directory(root.path)
    except OSError as error:
        raise NotRecordedError(
            f"cannot make {one_line(layout.path)} durable: {error.strerror}", help="look at the disk, then start again"
        ) from error
    return layout


def run_ids(root: CheckpointRoot) -> list[str]:
    """Return the ids of the runs there are, oldest first; empty when there is no checkpoint directory.

    A run may be a directory or an archive: only `find_run` gives what can be read in both cases.
    """
    try:
        names = os.listdir(root.path)
    except OSError:
        return []
    return sorted({run_id for name in names if (run_id := packed.run_of(name))}, key=by_time)


def by_time(run_id: str) -> tuple[str, int]:
    """Return what sorts ids of runs by their start."""
    stem, again = run_id[:24], run_id[25:]
    return stem, int(again or 1)


def find_run(root: CheckpointRoot, run_id: str, to_change: Disk | None = None) -> RunLayout:
    """Return the layout of a run that is there and may be used.

    A run that is an archive is given as a copy for reading, outside the project and gone when this process ends
    (`layout.archive` says so); with `to_change`, the disk to write with, its directory is put back first.
    Raises CheckpointError when there is no such run (it lists what there is) or its directory
    is a link, somebody else's, or open for everybody to write; NotRecordedError.
    """
    known = run_ids(root)
    if run_id not in known:
        name = packed.run_of(os.path.basename(run_id.rstrip(os.sep)))
        if name is not None and name != run_id and name in known:
            return find_run(root, name, to_change)
        like = nearest(run_id, known)
        there = (
            f"runs there are: {listed(reversed(known))}"
            if known
            else "there are no runs yet; start one with: workflow run"
        )
        raise CheckpointError(
            f"there is no run {one_line(run_id)}", help=f"did you mean {like}? {there}" if like else there
        )
    layout = root.run(run_id)
    archive = packed.archive_of(layout)
    if archive is not None:
        if to_change is None:
            return packed.open_to_read(layout, archive)
        packed.put_back(layout, archive, to_change)
    refuse_unsafe(layout)
    return layout


def refuse_unsafe(layout: RunLayout) -> None:
    """Refuse a run directory that somebody else could have planted or can change. Raises CheckpointError."""
    try:
        status = os.lstat(layout.path)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{layout.run_id} was removed meanwhile", help="which there are: workflow checkpoint list"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise CheckpointError(
            f"{one_line(layout.path)} is a link or a file, not the directory of a run",
            help="put the directory itself back there",
        )
    if status.st_uid != os.geteuid():
        raise CheckpointError(
            f"{layout.run_id} belongs to another user (uid {status.st_uid})",
            help=f"carry on as that user, or: chown -R {os.geteuid()} {one_line(layout.path)}",
        )
    if status.st_mode & stat.S_IWOTH:
        raise CheckpointError(f"everybody may write into {layout.run_id}", help=f"chmod -R o-w {one_line(layout.path)}")


def write_definition(disk: Disk, layout: RunLayout, document: Document, *, sync: bool = True) -> None:
    """Store the definition as resolved (`workflow.json`), durably."""
    disk.write(
        layout.definition,
        records.encode_document({"version": FORMAT_VERSION, "workflow_id": layout.run_id, **document}),
        sync=sync,
    )


def read_definition(layout: RunLayout) -> Document:
    """Return `workflow.json`. Raises CheckpointError (missing, damaged, newer)."""
    try:
        document = records.decode_document(read_small(layout.definition))
        _refuse_misshapen(document)
        return document
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{layout.run_id} has no workflow.json: the run died before its first step, or the file was removed",
            help="start again with: workflow run",
        ) from error
    except RecordNewerError as error:
        raise CheckpointError(
            f"{layout.run_id} was written in format {error}, this workflow reads {FORMAT_VERSION}",
            help="use a newer workflow: pip install --upgrade workflow",
        ) from error
    except (RecordDamagedError, OSError) as error:
        raise CheckpointError(
            f"workflow.json of {layout.run_id} cannot be used: {error}", help="start again with: workflow run --force"
        ) from error


def _refuse_misshapen(document: Document) -> None:
    """Raise RecordDamagedError where what a resume leans on is not of the type that we write."""
    definition = document.get("definition", {})
    steps = definition.get("steps", []) if isinstance(definition, dict) else None
    started = document.get("started") or 0.0
    if not isinstance(steps, list):
        raise RecordDamagedError("it holds no definition")
    for step in steps:
        if not isinstance(step, dict) or not isinstance(step.get("number"), int):
            raise RecordDamagedError("a step in it has no number")
    if not isinstance(document.get("params") or {}, dict):
        raise RecordDamagedError("its parameters are no mapping")
    if not isinstance(started, (int, float)) or not 0 <= started < LATEST_START:
        raise RecordDamagedError("its time of start is none")


def read_markers(layout: RunLayout) -> Markers:
    """Read every marker of a run; never raises for what a marker holds."""
    whole: dict[int, Marker] = {}
    damaged: dict[int, str] = {}
    run_id = layout.run_id
    try:
        directory = os.open(layout.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return Markers(whole, damaged)
    try:
        for name in os.listdir(directory):
            digits = name[5:-9]
            if not (
                name.endswith(".complete")
                and name.startswith("step_")
                and digits.isascii()
                and digits.isdigit()
                and len(digits) > 1
            ):
                continue
            number = int(digits)
            try:
                data = read_small(name, directory)
                whole[number] = decode(data, run_id=run_id, number=number)
            except MarkerDamagedError as error:
                damaged[number] = str(error)
            except OSError as error:
                damaged[number] = f"it cannot be read ({error.strerror})"
    finally:
        os.close(directory)
    return Markers(whole, damaged)


def has_whole_marker(layout: RunLayout, number: int) -> bool:
    """Return whether one step is marked complete."""
    try:
        decode(read_small(layout.marker(number)), run_id=layout.run_id, number=number)
    except (OSError, MarkerDamagedError):
        return False
    return True


class States:
    """The step states of a run, read one at a time."""

    def __init__(self, layout: RunLayout) -> None:
        self.layout = layout
        try:
            self._directory = os.open(layout.state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            self._directory = -1

    def raw(self, number: int) -> bytes | None:
        """Return the bytes of a state, None when there is none or it cannot be read."""
        if self._directory < 0:
            return None
        try:
            return read_small(f"step_{number:02d}_state.json", self._directory)
        except OSError:
            return None

    def document(self, number: int) -> Document | None:
        """Return a state, None when there is none. Raises RecordDamagedError."""
        data = self.raw(number)
        return None if data is None else records.decode_document(data)

    def close(self) -> None:
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1


def attempts_of(layout: RunLayout, number: int) -> tuple[Attempt, ...]:
    """Return the attempts that the state of a step tells of, oldest first; empty when there is none to read."""
    states = States(layout)
    try:
        return records.attempts_in(states.document(number))
    except ValueError:
        return ()
    finally:
        states.close()


def set_aside(disk: Disk, path: str) -> str:
    """Keep a damaged file as `NAME.damaged` (`.2`, `.3` when there is one already); return the new path."""
    target, again = path + DAMAGED, 1
    while os.path.lexists(target):
        again += 1
        target = f"{path}{DAMAGED}.{again}"
    disk.rename(path, target)
    return target


def read_epoch(layout: RunLayout) -> int:
    """Return how often the run was started or resumed; 0 when that is not recorded.

    Never less than an epoch that left an exit record: one that is used twice would make an old
    record pass for that of an attempt in hand.
    """
    try:
        epoch = int(read_small(layout.epoch))
    except (OSError, ValueError):
        epoch = 0
    return max(epoch, _last_epoch(layout))


def _last_epoch(layout: RunLayout) -> int:
    try:
        names = [name for name in os.listdir(layout.state_dir) if name.endswith(".exits")]
    except OSError:
        return 0
    last = 0
    for name in names:
        try:
            with open(f"{layout.state_dir}/{name}", "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - EXITS_TAIL_BYTES))
                last = max(last, *(record.epoch for record in records.decode_exits(file.read(EXITS_TAIL_BYTES))), 0)
        except OSError:
            continue
    return last


def write_epoch(disk: Disk, layout: RunLayout, epoch: int) -> None:
    disk.write(layout.epoch, b"%d\n" % epoch)


def sweep(disk: Disk, layout: RunLayout) -> int:
    """Remove temporary files of earlier crashes; only under the lock of the run."""
    swept = (layout.path, layout.state_dir, layout.lib, layout.copies_dir, layout.metrics_dir)
    return sum(disk.sweep_temporaries(directory) for directory in swept)


def project_inside(root: CheckpointRoot, project: str) -> bool:
    """Return whether the checkpoint directory lies in the project, as it normally does."""
    return os.path.commonpath((os.path.realpath(root.path), os.path.realpath(project))) == os.path.realpath(project)


_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# Markers and nearly all states are smaller; asking for more costs more than reading it.
_USUAL_BYTES = 4096


def read_small(name: str, directory: int | None = None) -> bytes:
    """Return the bytes of a file that is small as a rule; never follows a link. Raises OSError."""
    fd = os.open(name, _READ_FLAGS, dir_fd=directory)
    try:
        data = os.read(fd, _USUAL_BYTES)
        if len(data) == _USUAL_BYTES:
            pieces = [data]
            while piece := os.read(fd, 1 << 20):
                pieces.append(piece)
            data = b"".join(pieces)
        return data
    finally:
        os.close(fd)

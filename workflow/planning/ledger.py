"""The last success of every step of a workflow, across its runs: a cache that deleting costs time only.

One document for each workflow name below `cache/`. Besides what each step's world was, it tells who wrote a path
last: a step that strips or signs what an earlier step made leaves other bytes there than the earlier one did, and
that is not tampering.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

from blake3 import blake3

from workflow.checkpoint import records
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import FORMAT_VERSION
from workflow.checkpoint.marker import quote, unquote
from workflow.errors import NotRecordedError
from workflow.model import Step, Workflow
from workflow.planning.evidence import UNKNOWN, Evidence, Success, bytes_digest, success_document, success_of

LARGEST_BEGUN_BYTES = 4 << 20


def name_of(workflow: Workflow, cache: str) -> str:
    """Return the name by which successes are kept.

    Runs beside a project move with it; where those of many projects lie together, each has its own.
    """
    project = os.path.realpath(workflow.project)
    if os.path.realpath(cache).startswith(f"{project}/"):
        return workflow.name
    return f"{bytes_digest(os.fsencode(project))[7:39]} {workflow.name}"


def path_of(directory: str, workflow_name: str) -> str:
    """Return where the last successes of a workflow are, below the directory of the caches."""
    return os.path.join(directory, f"successes-{quote(workflow_name)[:180].replace('/', '%2F')}.json")


def forget(directory: str, workflow_name: str, names: Iterable[str], disk: Disk) -> None:
    """Note that steps run which nobody holds against anything: what was known of them counts no more. Durable."""
    path = path_of(directory, workflow_name)
    if os.path.exists(path):
        _add_begun(path, names, "-", disk, sync=True)


def _add_begun(path: str, names: Iterable[str], token: str, disk: Disk, *, sync: bool) -> None:
    lines = b"".join(f"{quote(name)} {token}\n".encode("ascii") for name in names)
    try:
        size_bytes = disk.append(_begun_path(path), lines, sync=sync) if lines else 0
        if size_bytes <= LARGEST_BEGUN_BYTES:
            return
    except NotRecordedError:
        pass
    # It cannot be noted what counts no more: then nothing does.
    with suppress(NotRecordedError):
        disk.remove(path, sync=sync)


def _begun_path(path: str) -> str:
    return f"{path.removesuffix('.json')}.begun"


class Ledger:
    """What is known of last successes. `problem` says why there is nothing, where it should be."""

    def __init__(self, directory: str, workflow_name: str) -> None:
        self._path = path_of(directory, workflow_name)
        self._touched: set[str] = set()
        self._merged: dict[str, Success] | None = None
        self._token = secrets.token_hex(8)
        self._raw: bytes | None = None
        self._raw_error = ""
        self.problem = ""
        try:
            with open(self._path, "rb") as file:
                self._raw = file.read()
        except FileNotFoundError:
            pass
        except OSError as error:
            self._raw_error = str(error)
        # Steps that a runner began and did not see the end of.
        self.begun_before = {name for name, _ in self._begun()}

    @property
    def raw_digest(self) -> bytes:
        """Which record this is, without having taken it apart."""
        return blake3(self._raw or b"").digest()

    @cached_property
    def _successes(self) -> dict[str, Success]:
        # Taken apart when something is asked of it: a thousand steps take a while.
        found: dict[str, Success] = {}
        try:
            if self._raw_error:
                raise ValueError(self._raw_error)
            if self._raw is not None:
                found = _decoded(self._raw)
        except (ValueError, AttributeError, TypeError) as error:
            self.problem = f"what is known of last successes cannot be used ({error}); every step counts as never run"
        for name in self.begun_before:
            found.pop(name, None)
        return found

    def is_kept(self, name: str, run_id: str, completed_at: str) -> bool:
        """Return whether that is the success that `save` left; True where it had nothing to write."""
        if self._merged is None:
            return True
        success = self._merged.get(name)
        return success is not None and (success.run_id, success.completed_at) == (run_id, completed_at)

    def _read(self) -> dict[str, Success]:
        with open(self._path, "rb") as file:
            return _decoded(file.read())

    def _begun(self) -> list[tuple[str, str]]:
        """Return the names in the file of begun steps, each with the token of who wrote it."""
        try:
            with open(_begun_path(self._path), "rb") as file:
                lines = file.read().split(b"\n")
        except OSError:
            return []
        pairs = (line.partition(b" ") for line in lines if line)
        return [(unquote_name(name), token.decode("ascii", "replace")) for name, _, token in pairs]

    def get(self, name: str) -> Success | None:
        return self._successes.get(name)

    def put(self, name: str, success: Success) -> None:
        """Note a success; `save` keeps it."""
        self._successes[name] = success
        self._touched.add(name)

    def begin(self, name: str, disk: Disk, *, sync: bool = False) -> None:
        """Forget a step that runs now, also for whoever comes after a crash, with `sync` even of the machine."""
        self._successes.pop(name, None)
        self._touched.add(name)
        _add_begun(self._path, [name], self._token, disk, sync=sync)

    def save(self, disk: Disk) -> None:
        """Keep what this runner came to know; what others have noted meanwhile of other steps stays."""
        if not self._touched:
            return
        directory = os.path.dirname(self._path)
        try:
            disk.make_directory(directory)
            lock_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (NotRecordedError, OSError):  # a cache: the next run repeats more
            return
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX)
            self._merge(disk)
        except (NotRecordedError, OSError):
            return
        finally:
            os.close(lock_fd)
        self._touched.clear()

    def _merge(self, disk: Disk) -> None:
        try:
            successes = self._read()
        except (OSError, ValueError, AttributeError, TypeError):
            successes = {}
        begun = self._begun()
        # A step that another runner has begun and that is not ours: its line stays, and who reads it forgets the step.
        left = {name: token for name, token in begun if token != self._token and name not in self._touched}
        for name in self._touched:
            successes.pop(name, None)
            if name in self._successes:
                successes[name] = self._successes[name]
        for name in left:
            successes.pop(name, None)
            self._successes.pop(name, None)
        entries = {name: success_document(success) for name, success in successes.items()}
        document = {"version": FORMAT_VERSION, "steps": entries}
        # Durable before the lines go: else a power cut could bring back what counted before.
        self._merged = successes
        self._raw = records.encode_document(document)
        disk.write(self._path, self._raw, sync=True)
        if begun and not left:
            disk.remove(_begun_path(self._path), sync=False)
        elif begun:
            lines = "".join(f"{quote(name)} {token}\n" for name, token in left.items())
            disk.write(_begun_path(self._path), lines.encode("ascii"), sync=False)

    def writers(self, steps: Iterable[Step]) -> dict[str, list[str]]:
        """Return for each recorded output path the names of the steps that wrote it, in the order of the steps."""
        found: dict[str, list[str]] = {}
        for step in steps:
            success = self._successes.get(step.name)
            for path in success.outputs if success is not None else ():
                found.setdefault(path, []).append(step.name)
        return found


def _decoded(raw: bytes) -> dict[str, Success]:
    document = records.decode_document(raw)
    if document.get("version") != FORMAT_VERSION:
        raise ValueError("it is of another version")
    entries: Any = document.get("steps")
    return {str(name): success_of(entry) for name, entry in entries.items()}


def unquote_name(line: bytes) -> str:
    """Return the name that a line of the file of begun steps says; what is torn names nothing."""
    try:
        return unquote(line.decode("ascii"))
    except ValueError:
        return ""


def as_it_was_before(
    step: Step, evidence: Evidence, ledger: Ledger, writers: Mapping[str, list[str]], is_reused: Callable[[str], bool]
) -> Evidence:
    """Return the evidence with inputs that this step or a later one wrote over as they were when its turn came.

    Such a path holds what its last writer left. When that is what is there, the one before this step in line tells
    what this step found; without one, it found what it made of it the last time. `is_reused` says of an earlier
    writer whether what it left is what it left then.
    """
    success = ledger.get(step.name)
    if success is None:
        return evidence
    inputs = dict(evidence.inputs)
    for path, seen in evidence.inputs.items():
        line = writers.get(path, [])
        if not line or (step.name not in line and not _is_before(step.name, line, ledger)):
            continue
        last = ledger.get(line[-1])
        if last is None or last.outputs.get(path) != seen:
            continue
        earlier = [name for name in line if _order(name, ledger) < success.step and name != step.name]
        if not earlier:
            if path in success.inputs:
                inputs[path] = success.inputs[path]
            else:  # nothing was there, and nothing named it
                del inputs[path]
            continue
        before = ledger.get(earlier[-1])
        if before is not None and is_reused(earlier[-1]):
            # It may have run meanwhile and make that path no more.
            inputs[path] = before.outputs.get(path, UNKNOWN)
    return evidence._replace(inputs=inputs)


def outputs_as_left(
    step: Step, outputs_now: Mapping[str, str], ledger: Ledger, writers: Mapping[str, list[str]]
) -> dict[str, str]:
    """Return a step's outputs with those that a later writer left as it should count as this step's own, unchanged."""
    success = ledger.get(step.name)
    found = dict(outputs_now)
    if success is None:
        return found
    for path, seen in outputs_now.items():
        line = writers.get(path, [])
        last = ledger.get(line[-1]) if line else None
        if last is not None and line[-1] != step.name and last.outputs.get(path) == seen and path in success.outputs:
            found[path] = success.outputs[path]
    return found


def without_own(
    step: Step, success: Success, now: Evidence, declared: Mapping[str, Collection[str]]
) -> tuple[Success, Evidence]:
    """Leave out of both the inputs at and below what the step itself makes: the digests of its outputs tell of them.

    `declared` are all outputs with the names of the steps that make them. In what another step makes, too, each file
    is compared: what that step left is what this one begins with.
    """
    own = set(success.outputs)
    prefixes = tuple(f"{path}/" for path in own)

    def is_own(path: str) -> bool:
        is_made = False
        while path:
            if any(name != step.name for name in declared.get(path, ())):
                return False
            is_made = is_made or path in own
            path = path.rpartition("/")[0]
        return is_made

    def rest(inputs: Mapping[str, str]) -> dict[str, str]:
        return {
            path: seen
            for path, seen in inputs.items()
            if not ((path in own or path.startswith(prefixes)) and is_own(path))
        }

    return success._replace(inputs=rest(success.inputs)), now._replace(inputs=rest(now.inputs))


def _order(name: str, ledger: Ledger) -> int:
    success = ledger.get(name)
    return -1 if success is None else success.step


def _is_before(name: str, line: list[str], ledger: Ledger) -> bool:
    """Whether a step comes before the last writer in line."""
    return _order(name, ledger) < _order(line[-1], ledger)

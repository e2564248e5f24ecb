"""The last success of every step of a workflow, across its runs: a cache that deleting costs time only.

One document for each workflow name below `cache/`. Besides what each step's world was, it tells who wrote a path
last: a step that strips or signs what an earlier step made leaves other bytes there than the earlier one did, and
that is not tampering.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from workflow.checkpoint import records
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import FORMAT_VERSION
from workflow.checkpoint.marker import quote, unquote
from workflow.errors import NotRecordedError
from workflow.model import Step
from workflow.planning.digests import ABSENT
from workflow.planning.evidence import Evidence, Success, success_document, success_of


class Ledger:
    """What is known of last successes. `problem` says why there is nothing, where it should be."""

    def __init__(self, directory: str, workflow_name: str) -> None:
        self._path = os.path.join(directory, f"successes-{quote(workflow_name)[:180].replace('/', '%2F')}.json")
        self._successes: dict[str, Success] = {}
        self._begun_path = f"{self._path.removesuffix('.json')}.begun"
        self._is_changed = False
        self.problem = ""
        self._load()
        self._forget_begun()

    def _load(self) -> None:
        try:
            with open(self._path, "rb") as file:
                document = records.decode_document(file.read())
            entries: Any = document.get("steps")
            self._successes = {str(name): success_of(entry) for name, entry in entries.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, AttributeError, TypeError) as error:
            self.problem = f"what is known of last successes cannot be used ({error}); every step counts as never run"

    def _forget_begun(self) -> None:
        # Steps that a runner began and did not see the end of.
        try:
            with open(self._begun_path, "rb") as file:
                names = file.read().split(b"\n")
        except OSError:
            return
        for name in names:
            self._successes.pop(unquote_name(name), None)

    def get(self, name: str) -> Success | None:
        return self._successes.get(name)

    def put(self, name: str, success: Success) -> None:
        """Note a success; `save` keeps it."""
        self._successes[name] = success
        self._is_changed = True

    def begin(self, name: str, disk: Disk) -> None:
        """Forget a step that runs now, also for whoever comes after a crash: survives the death of processes."""
        self._successes.pop(name, None)
        self._is_changed = True
        try:
            disk.append(self._begun_path, quote(name).encode("ascii") + b"\n")
        except NotRecordedError:  # the directory may be gone: then what was known is gone, too
            return

    def save(self, disk: Disk) -> None:
        if not self._is_changed:
            return
        entries = {name: success_document(success) for name, success in self._successes.items()}
        document = {"version": FORMAT_VERSION, "steps": entries}
        try:
            disk.make_directory(os.path.dirname(self._path))
            disk.write(self._path, records.encode_document(document), sync=False)
            disk.remove(self._begun_path, sync=False)
        except NotRecordedError:  # a cache: the next run repeats more
            return
        self._is_changed = False

    def writers(self, steps: Iterable[Step]) -> dict[str, list[str]]:
        """Return for each recorded output path the names of the steps that wrote it, in the order of the steps."""
        found: dict[str, list[str]] = {}
        for step in steps:
            success = self._successes.get(step.name)
            for path in success.outputs if success is not None else ():
                found.setdefault(path, []).append(step.name)
        return found


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
            inputs[path] = success.inputs.get(path, ABSENT.text)
            continue
        before = ledger.get(earlier[-1])
        if before is not None and is_reused(earlier[-1]):
            inputs[path] = before.outputs[path]
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


def _order(name: str, ledger: Ledger) -> int:
    success = ledger.get(name)
    return -1 if success is None else success.step


def _is_before(name: str, line: list[str], ledger: Ledger) -> bool:
    """Whether a step comes before the last writer in line."""
    return _order(name, ledger) < _order(line[-1], ledger)

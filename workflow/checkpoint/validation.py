"""Whether the files of a run are what they were when they were written: five checks.

Everything is read, nothing is locked, waited for or written. Of a run that is going on, what is in flight is no
failure: whatever looks wrong there is looked at a second time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from workflow.checkpoint import approval, outputs, records, store
from workflow.checkpoint.layout import DAMAGED, RunLayout, label
from workflow.checkpoint.marker import Marker, MarkerDamagedError, decode, posix_cksum
from workflow.checkpoint.records import Document
from workflow.checkpoint.seal import why_broken
from workflow.errors import one_line
from workflow.model import Step

TITLES = {
    "metadata": "Metadata valid",
    "state": "State file valid",
    "progress": "Progress tracking valid",
    "outputs": "All output files present",
    "hashes": "Hashes match",
}
_STATE = re.compile(r"step_(\d{2,})_state\.json\Z", re.ASCII)
_ITERATION = re.compile(r"step_(\d{2,})\.iteration_(\d{2,})\.complete\Z", re.ASCII)
_APPROVAL = re.compile(r"step_(\d{2,})\.approval\Z", re.ASCII)
_NEEDED_OF_STATE = ("step", "name", "status")
_NEEDED_OF_MASTER = ("run_id", "status", "completed_tasks", "total_tasks")

# What mends a finding: `checkpoint repair`, running the step again, a person's word, nothing but a new run.
REPAIR, RERUN, MARK, START_AGAIN = "repair", "rerun", "mark", "start-again"


class Finding(NamedTuple):
    """One thing that is wrong. `path` is relative to the run, or an output as declared; `remedy` what mends it."""

    path: str
    what: str
    step: int | None = None
    remedy: str = REPAIR


class Check(NamedTuple):
    """One of the five. `looked_at` counts the files that were; `note` is said although nothing is wrong."""

    name: str
    findings: tuple[Finding, ...]
    looked_at: tuple[str, ...] = ()
    note: str = ""

    @property
    def title(self) -> str:
        return TITLES[self.name]

    @property
    def is_passed(self) -> bool:
        return not self.findings


def validate(
    layout: RunLayout, steps: Sequence[Step] | None, project: str, *, is_live: bool, with_digests: bool
) -> list[Check]:
    """Return the five checks of a run. `steps` None: its workflow.json cannot be used.

    `project` is where relative outputs lie now. Never raises for what a file of the run holds.
    """
    metadata = _metadata(layout, is_usable=steps is not None)
    found = store.read_markers(layout)
    states = _States(layout, found, is_live=is_live)
    progress = _progress(layout, found, steps or (), is_live=is_live)
    present, hashes = _outputs(layout, found.whole, steps or (), project, states, with_digests=with_digests)
    return [metadata, states.check, progress, present, hashes]


def _metadata(layout: RunLayout, *, is_usable: bool) -> Check:
    findings = []
    looked_at = ["workflow.json"]
    try:
        stored = _document(layout.definition)
        wrong = _wrong_in_definition(layout, stored, is_usable=is_usable)
    except ValueError as error:
        wrong = str(error)
    if wrong:
        findings.append(Finding("workflow.json", wrong, remedy=START_AGAIN))
    if os.path.lexists(layout.master):
        looked_at.append("checkpoint.json")
        try:
            master = _document(layout.master)
            lacking = [key for key in _NEEDED_OF_MASTER if key not in master]
            wrong = f"it lacks {lacking[0]}" if lacking else ""
            if not wrong and master["run_id"] != layout.run_id:
                wrong = f"it belongs to another run ({one_line(str(master['run_id']))})"
        except ValueError as error:
            wrong = str(error)
        if wrong:
            findings.append(Finding("checkpoint.json", wrong))
    for program in layout.programs:
        path = os.path.relpath(program, layout.path)
        looked_at.append(path)
        if wrong := why_broken(program):
            findings.append(Finding(path, wrong))
    for directory, of_run in ((layout.snapshots_dir, "run_id"), (layout.metrics_dir, "workflow_id")):
        for name in _names(directory):
            if name.endswith(".json") and not name.startswith("."):
                path = f"{os.path.basename(directory)}/{name}"
                looked_at.append(path)
                try:
                    if _document(f"{layout.path}/{path}").get(of_run) != layout.run_id:
                        findings.append(Finding(path, "it belongs to another run"))
                except ValueError as error:
                    findings.append(Finding(path, str(error)))
    return Check("metadata", tuple(findings), tuple(looked_at))


def _wrong_in_definition(layout: RunLayout, stored: Document, *, is_usable: bool) -> str:
    if stored.get("workflow_id") != layout.run_id:
        return f"it belongs to another run ({one_line(str(stored.get('workflow_id')))})"
    definition = stored.get("definition")
    if not is_usable or not isinstance(definition, dict):
        return "it holds no definition"
    return ""


class _States:
    """The state files of a run, each read once, held against the markers that vouch for them."""

    def __init__(self, layout: RunLayout, found: store.Markers, *, is_live: bool) -> None:
        self._layout = layout
        self._is_live = is_live
        self._documents: dict[int, Document] = {}
        self._findings: list[Finding] = []
        looked_at = []
        names = _names(layout.state_dir)
        vouched = set(found.whole)
        for name in names:
            path = f"state/{name}"
            if match := _STATE.match(name):
                number = int(match[1])
                looked_at.append(path)
                self._state(path, number, found.whole.get(number))
                vouched.discard(number)
            elif match := _ITERATION.match(name):
                looked_at.append(path)
                self._iteration(path, int(match[1]), int(match[2]))
            elif match := _APPROVAL.match(name):
                looked_at.append(path)
                self._approval(path, int(match[1]))
        lost = [number for number in sorted(vouched) if not self._is_in_flight(number, found.whole[number])]
        known = [number for number in lost if self._is_known_lost(names, found.whole[number])]
        for number in lost:
            if number not in known:
                remedy = REPAIR if found.whole[number].values else MARK
                path = f"state/step_{label(number)}_state.json"
                self._findings.append(Finding(path, "it is missing, and the marker vouches for it", number, remedy))
        if "epoch" in names:
            looked_at.append("state/epoch")
            self._epoch(found.whole)
        note = f"set aside as damaged, and not needed: {', '.join(label(number) for number in known)}" if known else ""
        self.check = Check("state", tuple(self._findings), tuple(looked_at), note)

    def of(self, number: int) -> Document | None:
        """Return the state of a completed step, None where it is damaged or gone."""
        return self._documents.get(number)

    def _state(self, path: str, number: int, marker: Marker | None) -> None:
        wrong = self._wrong_in_state(path, number, marker)
        if wrong and self._is_live:
            # It may have been replaced between the marker and us: the pair is read again.
            marker = _marker(self._layout, number)
            wrong = self._wrong_in_state(path, number, marker)
        if wrong:
            self._findings.append(Finding(path, wrong, number))

    def _wrong_in_state(self, path: str, number: int, marker: Marker | None) -> str:
        try:
            data = store.read_small(f"{self._layout.path}/{path}")
        except FileNotFoundError:
            return ""  # taken away meanwhile
        except OSError as error:
            return f"it cannot be read ({error.strerror})"
        try:
            document = records.decode_document(data)
        except records.RecordNewerError as error:
            return f"it was written in format {error}: a newer workflow reads it"
        except ValueError as error:
            return str(error)
        if marker is not None and marker.state_digest not in (records.digest(data), _cksum(data, marker)):
            return "it is whole, and not the one its marker vouches for"
        lacking = [key for key in _NEEDED_OF_STATE if key not in document]
        if lacking:
            return f"it lacks {lacking[0]}"
        if document["step"] != number:
            return f"it belongs to another step ({one_line(str(document['step']))})"
        if marker is not None:
            self._documents[number] = document
            return self._wrong_in_values(number, document)
        return ""

    def _wrong_in_values(self, number: int, document: Document) -> str:
        """A step that a shell completed has its values in files, which its state vouches for."""
        for path, key in ((self._layout.output(number), "output_cksum"), (self._layout.env(number), "env_cksum")):
            expected = document.get(key)
            if not expected:
                continue
            try:
                if posix_cksum(store.read_small(path)) != expected:
                    return f"{os.path.basename(path)}, which holds published values, is not what it was"
            except OSError as error:
                return f"{os.path.basename(path)}, which holds published values, cannot be read ({error.strerror})"
        return ""

    def _iteration(self, path: str, number: int, iteration: int) -> None:
        try:
            data = store.read_small(f"{self._layout.path}/{path}")
            marker = decode(data, run_id=self._layout.run_id, number=number)
            wrong = "" if marker.iteration == iteration else f"it is that of iteration {marker.iteration}"
        except FileNotFoundError:
            return
        except (OSError, MarkerDamagedError) as error:
            wrong = str(error)
        if wrong:
            self._findings.append(Finding(path, wrong, number))

    def _approval(self, path: str, number: int) -> None:
        try:
            approval.read(self._layout, number)
        except (approval.ApprovalDamagedError, OSError) as error:
            self._findings.append(Finding(path, str(error), number))

    def _epoch(self, whole: dict[int, Marker]) -> None:
        try:
            epoch = int(store.read_small(self._layout.epoch))
        except (OSError, ValueError):
            self._findings.append(Finding("state/epoch", "it holds no number"))
            return
        last = max((marker.epoch for marker in whole.values()), default=0)
        if epoch < last and not self._is_live:
            self._findings.append(Finding("state/epoch", f"it says {epoch}, and a marker is of epoch {last}"))

    def _is_known_lost(self, names: Sequence[str], marker: Marker) -> bool:
        """A damaged state that was set aside is not needed where its step published nothing."""
        aside = f"step_{label(marker.step)}_state.json{DAMAGED}"
        return not marker.values and any(name.startswith(aside) for name in names)

    def _is_in_flight(self, number: int, marker: Marker) -> bool:
        return self._is_live and _marker(self._layout, number) != marker


def _cksum(data: bytes, marker: Marker) -> str:
    return posix_cksum(data) if marker.state_digest.startswith("cksum:") else ""


def _marker(layout: RunLayout, number: int) -> Marker | None:
    try:
        return decode(store.read_small(layout.marker(number)), run_id=layout.run_id, number=number)
    except (OSError, MarkerDamagedError):
        return None


def _progress(layout: RunLayout, found: store.Markers, steps: Sequence[Step], *, is_live: bool) -> Check:
    findings = []
    for number, why in sorted(found.damaged.items()):
        is_gone = is_live and not os.path.lexists(layout.marker(number))
        if not is_gone and _marker(layout, number) is None:
            findings.append(Finding(f"step_{label(number)}.complete", why, number))
    names = {step.number: step.name for step in steps}
    strangers = [number for number, it in sorted(found.whole.items()) if names.get(number) != it.name] if steps else []
    note = ""
    if strangers:
        note = f"of steps that are no longer in the definition: {', '.join(label(number) for number in strangers)}"
    looked_at = (f"step_{label(number)}.complete" for number in sorted({*found.whole, *found.damaged}))
    return Check("progress", tuple(findings), tuple(looked_at), note)


def _outputs(
    layout: RunLayout,
    whole: dict[int, Marker],
    steps: Sequence[Step],
    project: str,
    states: _States,
    *,
    with_digests: bool,
) -> tuple[Check, Check]:
    missing, changed, looked_at, compared = [], [], [], []
    by_number = {step.number: step for step in steps}
    for number, own in sorted(outputs.owned(project, steps, whole).items()):
        step = by_number[number]
        state = states.of(step.number)
        digests = (state or {}).get("output_digests") or {}
        for name in own:
            path = outputs.output_path(project, step, name)
            looked_at.append(name)
            if not os.path.lexists(path):
                missing.append(Finding(name, "it is not there", step.number, RERUN))
                continue
            expected = outputs.recorded_digest(digests, step, name, path)
            if not with_digests or expected is None:
                continue
            compared.append(name)
            if outputs.digest_of(path) != expected and _marker(layout, step.number) == whole[step.number]:
                changed.append(Finding(name, "it is not what the step had made", step.number, RERUN))
    note = "" if with_digests else "not compared: strict_hash_check is false"
    return Check("outputs", tuple(missing), tuple(looked_at)), Check("hashes", tuple(changed), tuple(compared), note)


def _document(path: str) -> Document:
    """Return a whole document. Raises ValueError, also where the file cannot be read."""
    try:
        return records.decode_document(store.read_small(path))
    except FileNotFoundError as error:
        raise ValueError("it is missing") from error
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from error
    except records.RecordNewerError as error:
        raise ValueError(f"it was written in format {error}: a newer workflow reads it") from error


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []

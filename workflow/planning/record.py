"""What the files of a run say about the steps of a definition: markers and states held against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from workflow.checkpoint import records, store, values
from workflow.checkpoint.ahead import NOTHING, Vouched
from workflow.checkpoint.layout import RunLayout, label
from workflow.checkpoint.marker import Marker, posix_cksum
from workflow.checkpoint.records import Document, RecordDamagedError
from workflow.model import Attempt, Reason, Status, Step, Workflow
from workflow.planning.decision import DONE, Fact
from workflow.planning.fingerprint import Manifest, differences, fingerprint, manifest


class Identity(NamedTuple):
    """What makes a step itself: its manifest and that manifest's digest."""

    fingerprint: str
    manifest: Manifest


class Recorded(NamedTuple):
    """Everything a resume knows before it decides.

    `markers` are by number of the definition at hand, `moves` map a number to the one the step had
    when it completed. `published` is what completed steps published, in order of `order`. `waits` are the steps
    between two attempts: retries spent, and the instant of the next. `restarted` are complete steps that begin
    anew; whoever decides fills it.
    `lost_states` are steps that are complete although their state file is damaged or gone.
    `notices` tell people what was found damaged.
    """

    facts: dict[int, Fact]
    markers: dict[int, Marker]
    identities: dict[int, Identity]
    moves: dict[int, int]
    past: dict[int, tuple[Attempt, ...]]
    published: dict[int, dict[str, str]]
    damaged: dict[int, str]
    lost_states: list[int]
    notices: list[str]
    waits: dict[int, tuple[int, float]]
    restarted: set[int]

    @property
    def values(self) -> dict[str, str]:
        """All published values together; where two steps published one name, the later one wins."""
        merged: dict[str, str] = {}
        for published in self.published.values():
            merged.update(published)
        return merged


def identities(workflow: Workflow) -> dict[int, Identity]:
    """Return fingerprint and manifest of every step, by number."""
    known = {}
    for step in workflow.steps:
        content = manifest(step)
        known[step.number] = Identity(fingerprint(content), content)
    return known


def nothing_recorded(workflow: Workflow) -> Recorded:
    """Return what is known of a run that has not started."""
    return Recorded({}, {}, identities(workflow), {}, {}, {}, {}, [], [], {}, set())


def read_record(
    layout: RunLayout, workflow: Workflow, order: list[int], ahead: Callable[[], Vouched] = lambda: NOTHING
) -> Recorded:
    """Read markers and states of a run and hold them against a definition. Writes nothing, never raises for damage.

    `ahead` returns what was read before; everything else is read here.
    """
    recorded = nothing_recorded(workflow)
    vouched = ahead()
    found = store.read_markers(layout) if vouched.markers is None else store.Markers(vouched.markers, {})
    recorded.damaged.update(found.damaged)
    for number, why in found.damaged.items():
        recorded.notices.append(f"the marker of step {label(number)} does not count: {why}")
    matched = _match(workflow, found.whole, recorded)
    states = store.States(layout)
    by_number = {step.number: step for step in workflow.steps}
    try:
        for number in order:
            old = matched.get(number)
            if old == number and old in vouched.states and not (marker := found.whole[old]).values:
                # The usual step of a long run: whole, unchanged, and nothing to be taken from its state.
                is_same = marker.fingerprint == recorded.identities[number].fingerprint
                if is_same and marker.completed_by == "runner":
                    recorded.markers[number] = marker
                    recorded.facts[number] = DONE
                    continue
            if old is None:
                recorded.facts[number] = _not_done(by_number[number], found, states, recorded)
            else:
                recorded.facts[number] = _done(by_number[number], found.whole[old], old, states, recorded)
    finally:
        states.close()
    return recorded


def _match(workflow: Workflow, whole: dict[int, Marker], recorded: Recorded) -> dict[int, int]:
    """Return the number that each completed step's marker has: the same by name or content, never by number alone."""
    matched: dict[int, int] = {}
    open_steps: list[Step] = []
    for step in workflow.steps:
        marker = whole.get(step.number)
        if marker is not None and marker.name == step.name:
            matched[step.number] = step.number
        else:
            open_steps.append(step)
    if not open_steps or len(matched) == len(whole):
        return matched
    free = {number: marker for number, marker in whole.items() if matched.get(number) != number}
    by_name = {marker.name: number for number, marker in free.items()}
    by_content: dict[str, list[int]] = {}
    for number, marker in free.items():
        by_content.setdefault(marker.fingerprint, []).append(number)
    names = {step.name for step in workflow.steps}
    contents = [recorded.identities[step.number].fingerprint for step in open_steps if step.name not in by_name]
    wanted = {content: contents.count(content) for content in by_content}
    for step in open_steps:
        old = by_name.get(step.name)
        if old is None:
            content = recorded.identities[step.number].fingerprint
            same = by_content.get(content, [])
            # The same text stands in several steps of real pipelines: content alone says who a
            # step is only where it is the one of its kind, now and then, and its old name is not
            # in use. One marker never stands for two steps.
            alike = [number for number in same if free[number].name not in names]
            if step.number in alike:
                old = step.number
            elif len(alike) == 1 and len(same) == 1 and wanted[content] == 1:
                old = alike[0]
        if old is not None:
            matched[step.number] = old
            if old != step.number:
                recorded.moves[step.number] = old
    return matched


def _done(step: Step, marker: Marker, old: int, states: store.States, recorded: Recorded) -> Fact:
    data = states.raw(old)
    document: Document | None = None
    if data is None or (records.digest(data) != marker.state_digest and not _shell_digest_matches(data, marker)):
        what = "is missing" if data is None else "is damaged"
        if marker.values:
            recorded.notices.append(
                f"the state of step {step.title} {what}, and with it the values it published: it runs again"
            )
            recorded.damaged[old] = f"its state file {what}"
            return Fact(damage=f"its state file {what}, and with it {marker.values} published values")
        recorded.notices.append(f"the state of step {step.title} {what}; its marker is whole, so it stays complete")
        recorded.lost_states.append(step.number)
    elif marker.values:
        try:
            document = records.decode_document(data)
        except RecordDamagedError as error:
            recorded.damaged[old] = f"its state file is damaged: {error}"
            return Fact(damage=f"its state file is damaged: {error}")
        try:
            recorded.published[step.number] = _published(states.layout, old, marker, document)
        except (ValueError, OSError) as error:
            recorded.damaged[old] = f"the values it published cannot be read: {error}"
            return Fact(damage=recorded.damaged[old])
    recorded.markers[step.number] = marker
    identity = recorded.identities[step.number]
    changes: tuple[Reason, ...] = ()
    if (
        marker.fingerprint == identity.fingerprint
        and marker.completed_by == "runner"
        and step.number not in recorded.moves
    ):
        return DONE
    if marker.fingerprint != identity.fingerprint:
        changes = _changes(data, identity)
    detail = (
        ""
        if marker.completed_by == "runner"
        else f"by {'a shell without Python' if marker.completed_by == 'shell' else marker.completed_by}"
    )
    return Fact(is_done=True, changes=changes, detail=detail, renumbered_from=recorded.moves.get(step.number))


def _published(layout: RunLayout, number: int, marker: Marker, document: Document) -> dict[str, str]:
    if marker.completed_by != "shell":
        return {
            **{key: value for key, value in document["outputs"].items() if key != "files_modified"},
            **document.get("env", {}),
        }
    # A shell does not write JSON of other people's text: what its steps published stays in the
    # files they wrote, and the state vouches for them.
    published: dict[str, str] = {}
    for path, name in ((layout.output(number), "output_cksum"), (layout.env(number), "env_cksum")):
        expected = document.get(name)
        if expected:
            with open(path, "rb") as file:
                data = file.read()
            if posix_cksum(data) != expected:
                raise ValueError(f"{path} is not what it was")
            published.update(values.decode(data))
    return published


def _shell_digest_matches(data: bytes, marker: Marker) -> bool:
    return marker.state_digest.startswith("cksum:") and posix_cksum(data) == marker.state_digest


def _changes(data: bytes | None, identity: Identity) -> tuple[Reason, ...]:
    try:
        old = records.decode_document(data or b"").get("manifest") or {}
    except RecordDamagedError:
        old = {}
    return tuple(differences(old, identity.manifest)) or (Reason("definition-changed", "it is not what was completed"),)


def _not_done(step: Step, found: store.Markers, states: store.States, recorded: Recorded) -> Fact:
    number = step.number
    damage = found.damaged.get(number, "")
    try:
        document = states.document(number)
    except ValueError as error:
        recorded.notices.append(f"the state of step {label(number)} cannot be read ({error}); it counts as never run")
        return Fact(damage=damage)
    if document is None:
        return Fact(damage=damage)
    recorded.past[number] = records.attempts_in(document)
    status = document.get("status")
    failure = document.get("failure")
    if status == Status.SKIPPED.value:
        # What decided stands: a condition that is asked again could send a resume another way.
        is_same = document.get("fingerprint") == recorded.identities[number].fingerprint
        why = document.get("reason")
        said = why.get("detail", "") if isinstance(why, dict) else ""
        if is_same:
            return Fact(damage=damage, last=status, detail=said)
        return Fact(damage=damage, detail="its condition changed")
    if status in (Status.WAITING.value, Status.CANCELLED.value) and not damage:
        retry = document.get("retry")
        if isinstance(retry, dict) and isinstance(retry.get("used"), int):
            next_at = retry.get("next_attempt")
            recorded.waits[number] = (retry["used"], float(next_at) if isinstance(next_at, (int, float)) else 0.0)
    if status == Status.PENDING.value and not failure:
        # Taken back by somebody who went back to a snapshot; a runner that was killed after that ran nothing since.
        why = document.get("reason")
        if isinstance(why, dict) and why.get("code") == "forced":
            return Fact(damage=damage, last=status, undone=str(why.get("detail", "")))
    detail = f"last time: {failure['message']}" if isinstance(failure, dict) and failure.get("message") else ""
    return Fact(damage=damage, last=status if isinstance(status, str) else None, detail=detail)

"""What going back to a snapshot takes away: every completion that it did not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from workflow.checkpoint.marker import Marker
from workflow.checkpoint.records import Document
from workflow.errors import listed, one_line
from workflow.model import Status, Step, Workflow
from workflow.planning.decision import Fact
from workflow.planning.record import Recorded
from workflow.planning.tasks import Task, identity_of, identity_of_marker


class GoingBack(NamedTuple):
    """The steps that begin anew, by number, in the order in which they are to be taken back: the last one first.

    `completed` were completed after the snapshot, `settled` were skipped after it, or failed and were tolerated.
    `rounds` says how many iterations stay of each repeated step that the snapshot saw under way.
    """

    snapshot_id: str
    completed: list[int]
    settled: list[int]
    rounds: dict[int, int]

    @property
    def why(self) -> str:
        """The detail of the reason `forced`, for each of these steps."""
        return f"after {self.snapshot_id}, which the run goes back to"

    @property
    def is_empty(self) -> bool:
        return not (self.completed or self.settled)


def going_back(
    snapshot: Document, workflow: Workflow, order: Sequence[int], markers: Mapping[int, Marker], recorded: Recorded
) -> GoingBack:
    """Return what goes. `markers` may hold more than those of the definition; those go first."""
    tasks: Mapping[str, Any] = snapshot["tasks"]
    by_name: dict[object, Task] = {task.get("name"): task for task in tasks.values()}
    seen = {identity_of(task) for task in tasks.values() if task.get("status") == "completed"}
    gone = {number for number, marker in markers.items() if identity_of_marker(marker) not in seen}
    strangers = sorted(gone - set(order), reverse=True)
    settled = []
    rounds = {}
    for step in workflow.steps:
        task = by_name.get(step.name, {})
        if step.number not in markers and _is_settled(step, recorded) and task.get("status") != _last(step, recorded):
            settled.append(step.number)
        elif step.rules.repeat is not None and step.number not in markers:
            rounds[step.number] = _rounds(task)
    return GoingBack(
        str(snapshot["checkpoint_id"]),
        strangers + [number for number in reversed(order) if number in gone],
        [number for number in reversed(order) if number in settled],
        rounds,
    )


def take_back(recorded: Recorded, back: GoingBack) -> None:
    """Make what is recorded say what the files will say once that is taken away."""
    for number in back.completed:
        recorded.markers.pop(number, None)
        recorded.published.pop(number, None)
        if number in recorded.facts:
            recorded.facts[number] = Fact(last=Status.PENDING.value, undone=f"completed {back.why}")
    for number in back.settled:
        recorded.facts[number] = Fact(last=Status.PENDING.value, undone=f"{_word(recorded, number)} {back.why}")


def sentence(back: GoingBack, workflow: Workflow) -> str:
    """Return what going back means, for people."""
    if back.is_empty:
        return f"going back to {back.snapshot_id}: nothing was completed after it"
    titles = {step.number: one_line(step.title) for step in workflow.steps}
    again = [titles[number] for number in sorted((*back.completed, *back.settled)) if number in titles]
    if not again:
        return f"going back to {back.snapshot_id}: what completed after it is no longer in the definition"
    return f"going back to {back.snapshot_id}; what came after it begins anew: {listed(again)}"


def _word(recorded: Recorded, number: int) -> str:
    return recorded.facts[number].last or "settled"


def _last(step: Step, recorded: Recorded) -> str | None:
    fact = recorded.facts.get(step.number)
    return None if fact is None else fact.last


def _is_settled(step: Step, recorded: Recorded) -> bool:
    last = _last(step, recorded)
    return last == Status.SKIPPED.value or (last == Status.FAILED.value and step.rules.continue_on_error)


def _rounds(task: Mapping[str, Any]) -> int:
    if task.get("status") == "completed":
        return 0  # that loop was over: what is there now are rounds of another one
    rounds = task.get("iterations")
    return rounds if isinstance(rounds, int) else 0

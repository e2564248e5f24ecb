"""What is found of one step when its turn has come, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from workflow.model import Reason, Step
from workflow.planning.evidence import Evidence, Success

NO_CHANGES = Reason("no_relevant_changes")
NO_VALUES: Mapping[str, str] = MappingProxyType({})
MOST_SAID = 8


class Judgement(NamedTuple):
    """What is known of one step: its world now, its last success if any, and every reason to run it.

    No reasons: it is reused. `is_never`: it could not be, whatever its world. `values` are the published ones it sees.
    `is_of_base`: not its last success is what it is reused for, but the revision that git was asked about. `outputs`
    maps its declared outputs to what they were then, where it may be reused; they are named from the project.
    """

    step: Step
    evidence: Evidence
    success: Success | None
    reasons: tuple[Reason, ...]
    is_never: bool = False
    values: Mapping[str, str] = NO_VALUES
    is_of_base: bool = False
    outputs: Mapping[str, str] = NO_VALUES


def reused(judgement: Judgement) -> Reason:
    """Return the reason why a step is reused."""
    success = judgement.success
    return NO_CHANGES if success is None or judgement.is_of_base else Reason(NO_CHANGES.code, f"as in {success.run_id}")


def said(reasons: Sequence[Reason]) -> str:
    """Return what the first reason says, and the others whole: one text that names them all."""
    first, *rest = reasons
    told = [*([first.detail] if first.detail else []), *(str(reason) for reason in rest[:MOST_SAID])]
    more = len(rest) - MOST_SAID
    return "; ".join([*told, f"and {more:,} more"] if more > 0 else told)

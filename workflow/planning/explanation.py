"""Everything there is to say about why one step would run or be reused, as a document."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from workflow.model import Decision
from workflow.planning.judgement import Judgement

MOST_DIFF_LINES = 400


def explanation(
    judgement: Judgement, decision: Decision, outputs_now: Mapping[str, str], writers: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Return the document of one step.

    `inputs`, `outputs`, `values`, `upstream` and `definition` hold what differs and what does not, each with `before`
    and `now` (None: not there or not known); `diff` is a unified diff of the script, one line an item.
    """
    step, evidence, success = judgement.step, judgement.evidence, judgement.success
    return {
        "step": step.number,
        "name": step.name,
        "choice": decision.choice.value,
        "reasons": [{"code": reason.code, "detail": reason.detail} for reason in decision.reasons],
        **evidence_document(judgement),
        "outputs": _pairs({} if success is None else success.outputs, outputs_now),
        "empty_patterns": list(evidence.empty),
        "written_by_many": {path: line for path, line in writers.items() if step.name in line},
    }


def evidence_document(judgement: Judgement) -> dict[str, Any]:
    """Return what a step's world is and was: see `explanation`."""
    evidence, success = judgement.evidence, judgement.success
    return {
        "can_be_reused": not judgement.is_never,
        "last_success": None
        if success is None
        else {
            "run_id": success.run_id,
            "completed_at": success.completed_at,
            "duration_seconds": success.duration_s,
        },
        "inputs": _pairs({} if success is None else success.inputs, evidence.inputs),
        "values": _pairs({} if success is None else success.values, evidence.values),
        "upstream": _pairs({} if success is None else success.upstream, evidence.upstream),
        "definition": _pairs({} if success is None else success.manifest, evidence.manifest),
        "diff": [] if success is None else script_diff(success.script, evidence.script),
    }


def script_diff(old: str, new: str) -> list[str]:
    """Return what was edited between two texts, in the form of `diff -u`; empty when they are the same."""
    if old == new:
        return []
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "at its last success", "now", lineterm="", n=2)
    found = list(lines)
    if len(found) > MOST_DIFF_LINES:
        return [*found[:MOST_DIFF_LINES], f"({len(found) - MOST_DIFF_LINES:,} more lines)"]
    return found


def _pairs(before: Mapping[str, str], now: Mapping[str, str]) -> list[dict[str, str | None]]:
    return [{"name": name, "before": before.get(name), "now": now.get(name)} for name in sorted({**before, **now})]

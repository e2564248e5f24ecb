"""What differs between two runs, two snapshots, or a run and a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow.checkpoint import store
from workflow.checkpoint.layout import CheckpointRoot
from workflow.checkpoint.records import Document
from workflow.keeping.choosing import choose
from workflow.keeping.showing import shown
from workflow.keeping.tree_comparing import files_between
from workflow.planning.fingerprint import differences

_HEAD = ("checkpoint_id", "run_id", "trigger", "name", "created", "status", "plan_hash", "epoch")
# Of a step: where it stands, its times, what went in (fingerprint) and what came out.
_COMPARED = (
    "name",
    "status",
    "started_at",
    "completed_at",
    "duration_ms",
    "exit_code",
    "fingerprint",
    "output_hash",
    "epoch",
)
TIMES = frozenset({"started_at", "completed_at", "duration_ms", "epoch"})


def difference(root: CheckpointRoot, first: str, second: str) -> Document:
    """Return what differs: of each step, of parameters, of published values and of kept files. Writes nothing.

    `steps` are in order, by label, only those that differ; `changes` of each map a key to what it is in `a` and `b`,
    and `inputs` say in words what went in differently, where both states tell. `is_same` leaves times out of account.
    `files` are those of the work tree, None where they are not kept for both.
    Raises CheckpointError, UsageError.
    """
    a, b = shown(root, first).document, shown(root, second).document
    before, after = a["tasks"], b["tasks"]
    steps = []
    for key in sorted({*before, *after}, key=_by_number):
        changes = _changes(before.get(key), after.get(key))
        if changes:
            steps.append(
                {
                    "step": key,
                    "name": (after.get(key) or before.get(key) or {}).get("name"),
                    "only_in": "b" if key not in before else "a" if key not in after else None,
                    "changes": changes,
                    "inputs": _inputs(root, (first, before.get(key)), (second, after.get(key)), key)
                    if "fingerprint" in changes
                    else [],
                }
            )
    values = _pairs(_environment(a, "shared_state"), _environment(b, "shared_state"))
    parameters = _pairs(_environment(a, "mission_variables"), _environment(b, "mission_variables"))
    definition = {"a": a.get("plan_hash"), "b": b.get("plan_hash"), "is_same": a.get("plan_hash") == b.get("plan_hash")}
    files = files_between(first, second)
    is_same = not files and not values and not parameters and all(it["changes"].keys() <= TIMES for it in steps)
    return {
        "a": {key: a.get(key) for key in _HEAD},
        "b": {key: b.get(key) for key in _HEAD},
        "is_same": is_same,
        "definition": definition,
        "steps": steps,
        "parameters": parameters,
        "values": values,
        "files": files,
    }


def _by_number(key: str) -> tuple[int, str]:
    return (int(key), key) if key.isascii() and key.isdigit() else (1 << 62, key)


def _changes(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> dict[str, Any]:
    a, b = a or {}, b or {}
    return {key: {"a": a.get(key), "b": b.get(key)} for key in _COMPARED if a.get(key) != b.get(key)}


def _environment(document: Document, key: str) -> Mapping[str, Any]:
    found = ((document.get("recovery_context") or {}).get("environment") or {}).get(key)
    return found if isinstance(found, dict) else {}


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Document]:
    return [
        {"name": name, "a": a.get(name), "b": b.get(name)}
        for name in sorted({*a, *b})
        if name not in a or name not in b or a[name] != b[name]
    ]


def _inputs(
    root: CheckpointRoot, a: tuple[str, Mapping[str, Any] | None], b: tuple[str, Mapping[str, Any] | None], key: str
) -> list[Document]:
    """Return what went into a step differently, where the states of both runs are those of the two fingerprints."""
    manifests = []
    for name, task in (a, b):
        states = store.States(choose(root, name).layout)
        try:
            state = states.document(int(key)) or {}
        except ValueError:
            state = {}
        finally:
            states.close()
        found = state.get("manifest")
        if task is None or not isinstance(found, dict) or state.get("fingerprint") != task.get("fingerprint"):
            return []
        manifests.append(found)
    return [{"code": reason.code, "detail": reason.detail} for reason in differences(*manifests)]

"""One run or snapshot for people, and what differs between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflow.errors import count, duration_text, listed, one_line, printable, size_text
from workflow.reporting.status_view import coloured_status, progress_line, steps_table
from workflow.reporting.wording import Palette

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MOST_VALUES = 20
LONGEST_VALUE = 120
_SHORT_DIGEST = 19  # blake3: and twelve digits


def shown_text(document: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], *, colour: bool, now_at: float) -> str:
    """Return what `checkpoint show` tells of a run or snapshot, without a trailing newline."""
    palette = Palette(is_coloured=colour)
    return "\n".join(
        [
            *_head(document, palette),
            "",
            f"steps captured: {len(steps):,}{_counts(steps)}",
            *steps_table(steps, palette, now_at),
            "",
            *_locks(document),
            *_approvals(document),
            _size(document),
            "",
            *_recovery(document),
            *_closing(document, palette),
        ]
    )


def _head(document: Mapping[str, Any], palette: Palette) -> Iterator[str]:
    is_snapshot = document["number"] is not None
    status = coloured_status(str(document["status"]), palette)
    yield f"{'snapshot' if is_snapshot else 'run'} {one_line(str(document['checkpoint_id']))}: {status}"
    yield f"progress: {progress_line(document, palette)}"
    name = f" ({one_line(str(document['name']))})" if document.get("name") else ""
    yield f"trigger: {one_line(str(document['trigger']))}{name}"
    yield palette.dim(f"{'made' if is_snapshot else 'changed'}: {document['created']}")
    yield palette.dim(f"started: {document['started_at']}")
    yield palette.dim(f"project: {one_line(str(document['project_path']))}")
    yield palette.dim(f"plan: {one_line(str(document['plan_file']))} ({document['plan_hash']})")


def _counts(steps: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for step in steps:
        counts[str(step["status"])] = counts.get(str(step["status"]), 0) + 1
    return f" ({', '.join(f'{number:,} {one_line(status)}' for status, number in counts.items())})" if counts else ""


def _locks(document: Mapping[str, Any]) -> Iterator[str]:
    active = document["active_locks"]
    word = "locks to hold again" if document["number"] is not None else "active locks"
    yield f"{word}: {'none' if not active else len(active)}"
    for lock in active:
        what = "the run itself" if lock["lock"] == "run" and lock["step"] is None else one_line(str(lock["lock"]))
        by = f", held by {one_line(str(lock['holder']))}" if lock["holder"] else ""
        yield f"  {what}{by}"


def _approvals(document: Mapping[str, Any]) -> Iterator[str]:
    pending = document["pending_approvals"]
    yield f"pending approvals: {'none' if not pending else len(pending)}"
    for it in pending:
        yield f"  {it['step']} {one_line(str(it['name']))} asks: {one_line(str(it['text']))}"
        if it["command"]:
            command = one_line(str(it["command"]))
            yield f"    yes: {command}"
            yield f"    no:  {command} --reject"


def _size(document: Mapping[str, Any]) -> str:
    files, made = count(document["files"], "file"), count(document["snapshots"], "snapshot")
    return f"size: {size_text(document['size_bytes'])} in {files}, {made}"


def _recovery(document: Mapping[str, Any]) -> Iterator[str]:
    context = document.get("recovery_context") or {}
    environment = context.get("environment") or {}
    yield "recovery context"
    workers = [f"{it.get('worker')} for step {it.get('step')}" for it in context.get("agents_to_restore") or ()]
    yield f"  workers to restore: {listed(map(one_line, workers)) or 'none'}"
    yield f"  steps to resume: {listed(map(one_line, map(str, context.get('tasks_to_resume') or ()))) or 'none'}"
    yield f"  locks to re-establish: {listed(map(one_line, context.get('locks_to_restore') or ())) or 'none'}"
    for key, word in (("mission_variables", "parameters"), ("shared_state", "values")):
        values: Mapping[str, Any] = environment.get(key) or {}
        yield f"  {word}: {'none' if not values else len(values)}"
        for name, value in list(values.items())[:MOST_VALUES]:
            yield f"    {one_line(str(name))}={_short(value)}"
        if len(values) > MOST_VALUES:
            yield f"    and {len(values) - MOST_VALUES:,} more"


def _short(value: Any) -> str:
    text = one_line(str(value))
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _closing(document: Mapping[str, Any], palette: Palette) -> Iterator[str]:
    for problem in document.get("problems") or ():
        yield f"{palette.yellow('problem:')} {printable(str(problem))}"
    if document.get("resume_command"):
        yield ""
        yield f"help: {one_line(str(document['resume_command']))}"


def difference_text(document: Mapping[str, Any], *, colour: bool) -> str:
    """Return what `checkpoint diff` tells, without a trailing newline."""
    palette = Palette(is_coloured=colour)
    lines = []
    for key in ("a", "b"):
        side = document[key]
        status = coloured_status(str(side["status"]), palette)
        name = f" ({one_line(str(side['name']))})" if side.get("name") else ""
        trigger = f"{side['trigger']}{name}, {side['created']}"
        lines.append(f"{key}: {one_line(str(side['checkpoint_id']))}  {status}  {palette.dim(trigger)}")
    lines.append("definition: " + ("the same" if document["definition"]["is_same"] else "changed"))
    for step in document["steps"]:
        lines += _step_difference(step, palette)
    for key, word in (("parameters", "parameter"), ("values", "value")):
        for it in document[key]:
            before, after = ("(none)" if it[side] is None else _short(it[side]) for side in ("a", "b"))
            lines.append(f"{word} {one_line(str(it['name']))}: {before} -> {after}")
    lines += _files(document["files"])
    if document["is_same"]:
        lines.append("the same but for times" if document["steps"] else "no difference")
    return "\n".join(lines)


_SIGNS = {"added": "+", "removed": "-", "changed": "~", "renamed": ">"}
_MOST_FILES = 100


def _files(files: Sequence[Mapping[str, Any]] | None) -> Iterator[str]:
    """Yield what differs in the work tree; nothing where that is not known."""
    if files is None:
        return
    yield f"files: {count(len(files), 'file')} changed" if files else "files: the same"
    for it in files[:_MOST_FILES]:
        before = f"{one_line(it['before'])} -> " if it["before"] is not None else ""
        yield f"  {_SIGNS[it['change']]} {before}{one_line(it['path'])}"
    if len(files) > _MOST_FILES:
        yield f"  and {len(files) - _MOST_FILES:,} more"


def _step_difference(step: Mapping[str, Any], palette: Palette) -> Iterator[str]:
    changes: Mapping[str, Mapping[str, Any]] = step["changes"]
    title = f"{one_line(str(step['step']))} {one_line(str(step['name'] or ''))}"
    if step["only_in"]:
        yield f"  {title}: only in {step['only_in']}"
        return
    said = []
    if "name" in changes:
        said.append(f"name {_side(changes['name'])}")
    if "status" in changes:
        said.append(f"{changes['status']['a']} -> {changes['status']['b']}")
    if "exit_code" in changes:
        said.append(f"exit code {_side(changes['exit_code'])}")
    if "fingerprint" in changes:
        said.append("inputs changed" + "".join(f", {one_line(str(it['detail']))}" for it in step["inputs"]))
    if "output_hash" in changes:
        said.append(f"outputs {_side(changes['output_hash'], most=_SHORT_DIGEST)}")
    times = [palette.dim(it) for it in _times(changes)]
    yield f"  {title}: {'; '.join([*said, *times])}"


def _times(changes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if "duration_ms" in changes:
        took = [
            "(unknown)" if changes["duration_ms"][side] is None else duration_text(changes["duration_ms"][side] / 1000)
            for side in ("a", "b")
        ]
        yield f"took {took[0]} -> {took[1]}"
    for key, word in (("started_at", "started"), ("completed_at", "completed")):
        if key in changes:
            yield f"{word} {_side(changes[key])}"


def _side(change: Mapping[str, Any], most: int = LONGEST_VALUE) -> str:
    before, after = ("(none)" if change[side] is None else one_line(str(change[side]))[:most] for side in ("a", "b"))
    return f"{before} -> {after}"

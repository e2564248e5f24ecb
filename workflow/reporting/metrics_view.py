"""The metrics of a run for people, and in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workflow.checkpoint.records import utc_seconds
from workflow.errors import count, duration_text, one_line, size_text

Document = dict[str, Any]
_STATUSES = ("created", "in_progress", "paused", "retrying", "completed", "failed", "abandoned")


def metrics_text(document: Document) -> str:
    """Return the metrics of a run as lines."""
    steps = ", ".join(f"{number:,} {word}" for word, number in document["steps_by_status"].items() if number)
    rounds = f", {count(document['iterations'], 'iteration')}" if document["iterations"] else ""
    kept = f"{count(document['snapshots'], 'snapshot')}, {count(document['copies'], 'copy', 'copies')} of sources"
    lines = [
        f"run {document['run_id']} of {one_line(document['workflow'])}: {document['status'].replace('_', ' ')}",
        f"steps      {document['total_steps']:,}: {steps}",
        f"time       {duration_text(document['step_seconds'])} in the last attempts of steps",
        f"attempts   {document['attempts']:,}, {count(document['retries'], 'retry', 'retries')}{rounds}",
        f"storage    {size_text(document['storage_bytes'])}, {kept}",
    ]
    recording = document["recording"]
    if recording is None:
        lines.append("recording  not measured (it is with --metrics-interval N)")
    else:
        lines.append(
            f"recording  {duration_text(recording['recording_seconds'] or 0)} of "
            f"{duration_text(recording['elapsed_seconds'] or 0)} ({recording['overhead_percent']}%)"
        )
    lines += [f"{name}  {value:,}" for name, value in document["values"].items()]
    return "\n".join(lines)


def prometheus_text(document: Document) -> str:
    """Return the metrics of a run in the text exposition format 0.0.4, without timestamps, in base units.

    Samples of one metric stand together below its HELP and TYPE, as the textfile collector of node_exporter wants it.
    """
    run = {"run_id": document["run_id"], "workflow": document["workflow"]}
    steps = document["steps"]
    lines: list[str] = []

    def metric(name: str, kind: str, about: str, samples: Iterable[tuple[dict[str, str], int | float | None]]) -> None:
        rows = [f"workflow_{name}{_labels({**run, **own})} {_number(it)}" for own, it in samples if it is not None]
        if rows:
            lines.extend((f"# HELP workflow_{name} {about}", f"# TYPE workflow_{name} {kind}", *rows))

    by_step = [{"step": f"{it['step']:02d}", "name": it["name"]} for it in steps]
    recording = document["recording"] or {}
    states = [({"status": word}, int(word == document["status"])) for word in _STATUSES]
    metric("run_status", "gauge", "1 for the status that the run has.", states)
    metric(
        "run_started_timestamp_seconds", "gauge", "When the run started.", [({}, utc_seconds(document["started_at"]))]
    )
    updated = utc_seconds(document["updated_at"])
    metric("run_updated_timestamp_seconds", "gauge", "When the run last changed.", [({}, updated)])
    metric("run_epoch", "gauge", "How often the run was started or resumed.", [({}, document["epoch"])])
    counted = [({"status": word}, number) for word, number in document["steps_by_status"].items()]
    metric("run_steps", "gauge", "Steps of the run by where they stand.", counted)
    metric("run_attempts_total", "counter", "Attempts of steps.", [({}, document["attempts"])])
    metric("run_retries_total", "counter", "Attempts that retries made after a failure.", [({}, document["retries"])])
    metric("run_iterations_total", "counter", "Iterations that ended well.", [({}, document["iterations"])])
    metric("run_snapshots", "gauge", "Snapshots of the run.", [({}, document["snapshots"])])
    metric("run_copies", "gauge", "Copies of sources that the run keeps.", [({}, document["copies"])])
    metric("run_storage_bytes", "gauge", "Room that the run takes.", [({}, document["storage_bytes"])])
    about = "Time in which the run was being recorded, also beside its steps."
    metric("run_recording_seconds_total", "counter", about, [({}, recording.get("recording_seconds"))])
    elapsed = recording.get("elapsed_seconds")
    metric("run_elapsed_seconds_total", "counter", "Time in which a runner had the run.", [({}, elapsed)])
    values = [({"value": name}, number) for name, number in document["values"].items()]
    metric("run_published_value", "gauge", "Sums of the numbers that steps published.", values)
    rows = list(zip(by_step, steps, strict=True))
    took = [(own, it["duration_seconds"]) for own, it in rows]
    metric("step_duration_seconds", "gauge", "How long the last attempt of a step took.", took)
    metric("step_attempts_total", "counter", "Attempts of a step.", [(own, it["attempts"]) for own, it in rows])
    rounds = [(own, it["iterations"]) for own, it in rows]
    metric("step_iterations_total", "counter", "Iterations of a repeated step that ended well.", rounds)
    is_done = [(own, int(it["status"] == "completed")) for own, it in rows]
    metric("step_completed", "gauge", "1 when the step is complete.", is_done)
    return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    # What is no UTF-8 cannot be said in this format at all.
    text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return repr(value)

"""What the files of a run say, as bytes and back: JSON documents, exit records, running notes.

Every JSON document of ours has one key a line, so that a person can read it, and ends with the
checksum of the bytes above that line, so that damage is told from age.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from workflow.checkpoint.layout import FORMAT_VERSION
from workflow.checkpoint.marker import posix_cksum
from workflow.model import Attempt, Failure, Reason, Status, Step

if TYPE_CHECKING:
    from workflow.checkpoint.spending import Spent

Document = dict[str, Any]

LARGEST_DOCUMENT_BYTES = 256 * 1024 * 1024
PIECE_BYTES = 64 * 1024
_CHECKSUM_LINE = b'  "checksum": "'
_encode = json.JSONEncoder(separators=(", ", ": "), allow_nan=False).encode
_decode = json.JSONDecoder().raw_decode


class RecordDamagedError(ValueError):
    """The bytes are not a whole document of ours; the message says in which way."""


class RecordNewerError(ValueError):
    """The document was written by a newer major version of the format; the message is that version."""


def utc_text(at: float | None) -> str | None:
    """Return an instant as `2026-11-20T17:16:42Z`."""
    if at is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def utc_seconds(text: str | None) -> float | None:
    """Undo `utc_text`; None for None and for what is no such instant."""
    from calendar import timegm

    try:
        return float(timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))) if text else None
    except ValueError:
        return None


def digest(data: bytes) -> str:
    """Return `blake3:<hex>` of `data`."""
    return f"blake3:{blake3(data).hexdigest()}"


def encode_document(document: Document) -> bytes:
    """Return a document as bytes, one key a line, its checksum last."""
    lines = ["{", *(f"  {quoted(key)}: {_value(value)}," for key, value in document.items()), ""]
    # In one go: that of a snapshot of ten thousand steps has megabytes, and each copy would count.
    text = "\n".join(lines)
    del lines
    body = text.encode("ascii")
    del text
    return b'%s%s%s"\n}\n' % (body, _CHECKSUM_LINE, digest(body).encode("ascii"))


def plan_hash(definition: Document) -> str:
    """Return the hash of a resolved definition: of what it runs, not of what is kept of it and for how long."""
    return digest(encode_document({key: value for key, value in definition.items() if key != "checkpoints"}))


class Streamed(NamedTuple):
    """A mapping in a document that is too large to be held: `items` gives its pairs anew at every call."""

    items: Callable[[], Iterator[tuple[str, Document]]]


def encode_in_pieces(document: Document) -> Iterator[bytes]:
    """Yield the bytes that `encode_document` gives, piece by piece; values may be Streamed."""
    hasher = blake3()
    pending = bytearray(b"{\n")
    for key, value in document.items():
        pending += f"  {quoted(key)}: ".encode("ascii")
        if isinstance(value, Streamed):
            glue = b"{"
            for name, part in value.items():
                pending += glue + f"{quoted(name)}: {_encode(part)}".encode("ascii")
                glue = b", "
                if len(pending) >= PIECE_BYTES:
                    hasher.update(pending)
                    yield bytes(pending)
                    pending.clear()
            pending += b"{}" if glue == b"{" else b"}"
        else:
            pending += _value(value).encode("ascii")
        pending += b",\n"
    hasher.update(pending)
    yield bytes(pending)
    yield b'%sblake3:%s"\n}\n' % (_CHECKSUM_LINE, hasher.hexdigest().encode("ascii"))


def _value(value: object) -> str:
    # The types that nearly every line has, without the machinery of json: this runs at every step.
    kind = type(value)
    if kind is str:
        return quoted(value)  # type: ignore[arg-type]
    if kind is int:
        return repr(value)
    if value is None:
        return "null"
    if not value and (kind is dict or kind is list):
        return "{}" if kind is dict else "[]"
    return _encode(value)


def decode_document(data: bytes) -> Document:
    """Read a document. Raises RecordDamagedError, and RecordNewerError for a newer major version."""
    if len(data) > LARGEST_DOCUMENT_BYTES:
        raise RecordDamagedError(f"it is larger than {LARGEST_DOCUMENT_BYTES >> 20} MiB")
    if not data:
        raise RecordDamagedError("it is empty")
    at = data.rfind(_CHECKSUM_LINE)
    if at < 0:
        raise RecordDamagedError("it has no checksum: it was cut off, or written by hand")
    body, closing = data[:at], data[at + len(_CHECKSUM_LINE) :]
    expected = digest(body) if closing.startswith(b"blake3:") else posix_cksum(body)
    if closing != f'{expected}"\n}}\n'.encode("ascii"):
        raise RecordDamagedError("its checksum is wrong")
    try:
        # What json.loads does, without finding out the encoding: a list of runs reads ten thousand of them.
        text = str(data, "utf-8", "surrogatepass")
        document, end = _decode(text)
    except (ValueError, RecursionError) as error:
        raise RecordDamagedError(f"it is no JSON: {error}") from error
    if end != len(text) - 1:  # its last byte is a newline: the closing line was compared
        raise RecordDamagedError("there is more in it than one JSON document")
    if not isinstance(document, dict):
        raise RecordDamagedError("it is no JSON object")
    version = document.get("version")
    if isinstance(version, str):
        major = version.partition(".")[0]
        if major.isdigit() and int(major) > int(FORMAT_VERSION.partition(".")[0]):
            raise RecordNewerError(version)
    return document


class StepRecord(NamedTuple):
    """What happened in a step, as its state file will tell it.

    `outputs` holds the values it published, `env` what it put into WORKFLOW_ENV;
    `output_digests` maps declared outputs to `blake3:<hex>`. A WAITING step goes on at `next_at`, with
    `retries_used` retries spent; one that was cut short goes on at once. `iteration` counts the iterations
    that ended well; 0: it is not repeated. `snapshots` are the names of those it asked for; its state does not tell.
    `is_settled`: its declared outputs were made durable before, when the success was recorded that it rests on.
    `spent` is what the attempt cost; it has a file of its own.
    """

    step: Step
    status: Status
    attempts: tuple[Attempt, ...]
    reason: Reason
    fingerprint: str
    manifest: dict[str, str]
    outputs: dict[str, str]
    env: dict[str, str]
    files: tuple[str, ...] = ()
    output_digests: dict[str, str] | None = None
    failure: Failure | None = None
    tail: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    worker: int | None = 1
    executor: str = "local"
    completed_by: str = "runner"
    retries_used: int = 0
    next_at: float | None = None
    iteration: int = 0
    snapshots: tuple[str, ...] = ()
    is_settled: bool = False
    spent: Spent | None = None

    @property
    def is_done(self) -> bool:
        """Whether the step is complete with it, and gets its marker."""
        return self.status in (Status.SUCCEEDED, Status.REUSED)

    @property
    def duration_s(self) -> float:
        """Seconds of the last attempt; 0.0 when nothing ran."""
        if not self.attempts or self.attempts[-1].ended_at is None:
            return 0.0
        return max(0.0, self.attempts[-1].ended_at - self.attempts[-1].started_at)


def encode_state(record: StepRecord) -> bytes:
    """Return the step state file of a record."""
    last = record.attempts[-1] if record.attempts else None
    failure = record.failure
    more: Document = {}
    if record.next_at is not None or record.retries_used:
        more["retry"] = {
            "used": record.retries_used,
            "next_attempt_at": utc_text(record.next_at),
            "next_attempt": None if record.next_at is None else round(record.next_at, 3),
        }
    if record.iteration:
        more["iterations"] = record.iteration
    if failure is not None and record.status is Status.FAILED and record.step.rules.continue_on_error:
        more["tolerated"] = True
    return encode_document(
        {
            "version": FORMAT_VERSION,
            "step": record.step.number,
            "name": record.step.name,
            "status": record.status.value,
            "started_at": utc_text(last.started_at) if last else None,
            "completed_at": utc_text(last.ended_at) if last else None,
            "duration_seconds": round(record.duration_s, 3),
            "exit_code": last.exit_code if last else None,
            "outputs": {"files_modified": list(record.files), **record.outputs},
            "env": record.env,
            "errors": ([failure.message] if failure else []) + list(record.errors),
            "warnings": list(record.warnings),
            "attempts": [_attempt(attempt) for attempt in record.attempts],
            "fingerprint": record.fingerprint,
            "manifest": record.manifest,
            "output_digests": record.output_digests or {},
            "reason": {"code": record.reason.code, "detail": record.reason.detail},
            "executor": record.executor,
            "worker": record.worker,
            "completed_by": record.completed_by,
            "failure": {"class": failure.kind, "message": failure.message, "tail": list(record.tail)}
            if failure
            else None,
            **more,
        }
    )


def _attempt(attempt: Attempt) -> Document:
    return {
        "number": attempt.number,
        "epoch": attempt.epoch,
        "started_at": utc_text(attempt.started_at),
        "started": round(attempt.started_at, 3),
        "ended": None if attempt.ended_at is None else round(attempt.ended_at, 3),
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "timed_out": attempt.timed_out,
        "log_offset": attempt.log_offset_bytes,
        "adopted": attempt.adopted,
        **({"retries": attempt.retries} if attempt.retries else {}),
    }


def attempts_in(state: Document | None) -> tuple[Attempt, ...]:
    """Return the attempts a step state tells of, oldest first; empty for None and for what is not readable."""
    if not state:
        return ()
    attempts = []
    for item in state.get("attempts", ()):
        try:
            attempts.append(
                Attempt(
                    int(item["number"]),
                    int(item["epoch"]),
                    float(item.get("started") or utc_seconds(item.get("started_at")) or 0.0),
                    item.get("ended"),
                    item.get("exit_code"),
                    bool(item.get("timed_out")),
                    int(item.get("log_offset", 0)),
                    bool(item.get("adopted")),
                    max(0, int(item.get("retries") or 0)),
                )
            )
        except (KeyError, TypeError, ValueError):
            continue
    return tuple(attempts)


class ExitRecord(NamedTuple):
    """A line the shell worker appended the moment a step ended."""

    step: int
    epoch: int
    attempt: int
    exit_code: int


def decode_exits(data: bytes) -> list[ExitRecord]:
    """Return the whole exit records in `data`, oldest first; a line without END does not count."""
    records = []
    for line in data.split(b"\n")[:-1]:
        words = line.split(b" ")
        if len(words) == 5 and words[4] == b"END":
            try:
                records.append(ExitRecord(*(int(word) for word in words[:4])))
            except ValueError:
                continue
    return records


class RunningNote(NamedTuple):
    """An attempt that a worker has in hand and whose outcome is not committed yet.

    `iteration` 0: its step is not repeated.
    """

    step: int
    epoch: int
    attempt: int
    started_at: float
    iteration: int = 0


def encode_running(notes: tuple[RunningNote, ...]) -> str:
    return "".join(
        f"{note.step:02d} {note.epoch} {note.attempt} {note.started_at:.3f}"
        + (f" {note.iteration}\n" if note.iteration else "\n")
        for note in notes
    )


def decode_running(data: bytes) -> list[RunningNote]:
    """Return the attempts in hand, in the order they were started; lines that make no sense are left out."""
    notes = []
    for line in data.split(b"\n"):
        words = line.split()
        if 4 <= len(words) <= 5:
            try:
                iteration = int(words[4]) if len(words) == 5 else 0
                notes.append(RunningNote(int(words[0]), int(words[1]), int(words[2]), float(words[3]), iteration))
            except ValueError:
                continue
    return notes

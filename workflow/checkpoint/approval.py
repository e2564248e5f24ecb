"""What a person answered when a step asked for approval: `state/step_05.approval`.

`KEY=VALUE` lines, the checksum last, under the grammar of the markers: read as data, never evaluated. Whoever
changes a letter of it by hand, or loses its end, has given no answer.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from blake3 import blake3

from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.marker import posix_cksum, quote, unquote

APPROVED = "approved"
REJECTED = "rejected"
# An answer is a few hundred bytes; what is larger than this is none, and is not read to its end.
MOST_BYTES = 1 << 20

_LINE = re.compile(r"([A-Z][A-Z0-9_]*)=([!-~]*)")


class Approval(NamedTuple):
    """The answer to step `step`. `text` is what was asked, `by` who answered, `at` when (UTC text)."""

    step: int
    name: str
    text: str
    is_approved: bool
    by: str
    at: str

    @property
    def answer(self) -> str:
        return APPROVED if self.is_approved else REJECTED


class ApprovalDamagedError(ValueError):
    """The bytes are not a whole answer to this step; the message says in which way."""


def read(layout: RunLayout, number: int) -> Approval | None:
    """Return the answer to step `number`, or None when nobody has answered.

    Raises ApprovalDamagedError when it is not whole, OSError when it cannot be read.
    """
    try:
        with open(layout.approval(number), "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    return decode(data, number=number)


def write(disk: Disk, layout: RunLayout, approval: Approval) -> None:
    """Record an answer in place of the one before. Durable on return. Raises NotRecordedError."""
    disk.write(layout.approval(approval.step), encode(approval))


def encode(approval: Approval) -> bytes:
    """Return the bytes of an answer, checksum last."""
    body = (
        f"STEP={approval.step}\n"
        f"NAME={quote(approval.name)}\n"
        f"TEXT={quote(approval.text)}\n"
        f"ANSWER={approval.answer}\n"
        f"BY={quote(approval.by)}\n"
        f"AT={quote(approval.at)}\n"
    ).encode("ascii")
    return b"%sCHECKSUM=blake3:%s\n" % (body, blake3(body).hexdigest().encode("ascii"))


def decode(data: bytes, *, number: int) -> Approval:
    """Read the answer to step `number`. Raises ApprovalDamagedError for anything else.

    Unknown keys are ignored, a key said twice is not. Both checksums are understood: blake3 and POSIX cksum.
    """
    values = _values(_checked(data))
    try:
        step, answer = int(values["STEP"]), values["ANSWER"]
        approval = Approval(
            step,
            unquote(values["NAME"]),
            unquote(values["TEXT"]),
            answer == APPROVED,
            unquote(values["BY"]),
            unquote(values["AT"]),
        )
    except (KeyError, ValueError) as error:
        raise ApprovalDamagedError(f"a line is missing or makes no sense ({error})") from error
    if answer not in (APPROVED, REJECTED):
        raise ApprovalDamagedError("it says neither approved nor rejected")
    if step != number:
        raise ApprovalDamagedError(f"it belongs to another step ({step})")
    return approval


def _checked(data: bytes) -> bytes:
    """Return the bytes above the checksum, once that is right."""
    if not data:
        raise ApprovalDamagedError("it is empty")
    at = data.rfind(b"CHECKSUM=")
    if at < 0 or (at > 0 and data[at - 1] != 10) or len(data) > MOST_BYTES:
        raise ApprovalDamagedError("it has no checksum: it was cut off, or written by hand")
    body, closing = data[:at], data[at + 9 :]
    if closing not in (
        b"blake3:%s\n" % blake3(body).hexdigest().encode("ascii"),
        b"%s\n" % posix_cksum(body).encode("ascii"),
    ):
        raise ApprovalDamagedError("its checksum is wrong")
    return body


def _values(body: bytes) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in body.decode("latin-1").split("\n")[:-1]:
        pair = _LINE.fullmatch(line)
        if pair is None or pair[1] in values:
            raise ApprovalDamagedError("a line is not KEY=VALUE, or stands there twice")
        values[pair[1]] = pair[2]
    return values

"""The commit point of a step: `step_05.complete`, `KEY=VALUE` lines that a shell may source.

We read it as data under a strict grammar, never evaluate it. Values hold only characters that
mean nothing to a shell; every other byte is written as `%XX`, so a name with a newline or a
quote stays on its line.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from zlib import crc32

from blake3 import blake3

# The body as we write it; anything else takes the long way. A resume reads thousands of them.
_OURS = re.compile(
    r"STEP=([0-9]+)\nCOMPLETED_AT=([!-~]*)\nDURATION_SECONDS=([0-9]+)\nEXIT_CODE=([0-9]+)\nWORKFLOW_ID=([!-~]*)\n"
    r"STEP_NAME=([!-~]*)\nEPOCH=([0-9]+)\nFINGERPRINT=([!-~]*)\nSTATE=([!-~]*)\nCOMPLETED_BY=([!-~]*)\nVALUES=([0-9]+)\n"
)
SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:@+,-")


class Marker(NamedTuple):
    """What a whole marker says. `completed_by` is `runner`, `shell` or `person:NAME`.

    `values` counts what the step published, so that a lost state file is known to matter or not.
    `iteration` is 0 but in the marker of one iteration of a repeated step.
    """

    step: int
    completed_at: str
    duration_s: int
    exit_code: int
    run_id: str
    name: str
    epoch: int
    fingerprint: str
    state_digest: str
    completed_by: str = "runner"
    values: int = 0
    iteration: int = 0


class MarkerDamagedError(ValueError):
    """The bytes are not a whole marker of this run and step; the message says in which way."""


def encode(marker: Marker) -> bytes:
    """Return the bytes of a marker, checksum last."""
    body = (
        f"STEP={marker.step}\n"
        f"COMPLETED_AT={marker.completed_at}\n"
        f"DURATION_SECONDS={marker.duration_s}\n"
        f"EXIT_CODE={marker.exit_code}\n"
        f"WORKFLOW_ID={marker.run_id}\n"
        f"STEP_NAME={quote(marker.name)}\n"
        f"EPOCH={marker.epoch}\n"
        f"FINGERPRINT={marker.fingerprint}\n"
        f"STATE={marker.state_digest}\n"
        f"COMPLETED_BY={quote(marker.completed_by)}\n"
        f"VALUES={marker.values}\n" + (f"ITERATION={marker.iteration}\n" if marker.iteration else "")
    ).encode("ascii")
    return b"%sCHECKSUM=blake3:%s\n" % (body, blake3(body).hexdigest().encode("ascii"))


def decode(data: bytes, *, run_id: str, number: int) -> Marker:
    """Read a marker of step `number` of run `run_id`. Raises MarkerDamagedError for anything else.

    Unknown keys are ignored. Both checksums are understood: blake3 (the runner) and POSIX cksum (a shell).
    """
    if not data:
        raise MarkerDamagedError("it is empty")
    at = data.rfind(b"CHECKSUM=")
    if at < 0 or (at > 0 and data[at - 1] != 10):
        raise MarkerDamagedError("it has no checksum: it was cut off, or written by hand")
    body, closing = data[:at], data[at + 9 :]
    if closing[:7] == b"blake3:":
        expected = b"blake3:%s\n" % blake3(body).hexdigest().encode("ascii")
    elif closing[:6] == b"cksum:":
        expected = b"%s\n" % posix_cksum(body).encode("ascii")
    else:
        raise MarkerDamagedError("its checksum is of no kind we know")
    if closing != expected:
        raise MarkerDamagedError("its checksum is wrong")
    ours = _OURS.fullmatch(body.decode("latin-1"))
    if ours is None:
        marker = _decode_any(body)
    else:
        step, ended, duration, exit_code, run, name, epoch, content, state, by, count = ours.groups()
        marker = Marker(
            int(step),
            ended,
            int(duration),
            int(exit_code),
            run,
            unquote(name),
            int(epoch),
            content,
            state,
            unquote(by),
            int(count),
        )
    if marker.run_id != run_id:
        raise MarkerDamagedError(f"it belongs to another run ({marker.run_id})")
    if marker.step != number:
        raise MarkerDamagedError(f"it belongs to another step ({marker.step})")
    if marker.exit_code != 0:
        raise MarkerDamagedError(f"it claims completion with exit code {marker.exit_code}")
    return marker


def _decode_any(body: bytes) -> Marker:
    """Read the body of a marker with keys in any order, and keys that we do not know."""
    values: dict[str, str] = {}
    for line in body.decode("utf-8", "surrogateescape").split("\n")[:-1]:
        key, equals, value = line.partition("=")
        if not equals:
            raise MarkerDamagedError("a line is not KEY=VALUE")
        values[key] = value
    try:
        return Marker(
            int(values["STEP"]),
            values["COMPLETED_AT"],
            int(values["DURATION_SECONDS"]),
            int(values["EXIT_CODE"]),
            values["WORKFLOW_ID"],
            unquote(values["STEP_NAME"]),
            int(values["EPOCH"]),
            values["FINGERPRINT"],
            values["STATE"],
            unquote(values.get("COMPLETED_BY", "runner")),
            int(values.get("VALUES", "0")),
            int(values.get("ITERATION", "0")),
        )
    except (KeyError, ValueError) as error:
        raise MarkerDamagedError(f"a line is missing or not a number ({error})") from error


def quote(text: str) -> str:
    """Return `text` with every byte outside the safe set as `%XX`."""
    data = text.encode("utf-8", "surrogateescape")
    if SAFE.issuperset(data):
        return text
    return "".join(chr(byte) if byte in SAFE else f"%{byte:02X}" for byte in data)


def unquote(text: str) -> str:
    """Undo `quote`. Raises ValueError on a `%` that no two hex digits follow."""
    if "%" not in text:
        return text
    head, *rest = text.encode("utf-8", "surrogateescape").split(b"%")
    parts = [head]
    for piece in rest:
        if len(piece) < 2:
            raise ValueError(f"{text!r}: a % without two hex digits")
        parts += (bytes.fromhex(piece[:2].decode("ascii")), piece[2:])
    return b"".join(parts).decode("utf-8", "surrogateescape")


def posix_cksum(data: bytes) -> str:
    """Return `cksum:<crc>:<bytes>` as POSIX cksum(1) computes it.

    CRC-32 with polynomial 0x04C11DB7, most significant bit first, the length appended least
    significant byte first, complemented. zlib has it the other way round: with the bits of every byte turned over, and
    those of what comes of it, it is the same, and a hundred times as fast as a loop of ours.
    """
    length = len(data)
    crc = crc32(data.translate(_TURNED), 0xFFFFFFFF)
    crc = crc32(length.to_bytes((length.bit_length() + 7) // 8, "little").translate(_TURNED), crc)
    return f"cksum:{int(f'{crc:032b}'[::-1], 2)}:{length}"


_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

"""A run that is to go on elsewhere: the path of its project out of its documents, and into them again.

What shells wrote and what logs hold stays as it is. Where a document changes, its checksum is made anew, and with a
step state the marker that vouches for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from blake3 import blake3

from workflow.checkpoint import records
from workflow.checkpoint.marker import posix_cksum

TOKEN = "@PROJECT@"
_TOKEN = re.compile("@PROJECT([@-])")
_DOCUMENT = re.compile(r"(?:[a-z]+\.json|state/[^/]+\.json|snapshots/[^/]+\.json)(?:\.damaged(?:\.[0-9]+)?)?\Z")
_VALUES = re.compile(r"state/step_[0-9]{2,}\.(?:output|env|values)\Z")
_MARKER = re.compile(r"step_([0-9]{2,})\.complete\Z")
_ITERATION = re.compile(r"state/step_[0-9]{2,}\.iteration_[0-9]{2,}\.complete\Z")

Change = Callable[[str], str]


def leaving(project: str) -> Change:
    """Return what puts the token in place of a project's path. A text that holds the token itself comes back as it is.

    The path counts where it ends as a path does: not in `/home/ada/project2`.
    """
    found = re.compile(f"@PROJECT|{re.escape(project)}(?![\\w-]|\\.\\w)") if project != "/" else re.compile("@PROJECT")
    return lambda text: found.sub(lambda it: "@PROJECT-" if it[0] == "@PROJECT" else TOKEN, text)


def arriving(project: str) -> Change:
    """Return what puts the path of a project in place of the token."""
    return lambda text: _TOKEN.sub(lambda it: project if it[1] == "@" else "@PROJECT", text)


def renamed(change: Change, exact: Mapping[str, str]) -> Change:
    """Return a change that first puts some whole texts in place of others."""
    return lambda text: exact[text] if text in exact else change(text)


def is_document(path: str) -> bool:
    """Return whether a file of a run may hold the path of its project in a form that we know."""
    return _DOCUMENT.match(path) is not None or _VALUES.match(path) is not None


def marked_step(path: str) -> int | None:
    """Return the number of the step whose marker this is; None for every other file."""
    found = _MARKER.match(path)
    return int(found[1]) if found else None


def change_file(path: str, data: bytes, change: Change) -> bytes:
    """Return what is to stand in a document of a run; the same bytes where nothing in it changes.

    One that is damaged stays damaged, and what it says of the project is changed as text.
    """
    if _DOCUMENT.match(path):
        try:
            document = records.decode_document(data)
        except ValueError:
            return _change_text(data, change)
        after = changed(document, change)
        if after == document:
            return data
        after.pop("checksum", None)
        return records.encode_document(after)
    return _change_text(data, change)


def _change_text(data: bytes, change: Change) -> bytes:
    return change(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def changed(value: Any, change: Change) -> Any:
    """Return a value of JSON with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [changed(it, change) for it in value]
    if isinstance(value, dict):
        return {change(key): changed(it, change) for key, it in value.items()}
    return value


def change_marker(marker: bytes, state: bytes, changed_state: bytes) -> bytes:
    """Return a marker that vouches for the changed state where it vouched for the state; else as it is."""
    old = _line(marker, b"STATE")
    if state == changed_state or old is None:
        return marker
    if old == records.digest(state).encode():
        return _replaced(marker, b"STATE", old, records.digest(changed_state).encode())
    if old == posix_cksum(state).encode():
        return _replaced(marker, b"STATE", old, posix_cksum(changed_state).encode())
    return marker


def rename_marker(marker: bytes, old: str, new: str) -> bytes:
    """Return a marker of one run as that of another; as it is where it belongs to neither or does not count."""
    return _replaced(marker, b"WORKFLOW_ID", old.encode(), new.encode())


def _replaced(marker: bytes, key: bytes, old: bytes, new: bytes) -> bytes:
    """Return a marker with one value in place of another, and its checksum made anew; damaged ones stay that."""
    at = marker.rfind(b"CHECKSUM=")
    body, closing = marker[:at], marker[at:]
    if closing not in (_blake3_line(body), _cksum_line(body)):
        return marker
    is_shell = closing.startswith(b"CHECKSUM=cksum:")
    body = body.replace(b"\n%s=%s\n" % (key, old), b"\n%s=%s\n" % (key, new))
    return body + (_cksum_line(body) if is_shell else _blake3_line(body))


def _blake3_line(body: bytes) -> bytes:
    return b"CHECKSUM=blake3:%s\n" % blake3(body).hexdigest().encode()


def _cksum_line(body: bytes) -> bytes:
    return b"CHECKSUM=%s\n" % posix_cksum(body).encode()


def _line(marker: bytes, key: bytes) -> bytes | None:
    found = re.search(rb"^%s=([!-~]*)$" % key, marker, re.MULTILINE)
    return found[1] if found else None


def _with_run(change: Change, old: str, new: str) -> Change:
    def renamed_run(text: str) -> str:
        if text == old:
            return new
        return new + text[len(old) :] if text.startswith(f"{old}@") else change(text)

    return renamed_run


class Translation:
    """The files of one run as they are to read elsewhere. `read` gives the bytes of a file of the run, or None.

    `run_ids` are the id of the run, and the one it is to have.
    """

    def __init__(
        self, read: Callable[[str], bytes | None], change: Change, run_ids: tuple[str, str] | None = None
    ) -> None:
        self._read = read
        self._run_ids = run_ids
        self._change = change if run_ids is None else _with_run(change, *run_ids)

    def bytes_of(self, path: str) -> bytes | None:
        """Return what is to stand in a file; None for one that stays as it is."""
        number = marked_step(path)
        is_iteration = self._run_ids is not None and _ITERATION.match(path) is not None
        if number is None and not is_iteration and not is_document(path):
            return None
        data = self._read(path)
        if data is None:
            return None
        if self._run_ids is not None and (number is not None or is_iteration):
            data = rename_marker(data, *self._run_ids)
        if number is None:
            return data if is_iteration else self._changed(path, data)
        label = f"{number:02d}"
        state_path = f"state/step_{label}_state.json"
        state = self._read(state_path)
        return data if state is None else change_marker(data, state, self._changed(state_path, state))

    def _changed(self, path: str, data: bytes) -> bytes:
        change = self._change
        if path.startswith("state/step_") and b'_cksum": "' in data:
            change = renamed(change, self._sums(path))
        return change_file(path, data, change)

    def _sums(self, path: str) -> dict[str, str]:
        """Return the sums of the values that a shell's step published, before and after, for the state holds them."""
        sums = {}
        for ending in (".output", ".env"):
            values = path.removesuffix("_state.json") + ending
            before = self._read(values)
            if before is not None and (after := change_file(values, before, self._change)) != before:
                sums[posix_cksum(before)] = posix_cksum(after)
        return sums

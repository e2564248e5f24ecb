"""What an archive of a run may hold: its manifest, the names it may list, and the tar header each member has.

There is one header for a member of a given name, size and mode. The writer writes it and the reader wants exactly
it, so that links, devices, extensions, other names and other orders need no rule of their own.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from workflow.checkpoint import records
from workflow.checkpoint.layout import (
    ABANDONED,
    DEFINITION,
    FORMAT_VERSION,
    MASTER,
    PINNED,
    RESUME_SH,
    RUN_ID,
    STEPS_SH,
)

FORMAT = 1
COMPRESSED = "compressed"
EXPORTED = "exported"
MANIFEST = "MANIFEST.json"
OUTPUTS = "outputs"
LONG_NAMES = "LONG"

BLOCK = 512
LARGEST_MANIFEST_BYTES = 96 << 20
MOST_MEMBERS = 500_000
LARGEST_MEMBER_BYTES = 8**11 - 1  # what the size field of a plain tar header can say
LARGEST_SUM_BYTES = 1 << 40
# Nothing that people pack is smaller packed than this; the floor lets short runs be as regular as they like.
MOST_RATIO = 200
RATIO_FLOOR_BYTES = 16 << 20
LONGEST_PATH_BYTES = 3000

_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_PLAIN = re.compile(r"[A-Za-z0-9_.@%+=:,/-]+\Z")
_TOP = re.compile(rf"step_[0-9]{{2,}}\.complete\Z|(?:{'|'.join(map(re.escape, (DEFINITION, MASTER)))})\Z")
_LOCAL_TOP = frozenset({STEPS_SH, RESUME_SH, PINNED, ABANDONED})
_DAMAGED = re.compile(r"\.damaged(?:\.[0-9]+)?\Z")
_FLAT = frozenset({"state", "logs", "snapshots", "metrics"})
_DEEP = re.compile(r"state/step_[0-9]{2,}\.d(?:/|\Z)|archive(?:/|\Z)")
_TYPES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a directory",
    b"6": "a fifo",
    b"S": "a sparse file",
    b"x": "an extended header",
    b"g": "an extended header",
    b"L": "a GNU extension",
    b"K": "a GNU extension",
    b"\0": "a member of an old kind",
}


class ArchiveError(ValueError):
    """It is not an archive that we would have written; the message says in which way."""


class Member(NamedTuple):
    """A file of a run, or an output of it, as the manifest lists it. `digest` is the blake3 in hex."""

    path: str
    size_bytes: int
    mode: int
    digest: str
    is_output: bool = False


class Manifest(NamedTuple):
    """What stands at the head of an archive. `summary` is the status of the run in short."""

    run_id: str
    kind: str
    workflow: str
    summary: dict[str, Any]
    directories: tuple[tuple[str, int], ...]
    members: tuple[Member, ...]

    @property
    def size_bytes(self) -> int:
        """What all files hold together."""
        return sum(member.size_bytes for member in self.members)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of MANIFEST.json."""
    return records.encode_document(
        {
            "version": FORMAT_VERSION,
            "format": FORMAT,
            "run_id": manifest.run_id,
            "kind": manifest.kind,
            "workflow": manifest.workflow,
            "summary": manifest.summary,
            "directories": [{"path": path, "mode": f"{mode:04o}"} for path, mode in manifest.directories],
            "files": [_said(member) for member in manifest.members if not member.is_output],
            "outputs": [_said(member) for member in manifest.members if member.is_output],
        }
    )


def _said(member: Member) -> dict[str, Any]:
    return {
        "path": member.path,
        "size": member.size_bytes,
        "mode": f"{member.mode:04o}",
        "blake3": member.digest,
    }


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest and hold it against what a run may hold. Raises ArchiveError."""
    try:
        document = records.decode_document(data)
    except records.RecordNewerError as error:
        raise ArchiveError(f"it was written in format {error}, which this workflow does not read") from error
    except ValueError as error:
        raise ArchiveError(f"its manifest does not count: {error}") from error
    try:
        if document["format"] != FORMAT:
            raise ArchiveError(f"it is of format {document['format']!r:.20}, this workflow reads {FORMAT}")
        run_id, kind, version = document["run_id"], document["kind"], document["workflow"]
        summary = document["summary"]
        directories = tuple((_text(it["path"]), _mode(it["mode"])) for it in document["directories"])
        files = tuple(_member(it, is_output=False) for it in document["files"])
        outputs = tuple(_member(it, is_output=True) for it in document["outputs"])
    except ArchiveError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(f"its manifest is of another form ({type(error).__name__}: {error})") from error
    if not isinstance(run_id, str) or RUN_ID.match(run_id) is None:
        raise ArchiveError("its manifest names no run")
    if kind not in (COMPRESSED, EXPORTED) or not isinstance(version, str) or not isinstance(summary, dict):
        raise ArchiveError("its manifest is of another form")
    manifest = Manifest(run_id, kind, version, summary, directories, (*files, *outputs))
    _check(manifest, files, outputs)
    return manifest


def _member(item: dict[str, Any], *, is_output: bool) -> Member:
    size, digest = item["size"], item["blake3"]
    if type(size) is not int or not 0 <= size <= LARGEST_MEMBER_BYTES:
        raise ArchiveError("a size in its manifest is none")
    if not isinstance(digest, str) or re.fullmatch(r"[0-9a-f]{64}", digest) is None:
        raise ArchiveError("a digest in its manifest is none")
    return Member(_text(item["path"]), size, _mode(item["mode"]), digest, is_output)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ArchiveError("a path in its manifest is none")
    return value


def _mode(value: Any) -> int:
    if not isinstance(value, str) or re.fullmatch(r"0[0-7]{3}", value) is None:
        raise ArchiveError("a mode in its manifest is none")
    return int(value, 8)


def path_bytes(path: str) -> bytes:
    """Return a path as the file system has it. Raises ArchiveError for a text that is none."""
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ArchiveError("a path in its manifest is no text") from error


def _check(manifest: Manifest, files: Sequence[Member], outputs: Sequence[Member]) -> None:
    if len(manifest.members) + len(manifest.directories) > MOST_MEMBERS:
        raise ArchiveError(f"it lists more than {MOST_MEMBERS:,} files")
    if manifest.size_bytes > LARGEST_SUM_BYTES:
        raise ArchiveError("what it lists is larger than any run")
    directories = [path for path, _ in manifest.directories]
    for group in (directories, [it.path for it in files], [it.path for it in outputs]):
        _check_paths(group)
    known = {"", *directories}
    names = {it.path for it in files}
    for path in directories:
        if not may_hold_directory(path, manifest.kind) or path in names or parent(path) not in known:
            raise ArchiveError(f"it lists {path!r:.80}, which is no directory of a run")
    for path in names:
        if not may_hold(path, manifest.kind):
            raise ArchiveError(f"it lists {path!r:.80}, which is no file of a run")
        if parent(path) not in known:
            raise ArchiveError(f"it lists {path!r:.80} in a directory that it does not list")
    written = {it.path for it in outputs}
    if outputs and manifest.kind != EXPORTED:
        raise ArchiveError("only an exported run may hold outputs")
    for path in written:
        above = parent(path)
        while above:
            if above in written:
                raise ArchiveError(f"it lists {above!r:.80} as a file and as a directory")
            above = parent(above)


def _check_paths(paths: Sequence[str]) -> None:
    before = b""
    for path in paths:
        raw = path_bytes(path)
        parts = raw.split(b"/")
        if len(raw) > LONGEST_PATH_BYTES or any(len(part) > 255 for part in parts):
            raise ArchiveError("a path in its manifest is too long")
        if any(part in (b"", b".", b"..") for part in parts) or b"\0" in raw:
            raise ArchiveError(f"it lists {path!r:.80}, which leads somewhere else")
        if raw <= before:
            raise ArchiveError(f"it lists {path!r:.80} twice, or not in order")
        before = raw


def parent(path: str) -> str:
    """Return the directory of a path within a run; empty for the run itself."""
    return path.rpartition("/")[0]


def may_hold(path: str, kind: str) -> bool:
    """Return whether a run of this kind of archive may hold a file of this name."""
    if _DEEP.match(path):
        return "/" in path
    above, _, name = path.rpartition("/")
    if above in _FLAT:
        return not name.startswith(".")
    if above == "lib":
        return kind == COMPRESSED and not name.startswith(".")
    if above:
        return False
    if name in _LOCAL_TOP:
        return kind == COMPRESSED
    return _TOP.match(_DAMAGED.sub("", name)) is not None


def may_hold_directory(path: str, kind: str) -> bool:
    """Return whether a run of this kind of archive may hold a directory of this name."""
    return path in _FLAT or bool(_DEEP.match(path)) or (path == "lib" and kind == COMPRESSED)


def name_of(manifest: Manifest, index: int) -> bytes:
    """Return what a member is called in the tar file: its path, or its place in the manifest where tar cannot say it.

    Tar's own ways to write long names and other bytes are extensions, which we neither write nor read.
    """
    member = manifest.members[index]
    below = f"{OUTPUTS}/{member.path}" if member.is_output else member.path
    name = f"{manifest.run_id}/{below}"
    if _PLAIN.match(name) is None or len(name) > 100:
        name = f"{manifest.run_id}/{LONG_NAMES}/{index:06d}"
    return name.encode("ascii")


def manifest_name(run_id: str) -> bytes:
    return f"{run_id}/{MANIFEST}".encode("ascii")


def header(name: bytes, size_bytes: int, mode: int) -> bytes:
    """Return the 512 bytes before a member: a plain file of nobody, made at the beginning of time."""
    fields = [name, b"%07o" % mode, b"%07o" % 0, b"%07o" % 0, b"%011o" % size_bytes, b"%011o" % 0, b" " * 8, b"0"]
    fields += [b"", b"ustar\x0000", b"", b"", b"%07o" % 0, b"%07o" % 0, b""]
    block = _HEADER.pack(*fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def size_in(block: bytes) -> int:
    """Return the size that a header says. Raises ArchiveError."""
    digits = block[124:135]
    if re.fullmatch(rb"[0-7]{11}", digits) is None:
        raise ArchiveError("a size in it is none")
    return int(digits, 8)


def difference(block: bytes, expected: bytes) -> str:
    """Return in words why a header is not the one that belongs there."""
    if not any(block):
        return "it ends before all files that its manifest lists"
    name = block[:100].split(b"\0")[0]
    said = name.decode("ascii", "backslashreplace")
    kind = block[156:157]
    if kind != b"0":
        return f"{said} in it is {_TYPES.get(kind, 'no plain file')}"
    wanted = expected[:100].split(b"\0")[0].decode("ascii")
    if name != expected[:100].split(b"\0")[0]:
        return f"{said!s:.120} stands in it where {wanted} belongs"
    if block[124:136] != expected[124:136]:
        return f"{wanted} in it has another size than its manifest says"
    return f"the header of {wanted} in it is not as we write it"


def padding(size_bytes: int) -> int:
    """Return how many zero bytes stand behind a member."""
    return -size_bytes % BLOCK


def most_bytes(archive_bytes: int) -> int:
    """Return how much an archive of this size may hold when it is unpacked."""
    return RATIO_FLOOR_BYTES + MOST_RATIO * archive_bytes


def whole_bytes(manifest_bytes: int, members: Iterable[Member]) -> int:
    """Return how long the tar file is."""
    return (
        sum(BLOCK + it.size_bytes + padding(it.size_bytes) for it in members)
        + BLOCK
        + manifest_bytes
        + padding(manifest_bytes)
        + 2 * BLOCK
    )

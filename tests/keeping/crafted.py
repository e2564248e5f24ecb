"""Archives made by hand, byte by byte, with none of the code that writes or reads them: right ones and hostile ones."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blake3 import blake3

from workflow.checkpoint import records
from workflow.cli import main

HEAD_BYTES = 48
BLOCK = 512


def packed(tar: bytes, *, level: int = 6, behind: bytes = b"") -> bytes:
    """Return a tar file as an archive of ours: gzip with the digest of everything behind its head in an extra field."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    body = deflate.compress(tar) + deflate.flush()
    return headed(body + struct.pack("<II", zlib.crc32(tar), len(tar) & 0xFFFFFFFF) + behind)


def headed(body: bytes) -> bytes:
    start = b"\x1f\x8b\x08\x04\0\0\0\0\x02\xff" + struct.pack("<H2sH", 36, b"WF", 32)
    return start + blake3(body).digest() + body


def unpacked(data: bytes) -> bytes:
    """Return the tar file in an archive of ours."""
    return zlib.decompress(data, 31)


def member(name: str | bytes, data: bytes = b"", **fields: Any) -> bytes:
    """Return a member of a tar file: header, content, padding. `fields` are those of tarfile.TarInfo."""
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    info = tarfile.TarInfo(text)
    info.size, info.mode, info.mtime = len(data), 0o644, 0
    for field, value in fields.items():
        setattr(info, field, value)
    block = info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")
    if not info.isdev():
        # Some versions of tarfile leave the numbers of a device away where there is none.
        block = patched(block, 329, b"0000000\x000000000\0")
    return block + data + bytes(-len(data) % BLOCK)


def patched(block: bytes, at: int, value: bytes) -> bytes:
    """Return a member with some bytes of its header changed and the header's checksum made right again."""
    head = bytearray(block[:BLOCK])
    head[at : at + len(value)] = value
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + block[BLOCK:]


class Crafted:
    """A right archive, taken apart, so that a test can put it together again in a way that is wrong."""

    def __init__(self, source: Path) -> None:
        self.files: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(unpacked(source.read_bytes()))) as tar:
            for info in tar:
                extracted = tar.extractfile(info)
                assert extracted is not None
                self.files[info.name] = extracted.read()
        self.run_id = next(iter(self.files)).partition("/")[0]
        self.manifest = json.loads(self.files.pop(f"{self.run_id}/MANIFEST.json"))
        self.manifest.pop("checksum")
        self.modes = {it["path"]: int(it["mode"], 8) for it in self.manifest["files"] + self.manifest["outputs"]}

    def name(self, path: str) -> str:
        return f"{self.run_id}/{path}"

    def list(self, path: str, data: bytes = b"x", *, where: str = "files", **other: Any) -> None:
        """List a file in the manifest, in its place, without putting it into the archive."""
        entry = {"path": path, "size": len(data), "mode": "0644", "blake3": blake3(data).hexdigest(), **other}
        self.manifest[where].append(entry)
        self.manifest[where].sort(key=lambda it: it["path"].encode("utf-8", "surrogatepass"))

    def add(self, path: str, data: bytes = b"x", *, where: str = "files") -> None:
        """Add a file as it should be added: listed, and there."""
        self.list(path, data, where=where)
        self.files[self.name(path if where == "files" else f"outputs/{path}")] = data

    def change(self, path: str, data: bytes) -> None:
        """Give a file another content, size and digest right."""
        self.entry(path).update(size=len(data), blake3=blake3(data).hexdigest())
        self.files[self.name(path)] = data

    def entry(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = next(it for it in self.manifest["files"] if it["path"] == path)
        return found

    def manifest_bytes(self) -> bytes:
        return records.encode_document(self.manifest)

    def blocks(self) -> list[bytes]:
        """Return the members in order, the manifest first."""
        listed = [it["path"] for it in self.manifest["files"]]
        listed += [f"outputs/{it['path']}" for it in self.manifest["outputs"]]
        known = {self.name(path): at for at, path in enumerate(listed)}
        blocks = [member(self.name("MANIFEST.json"), self.manifest_bytes())]
        for name, data in sorted(self.files.items(), key=lambda it: known.get(it[0], len(known))):
            mode = self.modes.get(name.partition("/")[2].removeprefix("outputs/"), 0o644)
            blocks.append(member(name, data, mode=mode))
        return blocks

    def tar(self, blocks: list[bytes] | None = None) -> bytes:
        return b"".join(self.blocks() if blocks is None else blocks) + bytes(2 * BLOCK)

    def bytes(self) -> bytes:
        return packed(self.tar())


def called(*words: str, **environment: str) -> tuple[int, str, str]:
    """Run a command line in this process, in the current directory; return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main._exit_code(list(words))
    finally:
        os.environ.clear()
        os.environ.update(before)
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def within(directory: Path) -> Iterator[None]:
    """Be in a directory."""
    before = os.getcwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)

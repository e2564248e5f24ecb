"""The two compressions an archive may have, as fixed bytes: gzip, and zstd where Python or a package has it.

The head of the file holds the blake3 of everything behind it, in a place that `gunzip`, `zstd` and `tar` pass
over: an extra field, a skippable frame. So a flipped bit is found even where it would change nothing that is unpacked.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from workflow.checkpoint.layout import ARCHIVE_ENDINGS
from workflow.errors import CheckpointError, UsageError

GZIP_ENDING, ZSTD_ENDING = ARCHIVE_ENDINGS
DIGEST_BYTES = 32
# deflate, an extra field, no time, best compression, of no system; then that field, ours, with the digest.
_GZIP_START = b"\x1f\x8b\x08\x04\0\0\0\0\x02\xff" + struct.pack("<H2sH", 4 + DIGEST_BYTES, b"WF", DIGEST_BYTES)
_ZSTD_START = struct.pack("<II", 0x184D2A5F, 2 + DIGEST_BYTES) + b"WF"
_GZIP_LEVEL = 6
_ZSTD_LEVEL = 10


class Compressor(Protocol):
    """Turns a stream into what stands behind the head."""

    def compress(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


class Decompressor(Protocol):
    """Undoes it, never returning more than it is asked for."""

    @property
    def is_over(self) -> bool:
        """Whether the compressed stream is at its end."""

    @property
    def unused(self) -> bytes:
        """What was fed behind that end."""

    def decompress(self, data: bytes, most: int) -> bytes: ...


class Compression(NamedTuple):
    """One of the two. `start` and a digest make the head; `trailer_bytes` are what stands behind the stream."""

    ending: str
    start: bytes
    compressor: Callable[[bool], Compressor]
    decompressor: Callable[[], Decompressor]
    trailer_bytes: int

    @property
    def head_bytes(self) -> int:
        return len(self.start) + DIGEST_BYTES


class _Deflater:
    def __init__(self, is_plain: bool) -> None:
        strategy = zlib.Z_HUFFMAN_ONLY if is_plain else zlib.Z_DEFAULT_STRATEGY
        self._object = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -15, 8, strategy)
        self._crc = 0
        self._length = 0

    def compress(self, data: bytes) -> bytes:
        self._crc = zlib.crc32(data, self._crc)
        self._length += len(data)
        return self._object.compress(data)

    def flush(self) -> bytes:
        return self._object.flush() + struct.pack("<II", self._crc, self._length & 0xFFFFFFFF)


class _Inflater:
    def __init__(self) -> None:
        self._object = zlib.decompressobj(-15)

    @property
    def is_over(self) -> bool:
        return self._object.eof

    @property
    def unused(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, most: int) -> bytes:
        if self._object.eof:  # what was not consumed then is not to be fed again
            return b""
        try:
            return self._object.decompress(self._object.unconsumed_tail + data, most)
        except zlib.error as error:
            raise ValueError(f"it cannot be decompressed ({error})") from error


class _FrameReader:
    """A zstd frame; the class of the standard library and of backports.zstd are the same."""

    def __init__(self) -> None:
        self._error = _zstd().ZstdError
        self._object = _zstd().ZstdDecompressor()

    @property
    def is_over(self) -> bool:
        return bool(self._object.eof)

    @property
    def unused(self) -> bytes:
        return bytes(self._object.unused_data)

    def decompress(self, data: bytes, most: int) -> bytes:
        if self._object.eof:
            return b""
        try:
            return bytes(self._object.decompress(data, most))
        except self._error as error:
            raise ValueError(f"it cannot be decompressed ({error})") from error


class _FrameWriter:
    def __init__(self, is_plain: bool) -> None:
        # The lowest level still finds repetitions, so a plain stream is not to be had of it.
        assert not is_plain
        self._object = _zstd().ZstdCompressor(level=_ZSTD_LEVEL)

    def compress(self, data: bytes) -> bytes:
        return bytes(self._object.compress(data))

    def flush(self) -> bytes:
        return bytes(self._object.flush())


GZIP = Compression(GZIP_ENDING, _GZIP_START, _Deflater, _Inflater, 8)
ZSTD = Compression(ZSTD_ENDING, _ZSTD_START, _FrameWriter, _FrameReader, 0)


def _zstd() -> Any:
    """Return the module that can do zstd. Raises UsageError."""
    from importlib import import_module

    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise UsageError(
        "this Python cannot do zstd", help="use Python 3.14 or pip install backports.zstd; or gzip: FILE.tar.gz"
    )


def for_writing(ending: str) -> Compression:
    """Return the compression of an ending, once it is sure that it can be had. Raises UsageError."""
    if ending == ZSTD_ENDING:
        _zstd()
        return ZSTD
    return GZIP


def of_head(head: bytes) -> Compression | None:
    """Return what a file begins with; None when it is nothing of ours. Raises CheckpointError without zstd."""
    if head.startswith(GZIP.start):
        return GZIP
    if head.startswith(ZSTD.start):
        try:
            _zstd()
        except UsageError as error:
            raise CheckpointError("this archive is compressed with zstd", help=error.help) from error
        return ZSTD
    return None

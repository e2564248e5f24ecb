"""The hostile archives: each is a right one with one thing wrong, and the word that its refusal must hold."""

from __future__ import annotations

import gzip
import json
import tarfile
import zlib
from collections.abc import Callable

from blake3 import blake3

from tests.keeping.crafted import BLOCK, Crafted, headed, member, packed, patched
from workflow.checkpoint import records

Make = Callable[[Crafted], bytes]
LOG = "logs/step_00.log"
STATE = "state/step_00_state.json"


# ---------------------------------------------------------------- ways to make one


def instead(path: str, **fields: object) -> Make:
    """A member of another kind where a file belongs."""

    def make(it: Crafted) -> bytes:
        blocks = it.blocks()
        at = next(at for at, block in enumerate(blocks) if block.startswith(it.name(path).encode() + b"\0"))
        blocks[at] = member(it.name(path), b"", **fields)
        return packed(it.tar(blocks))

    return make


def before_all(*extra: bytes) -> Make:
    """Members in front of everything."""
    return lambda it: packed(it.tar([*extra, *it.blocks()]))


def second(block: Callable[[Crafted], bytes]) -> Make:
    """A member behind the manifest."""

    def make(it: Crafted) -> bytes:
        manifest, *rest = it.blocks()
        return packed(it.tar([manifest, block(it), *rest]))

    return make


def last(block: Callable[[Crafted], bytes]) -> Make:
    return lambda it: packed(it.tar([*it.blocks(), block(it)]))


def listing(path: str, **other: object) -> Make:
    """A path in the manifest that is none, with a member of that name to go with it."""

    def make(it: Crafted) -> bytes:
        it.list(path, **other)  # type: ignore[arg-type]
        name = it.name(path).encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\0", "")[:90]
        return packed(it.tar([*it.blocks(), member(name, b"x")]))

    return make


def told(**values: object) -> Make:
    """Another value in the manifest."""

    def make(it: Crafted) -> bytes:
        it.manifest.update(values)
        return it.bytes()

    return make


def entry(**values: object) -> Make:
    """Another value for the log in the manifest; the member itself as it was."""

    def make(it: Crafted) -> bytes:
        it.entry(LOG).update(values)
        return it.bytes()

    return make


def header(at: int, value: bytes) -> Make:
    """Other bytes in the header of the log, its checksum right."""

    def make(it: Crafted) -> bytes:
        blocks = it.blocks()
        where = next(number for number, block in enumerate(blocks) if block.startswith(it.name(LOG).encode()))
        blocks[where] = patched(blocks[where], at, value)
        return packed(it.tar(blocks))

    return make


def manifest(data: bytes) -> Make:
    return lambda it: packed(it.tar([member(it.name("MANIFEST.json"), data), *it.blocks()[1:]]))


def retelling(**values: object) -> Make:
    """Other values in the manifest, the members as they were."""

    def make(it: Crafted) -> bytes:
        blocks = it.blocks()
        it.manifest.update(values)
        return packed(it.tar([member(it.name("MANIFEST.json"), it.manifest_bytes()), *blocks[1:]]))

    return make


def directory(path: str) -> Make:
    def make(it: Crafted) -> bytes:
        it.manifest["directories"].append({"path": path, "mode": "0755"})
        it.manifest["directories"].sort(key=lambda one: one["path"])
        return it.bytes()

    return make


def document(path: str, change: Callable[[bytes], bytes]) -> Make:
    """A document of the run that is not what it should be, its digest in the manifest right."""

    def make(it: Crafted) -> bytes:
        it.change(path, change(it.files[it.name(path)]))
        return it.bytes()

    return make


def retold(**values: object) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        content = {**json.loads(data), **values}
        content.pop("checksum")
        return records.encode_document(content)

    return change


def without(path: str) -> Make:
    def make(it: Crafted) -> bytes:
        it.manifest["files"] = [one for one in it.manifest["files"] if one["path"] != path]
        del it.files[it.name(path)]
        return it.bytes()

    return make


def swapped(it: Crafted) -> bytes:
    blocks = it.blocks()
    blocks[-1], blocks[-2] = blocks[-2], blocks[-1]
    return packed(it.tar(blocks))


def unsorted(it: Crafted) -> bytes:
    it.manifest["files"].reverse()
    return it.bytes()


def twice(it: Crafted) -> bytes:
    it.manifest["files"].insert(0, it.manifest["files"][0])
    return it.bytes()


def through_link(it: Crafted) -> bytes:
    it.list("state/way/in")
    manifest, *rest = it.blocks()
    link = member(it.name("state/way"), type=tarfile.SYMTYPE, linkname="/tmp")
    return packed(it.tar([manifest, *rest, link, member(it.name("state/way/in"), b"x")]))


def file_and_directory(it: Crafted) -> bytes:
    it.manifest["directories"].append({"path": "state/step_00.d", "mode": "0755"})
    it.add("state/step_00.d", b"x")
    return it.bytes()


def zeros(it: Crafted, size_bytes: int) -> bytes:
    """A log that is as large as the manifest says, and nothing but zeros."""
    hasher = blake3()
    piece = bytes(1 << 20)
    for _ in range(size_bytes >> 20):
        hasher.update(piece)
    it.entry(LOG).update(size=size_bytes, blake3=hasher.hexdigest())
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = bytearray()
    for block in it.blocks():
        if block.startswith(it.name(LOG).encode()):
            body += deflate.compress(member(it.name(LOG), size=size_bytes))
            for _ in range(size_bytes >> 20):
                body += deflate.compress(piece)
        else:
            body += deflate.compress(block)
    body += deflate.compress(bytes(2 * BLOCK)) + deflate.flush()
    return headed(bytes(body) + bytes(8))


def huge_manifest(it: Crafted) -> bytes:
    return packed(it.tar([member(it.name("MANIFEST.json"), b" " * (90 << 20)), *it.blocks()[1:]]), level=9)


def nested(it: Crafted) -> bytes:
    deep = b'{"format": ' + b"[" * 200_000 + b"]" * 200_000 + b",\n"
    return manifest(b'%s  "checksum": "%s"\n}\n' % (deep, records.digest(deep).encode()))(it)


def of_tar(it: Crafted) -> bytes:
    return gzip.compress(it.tar(), mtime=0)


def cut(size_bytes: int) -> Make:
    return lambda it: packed(it.tar()[:size_bytes])


HOSTILE: dict[str, tuple[Make, str]] = {
    # Members that are no plain files.
    "a symbolic link to a file": (instead(LOG, type=tarfile.SYMTYPE, linkname="/etc/passwd"), "a symbolic link"),
    "a symbolic link, then a file through it": (through_link, "state/way/in"),
    "a hard link": (instead(LOG, type=tarfile.LNKTYPE, linkname="../../secret"), "a hard link"),
    "a character device": (instead(LOG, type=tarfile.CHRTYPE, devmajor=1, devminor=5), "a device"),
    "a block device": (instead(LOG, type=tarfile.BLKTYPE, devmajor=8), "a device"),
    "a fifo": (instead(LOG, type=tarfile.FIFOTYPE), "a fifo"),
    "a directory": (instead(LOG, type=tarfile.DIRTYPE), "a directory"),
    "a sparse file": (instead(LOG, type=tarfile.GNUTYPE_SPARSE), "a sparse file"),
    "a contiguous file": (instead(LOG, type=tarfile.CONTTYPE), "no plain file"),
    "a file of an old kind": (instead(LOG, type=tarfile.AREGTYPE), "an old kind"),
    "an extended header with another path": (
        second(lambda _: member("x", b"20 path=/tmp/hostile\n", type=tarfile.XHDTYPE)),
        "an extended header",
    ),
    "a global header with another size": (
        second(lambda _: member("x", b"12 size=999\n", type=tarfile.XGLTYPE)),
        "an extended header",
    ),
    "a long name of GNU": (second(lambda _: member("x", b"/tmp/hostile", type=tarfile.GNUTYPE_LONGNAME)), "GNU"),
    "a long link of GNU": (second(lambda _: member("x", b"/tmp/hostile", type=tarfile.GNUTYPE_LONGLINK)), "GNU"),
    # Headers that are not as we write them.
    "the format of GNU": (header(257, b"ustar  \0"), "header"),
    "a name continued in the prefix": (header(345, b"../../tmp"), "header"),
    "an owner": (header(108, b"0001750"), "header"),
    "a time": (header(136, b"14750000000"), "header"),
    "a mode that lets everybody write": (header(100, b"0000666"), "header"),
    "a size in base 256": (header(124, b"\x80" + bytes(10) + b"\x06"), "another size"),
    "a negative size": (header(124, b"-0000000006"), "another size"),
    "a header with a wrong checksum": (
        lambda it: packed(it.tar([*it.blocks()[:-1], it.blocks()[-1].replace(b"ustar\x0000", b"ustar\x0001")])),
        "header",
    ),
    # Paths in the manifest that lead elsewhere.
    "an absolute path": (listing("/etc/hostile"), "leads somewhere else"),
    "a path above": (listing("../hostile"), "leads somewhere else"),
    "a path above, from inside": (listing("state/step_00.d/../../../hostile"), "leads somewhere else"),
    "a path with a dot": (listing("state/./hostile"), "leads somewhere else"),
    "a path with an empty part": (listing("state//hostile"), "leads somewhere else"),
    "an empty path": (listing(""), "leads somewhere else"),
    "a path with a zero byte": (listing("state/a\0b"), "leads somewhere else"),
    "a path with a part of 256 bytes": (listing("state/" + "a" * 256), "too long"),
    "a path of 4,000 bytes": (listing("state/step_00.d/" + "/".join(["a" * 99] * 40)), "too long"),
    "a path that is half a character": (listing("state/\ud800"), "is no text"),
    "a path that is a number": (told(files=[{"path": 1, "size": 0, "mode": "0644", "blake3": "0" * 64}]), "a path"),
    # Names that no run holds.
    "a file beside those of a run": (listing("evil.sh"), "no file of a run"),
    "a program for shells": (listing("steps.sh"), "no file of a run"),
    "a program that resumes": (listing("resume.sh"), "no file of a run"),
    "a library": (directory("lib"), "no directory of a run"),
    "a pin": (listing("pinned"), "no file of a run"),
    "a hidden file": (listing("state/.profile"), "no file of a run"),
    "a file in a directory that is none": (listing("logs/a/b"), "no file of a run"),
    "a directory of no run": (directory("evil"), "no directory of a run"),
    "a directory above": (directory("../evil"), "leads somewhere else"),
    "a file in a directory that is not listed": (listing("state/step_00.d/x"), "does not list"),
    "a file that is a directory too": (file_and_directory, "no directory of a run"),
    # Members that are not what the manifest says.
    "a member of another name": (
        lambda it: packed(it.tar([*it.blocks()[:-1], member("/tmp/hostile", b"x")])),
        "/tmp/hostile stands in it",
    ),
    "a member with a name above": (second(lambda _: member("../hostile", b"x")), "../hostile stands in it"),
    "a member before the manifest": (before_all(member("hostile", b"x" * 9)), "manifest"),
    "a member that is not listed": (last(lambda it: member(it.name("state/more"), b"x")), "more than its manifest"),
    "a member twice": (second(lambda it: it.blocks()[1]), "stands in it"),
    "members in another order": (swapped, "stands in it"),
    "a manifest in another order": (unsorted, "not in order"),
    "a file listed twice": (twice, "twice"),
    "a member that is missing": (lambda it: packed(it.tar(it.blocks()[:-1])), "ends before all files"),
    "a size that is too small": (entry(size=1), "another size"),
    "a size that is too large": (entry(size=999_999), "another size"),
    "a digest of something else": (entry(blake3="0" * 64), "not what its manifest says"),
    "a mode with the bit that gives rights away": (entry(mode="4755"), "a mode in its manifest is none"),
    "a size that is true": (entry(size=True), "a size in its manifest is none"),
    "a size that is half": (entry(size=0.5), "a size in its manifest is none"),
    "a size below zero": (entry(size=-1), "a size in its manifest is none"),
    # The manifest as a whole.
    "a manifest without a checksum": (manifest(b'{"format": 1}\n'), "no checksum"),
    "a manifest with a wrong checksum": (
        lambda it: manifest(it.manifest_bytes().replace(b'"kind"', b'"kinD"'))(it),
        "checksum is wrong",
    ),
    "a manifest that is no JSON": (manifest(b"hello"), "manifest"),
    "an empty manifest": (manifest(b""), "manifest"),
    "a manifest nested without end": (nested, "manifest"),
    "a manifest of another form": (retelling(files="all of them"), "another form"),
    "a manifest without files": (retelling(files=None), "another form"),
    "another format": (told(format=2), "format"),
    "a newer version": (told(version="99.0.0"), "99.0.0"),
    "another kind": (told(kind="evil"), "another form"),
    "the id of a run that leads elsewhere": (told(run_id="../workflow_20261124_120000"), "names no run"),
    "the id of another run": (told(run_id="workflow_20200101_000000"), "belongs"),
    # The documents of the run.
    "a run within that is another": (
        document("workflow.json", retold(workflow_id="workflow_20200101_000000")),
        "another run",
    ),
    "a run without its definition": (without("workflow.json"), "no workflow.json"),
    "a definition that is damaged": (document("workflow.json", lambda data: data[:-9]), "workflow.json"),
    "a definition of a newer version": (document("workflow.json", retold(version="99.0.0")), "99.0.0"),
    "a definition that is none": (
        document("workflow.json", retold(definition={"steps": [{"number": 0}]})),
        "definition",
    ),
    # What compresses it.
    "an empty file": (lambda _: b"", "not made by workflow"),
    "a text": (lambda _: b"hello\n" * 99, "not made by workflow"),
    "what tar makes": (of_tar, "not made by workflow"),
    "nothing but a head": (lambda it: it.bytes()[:48], "ends too early"),
    "a head that is cut": (lambda it: it.bytes()[:30], "ends too early"),
    "a head with another digest": (
        lambda it: it.bytes()[:16] + bytes(32) + it.bytes()[48:],
        "digest",
    ),
    "bytes behind the end": (lambda it: headed(it.bytes()[48:] + b"x"), "behind its end"),
    "a second gzip member": (lambda it: headed(it.bytes()[48:] + gzip.compress(b"x")), "behind its end"),
    "bytes behind the end of the tar file": (lambda it: packed(it.tar() + b"x"), "behind its end"),
    "zeros behind the end of the tar file": (lambda it: packed(it.tar() + bytes(BLOCK)), "behind its end"),
    "something between its files": (
        lambda it: packed(it.tar([it.blocks()[0][:-1] + b"x", *it.blocks()[1:]])),
        "between its files",
    ),
    "a tar file without an end": (lambda it: packed(it.tar()[: -2 * BLOCK]), "ends before"),
    "a tar file with half an end": (lambda it: packed(it.tar()[:-BLOCK]), "ends before"),
    "a tar file of one block": (cut(BLOCK), "ends before"),
    "no deflate stream": (lambda _: headed(b"\xff" * 200), "decompressed"),
    # Bombs.
    "a bomb of zeros": (lambda it: zeros(it, 64 << 20), "more than any run of its size"),
    "a bomb in the manifest": (huge_manifest, "manifest is larger"),
    "a bomb by its sizes": (
        entry(size=8**11 - 1),
        "more than any run of its size",
    ),
}
HARMFUL_OUTPUTS = {
    "in git's own files": ".git/hooks/pre-commit",
    "in git's own files, deeper": "vendor/.git/config",
    "among the checkpoints": ".checkpoints/workflow_20200101_000000/step_00.complete",
    "as a step": "steps/step_00_s0.sh",
    "beside the steps": "steps/step_99_evil.sh",
}

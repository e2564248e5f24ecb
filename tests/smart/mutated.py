"""A project for the tests of many changes: steps whose outputs are functions of everything they may read.

Two things are known of it without asking `workflow`: what each step reads now (`Project.readings`, straight from the
files), and what its outputs would be in a build from nothing (`Project.from_nothing`).
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tests.smart.test_world import step
from workflow.checkpoint.durable import Disk
from workflow.model import Input, Smart, Status, Step, Workflow
from workflow.planning.evidence import bytes_digest
from workflow.planning.world import World

WRITERS = ("build", "strip", "sign")  # of one path, in this order or with the last two changed about
OUTPUTS = {"gen": "gen.out", "build": "app", "strip": "app", "sign": "app", "pack": "dist/pack", "report": "report"}
Read = Callable[[str], bytes | None]


class UnsyncedDisk(Disk):
    """Writes as the real one does and waits for no disk: what is asked here is what counts, not what survives."""

    def write(self, path: str, data: object, *, sync: bool = True) -> None:
        super().write(path, data, sync=False)  # type: ignore[arg-type]


def digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:24].encode()


class Clean(NamedTuple):
    """A run of everything: what each step reads, what the outputs hold in the end, which values are published."""

    read: dict[str, object]
    made: dict[str, bytes]
    values: dict[str, str]


class Project:
    """Files, definition and what is known of runs. Whatever a mutation may change is an attribute or a file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.disk = UnsyncedDisk()
        self.texts = dict.fromkeys((*OUTPUTS, "val", "check"), "0")
        self.env: dict[str, str] = {"gen": "0", "pack": "0"}
        self.params: dict[str, str] = {"build": "0", "report": "0"}
        self.given: dict[str, str] = {}
        self.path_variable = "bin/one:bin/two"
        self.is_sign_first = False
        self.passes = 0
        for name in ("cache", "src/deep", "cfg", "bin/one", "bin/two", "bin/real", "dist"):
            (root / name).mkdir(parents=True)
        for name in ("src/a", "src/b", "src/deep/c", "cfg/x.cfg", "cfg/skip.cfg", "cfg/other", "strip.cfg"):
            (root / name).write_bytes(b"0")
        (root / "link").symlink_to("src/a")
        (root / "gen.sh").write_bytes(b"#!tool\n0")
        self.program("bin/two/tool", b"0")
        self.program("bin/real/first", b"0")
        self.program("bin/real/second", b"1")
        (root / "bin/two/other").symlink_to("../real/first")

    def program(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.write_bytes(b"#!/bin/sh\n#" + content)
        path.chmod(0o755)

    # ------------------------------------------------------------------ what `workflow` is told

    def steps(self) -> list[Step]:
        """Return the definition as it is now."""
        order = ["gen", "val", "build", "strip", "sign", "pack", "check", "report"]
        if self.is_sign_first:
            order[3:5] = ["sign", "strip"]
        inputs = {
            "gen": ["src/**"],
            "val": ["cfg/*.cfg", "!cfg/skip*"],
            "build": ["gen.out", "link"],
            "strip": ["app", "strip.cfg"],
            "sign": ["app"],
            "pack": ["app"],
            "check": ["src/deep/*", "maybe"],
            "report": ["dist", "maybe"],
        }
        found = []
        for number, name in enumerate(order):
            one = step(
                number,
                name,
                text=self.texts[name],
                inputs=tuple(Input(pattern) for pattern in inputs[name]),
                outputs=(OUTPUTS[name],) if name in OUTPUTS else (),
                env=(("E", self.env[name]),) if name in self.env else (),
                params=(("P", self.params[name]),) if name in self.params else (),
            )
            if name == "gen":
                text = (self.root / "gen.sh").read_bytes()
                one = replace(one, text=None, script="gen.sh", content_digest=bytes_digest(text))
            elif name == "check":
                one = replace(one, interpreter=("other", "-x"))
            elif name == "pack":
                one = replace(one, needs=(0,))
            found.append(one)
        return found

    def world(self) -> World:
        workflow = Workflow("w", str(self.root), str(self.root / "w"), tuple(self.steps()), smart=Smart(enabled=True))
        cache = str(self.root / "cache")
        return World(workflow, cache, "here", self.path_variable, [cache], given=self.given)

    # ------------------------------------------------------------------ what steps read, straight from the files

    def readings(self, one: Step, values: Mapping[str, str], read: Read) -> object:
        """Return everything that a step may read; `read` gives what outputs hold."""
        script = (self.root / "gen.sh").read_bytes() if one.name == "gen" else one.text
        program = {"gen": "tool", "check": "other"}.get(one.name)
        needed = read("gen.out") if one.name == "pack" else None
        given = sorted(self.given.items())
        found = self._inputs(one.name, read)
        interpreter = program and self._found(program)
        return (script, one.env, one.params, given, interpreter, sorted(values.items()), needed, found)

    def _found(self, program: str) -> object:
        for directory in self.path_variable.split(":"):
            path = self.root / directory / program
            if path.is_file() and os.access(path, os.X_OK):
                return directory, path.read_bytes()
        return None

    def _inputs(self, name: str, read: Read) -> object:
        everything = sorted(self._files("src"))
        if name == "gen":
            return [(path, self._seen(path)) for path in everything if not is_hidden(path)]
        if name == "val":
            names = [it for it in os.listdir(self.root / "cfg") if fnmatch.fnmatchcase(it, "[!.]*.cfg")]
            return [(it, self._seen(f"cfg/{it}")) for it in sorted(names) if not it.startswith("skip")]
        if name == "build":
            return read("gen.out"), self._seen("link")
        if name == "strip":
            return read("app"), self._seen("strip.cfg")
        if name in ("sign", "pack"):
            return read("app")
        if name == "check":
            near = [it for it in everything if it.rpartition("/")[0] == "src/deep" and not is_hidden(it)]
            return [(path, self._seen(path)) for path in near], self._seen("maybe")
        extra = [(path, self._seen(path)) for path in sorted(self._files("dist")) if path != "dist/pack"]
        return read("dist/pack"), extra, self._seen("maybe")

    def _files(self, below: str) -> Iterable[str]:
        for folder, directories, names in os.walk(self.root / below):
            links = [it for it in directories if os.path.islink(os.path.join(folder, it))]
            for name in (*names, *links):
                yield os.path.relpath(os.path.join(folder, name), self.root)

    def _seen(self, name: str) -> object:
        path = self.root / name
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(status.st_mode):
            there = os.stat(path) if path.exists() else None
            mode = there and bool(there.st_mode & 0o111)
            return "link", os.readlink(path), mode, path.read_bytes() if path.is_file() else None
        return bool(status.st_mode & 0o111), path.read_bytes()

    def on_disk(self, name: str) -> bytes | None:
        path = self.root / name
        return path.read_bytes() if path.is_file() and not path.is_symlink() else None

    # ------------------------------------------------------------------ what steps make

    def make(self, one: Step, values: Mapping[str, str]) -> dict[str, str]:
        """Do a step; return what it publishes."""
        result = digest(one.name, self.readings(one, values, self.on_disk))
        if one.outputs:
            path = self.root / one.outputs[0]
            path.unlink(missing_ok=True)
            path.write_bytes(result)
        return {"V": result.decode()} if one.name == "val" else {}

    def from_nothing(self) -> Clean:
        """Return what a run of everything would read, make and publish now."""
        made: dict[str, bytes] = {}
        values: dict[str, str] = {}
        read: dict[str, object] = {}
        for one in self.steps():
            read[one.name] = self.readings(one, values, made.get)
            result = digest(one.name, read[one.name])
            made.update(dict.fromkeys(one.outputs, result))
            if one.name == "val":
                values["V"] = result.decode()
        return Clean(read, made, values)

    def run(self, fails: str = "") -> tuple[list[str], dict[str, str], int]:
        """Run what must, as the engine would. `fails` is a step that, if it runs, fails and ends the pass.

        Return what ran, the values that were published in the end, and at how many steps a quick look was enough.
        """
        world = self.world()
        self.passes += 1
        values: dict[str, str] = {}
        ran, quick = [], 0
        for one in self.steps():
            judgement = world.judge(one, values)
            quick += not judgement.evidence.manifest
            if not judgement.reasons:
                assert judgement.success is not None
                values.update(judgement.success.published)
                continue
            world.begins(one, self.disk)
            published = self.make(one, values)
            ran.append(one.name)
            status = Status.FAILED if one.name == fails else Status.SUCCEEDED
            told = {"run_id": f"run {self.passes}", "completed_at": str(self.passes), "duration_s": 0.0}
            world.ends(judgement, status, published=published, env={}, **told)  # type: ignore[arg-type]
            if status is Status.FAILED:
                break
            values.update(published)
        world.save(self.disk)
        return ran, values, quick

    def outputs(self) -> dict[str, object]:
        """Return what stands at each output, with all that counts of it."""
        return {name: self._seen(name) for name in OUTPUTS.values()}


def is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))

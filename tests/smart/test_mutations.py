"""Thousands of changes of everything that counts for a step: none is missed, and hardly one is seen that is none.

After each pass the outputs are held against a build from nothing, and what ran against what each step had read. The
short form is for every day, the long one of 10,000 changes for `make proof`; both say what they counted (-s).
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.smart.mutated import OUTPUTS, WRITERS, Project
from workflow.planning import digests

MOST_NEEDLESS = 0.02
SHORT_NS = 8_000_000  # two ticks of the clock of a file system

Mutation = Callable[[Project, random.Random], object]


def one_file(project: Project, chance: random.Random) -> Path:
    files = [it for name in ("src", "cfg") for it in (project.root / name).rglob("*")]
    return chance.choice(sorted(it for it in files if it.is_file() and not it.is_symlink()))


def content(project: Project, chance: random.Random) -> None:
    one_file(project, chance).write_bytes(b"%d" % chance.randrange(3))


def same_size_and_time(project: Project, chance: random.Random) -> None:
    path = one_file(project, chance)
    status, data = path.stat(), bytearray(path.read_bytes() or b"0")
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def new_file(project: Project, chance: random.Random) -> None:
    place = project.root / chance.choice(["src", "src/deep", "cfg", f"src/d{chance.randrange(2)}", "dist"])
    place.mkdir(exist_ok=True)
    odd = os.fsdecode(b"\xff\n")
    (place / chance.choice(["new", ".hidden", "[x]", f"a b{odd}", "y.cfg", "skip2.cfg"])).write_bytes(b"new")


def removed_file(project: Project, chance: random.Random) -> None:
    path = one_file(project, chance)
    if len(list(project.root.rglob("*"))) > 20:
        path.unlink()
    if not any(it.is_file() for it in (project.root / "src").rglob("*")):
        (project.root / "src/a").write_bytes(b"0")


def renamed_file(project: Project, chance: random.Random) -> None:
    path = one_file(project, chance)
    path.rename(path.with_name(f"moved{chance.randrange(3)}{path.suffix}"))


def mode(project: Project, chance: random.Random) -> None:
    path = one_file(project, chance)
    path.chmod(path.stat().st_mode ^ 0o111)


def retargeted_link(project: Project, chance: random.Random) -> None:
    link = project.root / chance.choice(["link", "src/deep/link"])
    link.unlink(missing_ok=True)
    link.symlink_to(project.root / chance.choice(["src/a", "cfg/other", "nowhere"]))


def absent_file(project: Project, chance: random.Random) -> None:
    path = project.root / "maybe"
    path.unlink() if path.exists() else path.write_bytes(b"%d" % chance.randrange(2))


def script_text(project: Project, chance: random.Random) -> None:
    name = chance.choice(sorted(project.texts))
    if name == "gen":
        (project.root / "gen.sh").write_bytes(b"#!tool\n%d" % chance.randrange(3))
    else:
        project.texts[name] = str(chance.randrange(3))


def environment(project: Project, chance: random.Random) -> None:
    project.env[chance.choice(sorted(project.env))] = str(chance.randrange(3))


def parameter(project: Project, chance: random.Random) -> None:
    project.params[chance.choice(sorted(project.params))] = str(chance.randrange(3))


def given_variable(project: Project, chance: random.Random) -> None:
    project.given = chance.choice([{}, {"G": "0"}, {"G": "1"}])


def interpreter_bytes(project: Project, chance: random.Random) -> None:
    name = chance.choice(["bin/two/tool", "bin/real/first", "bin/real/second"])
    project.program(name, b"%d" % chance.randrange(3))


def another_program_of_that_name(project: Project, chance: random.Random) -> None:
    path = project.root / "bin/one" / chance.choice(["tool", "other"])
    path.unlink() if path.exists() else project.program(f"bin/one/{path.name}", b"%d" % chance.randrange(2))


def another_path(project: Project, chance: random.Random) -> None:
    project.path_variable = chance.choice(["bin/one:bin/two", "bin/two:bin/one", "bin/two"])


def retargeted_interpreter(project: Project, chance: random.Random) -> None:
    link = project.root / "bin/two/other"
    link.unlink()
    link.symlink_to(f"../real/{chance.choice(['first', 'second'])}")


def order_of_writers(project: Project, chance: random.Random) -> None:
    project.is_sign_first = not project.is_sign_first


def own_output(project: Project, chance: random.Random) -> None:
    path = project.root / chance.choice(sorted(set(OUTPUTS.values())))
    kind = chance.randrange(4)
    if kind == 0 or not path.exists():
        path.unlink(missing_ok=True)
    elif kind == 1:
        path.write_bytes(b"tampered")
    elif kind == 2:
        os.truncate(path, 3)
    else:
        status, data = path.stat(), bytearray(path.read_bytes())
        data[0] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def editors_input(project: Project, chance: random.Random) -> None:
    (project.root / "strip.cfg").write_bytes(b"%d" % chance.randrange(3))


def touched(project: Project, chance: random.Random) -> None:
    os.utime(one_file(project, chance), (chance.randrange(1 << 30), chance.randrange(1 << 30)))


def the_same_bytes_again(project: Project, chance: random.Random) -> None:
    path = one_file(project, chance)
    data, bits = path.read_bytes(), path.stat().st_mode
    path.unlink()
    path.write_bytes(data)
    path.chmod(bits)


def what_nobody_reads(project: Project, chance: random.Random) -> None:
    (project.root / chance.choice(["cfg/other2", "README", "cfg/skip.cfg"])).write_bytes(b"%d" % chance.randrange(9))


MUTATIONS: list[Mutation] = [
    content,
    same_size_and_time,
    new_file,
    removed_file,
    renamed_file,
    mode,
    retargeted_link,
    absent_file,
    script_text,
    environment,
    parameter,
    given_variable,
    interpreter_bytes,
    another_program_of_that_name,
    another_path,
    retargeted_interpreter,
    order_of_writers,
    own_output,
    editors_input,
    touched,
    the_same_bytes_again,
    what_nobody_reads,
]


class Watch:
    """Holds every pass against a build from nothing, and counts."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.changes: Counter[str] = Counter()
        self.needless: Counter[str] = Counter()
        self.runs = 0
        self.quick_looks = 0
        self._read: dict[str, object] = {}  # what each step read when it last succeeded
        self._left: dict[str, object] = {}

    def forget(self, name: str) -> None:
        self._read.pop(name, None)

    def run(self, fails: str, after: str) -> None:
        """Run a pass; fail at a false skip, count what ran needlessly."""
        project, clean, there = self.project, self.project.from_nothing(), self.project.outputs()
        must = {
            name
            for name, read in clean.read.items()
            if self._read.get(name) != read or ((path := OUTPUTS.get(name)) and there[path] != self._left[path])
        }
        if must & set(WRITERS):
            must |= set(WRITERS)  # an editor gets what it edits as it was before: the line is made anew as a whole
        ran, values, quick = project.run(fails)
        self.runs += len(ran)
        self.quick_looks += quick
        self.needless.update(set(ran) - must)
        self._left = project.outputs()
        done = ran if fails in ran else list(clean.read)
        self._read.update({name: clean.read[name] for name in done})
        if fails in ran:
            self.forget(fails)
            return
        assert must - set(ran) == set(), f"false skips after {after}"
        wrong = {name for name, data in clean.made.items() if project.on_disk(name) != data}
        assert not wrong, f"{wrong} are not what a build from nothing makes, after {after}"
        assert values == clean.values, f"after {after}"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("recent_ns", [digests.RECENT_NS, SHORT_NS])
def test_of_changes_of_everything_none_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recent_ns: int
) -> None:
    """Cases 51, 52, 54, 55, 58, 60 and 61: 0 false skips, at most 2 % needless runs. SMART_SEED repeats it.

    Once with files that are always read, once with the caches and the quick looks at work.
    """
    change_everything(tmp_path, monkeypatch, recent_ns, 350)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("recent_ns", [digests.RECENT_NS, SHORT_NS])
def test_of_ten_thousand_changes_none_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recent_ns: int
) -> None:
    """Cases 51, 52, 54, 55, 58, 60 and 61, the long form: 5,000 changes each."""
    change_everything(tmp_path, monkeypatch, recent_ns, 5_000)


def change_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recent_ns: int, count: int) -> None:
    monkeypatch.setattr(digests, "RECENT_NS", recent_ns)
    seed = int(os.environ.get("SMART_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"repeat with SMART_SEED={seed}")
    chance = random.Random(seed)
    project = Project(tmp_path)
    watch = Watch(project)
    watch.run("", "nothing")
    while (done := watch.changes.total()) < count:
        several = chance.sample(MUTATIONS, 1 if chance.random() < 0.8 else 3)
        for mutation in several:
            mutation(project, chance)
            watch.changes[mutation.__name__] += 1
        if chance.random() < 0.02:  # a runner that dies while a step runs
            one = chance.choice(project.steps())
            project.world().begins(one, project.disk)
            watch.forget(one.name)
        fails = chance.choice(sorted(project.texts)) if chance.random() < 0.03 else ""
        what = f"{', '.join(it.__name__ for it in several)} ({done} before; SMART_SEED={seed})"
        watch.run(fails, what)
        if recent_ns == SHORT_NS and chance.random() < 0.3:
            for _ in range(2):  # a whole look that is kept, and a quick one
                time.sleep(0.012)
                watch.run("", f"nothing, after {what}")
    needless = watch.needless.total()
    said = f"{done:,} changes of {len(watch.changes)} kinds, {watch.runs:,} runs of steps, no false skip, "
    print(f"{said}{needless} needless runs {dict(watch.needless) or ''}")
    print(f"{watch.quick_looks:,} quick looks")
    assert needless <= done * MOST_NEEDLESS
    assert len(watch.changes) == len(MUTATIONS)
    assert watch.quick_looks > 0 or recent_ns != SHORT_NS

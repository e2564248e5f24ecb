"""Quick looks: they only ever say "reuse", and only while nothing they depend on has changed."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.smart.test_world import Sandbox, joined, step
from workflow.model import Input
from workflow.planning import digests


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """One step that was reused, and of which a quick look is kept."""
    monkeypatch.setattr(digests, "RECENT_NS", 20_000_000)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"1")
    one = step(0, "s", inputs=(Input("in/*"), Input("maybe")), outputs=("out",))
    sandbox = Sandbox(tmp_path, [one], {"s": joined("in/a", to="out")})
    assert sandbox.run() == ["s"]
    time.sleep(0.05)
    assert sandbox.run() == []
    assert is_quick(sandbox)
    return sandbox


def is_quick(sandbox: Sandbox) -> bool:
    """Return whether the step is reused without its evidence being looked at."""
    judgement = sandbox.world().judge(sandbox.steps[0], {})
    return not judgement.reasons and not judgement.evidence.manifest


@pytest.mark.parametrize(
    "change",
    [
        lambda path: (path / "in" / "new").write_bytes(b""),
        lambda path: (path / "in" / "a").write_bytes(b"2"),
        lambda path: (path / "maybe").write_bytes(b""),
        lambda path: (path / "out").unlink(),
        lambda path: (path / "out").write_bytes(b"tampered"),
        lambda path: os.truncate(path / "out", 0),
        lambda path: (path / "in" / "a").chmod(0o755),
    ],
)
def test_whatever_changes_is_noticed(known: Sandbox, change: Callable[[Path], object]) -> None:
    status = (known.path / "in").stat()
    change(known.path)
    os.utime(known.path / "in", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert known.reasons()["s"]
    assert known.run() == ["s"]


@pytest.mark.parametrize("words", [{"side_effects": "external"}, {"env": (("A", "1"),)}, {"text": "other"}])
def test_another_definition_is_noticed(known: Sandbox, words: dict[str, object]) -> None:
    given = {"inputs": (Input("in/*"), Input("maybe")), "outputs": ("out",), **words}
    known.steps[0] = step(0, "s", **given)
    assert known.reasons()["s"]


def test_another_value_is_noticed(known: Sandbox) -> None:
    assert known.world().judge(known.steps[0], {"V": "1"}).reasons


def test_what_changed_shortly_before_is_not_kept(known: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "RECENT_NS", 3_600_000_000_000)
    (known.path / "cache" / "successes-w.quick").unlink()
    assert known.run() == []
    assert not is_quick(known)


def test_a_damaged_file_is_as_good_as_none(known: Sandbox) -> None:
    path = known.path / "cache" / "successes-w.quick"
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert not is_quick(known)
        assert known.reasons() == {"s": []}


def test_a_step_that_was_begun_since_is_not_known(known: Sandbox) -> None:
    world = known.world()
    world.begins(known.steps[0], known.disk)
    assert known.reasons() == {"s": ["never-run"]}


def test_a_file_in_a_directory_that_was_not_there_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "RECENT_NS", 20_000_000)
    (tmp_path / "packages" / "a" / "src").mkdir(parents=True)
    (tmp_path / "packages" / "a" / "src" / "x").write_bytes(b"1")
    (tmp_path / "packages" / "b").mkdir()
    one = step(0, "s", inputs=(Input("packages/*/src/**"),), outputs=("out",))
    sandbox = Sandbox(tmp_path, [one], {"s": joined("packages/a/src/x", to="out")})
    assert sandbox.run() == ["s"]
    time.sleep(0.05)
    assert sandbox.run() == []
    assert is_quick(sandbox)
    (tmp_path / "packages" / "b" / "src").mkdir()
    (tmp_path / "packages" / "b" / "src" / "y").write_bytes(b"2")
    assert sandbox.reasons() == {"s": ["input-new"]}


def test_a_step_that_is_needed_since_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "RECENT_NS", 20_000_000)
    (tmp_path / "in").write_bytes(b"1")
    x = step(0, "x", inputs=(Input("in"),), outputs=("made",))
    y = step(1, "y", inputs=(Input("own"),), outputs=("out",))
    (tmp_path / "own").write_bytes(b"1")
    sandbox = Sandbox(tmp_path, [x, y], {"x": joined("in", to="made"), "y": joined("own", to="out")})
    assert sandbox.run() == ["x", "y"]
    time.sleep(0.05)
    assert sandbox.run() == []
    sandbox.steps[1] = step(1, "y", inputs=(Input("own"),), outputs=("out",), needs=(0,))
    assert sandbox.reasons() == {"x": [], "y": ["upstream-changed"]}
    assert sandbox.run() == ["y"]
    time.sleep(0.05)
    assert sandbox.run() == []
    sandbox.steps[0] = step(0, "x", inputs=(Input("in"),), outputs=("made", "in"))
    assert sandbox.reasons()["y"] == ["upstream-changed"]


def test_a_needed_step_that_works_elsewhere_now_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "RECENT_NS", 20_000_000)
    for name in ("one/made", "two/made", "own"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "in").write_bytes(b"1")
    x = step(0, "x", inputs=(Input("../in"),), outputs=("made",), working_directory="one")
    y = step(1, "y", inputs=(Input("own"),), outputs=("out",), needs=(0,))
    sandbox = Sandbox(tmp_path, [x, y], {"x": joined("in", to="one/made"), "y": joined("own", to="out")})
    assert sandbox.run() == ["x", "y"]
    time.sleep(0.05)
    assert sandbox.run() == []
    sandbox.steps[0] = dataclasses.replace(x, working_directory="two")
    assert set(sandbox.reasons()["y"]) == {"upstream-changed"}

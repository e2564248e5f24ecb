"""compress, export and import killed by the kernel at the Nth system call of a kind: the old or the new state."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.crash.packing_places import CASES, Place, assert_goes_on_after_death, make_base, make_place
from tests.crash.recovering import program, program_env, sample
from tests.crash.test_strace_kills import WHY_NOT
from tests.crash.traced_calls import calls_made

# What each command does to change something on disk; `openat`, where that opens for writing, comes to all of them.
MADE = {
    "compress": ("rename", "fsync", "unlink", "unlinkat", "write"),
    "export": ("rename", "fsync", "unlink", "write"),
    "import": ("rename", "fsync", "syncfs", "unlink", "unlinkat", "mkdir", "rmdir", "write"),
    "import-in-place": ("rename", "renameat2", "fsync", "syncfs", "unlinkat", "mkdir", "rmdir", "write"),
    "mark": ("rename", "fsync", "syncfs", "unlink", "unlinkat", "mkdir", "rmdir", "write", "utimensat"),
}
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def place(request: pytest.FixtureRequest, base: Path, tmp_path: Path) -> Place:
    return make_place(request.param, base, tmp_path)


def trace(place: Place, call: str, kill_at: int = 0) -> tuple[int, list[str]]:
    """Run the command with its calls of one kind traced; return its exit code and these calls, in order."""
    log = place.path.parent / "trace.txt"
    inject = ["-e", f"inject={call}:signal=SIGKILL:when={kill_at}"] if kill_at else []
    result = subprocess.run(
        ["strace", "-qq", "-o", str(log), "-e", f"trace={call}", *inject, *program(*place.words)],
        cwd=place.path,
        env=program_env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return result.returncode, [line for line in log.read_text(errors="replace").splitlines() if f"{call}(" in line]


def points_of(place: Place, call: str) -> list[int]:
    place.restore()
    code, lines = trace(place, call)
    assert code == 0
    place.restore()
    root = re.escape(os.fspath(place.path))
    if call == "openat":
        return [at for at, line in enumerate(lines, 1) if re.search(rf"{root}.*(O_WRONLY|O_RDWR|O_CREAT)", line)]
    return list(range(1, len(lines) + 1))


def kill_at(place: Place, call: str, points: list[int]) -> int:
    died = 0
    for at in points:
        place.restore()
        code, _ = trace(place, call, at)
        assert code in (0, -signal.SIGKILL, 128 + signal.SIGKILL), (call, at, code)
        died += code != 0
        assert_goes_on_after_death(place, f"kill -9 at {call} number {at}")
    return died


@pytest.mark.slow
@pytest.mark.parametrize("place", ["compress", "import", "import-in-place"], indirect=True)
def test_killed_at_a_system_call_it_is_the_old_or_the_new(place: Place) -> None:
    """Case 1, for archives: a sample of the calls that matter most."""
    for call in ("rename", "renameat2" if place.words[-1] == "--force" else "openat"):
        points = points_of(place, call)
        assert points, f"no {call} at all"
        assert kill_at(place, call, sample(points, 2)) > 0


@pytest.mark.slow
@pytest.mark.parametrize(("place", "name"), [(name, name) for name in CASES], indirect=["place"])
def test_no_kind_of_call_is_forgotten(place: Place, name: str) -> None:
    """What the long form below kills at is all that the command does."""
    place.restore()
    assert set(calls_made(place.words, place.path, place.path.parent / "trace.txt")) == set(MADE[name])


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("place", "call"), [(name, call) for name in CASES for call in (*MADE[name], "openat")], indirect=["place"]
)
def test_killed_at_every_system_call_it_is_the_old_or_the_new(place: Place, call: str) -> None:
    """Case 1, the long form."""
    points = points_of(place, call)
    assert points, f"no {call} at all"
    assert kill_at(place, call, points) == len(points)

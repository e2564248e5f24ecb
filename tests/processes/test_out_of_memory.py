"""A step that the kernel kills for want of memory, for real: in a small memory group, where we may make one."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project

PLACES = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
LIMITS = ("memory.limit_in_bytes", "memory.max")
EATER = "exec python3 -c 'held = [bytearray(1 << 20) for _ in range(400)]'"


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """A memory group of 60 MB; its members are killed when they want more."""
    for place in PLACES:
        group = place / f"workflow-test-{secrets.token_hex(4)}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            limit = next((group / name for name in LIMITS if (group / name).exists()), None)
            if limit is None:
                continue
            limit.write_text("60000000")
            for name in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
                if (group / name).exists():
                    (group / name).write_text("60000000" if "memsw" in name else "0")
            yield group
            return
        except OSError:
            continue
        finally:
            try:
                group.rmdir()
            except OSError:  # a member is still going down
                pass
    pytest.skip("no memory group may be made here")


def state(project: Project, number: int) -> dict[str, object]:
    found: dict[str, object] = json.loads((project.newest_run / f"state/step_{number:02d}_state.json").read_text())
    return found


def test_a_kill_for_want_of_memory_is_known_as_one_and_tried_again(project: Project, small_memory: Path) -> None:
    project.step(
        0,
        f"#| retries: {{limit: 1, on_exit: oom}}\necho ran >>ran.txt\n"
        f"[ $WORKFLOW_ATTEMPT -gt 1 ] && exit 4\necho $$ >{small_memory}/cgroup.procs\n{EATER}",
    )
    ended = project.run()
    assert ended.returncode == 1
    assert project.executions == ["ran", "ran"]


def test_the_class_of_such_a_failure_is_oom(project: Project, small_memory: Path) -> None:
    project.step(0, f"echo $$ >{small_memory}/cgroup.procs\n{EATER}")
    assert project.run().returncode == 1
    failure = state(project, 0)["failure"]
    assert isinstance(failure, dict)
    assert failure["class"] == "oom"


def test_a_kill_by_hand_is_none(project: Project) -> None:
    project.step(0, "kill -9 $$")
    assert project.run().returncode == 1
    failure = state(project, 0)["failure"]
    assert isinstance(failure, dict)
    assert failure["class"] == "signal"
    assert os.path.exists("/proc/vmstat")

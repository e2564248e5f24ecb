"""Nothing that a failed test left waiting may live on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_steps_left(tmp_path: Path) -> Iterator[None]:
    yield
    mark = f"WORKFLOW_PROJECT={tmp_path}/".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if any(word.startswith(mark) for word in Path(f"/proc/{name}/environ").read_bytes().split(b"\0")):
                os.kill(int(name), signal.SIGKILL)
        except OSError:  # it ended meanwhile, or is not ours
            continue

"""What the command line tests look at: whole trees of files, refusals, and runs that are cut off."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import Project

Result = subprocess.CompletedProcess[str]


def tree(root: str | os.PathLike[str]) -> dict[str, tuple[object, ...]]:
    """Return everything below `root` by relative path: inode, mode, size, times of change, and content."""
    found: dict[str, tuple[object, ...]] = {}
    top = os.fspath(root)
    for folder, directories, files in os.walk(top):
        for name in (".", *directories, *files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            facts = (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, content)
            found[os.path.relpath(path, top)] = facts
    return found


def assert_refused(result: Result, exit_code: int, *words: str) -> str:
    """Assert that a command line was refused in the form every message has; return the message.

    `error: ` first, at most one `help: ` line for each error, no traceback, nothing on stdout, and every one
    of `words` in it.
    """
    message = result.stderr
    assert result.returncode == exit_code, message or result.stdout
    assert message.startswith("error: "), message
    assert "Traceback" not in message
    helps = sum(line.startswith("help: ") for line in message.splitlines())
    errors = sum(line.startswith("error: ") for line in message.splitlines())
    assert helps <= errors, message
    assert not result.stdout
    for word in words:
        assert word in message, message
    return message


def assert_helped(result: Result, exit_code: int, *words: str) -> None:
    """As `assert_refused`, for messages of one error, which end in one line that says what to do."""
    message = assert_refused(result, exit_code, *words)
    assert message.splitlines()[-1].startswith("help: "), message
    assert message.count("\nhelp: ") == 1, message


def document(result: Result, exit_code: int = 0) -> Any:
    """Return the one JSON document on stdout; the test fails when anything else is there."""
    assert result.returncode == exit_code, result.stderr
    return json.loads(result.stdout)


def events(result: Result) -> list[dict[str, Any]]:
    """Return the events of `run --json`: one JSON object a line."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def wait_for(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Wait until a condition holds and return what it returned; the test fails when that takes too long."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {timeout_s} s in vain")


def hanging_step(project: Project, number: int, *, before: str = "") -> None:
    """Write a step that says that it is there (`here_NN`) and then waits until `go` exists or it is ended.

    It waits at most 30 s, so that a test that fails leaves nothing behind for long.
    """
    label = f"{number:02d}"
    body = f"""{before}
: >here_{label}
n=0
while [ ! -e go ] && [ $n -lt 600 ]; do sleep 0.05; n=$((n + 1)); done
echo {label} >>ran.txt"""
    project.step(number, body)


def start_until(project: Project, name: str, *args: str) -> subprocess.Popen[bytes]:
    """Start the program and wait until a step made the file `name` in the project."""
    process = project.start(*args)

    def is_there() -> bool:
        assert process.poll() is None, (project.path / "stderr.txt").read_text()
        return (project.path / name).exists()

    wait_for(is_there)
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the runner, and nothing else, as a kill -9 or the out-of-memory killer would."""
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def killed_in(project: Project, number: int) -> None:
    """Run until the step `number`, written by `hanging_step`, is under way; kill runner and step both."""
    process = start_until(project, f"here_{number:02d}", "run")
    kill(process)
    end_orphans(project)
    (project.path / f"here_{number:02d}").unlink()


def end_orphans(project: Project) -> None:
    """Kill every process that still runs in the project: what a machine that dies takes along."""
    mark = f"WORKFLOW_PROJECT={project.path}".encode()

    def none_left() -> bool:
        left = False
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                if mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    os.kill(int(name), signal.SIGKILL)
                    left = True
            except OSError:
                continue
        return not left

    wait_for(none_left)

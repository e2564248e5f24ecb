"""What the process tests look at: who is alive, by an argument that nobody else has."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect

from tests.cli.support import wait_for
from tests.conftest import Project, clean_env

SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|.)")


class Mark:
    """An argument for `sleep` that no other process has; `command` sleeps for half a minute at most."""

    def __init__(self) -> None:
        self.argument = f"30.{secrets.randbelow(10**12):012d}"
        self.command = f"sleep {self.argument}"

    def alive(self) -> list[int]:
        """Return the pids of living processes that carry the mark."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if self.argument.encode() in words:
                found.append(int(name))
        return found

    def wait_alive(self, count: int) -> None:
        """Wait until that many processes carry it."""
        wait_for(lambda: len(self.alive()) >= count)

    def wait_none(self, timeout_s: float = 2.0) -> None:
        """Wait until nobody carries it; 2 s is what RELIABILITY allows after the last KILL."""
        wait_for(lambda: not self.alive(), timeout_s)


@contextmanager
def marked() -> Iterator[Mark]:
    """A mark whose processes are ended with the test."""
    mark = Mark()
    try:
        yield mark
    finally:
        for pid in mark.alive():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def terminal(project: Project, *words: str, env: dict[str, str] | None = None) -> pexpect.spawn[str]:
    """Start the program on a terminal of its own, 80 by 24."""
    return pexpect.spawn(
        sys.executable,
        ["-m", "workflow", *words],
        cwd=str(project.path),
        env=clean_env({"TERM": "xterm", "LANG": "C.UTF-8", **(env or {})}),  # type: ignore[arg-type]
        encoding="utf-8",
        timeout=20,
        dimensions=(24, 80),
    )


def stdout(project: Project) -> list[str]:
    """Return the lines that a program started with `Project.start` has put out so far."""
    return (project.path / "stdout.txt").read_text().splitlines()


def assert_resumable(project: Project, process: subprocess.Popen[bytes], exit_code: int) -> None:
    """Assert that an interrupted run ended as it must: exit code, last line, no marker, and it carries on."""
    assert process.wait(20) == exit_code, (project.path / "stderr.txt").read_text()
    assert "Traceback" not in (project.path / "stderr.txt").read_text()
    assert stdout(project)[-1] == f"help: workflow resume {project.newest_run.name}"
    assert 1 not in project.markers
    assert 0 in project.markers
    project.step(1)
    resumed = project.run("--resume", "-q")
    assert resumed.returncode == 0, resumed.stderr
    assert project.executions == ["00", "01", "02"]


def screen(text: str) -> list[str]:
    """Return the lines a terminal shows after `text`: carriage return, line feed, up, erase line."""
    lines, row, column = [""], 0, 0
    at = 0
    while at < len(text):
        char = text[at]
        match = SEQUENCE.match(text, at)
        if match:
            at = match.end()
            code = match[0][1:]
            if code in ("[1A", "[A"):
                row = max(0, row - 1)
            elif code == "[2K":
                lines[row] = ""
            elif code in ("[K", "[0K"):
                lines[row] = lines[row][:column]
            continue
        at += 1
        if char == "\r":
            column = 0
        elif char == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        else:
            lines[row] = lines[row][:column].ljust(column) + char + lines[row][column + 1 :]
            column += 1
    return lines

"""Following the logs of running steps, so that their output is seen as it comes.

Logs are files, so following needs no pipe, no thread and no memory: what is new is copied by offset.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workflow.reporting.outlet import Outlet

# How much of an unfinished line is kept back while several steps talk or a live line is on the screen.
PARTIAL_BYTES = 64 * 1024
TURN_S = 1.0


class _Followed:
    __slots__ = ("had_turn", "offset", "path", "title")

    def __init__(self, title: str, path: str, offset: int) -> None:
        self.title = title
        self.path = path
        self.offset = offset
        self.had_turn = False


class Following:
    """Copies new output of running steps to an outlet, under a heading that says whose it is.

    With several steps running at once a step keeps its turn for `TURN_S` while it has something to
    say, and turns change at ends of lines only; the next is who has been silent longest.
    """

    def __init__(self, outlet: Outlet, *, is_wholly_lines: bool = False) -> None:
        self._outlet = outlet
        self._is_wholly_lines = is_wholly_lines
        self._steps: dict[int, _Followed] = {}
        self._speaker: int | None = None
        self._turn_at = 0.0

    def start(self, number: int, title: str, path: str, offset: int) -> None:
        """Follow a step's log from `offset` on; a step followed already has what stands before that copied first."""
        before = self._steps.get(number)
        if before is not None and before.path == path:
            # Its next attempt may be told of when it has put out something already, and that may have been copied.
            end = min(offset, _size(path))
            if end > before.offset:
                self._copy(number, before, end)
            offset = max(offset, before.offset)
        else:
            self.finish(number)
        self._steps[number] = _Followed(title, path, offset)

    def is_introduced(self, number: int) -> None:
        """Say that the line just written names this step: its output needs no heading."""
        self._speaker = number
        followed = self._steps.get(number)
        if followed is not None:
            followed.had_turn = True

    def is_interrupted(self) -> None:
        """Say that a line about another step was written: the next output needs a heading when several steps run."""
        self._speaker = None

    def finish(self, number: int) -> None:
        """Copy the rest of a step's log and follow it no more. Costs one stat when there is none."""
        followed = self._steps.pop(number, None)
        if followed is None:
            return
        size = _size(followed.path)
        if size > followed.offset:
            self._copy(number, followed, size)

    def look_at(self, number: int) -> None:
        """Copy what a step has put out so far, before a line about it."""
        followed = self._steps.get(number)
        size = 0 if followed is None else _size(followed.path)
        if followed is not None and size > followed.offset:
            self._copy(number, followed, size)

    def finish_all(self) -> None:
        for number in list(self._steps):
            self.finish(number)

    def look(self, now_at: float) -> None:
        """Queue what is new, unless an earlier part still waits for its reader."""
        if not self._outlet.is_idle:
            return
        # In the order of their last turns, so that two who never stop talking leave the third a turn.
        numbers = list(self._steps)
        if self._speaker in self._steps:
            numbers.remove(self._speaker)
            numbers.insert(0, self._speaker)
        for number in numbers:
            followed = self._steps[number]
            size = _size(followed.path)
            if size > followed.offset and (self._is_wholly_lines or len(numbers) > 1):
                size = _end_of_lines(followed.path, followed.offset, size)
            if size <= followed.offset:
                continue
            if number != self._speaker:
                self._turn_at = now_at
            self._copy(number, followed, size)
            if 0 <= now_at - self._turn_at < TURN_S:
                break

    def _copy(self, number: int, followed: _Followed, end: int) -> None:
        if number != self._speaker:
            self._outlet.say(f"-- {followed.title}{' (goes on)' if followed.had_turn else ''}")
            self._speaker = number
        followed.had_turn = True
        if number in self._steps:
            self._steps[number] = self._steps.pop(number)
        self._outlet.copy(followed.path, followed.offset, end)
        followed.offset = end


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # a step that never started has no log
        return 0


def _end_of_lines(path: str, offset: int, size: int) -> int:
    """Return where the last whole line before `size` ends, `offset` when there is none yet."""
    start = max(offset, size - PARTIAL_BYTES)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return offset
    try:
        found = os.pread(fd, size - start, start).rfind(b"\n")
    except OSError:
        return offset
    finally:
        os.close(fd)
    if found >= 0:
        return start + found + 1
    # a line longer than this is no line; holding it back longer would only look like a hang
    return size if start > offset else offset

"""The workers of a run: one shell for each step that runs side by side, kept for the next step."""

from __future__ import annotations

import os
from collections.abc import Mapping

from workflow.checkpoint import locks, values
from workflow.checkpoint.durable import Disk, Note
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import RunningNote, encode_running
from workflow.errors import NotRecordedError, WorkflowError
from workflow.execution import processes
from workflow.execution.inbox import Inbox
from workflow.execution.worker import Worker

MOST_WORKERS = 2000


class Member:
    """One worker: its shell, its note of what it has in hand, and how far it knows what was published."""

    __slots__ = ("is_busy", "is_for_one", "known", "note", "shell")

    def __init__(self, shell: Worker, note: Note, known: int, *, is_for_one: bool) -> None:
        self.shell = shell
        self.note = note
        self.known = known
        self.is_for_one = is_for_one
        self.is_busy = False


class Pool:
    """Starts workers, hands them out, replaces those that ended."""

    def __init__(
        self,
        layout: RunLayout,
        disk: Disk,
        inbox: Inbox,
        *,
        project: str,
        lib: str,
        environ: Mapping[str, str],
        umask: int,
        published: dict[str, str],
        ignored_signals: frozenset[int],
    ) -> None:
        """`published` are the values that every step to come sees; `publish` adds to them."""
        self._layout = layout
        self._disk = disk
        self._inbox = inbox
        self._project = project
        self._lib = lib
        self._environ = environ
        self._umask = umask
        self._published = published
        self._ignored = ignored_signals
        self._members: dict[int, Member] = {}
        self._idle: list[int] = []
        self._loads: list[str] = []
        self._is_subreaper = False

    @property
    def is_subreaper(self) -> bool:
        return self._is_subreaper

    @property
    def pids(self) -> set[int]:
        return {member.shell.pid for member in self._members.values()}

    def get(self, number: int) -> Member | None:
        return self._members.get(number)

    def assign(self, lock_fd: int | None = None) -> int:
        """Return a worker that is free, starting one where there is none. Raises WorkflowError.

        One with a lock is started for it, so that it inherits the descriptor, and ends after it.
        """
        number = self._idle.pop() if self._idle and lock_fd is None else self._start(lock_fd)
        self._members[number].is_busy = True
        return number

    def free(self, number: int) -> None:
        """Take a worker back."""
        member = self._members.get(number)
        if member is None:
            return
        member.is_busy = False
        if member.is_for_one:
            self.lose(number)
        else:
            self._idle.append(number)

    def warm_up(self) -> None:
        """Start a worker before there is a step for it: its shell reads steps.sh while we get ready."""
        self._idle.append(self._start(None))

    def publish(self, loads: list[str], published: Mapping[str, str]) -> None:
        """Add to what every step to come sees; `loads` are the files in state/ that say it."""
        self._published.update(published)
        self._loads += loads

    def bring_up_to_date(self, member: Member) -> None:
        """Have a worker load what was published since it was last told. Raises BrokenPipeError."""
        for name in self._loads[member.known :]:
            member.shell.load_values(name)
        member.known = len(self._loads)

    def note(self, number: int, notes: tuple[RunningNote, ...]) -> None:
        """Say which attempts a worker has in hand. Raises NotRecordedError."""
        member = self._members.get(number)
        if member is None:
            raise NotRecordedError("there is no worker")
        member.note.put(encode_running(notes))

    def clear_note(self, number: int) -> None:
        """Say that a worker has nothing in hand, unless it has begun with the next; never raises."""
        member = self._members.get(number)
        if member is not None and member.is_busy:
            return
        try:
            if member is not None:
                member.note.put("")
                return
            note = Note(self._layout.worker_running(number), self._disk.file_mode)
            note.put("")
            note.close()
        except NotRecordedError:  # the attempt is recorded, which is what a resume goes by
            return

    def _start(self, lock_fd: int | None) -> int:
        number, worker_lock_fd = self._free_number()
        note = Note(self._layout.worker_running(number), self._disk.file_mode)
        if self._published:
            self._disk.write(self._layout.values, values.encode(self._published), sync=False)
        shell = Worker(
            number,
            self._layout,
            lib=self._lib,
            project=self._project,
            lock_fd=worker_lock_fd,
            environ=self._environ,
            umask=self._umask,
            file_mode=self._disk.file_mode,
            ignored=self._ignored,
            named_lock_fd=lock_fd,
        )
        if not self._is_subreaper:
            # Before the first step can leave orphans; the shell of the worker comes up meanwhile.
            processes.become_subreaper()
            self._is_subreaper = True
        self._members[number] = Member(shell, note, len(self._loads), is_for_one=lock_fd is not None)
        self._inbox.watch(shell.answer, shell.heard)
        if self._published:
            shell.load_values("values")
        return number

    def _free_number(self) -> tuple[int, int]:
        # A number whose lock is still held belongs to an orphan: a process that a finished step
        # left behind, as resume has waited for steps that still ran.
        for number in range(1, MOST_WORKERS):
            if number in self._members:
                continue
            fd = locks.lock_worker(self._disk, self._layout, number)
            if fd is not None:
                return number, fd
        raise WorkflowError(
            f"{MOST_WORKERS} workers of this run are still alive", help=f"look for them: pgrep -f {self._layout.run_id}"
        )

    def lose(self, number: int) -> None:
        """Forget a worker that ended, or let it end."""
        member = self._members.pop(number, None)
        if member is None:
            return
        if number in self._idle:
            self._idle.remove(number)
        self._inbox.unwatch(member.shell.answer)
        member.shell.close(wait=True)
        member.note.close()

    def close(self, uncommitted: Mapping[int, tuple[RunningNote, ...]]) -> None:
        """Let all workers go; nothing is in hand any more but what ended well and could not be recorded."""
        for number, member in list(self._members.items()):
            try:
                member.note.put(encode_running(uncommitted.get(number, ())))
            except NotRecordedError:  # what stands there still makes the next resume look twice, no more
                pass
        # All are told before any is waited for: their shells end side by side.
        for member in self._members.values():
            self._inbox.unwatch(member.shell.answer)
            member.shell.close(wait=False)
        for member in self._members.values():
            try:
                os.waitpid(member.shell.pid, 0)
            except ChildProcessError:  # collected already: the end of a child is told once
                pass
            member.note.close()
        self._members.clear()
        self._idle.clear()

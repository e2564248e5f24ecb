"""Groups, signals, and descendants that tried to escape.

A step is ended by signalling the process group of its worker. What left the group (setsid, a
double fork) is found through /proc by its session, its ancestry and the WORKFLOW_RUN_ID and
WORKFLOW_STEP in its environment; WORKFLOW_RUN_DIR tells it from those of other projects. Where there
is no /proc, the group is all we reach.
"""

from __future__ import annotations

import os
import signal
import time

from workflow.checkpoint import children

# How often to look again: every sweep kills what it sees, and a fork loop needs a few.
SWEEPS = 40
SWEEP_PAUSE_S = 0.02


def signal_group(pgid: int, number: int) -> bool:
    """Send a signal to a process group; return False when it is gone."""
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def signal_one(pid: int, number: int) -> bool:
    """Send a signal to one process; return False when it is gone or not ours."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def become_subreaper() -> None:
    """Make orphans of our steps ours (Linux, prctl(2) PR_SET_CHILD_SUBREAPER), so that their ancestry stays known."""
    try:
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)
    except (OSError, AttributeError, ImportError):  # not Linux: the other two marks must do
        return


def reap_strangers(known: set[int]) -> None:
    """Collect ended children that are not in `known`: as subreaper, and as PID 1 of a container, they are ours."""
    with children.LOCK:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid in known or ended.si_pid in children.PIDS:
                return
            try:
                os.waitpid(ended.si_pid, os.WNOHANG)
            except ChildProcessError:
                return


def now_ticks() -> int:
    """Return the time since boot as the kernel counts the start of processes (proc(5), stat field 22)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0 if clock is None else int(time.clock_gettime(clock) * os.sysconf("SC_CLK_TCK"))


def end_step_processes(
    run_dir: str, label: str, *, worker: int | None, spare: set[int], since_ticks: int | None = None
) -> int:
    """Kill whatever is left of a step, until nothing is; return how many processes were ended.

    `worker` is the pid of its worker (session and ancestry count), None when that is gone or when
    only processes that carry the step's own mark are meant. `spare` is never touched. With
    `since_ticks`, orphans that became ours and started since then count too, with and without mark.
    """
    ended: set[int] = set()
    for _ in range(SWEEPS):
        found = find_step_processes(run_dir, label, worker=worker, since_ticks=since_ticks) - spare - children.PIDS
        if not found:
            break
        for pid in found:
            signal_one(pid, signal.SIGKILL)
        ended |= found
        time.sleep(SWEEP_PAUSE_S)  # the kernel needs a moment to take them down before the next look
        reap_strangers(spare)
    return len(ended)


def find_step_processes(run_dir: str, label: str, *, worker: int | None, since_ticks: int | None = None) -> set[int]:
    """Return the pids of living processes that belong to a step of a run; empty where there is no /proc."""
    marks = (
        b"WORKFLOW_RUN_ID=" + os.fsencode(os.path.basename(run_dir)),
        f"WORKFLOW_STEP={label}".encode(),
    )
    parents: dict[int, int] = {}
    found: set[int] = set()
    try:
        names = os.listdir("/proc")
    except OSError:
        return found
    own = os.getpid()
    own_session = os.getsid(0)
    for name in names:
        if not name.isdigit() or int(name) == own:
            continue
        pid = int(name)
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                words = file.read().rpartition(b")")[2].split()
            if words[0] == b"Z":
                continue
            parents[pid] = int(words[1])
            if worker is not None and int(words[3]) == worker:
                found.add(pid)
                continue
            with open(f"/proc/{name}/environ", "rb") as file:
                environment = file.read().split(b"\0")
            if _is_hook(environment):
                continue
            # Who left its session and dropped its environment is ours as subreaper. What we started
            # ourselves is of our own session; what an earlier step left behind carries its mark.
            is_orphan = since_ticks is not None and int(words[1]) == own and int(words[3]) != own_session
            if is_orphan and int(words[19]) >= (since_ticks or 0):
                if not any(it.startswith(b"WORKFLOW_STEP=") for it in environment):
                    found.add(pid)
                    continue
        except (OSError, IndexError, ValueError):
            continue
        if marks[0] in environment and marks[1] in environment and _is_of(run_dir, environment):
            found.add(pid)
    if worker is not None:
        found |= _descendants(worker, parents)
        found.discard(worker)
    found |= _descendants_of_all(found, parents)
    return found


def find_worker_shells(run_dir: str) -> set[int]:
    """Return the pids of the workers of a run, also of one that has its order and has not begun the step yet.

    They carry the mark of the run and of no step; what a step left behind carries both.
    """
    mark = b"WORKFLOW_RUN_ID=" + os.fsencode(os.path.basename(run_dir))
    found: set[int] = set()
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                environment = file.read().split(b"\0")
        except OSError:
            continue
        is_in_step = _is_hook(environment) or any(it.startswith(b"WORKFLOW_STEP=") for it in environment)
        if mark in environment and not is_in_step and pid != os.getpid() and _is_of(run_dir, environment):
            found.add(pid)
    return found


def _is_hook(environment: list[bytes]) -> bool:
    """Return whether a process is a hook's: it is told of a run and a step, and is no part of either."""
    return any(it.startswith(b"WORKFLOW_HOOK=") for it in environment)


def is_held_in_sight(path: str, descriptor: int) -> bool:
    """Return whether a process that we can see has the file open under that descriptor.

    Where nobody has and it is locked all the same, the holder is out of sight (another container).
    """
    for pid in _pids():
        try:
            if pid != os.getpid() and os.path.samefile(f"/proc/{pid}/fd/{descriptor}", path):
                return True
        except OSError:
            continue
    return False


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _is_of(run_dir: str, environment: list[bytes]) -> bool:
    # Two projects may each have a run of this second, and a copied project has the ids of its
    # original: only the directory says whose a process is. One that is gone was moved: ours.
    for variable in environment:
        if variable.startswith(b"WORKFLOW_RUN_DIR="):
            try:
                return os.path.samefile(variable.partition(b"=")[2], run_dir)
            except (OSError, ValueError):
                return True
    return True


def _descendants(root: int, parents: dict[int, int]) -> set[int]:
    return _descendants_of_all({root}, parents)


def _descendants_of_all(roots: set[int], parents: dict[int, int]) -> set[int]:
    below: set[int] = set()
    grown = True
    while grown:
        grown = False
        for pid, parent in parents.items():
            if pid not in below and (parent in roots or parent in below):
                below.add(pid)
                grown = True
    return below


def oom_kills() -> int:
    """Return how many processes this machine has killed for want of memory since boot (vmstat); 0 where unknown."""
    try:
        with open("/proc/vmstat", "rb") as file:
            for line in file:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0

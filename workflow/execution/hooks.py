"""Hooks of a run: one thread runs their commands one after another, in the order of what happened.

The engine only puts them on a queue. It waits for an answer where a hook is `required` and stands before something
(`run_start`, `step_start`), and for all of them, within bounds, at the end. What a hook does never harms the run
unless it is required; then the run stops, and what is recorded stays true.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any, NamedTuple

from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.errors import NotRecordedError, duration_text, one_line
from workflow.events import Event, Interrupted, Notice, RunStarted, SnapshotMade, StepFinished, StepStarted
from workflow.execution.hook_news import HookEnded, HookError
from workflow.execution.hook_process import Ended, run_hook
from workflow.execution.inbox import Inbox, SignalCame
from workflow.model import Hook, Status, Step, Workflow

MOST_WAITING = 10_000
LOG_MOST_BYTES = 1 << 20  # then a new one is begun, and one old one kept
LONGEST_SAID = 200
MOST_WARNINGS = 3
_STEP_ENDS = {Status.SUCCEEDED: "step_complete", Status.FAILED: "step_failed"}
# How a run ends that has more to do and where nothing failed: done with a part, waiting for a person, interrupted.
_PAUSES = frozenset({0, 4, 129, 130, 143})
# What a person set for every `workflow`; the rest of the name is ours, and tells of one run and one step.
_KEPT = frozenset({"WORKFLOW_CHECKPOINT_DIR", "WORKFLOW_CHECKPOINT_ENABLED", "WORKFLOW_CHECKPOINT_INTERVAL"})
END_WAIT_S = 600.0  # at the end, for what was queued before the last hooks; those have their own limits on top
TOLD_AFTER_S = 2.0
LOOK_S = 1.0

Document = dict[str, Any]


class _Job(NamedTuple):
    """Hooks of one event. `gate` is the number of the step that waits for them."""

    hooks: tuple[Hook, ...]
    document: Document
    gate: int | None = None


def event_at_end(exit_code: int, *, is_completed: bool) -> str:
    """Return which hooks run at the end of a run."""
    if is_completed and exit_code == 0:
        return "run_complete"
    return "run_paused" if exit_code in _PAUSES else "run_failed"


class Hooks:
    """The hooks of one invocation, and the observer that sets them off. Everything but `_work` is for one thread."""

    def __init__(
        self,
        workflow: Workflow,
        layout: RunLayout,
        disk: Disk,
        environ: Mapping[str, str],
        put: Callable[[object], None],
        *,
        resume_command: str,
        is_resumed: bool,
    ) -> None:
        self._workflow = workflow
        self._layout = layout
        self._disk = disk
        self._put = put
        self._log = f"{layout.logs_dir}/hooks.log"
        about = {"run_id": layout.run_id, "run_dir": layout.path, "project": workflow.project}
        self._about = {**about, "workflow": workflow.name, "is_resumed": is_resumed, "resume_command": resume_command}
        self._environ = {
            **{name: value for name, value in environ.items() if not name.startswith("WORKFLOW_") or name in _KEPT},
            **_environment({key: value for key, value in self._about.items() if key != "resume_command"}),
            "WORKFLOW_RESUME_COMMAND": resume_command,
        }
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._waiting = 0
        self._undone = 0
        self._lock = threading.Lock()
        self._is_cut = threading.Event()
        self._is_gate_cut = threading.Event()
        self._is_begun = not any(hook.event == "run_start" and hook.is_required for hook in workflow.hooks)
        self._has_gate = any(hook.event == "step_start" and hook.is_required for hook in workflow.hooks)
        self._signals = 0
        self._warned: dict[Hook, int] = {}
        self._is_over = False
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------ what happens

    def on_event(self, event: Event) -> None:
        """Set off the hooks of an event; those that stand before a step ran already (`ask`)."""
        if isinstance(event, RunStarted):
            self._set_off("run_start", {"to_run": event.to_run, "bypassed": event.bypassed})
        elif isinstance(event, StepStarted):
            self._set_off("step_start", _start(event.step, event.attempt), is_required=False)
        elif isinstance(event, StepFinished) and event.status in _STEP_ENDS:
            self._set_off(_STEP_ENDS[event.status], _end(event))
        elif isinstance(event, SnapshotMade):
            about = {"checkpoint": event.checkpoint_id, "checkpoint_number": event.number}
            about |= {"checkpoint_file": event.path, "checkpoint_trigger": event.trigger}
            about["checkpoint_name"] = event.name
            self._set_off("checkpoint", about)
        elif isinstance(event, Interrupted):
            # Whoever presses Ctrl-C once still wants to be told of it; what stands before a step is for nothing now.
            self._signals += 1
            self._is_gate_cut.set()
            if self._signals > 1:
                self._is_cut.set()

    @property
    def is_before_steps(self) -> bool:
        """Whether hooks have to have their say before an attempt of a step."""
        return self._has_gate or not self._is_begun

    def ask(self, step: Step, attempt: int) -> None:
        """Run the required hooks that stand before an attempt; the engine hears a HookEnded with the step's number."""
        hooks = tuple(it for it in self._workflow.hooks if it.event == "step_start" and it.is_required)
        self._queue(_Job(hooks, {"event": "step_start", **_start(step, attempt)}, step.number))

    def _set_off(self, event: str, about: Document, *, is_required: bool | None = None) -> None:
        hooks = tuple(
            it
            for it in self._workflow.hooks
            if it.event == event and (is_required is None or it.is_required is is_required)
        )
        if hooks:
            self._queue(_Job(hooks, {"event": event, **about}))

    def _queue(self, job: _Job) -> None:
        with self._lock:
            is_full = self._waiting >= MOST_WAITING and not any(it.is_required for it in job.hooks)
            if is_full and job.gate is None:
                self._undone += len(job.hooks)
                return
            self._waiting += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="workflow-hooks", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    # ------------------------------------------------------------------ the end

    def finish(self, event: str, about: Document) -> None:
        """Set off the last hooks. Nothing is set off after them."""
        self._set_off(event, about)
        self._jobs.put(None)

    @property
    def is_over(self) -> bool:
        """Whether every hook has ended; after `finish`."""
        return self._thread is None or self._is_over

    def longest_s(self, event: str) -> float:
        """Return how long the hooks of an event may take together."""
        return sum(it.timeout_s for it in self._workflow.hooks if it.event == event)

    def cut(self) -> None:
        """End the hook that runs, and run no other."""
        self._is_cut.set()

    def undone(self) -> str:
        """Return what to say of hooks that were not run; empty where all were."""
        with self._lock:
            left = self._undone
        return f"{left:,} hooks were not run: they could not keep pace with the run" if left else ""

    # ------------------------------------------------------------------ the thread

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            error: HookError | None = None
            for hook in job.hooks:
                if error is not None or self._is_cut.is_set() or (job.gate is not None and self._is_gate_cut.is_set()):
                    with self._lock:
                        self._undone += error is None
                    continue
                try:
                    error = self._run(hook, job)
                except Exception as broken:  # noqa: BLE001 whatever it is, nobody may wait for ever
                    self._put(HookEnded(None, warning=f"hook {one_line(hook.title)} could not be run: {broken!r}"))
            if job.document["event"] == "run_start" and error is None:
                self._is_begun = True
            if job.gate is not None:
                self._put(HookEnded(job.gate))
            with self._lock:
                self._waiting -= 1
        self._is_over = True
        self._put(HookEnded(None))  # wakes who waits

    def _run(self, hook: Hook, job: _Job) -> HookError | None:
        """Run one hook and say how it went where that matters; return the error of a required one."""
        document = {**self._about, **job.document, "time": _now()}
        environ = {**self._environ, **_environment(job.document), "WORKFLOW_HOOK": hook.event}
        stands_before = job.gate is not None or (hook.event == "run_start" and hook.is_required)
        ended = run_hook(
            hook.command,
            hook.timeout_s,
            told=json.dumps(document).encode("ascii") + b"\n",
            directory=self._workflow.project,
            environ=environ,
            is_cut=lambda: self._is_cut.is_set() or (stands_before and self._is_gate_cut.is_set()),
        )
        self._note(hook, ended)
        if ended.is_good:
            return None
        said = f"{_how(hook, ended)}{_last_line(ended.output)}"
        if ended.why == "cut" or not hook.is_required:
            self._warn(hook, said)
            return None
        resume = self._about["resume_command"]
        where = f"what it printed is in {one_line(self._log)}; to go on: {resume}" if resume else ""
        error = HookError(f"the required hook {one_line(hook.title)} {said}", help=where)
        self._put(HookEnded(None, error))
        return error

    def _warn(self, hook: Hook, said: str) -> None:
        """Warn of a hook that failed; of one that fails at every step, not at every step."""
        told = self._warned[hook] = self._warned.get(hook, 0) + 1
        if told <= MOST_WARNINGS:
            more = "" if told < MOST_WARNINGS else f"; if it fails again, only {one_line(self._log)} will say so"
            self._put(HookEnded(None, warning=f"hook {one_line(hook.title)} {said}{more}"))

    def _note(self, hook: Hook, ended: Ended) -> None:
        """Add what a hook did to logs/hooks.log; where that cannot be, nothing rests on it."""
        head = f"--- {_now()} {one_line(hook.title)} {_how(hook, ended)} ({ended.duration_s:.1f} s) ---\n"
        text = head.encode("utf-8", "surrogateescape") + ended.output
        try:
            size = self._disk.append(self._log, text if text.endswith(b"\n") else text + b"\n")
            if size > LOG_MOST_BYTES:
                self._disk.rename(self._log, f"{self._log}.1")
        except NotRecordedError:
            return


def end_hooks(
    hooks: Hooks, inbox: Inbox, tell: Callable[[Event], None], event: str, about: Document
) -> HookError | None:
    """Set off the last hooks and wait until all have ended, within bounds; return the error of a required one.

    A signal ends the wait, and the hooks.
    """
    hooks.finish(event, about)
    began = time.monotonic()
    deadline = began + END_WAIT_S + hooks.longest_s(event)
    is_told = is_cut = False
    error: HookError | None = None
    while True:
        is_over = hooks.is_over
        heard = inbox.next(0.0 if is_over else LOOK_S)
        now = time.monotonic()
        if heard is None and is_over:
            break
        if isinstance(heard, HookEnded):
            error = error or heard.error
            if heard.warning:
                tell(Notice(heard.warning))
        elif isinstance(heard, SignalCame) or now >= deadline:
            if is_cut and now >= deadline:
                break
            hooks.cut()
            is_cut, deadline = True, now + LOOK_S
        elif not is_told and now >= began + TOLD_AFTER_S:
            is_told = True
            tell(Notice("waiting for hooks that still run; Ctrl-C ends them", level="note"))
    if hooks.undone():
        tell(Notice(hooks.undone(), "let them do less, or put what takes long into the background with setsid"))
    return error


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _how(hook: Hook, ended: Ended) -> str:
    if ended.why == "limit":
        return f"ran out of time (limit {duration_text(hook.timeout_s)})"
    if ended.why == "cut":
        return "was ended with the run"
    if ended.why:
        return f"could not be started: {ended.why}"
    return "was killed" if ended.exit_code is None else f"ended with exit code {ended.exit_code}"


def _last_line(output: bytes) -> str:
    lines = output[-4096:].decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {one_line(last[-LONGEST_SAID:])}" if last else ""


def _start(step: Step, attempt: int) -> Document:
    return {"step": step.number, "step_name": step.name, "attempt": attempt}


def _end(event: StepFinished) -> Document:
    last = event.attempt
    about = _start(event.step, 0 if last is None else last.number)
    about |= {"step_status": event.status.value, "exit_code": None if last is None else last.exit_code}
    about |= {"duration_seconds": round(event.duration_s, 3), "step_log": event.log_path}
    about["is_tolerated"] = event.is_tolerated
    failure = event.failure
    about["failure"] = None if failure is None else {"kind": failure.kind, "message": failure.message}
    return about


def _environment(about: Mapping[str, Any]) -> dict[str, str]:
    """Return what happened as variables: `WORKFLOW_` and the key in capitals, but for some that steps have, too."""
    variables: dict[str, str] = {}
    for key, value in about.items():
        if key == "failure" and value:
            variables["WORKFLOW_FAILURE"] = os.fsdecode(os.fsencode(value["message"]).replace(b"\0", b" "))
        elif key == "step":
            variables["WORKFLOW_STEP"] = f"{value:02d}"
        elif key == "is_resumed":
            variables["WORKFLOW_RESUMED"] = str(int(value))
        elif key == "workflow":
            variables["WORKFLOW_NAME"] = value
        elif key == "is_tolerated":
            variables["WORKFLOW_TOLERATED"] = str(int(value))
        elif key not in ("event", "failure") and value is not None:
            variables[f"WORKFLOW_{key.upper()}"] = str(value)
    return variables

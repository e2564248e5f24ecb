"""Workflows built by programs: `Workflow("etl").step("fetch", run="make fetch").run()`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from workflow.checkpoint.layout import RUN_ID
from workflow.definition import loader
from workflow.definition.built import Built, BuiltStep
from workflow.errors import NoCheckpointerError, UsageError, one_line
from workflow.events import Observer
from workflow.in_force import directory_in
from workflow.library import edges, functions
from workflow.library.checkpointers import Checkpointer
from workflow.library.edges import Edge
from workflow.library.file_checkpointer import FileCheckpointer
from workflow.library.results import Result
from workflow.library.running import Ask, Running, Surroundings, environment_of, observers_of, project_of
from workflow.library.talking import Order
from workflow.library.waiting import wait
from workflow.model import Workflow as Definition
from workflow.opening import DEFAULT_DIRECTORY
from workflow.options import Options
from workflow.session import environment

if TYPE_CHECKING:
    from typing_extensions import Unpack

AnyCheckpointer = FileCheckpointer | Checkpointer
_HERE = os.path.dirname(os.path.abspath(__file__))
_NOT_GIVEN: Any = object()


class RunWords(TypedDict, total=False):
    """What `run`, `resume`, `arun` and `aresume` take; each says what the option of that name says on the command line.

    `checkpointer` keeps this run instead of the workflow's own; None: nothing is kept. `observers` hear of every event,
    in a thread that the run has for itself, in which stores are called, too; `show` prints the run as the command line
    does. `ask` answers questions about the run, `approve` those of steps that want a person; without them nobody is
    there.
    """

    checkpointer: AnyCheckpointer | None
    params: Mapping[str, Any]
    env: Mapping[str, Any]
    jobs: int
    keep_going: bool
    from_step: str | int
    until: str | int
    only: Sequence[str | int]
    smart: bool
    changed_since: str
    policy: str | os.PathLike[str]
    observers: Sequence[Observer]
    show: bool
    ask: Ask
    approve: Ask
    retry_failed: bool
    skip_failed: bool
    revalidate: bool
    validate: bool
    end_running: bool
    trust: bool
    ignore_missing: bool


class Workflow:
    """A workflow: steps in the order in which they are added, and how they are kept.

    `project` is the directory that steps start from (None: where the program is when it runs). `checkpointer` keeps the
    runs; without one they are kept where those of the command line are, and with None nothing is kept. `params` and
    `env` are for every step. The other words are those of workflow.yaml. It can be run many times, also at once.
    """

    def __init__(
        self,
        name: str,
        *,
        project: str | os.PathLike[str] | None = None,
        checkpointer: AnyCheckpointer | None = _NOT_GIVEN,
        params: Mapping[str, Any] | None = None,
        env: Mapping[str, Any] | None = None,
        jobs: int | None = None,
        limits: Mapping[str, Any] | None = None,
        smart: bool | Mapping[str, Any] | None = None,
        checkpoints: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._project = project
        self._checkpointer = checkpointer
        self._shared = {"params": dict(params or {}), "env": dict(env or {})}
        words = {"name": name, "jobs": jobs, "limits": limits, "smart": smart, "checkpoints": checkpoints}
        self._top = {word: _plain(value, word) for word, value in words.items() if value is not None}
        self._steps: dict[str, tuple[dict[str, Any], str, int]] = {}
        self._calls: dict[str, tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]] = {}
        self._edges: list[Edge] = []
        self._start: str | None = None
        self._source = _caller()[0]

    # ------------------------------------------------------------------ building

    def step(
        self,
        name: str,
        run: str | None = None,
        *,
        call: Callable[..., Any] | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        needs: str | int | Sequence[str | int] | None = None,
        inputs: str | Sequence[Any] | None = None,
        outputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        when: str | None = None,
        env: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | str | None = None,
        retries: int | Mapping[str, Any] | None = None,
        working_directory: str | os.PathLike[str] | None = None,
        shell: str | None = None,
        parallel: str | None = None,
        matrix: Mapping[str, Sequence[Any]] | None = None,
        continue_on_error: bool | None = None,
        on_interrupt: str | None = None,
        lock: str | None = None,
        resources: Mapping[str, Any] | None = None,
        approval: str | None = None,
        repeat: Mapping[str, Any] | None = None,
        side_effects: str | None = None,
        number: int | None = None,
    ) -> Workflow:
        """Add a step that runs a text of shell (`run`) or calls a function (`call`); return the workflow.

        A function runs in a process of its own, with `args` and `kwargs` as JSON gives them back. A dict that it
        returns is published; what it raises fails the step. It must be found by name: at the top of a module or of the
        program's own file, whose running part stands below `if __name__ == "__main__":`.

        The other words are those of workflow.yaml; `when` is its `if`. Without `needs` and edges a step waits for those
        that were added before it. Raises UsageError; what only the whole tells is said by `check` and when it is run.
        """
        if name in self._steps:
            raise UsageError(f"there are two steps {one_line(name)}", help="give each step a name of its own")
        if (run is None) == (call is None):
            raise UsageError(
                f"step {one_line(name)} wants either a text (run=) or a function (call=)",
                help='for example: run="make"',
            )
        if call is None and (args or kwargs):
            raise UsageError(f"step {one_line(name)}: args and kwargs are for a function", help="give it as call=")
        if call is not None and shell is not None:
            raise UsageError(f"step {one_line(name)}: a function has no shell", help="take shell= out")
        words: dict[str, Any] = {
            "name": name,
            "run": run,
            "needs": needs,
            "inputs": inputs,
            "outputs": outputs,
            "if": when,
            "env": {**self._shared["env"], **(env or {})} or None,
            "params": {**self._shared["params"], **(params or {})} or None,
            "timeout": timeout,
            "retries": retries,
            "working_directory": working_directory,
            "shell": shell,
            "parallel": parallel,
            "matrix": matrix,
            "continue_on_error": continue_on_error,
            "on_interrupt": on_interrupt,
            "lock": lock,
            "resources": resources,
            "approval": approval,
            "repeat": repeat,
            "side_effects": side_effects,
            "number": number,
        }
        plain = {word: _plain(value, f"step {name}: {word}") for word, value in words.items() if value is not None}
        if call is not None:
            # Said where it stands, and not when it runs.
            functions.described(call, args, kwargs or {}, step=name, project=os.sep)
            self._calls[name] = (call, tuple(args), dict(kwargs or {}))
        self._steps[name] = (plain, *_caller())
        return self

    def edge(self, before: str, after: str, *, when: str | None = None) -> Workflow:
        """Let a step come after another; with `when`, a shell test, only where that holds. Return the workflow.

        With edges, the edges say all: a step that none leads to (and that has no `needs`) waits for nothing. One that
        is only reached under conditions is skipped where none of them held, and so is what can only be reached by it.
        """
        self._edges.append(Edge(before, after, (when or "").strip()))
        return self

    def route(self, before: str, by: str, to: Mapping[Any, str]) -> Workflow:
        """Let the value that is published as `by` decide where it goes on: `to` maps values to steps.

        Return the workflow. Raises UsageError for a name that no value can have.
        """
        for value, after in to.items():
            self.edge(before, after, when=edges.equals(by, value))
        return self

    def start(self, name: str) -> Workflow:
        """Say which step is the first: all others must be reached from it. Return the workflow."""
        self._start = name
        return self

    # ------------------------------------------------------------------ looking

    def check(self) -> Definition:
        """Return the definition that this is, with all checks passed. Writes nothing.

        Raises DefinitionError with everything that is wrong, UsageError.
        """
        project = self.project
        return loader.load(project, None, built=self._built(project, self._keeper({})))

    def plan(self, resume: str | None = None, **words: Unpack[RunWords]) -> dict[str, Any]:
        """Return what would run, and why: the document of `workflow plan --json`. Writes nothing.

        `resume` names a checkpoint or a run that it is held against. Raises WorkflowError.
        """
        order, around = self._order("plan", words, resume, must_resume=resume is not None)
        return Running(order, around).plan()

    @property
    def project(self) -> str:
        """The directory that steps start from, absolute."""
        return project_of(self._project)

    @property
    def checkpointer(self) -> AnyCheckpointer:
        """Who keeps the runs. Raises NoCheckpointerError where nothing is kept."""
        return self._must_keep(self._keeper({}))

    # ------------------------------------------------------------------ running

    def run(self, run_id: str = "", **words: Unpack[RunWords]) -> Result:
        """Run it from the beginning; return how that ended, truthy when everything is done.

        `run_id` is a name of yours for this run, by which `resume` and the checkpointer find it, too. A step that fails
        is no exception; see `Result.raise_for_failure`. Raises WorkflowError for what keeps it from starting,
        StoreError when the store fails; KeyboardInterrupt after the run was brought to an orderly end.
        """
        return self._running("run", words, None, run_id).wait()

    def resume(self, checkpoint_id: str | None = None, **words: Unpack[RunWords]) -> Result:
        """Carry on; what is complete is not run again. Return how that ended.

        `checkpoint_id` is a checkpoint (`RUN@N`), a run, or the name it was given; None: the newest run of this
        workflow that is not complete. A checkpoint that is not the latest goes back to it: what came after runs again.

        Raises CheckpointNotFoundError, StepNotFoundError (a completed step is not in this workflow),
        NoCheckpointerError, and as `run` does.
        """
        return self._running("resume", words, checkpoint_id, "").wait()

    async def arun(self, run_id: str = "", **words: Unpack[RunWords]) -> Result:
        """As `run`, without keeping the event loop waiting.

        Cancelling the task ends the run in order (it is paused then, and what is complete stays so) before the
        cancellation goes on.
        """
        running = await asyncio.to_thread(self._running, "run", words, None, run_id)
        return await wait(running)

    async def aresume(self, checkpoint_id: str | None = None, **words: Unpack[RunWords]) -> Result:
        """As `resume`, without keeping the event loop waiting; see `arun`."""
        running = await asyncio.to_thread(self._running, "resume", words, checkpoint_id, "")
        return await wait(running)

    # ------------------------------------------------------------------

    def _running(self, verb: str, words: RunWords, checkpoint_id: str | None, run_name: str) -> Running:
        if run_name and (RUN_ID.match(run_name) or "@" in run_name or not run_name.isprintable()):
            raise UsageError(
                f"run_id={one_line(run_name)!r} cannot be a name of yours: ids of that form are given to every run",
                help="give it another one, or none",
            )
        order, around = self._order("run", words, checkpoint_id, must_resume=verb == "resume")
        return Running(order._replace(options=order.options._replace(run_name=run_name)), around)

    def _order(
        self, verb: str, words: RunWords, checkpoint_id: str | None, *, must_resume: bool
    ) -> tuple[Order, Surroundings]:
        unknown = [word for word in words if word not in RunWords.__annotations__]
        if unknown:
            raise TypeError(
                f"{unknown[0]} is nothing that a run takes; there are {', '.join(RunWords.__annotations__)}"
            )
        project = self.project
        keeper = self._keeper(words)
        options = self._options(words, project, keeper)
        restored = None
        if must_resume:
            found = self._must_keep(keeper).find(checkpoint_id, self.name)
            options = options._replace(resume=found.resume, must_resume=True)
            restored = found.restored
        order = Order(
            verb,
            options,
            keeping=None if keeper is None else keeper.keeping,
            restored=restored,
            snapshots_before=isinstance(keeper, FileCheckpointer) and keeper.save_before_step,
            lenient=words.get("ignore_missing", False),
            wants_ticks=bool(words.get("show")),
            can_ask="ask" in words,
            can_approve="approve" in words,
        )
        return order, Surroundings(
            project,
            environment_of(words.get("env", {}), is_kept_elsewhere=self._is_explicit(words)),
            observers_of(words.get("observers", ()), show=words.get("show", False)),
            keeper.keep if isinstance(keeper, Checkpointer) else None,
            words.get("ask"),
            words.get("approve"),
        )

    def _options(self, words: RunWords, project: str, keeper: AnyCheckpointer | None) -> Options:
        policy = words.get("policy")
        options = Options(
            built=self._built(project, keeper),
            from_step=_named(words.get("from_step")),
            until=_named(words.get("until")),
            only=tuple(str(name) for name in words.get("only", ())),
            retry_failed=words.get("retry_failed", False),
            skip_failed=words.get("skip_failed", False),
            revalidate=words.get("revalidate", False),
            validate=words.get("validate", False),
            end_running=words.get("end_running", False),
            is_trusted=words.get("trust", False),
            is_auto="ask" not in words and "approve" not in words,
            jobs=words.get("jobs"),
            keep_going=words.get("keep_going", False),
            is_smart=words.get("smart"),
            changed_since=words.get("changed_since"),
            policy=None if policy is None else os.path.abspath(os.fspath(policy)),
            params={name: _text(value) for name, value in words.get("params", {}).items()},
            is_recorded=keeper is not None,
            command=" ".join(["python", *map(one_line, sys.argv[:1])]),
        )
        return options if keeper is None else keeper.options(options)

    def _is_explicit(self, words: RunWords) -> bool:
        return isinstance(words.get("checkpointer", self._checkpointer), FileCheckpointer | Checkpointer)

    def _keeper(self, words: RunWords) -> AnyCheckpointer | None:
        given = words.get("checkpointer", self._checkpointer)
        if given is not _NOT_GIVEN:
            if given is not None and not isinstance(given, FileCheckpointer | Checkpointer):
                raise UsageError(
                    f"a {type(given).__name__} is no checkpointer", help="for a store of yours: Checkpointer(store)"
                )
            return given
        # As the command line does it, with its environment.
        said = self._top.get("checkpoints", {})
        directory = directory_in(environment()) or said.get("directory") or DEFAULT_DIRECTORY
        return _AsDeclared(os.path.join(self.project, str(directory)))

    def _must_keep(self, keeper: AnyCheckpointer | None) -> AnyCheckpointer:
        if keeper is None:
            raise NoCheckpointerError(
                f"No checkpointer configured: nothing of workflow {one_line(self.name)} is kept (checkpointer=None)",
                help='give one: Workflow(..., checkpointer=FileCheckpointer(".checkpoints")), before it is run',
            )
        return keeper

    def _built(self, project: str, keeper: AnyCheckpointer | None) -> Built:
        words = {name: step[0] for name, step in self._steps.items()}
        resolved = edges.applied(list(self._steps), words, self._edges, self._start)
        steps = []
        for name, (_, path, line) in self._steps.items():
            call = None
            if name in self._calls:
                function, args, kwargs = self._calls[name]
                call = functions.described(function, args, kwargs, step=name, project=project)
            steps.append(BuiltStep(resolved[name], path, line, call))
        top = dict(self._top)
        settings = {} if keeper is None else keeper.settings()
        if settings:
            top["checkpoints"] = {**top.get("checkpoints", {}), **settings}
        return Built(self._source, top, tuple(steps))


class _AsDeclared(FileCheckpointer):
    """The standard one: what the definition and the environment say of checkpoints holds."""

    def options(self, options: Options) -> Options:
        return options._replace(checkpoint_dir=self.place)


def _caller() -> tuple[str, int]:
    """Return file and line of whoever called us from outside of this package."""
    frame = sys._getframe(1)  # as `warnings` does it; what `inspect` offers reads every file on the way
    while frame.f_back is not None and os.path.dirname(os.path.abspath(frame.f_code.co_filename)) == _HERE:
        frame = frame.f_back
    return os.path.abspath(frame.f_code.co_filename), max(1, frame.f_lineno)


def _named(name: str | int | None) -> str | None:
    return None if name is None else str(name)


def _text(value: Any) -> str:
    """Return a value as a YAML file would have it."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _plain(value: Any, what: str) -> Any:
    """Return a value as a definition holds it: texts, numbers, lists and mappings. Raises UsageError."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        try:
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise UsageError(f"{one_line(what)}: holds what no file can", help="give text") from None
        if "\0" in value:
            raise UsageError(f"{one_line(what)}: a NUL byte cannot be part of a definition", help="take it out")
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(word): _plain(part, what) for word, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part, what) for part in value]
    raise UsageError(
        f"{one_line(what)}: a {type(value).__name__} is nothing that a definition can hold",
        help="give texts, numbers, lists and mappings",
    )

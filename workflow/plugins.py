"""Observers and stores that other packages bring: found by entry points, loaded only when somebody names them.

A package offers one in the group `workflow.observers`: a class, or a function, that is called without arguments and
returns an observer (`on_event`, and `close` if it has one). It says with `workflow_api = 1` which interface it was
written for. It runs beside the run, in a thread of its own: what it raises, and how long it takes, harms nothing.
In the group `workflow.stores` stand stores of checkpoints for programs, made by `open_store`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from workflow.errors import UsageError, listed, nearest, one_line
from workflow.events import Event, Tick

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

OBSERVERS = "workflow.observers"
STORES = "workflow.stores"
API_VERSION = 1
CLOSE_WAIT_S = 5.0
MOST_WAITING = 10_000
_STORE_METHODS = ("save", "load", "list", "delete")


class Plugin(NamedTuple):
    """An entry point: its name, and the package (with its version) that brings it."""

    name: str
    package: str


def installed(group: str = OBSERVERS) -> list[Plugin]:
    """Return the observers (or, with STORES, the stores) that are installed, by name. Loads none of them."""
    return sorted(Plugin(it.name, _package(it)) for it in _entry_points(group))


def observers(names: str) -> list[Aside]:
    """Return the observers that are named, with commas between; each begins to listen when it is told of something.

    Raises UsageError for one that is not installed, cannot be loaded, or was written for another interface.
    """
    words = list(dict.fromkeys(word.strip() for word in names.split(",") if word.strip()))
    if not words:
        return []
    known = _known(OBSERVERS)
    made = []
    for word in words:
        inner, shown = _made(
            known, word, "observer", "WORKFLOW_OBSERVERS names", f"take {one_line(word[:80])} out of WORKFLOW_OBSERVERS"
        )
        if not callable(getattr(inner, "on_event", None)):
            raise UsageError(f"{shown} has no `on_event`", help="see docs/how-to/hooks.md")
        made.append(Aside(word, inner))
    return made


def open_store(name: str, **options: Any) -> Any:
    """Return a store of checkpoints (library.stores.StateStore) that a package brings; `options` are its own.

    Raises UsageError for one that is not installed, cannot be loaded or opened, or was written for another interface.
    """
    inner, shown = _made(_known(STORES), name, "store", "open_store is asked for", "take another store", **options)
    missing = [method for method in _STORE_METHODS if not callable(getattr(inner, method, None))]
    if missing:
        raise UsageError(f"{shown} has no `{missing[0]}`", help="see docs/how-to/python.md")
    return inner


def _entry_points(group: str) -> Iterable[EntryPoint]:
    # Reads the metadata of every package that is installed: not for runs that name no plugin.
    from importlib.metadata import entry_points

    return entry_points(group=group)


def _known(group: str) -> dict[str, list[EntryPoint]]:
    known: dict[str, list[EntryPoint]] = {}
    for point in _entry_points(group):
        known.setdefault(point.name, []).append(point)
    return known


def _package(point: EntryPoint) -> str:
    return "" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _made(
    known: dict[str, list[EntryPoint]], name: str, kind: str, asked_by: str, way_out: str, **options: Any
) -> tuple[Any, str]:
    """Return what an entry point makes, and how messages name it."""
    shown = one_line(name[:80])
    if name not in known:
        near = nearest(name, known)
        there = f"installed are: {listed(sorted(known))}" if known else "none is installed"
        raise UsageError(
            f"{asked_by} {shown}, and no such {kind} is installed",
            help=f"did you mean `{one_line(near)}`?" if near else there,
        )
    points = known[name]
    packages = " and ".join(sorted(one_line(_package(it)) for it in points))
    if len(points) > 1:
        raise UsageError(f"two packages bring {_article(kind)} {shown}: {packages}", help="uninstall one of them")
    whole = f"the {kind} {shown} ({packages})"
    try:
        make: Any = points[0].load()
        version = getattr(make, "workflow_api", None)
        inner = make(**options) if version == API_VERSION else None
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{whole} cannot be loaded: {one_line(repr(error))}", help=f"mend or uninstall that package, or {way_out}"
        ) from error
    if inner is None:
        says = "does not say which interface it was written for" if version is None else f"was written for {version!r}"
        raise UsageError(
            f"{whole} {says}; this version has interface {API_VERSION}",
            help="install a version of that package that goes with this one (`workflow_api` in it says so)",
        )
    return inner, whole


def _article(kind: str) -> str:
    return f"an {kind}" if kind == "observer" else f"a {kind}"


class Aside:
    """An observer that runs in a thread of its own, so that it can neither stop nor hold up the run."""

    def __init__(self, name: str, inner: Any) -> None:
        self.objection = ""
        self._name = name
        self._inner = inner
        self._queue: SimpleQueue[Event | None] = SimpleQueue()
        self._lost = 0
        self._thread: threading.Thread | None = None

    def on_event(self, event: Event) -> None:
        """Pass an event on. Ticks are for displays and are left out."""
        if isinstance(event, Tick) or self.objection:
            return
        if self._queue.qsize() >= MOST_WAITING:
            self._lost += 1
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"workflow-observer-{self._name}", daemon=True)
            self._thread.start()
        self._queue.put(event)

    def close(self) -> str:
        """Let it hear the rest, for a while; return what people should know of it, empty where there is nothing."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(CLOSE_WAIT_S)
            if self._thread.is_alive():
                self.objection = f"it still works on what it was told {CLOSE_WAIT_S:g} s after the end"
            elif self._lost:
                self.objection = self.objection or f"it could not keep pace: {self._lost:,} events were not told"
        shown = one_line(self._name)
        return f"the observer {shown} was left behind: {self.objection}" if self.objection else ""

    def _work(self) -> None:
        try:
            while (event := self._queue.get()) is not None:
                self._inner.on_event(event)
            close = getattr(self._inner, "close", None)
            if callable(close):
                close()
        except BaseException as error:  # noqa: BLE001 it is anybody's, and it may even say sys.exit()
            self.objection = one_line(repr(error))

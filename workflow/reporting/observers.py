"""Which observer tells a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import TextIO

    from workflow.events import Event
    from workflow.reporting.console import Output
    from workflow.reporting.terminal import Style


class ClosingObserver(Protocol):
    """An observer that holds something until it is closed; `close` may be called more than once."""

    def on_event(self, event: Event) -> None: ...

    def close(self) -> None: ...


def make_observer(
    *,
    stdout: TextIO,
    stderr: TextIO,
    style: Style,
    json: bool = False,
    output: Output | None = None,
    quiet: bool = False,
    verbose: bool = False,
    resume_command: str = "",
) -> ClosingObserver:
    """Return the observer for these options: events as JSON, a live console, or plain lines.

    `output` None means `stream`. `style` is that of `stdout`. An empty `resume_command` means
    `workflow resume RUN_ID`. The caller closes the observer, also when the run raised.
    """
    if json:
        from workflow.reporting.json_events import JsonEvents

        return JsonEvents(stdout)
    shown: Output = output or "stream"
    if style.live and not quiet:
        from workflow.reporting.live import LiveConsole

        return LiveConsole(
            stdout, output=shown, verbose=verbose, colour=style.colour, errors=stderr, resume_command=resume_command
        )
    from workflow.reporting.console import PlainConsole

    return PlainConsole(
        stdout,
        output=shown,
        verbose=verbose,
        colour=style.colour,
        quiet=quiet,
        errors=stderr,
        resume_command=resume_command,
    )

"""What a terminal may be used for, and who tells the run."""

from __future__ import annotations

import io
from functools import partial

import pytest

from workflow.reporting.console import PlainConsole
from workflow.reporting.json_events import JsonEvents
from workflow.reporting.live import LiveConsole
from workflow.reporting.observers import make_observer
from workflow.reporting.terminal import Style, style

XTERM = {"TERM": "xterm"}


@pytest.mark.parametrize(
    ("isatty", "environ", "live", "colour"),
    [
        (True, XTERM, True, True),
        (False, XTERM, False, False),
        (True, {}, False, False),
        (True, {"TERM": "dumb"}, False, False),
        (True, {**XTERM, "NO_COLOR": "1"}, False, False),
        (True, {**XTERM, "NO_COLOR": ""}, True, True),
        (True, {**XTERM, "NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        (True, {**XTERM, "CI": "true"}, False, True),
        (True, {**XTERM, "CI": "false"}, True, True),
        (False, {"FORCE_COLOR": "1"}, False, True),
        (False, {"CI": "1", "FORCE_COLOR": "1"}, False, True),
        (True, {**XTERM, "FORCE_COLOR": "0"}, True, False),
    ],
)
def test_style(isatty: bool, environ: dict[str, str], live: bool, colour: bool) -> None:
    assert style(isatty=isatty, environ=environ) == Style(live=live, colour=colour)


def test_who_tells_the_run() -> None:
    make = partial(make_observer, stdout=io.StringIO(), stderr=io.StringIO())
    live, plain = Style(live=True, colour=True), Style(live=False, colour=False)
    assert isinstance(make(style=live, json=True), JsonEvents)
    assert isinstance(make(style=live), LiveConsole)
    assert isinstance(make(style=live, quiet=True), PlainConsole)
    assert isinstance(make(style=plain, output="group"), PlainConsole)

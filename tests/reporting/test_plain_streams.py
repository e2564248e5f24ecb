"""The plain console and streams that are slow, full, closed or gone."""

from __future__ import annotations

import io
import os
import time
import tracemalloc
from typing import TYPE_CHECKING

from tests.reporting.fabricated import NOW, run_finished, run_started, step, step_finished, step_started
from workflow.events import Tick
from workflow.reporting.console import PlainConsole

if TYPE_CHECKING:
    from pathlib import Path


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 1_000_000)
    readable, writable = os.pipe()
    with open(writable, "w") as stream:
        console = PlainConsole(stream)
        console.on_event(step_started(step(), log))
        console.on_event(Tick(NOW))
        os.close(readable)
        console.on_event(Tick(NOW))
        console.on_event(step_finished(step(), log, exit_code=1))
        console.on_event(run_finished())
        console.close()


def test_a_reader_that_does_not_read_stops_nobody(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 1_000_000 + b"\n")
    readable, writable = os.pipe()
    with open(writable, "w") as stream, open(readable, "rb") as reader:
        console = PlainConsole(stream)
        began = time.monotonic()
        console.on_event(step_started(step(), log))
        for tick in range(20):
            console.on_event(Tick(NOW + tick))
        console.on_event(step_finished(step(), log))
        console.on_event(Tick(NOW + 21))
        assert time.monotonic() - began < 5
        seen = b""
        while not seen.endswith(b"ok 05 tests 1.2s\n"):
            seen += os.read(reader.fileno(), 65536)
            console.on_event(Tick(NOW + 22))
        assert seen == b"-- 05 tests\n" + b"x" * 1_000_000 + b"\nok 05 tests 1.2s\n"
        console.close()


def test_closed_and_full_streams_never_harm_the_run(tmp_path: Path) -> None:
    closed = (tmp_path / "closed").open("w")
    console = PlainConsole(closed)
    closed.close()
    console.on_event(step_started(step()))
    console.on_event(run_finished())
    console.close()
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full, (tmp_path / "err").open("w") as errors:
            console = PlainConsole(full, errors=errors)
            console.on_event(step_started(step()))
            console.on_event(run_finished())
            console.close()
        assert (tmp_path / "err").read_text() == "warning: output could not be written: No space left on device\n"


def test_a_stream_without_a_descriptor_gets_text() -> None:
    stream = io.StringIO()
    console = PlainConsole(stream)
    console.on_event(step_started(step(name="prüfen")))
    console.close()
    assert stream.getvalue() == "-- 05 prüfen\n"


def test_marks_are_ascii_where_the_stream_is_not_utf8(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as stream:
        console = PlainConsole(stream)
        console.on_event(run_started((step(name="prüfen"),)))
        console.on_event(step_finished(step(name="prüfen")))
        console.on_event(run_finished())
    assert rb"  + 05 pr\xfcfen" in (tmp_path / "out").read_bytes()


def test_large_output_takes_no_memory(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as writer:
        writer.truncate(300_000_000)
    with open(os.devnull, "w") as stream:
        console = PlainConsole(stream)
        tracemalloc.start()
        try:
            console.on_event(step_started(step(), log))
            console.on_event(step_finished(step(), log))
            console.on_event(run_finished())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 2_000_000

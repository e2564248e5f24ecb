"""Lines with `[CHECKPOINT]` are found however the output is cut into pieces, and only in its beginning."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workflow.execution.printed_marks import MARK, MOST_BYTES, MarkScan

PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [MARK, b"[CHECK", b"POINT]", b"\n", b"[CHECKPOINT", b"[", b"]", MARK + b"\n", b"[[CHECKPOINT]"]
        ),
        st.binary(max_size=4),
    ),
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES, before=st.binary(max_size=20))
def test_the_same_lines_are_found_however_the_output_comes(tmp_path: Path, pieces: list[bytes], before: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(before)
    scan = MarkScan(str(path), len(before), 1)
    found = 0
    written = b""
    for piece in pieces:
        with open(path, "ab") as file:
            file.write(piece)
        written += piece
        # One more line with a mark than before, as somebody sees it who reads it all again.
        marked = sum(MARK in line for line in written.split(b"\n"))
        assert scan.look() is (marked > found)
        found = marked


@pytest.mark.parametrize("most", [1, 5, 11, 12, 13])
def test_small_looks_miss_nothing(tmp_path: Path, most: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"abc [CHECKPOINT] [CHECKPOINT]\n[CHECKPOINT]x\n[CHECK\nPOINT]\n")
    scan = MarkScan(str(path), 0, 1)
    assert sum(scan.look(most) for _ in range(100)) == 2


def test_ten_gigabytes_cost_neither_memory_nor_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open(path, "wb") as file:
        file.truncate(10 << 30)
        file.seek(MOST_BYTES + 100)
        file.write(MARK)
    scan = MarkScan(str(path), 0, 1)
    tracemalloc.start()
    started = time.process_time()
    assert not scan.look()
    assert time.process_time() - started < 2
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert not scan.look()


def test_a_log_that_is_gone_or_a_link_is_no_harm(tmp_path: Path) -> None:
    assert not MarkScan(str(tmp_path / "none"), 0, 1).look()
    (tmp_path / "real").write_bytes(MARK)
    (tmp_path / "link").symlink_to("real")
    assert not MarkScan(str(tmp_path / "link"), 0, 1).look()

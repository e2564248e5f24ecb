"""Bytes that are not what was written: every one is noticed, said, kept aside, and answered rightly."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Project
from workflow.checkpoint import records
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.marker import Marker, MarkerDamagedError, decode, encode, posix_cksum
from workflow.checkpoint.records import RecordDamagedError, decode_document, encode_document
from workflow.checkpoint.store import States, read_epoch, read_markers

RUN_ID = "workflow_20261120_171500"
MARKER = Marker(3, "2026-11-20T17:16:42Z", 72, 0, RUN_ID, "docs & more", 1, "blake3:" + "a" * 64, "blake3:" + "b" * 64)


def shell_marker() -> bytes:
    """A marker as a shell without blake3 writes it."""
    body = encode(MARKER).partition(b"CHECKSUM=")[0]
    return body + f"CHECKSUM={posix_cksum(body)}\n".encode()


# ---------------------------------------------------------------- every byte, every bit


@pytest.mark.parametrize("data", [encode(MARKER), shell_marker()], ids=["runner", "shell"])
def test_every_truncation_of_a_marker_is_noticed(data: bytes) -> None:
    """Cases 10, 13: also down to nothing."""
    assert decode(data, run_id=RUN_ID, number=3).step == 3
    for size in range(len(data)):
        with pytest.raises(MarkerDamagedError):
            decode(data[:size], run_id=RUN_ID, number=3)


@pytest.mark.parametrize("data", [encode(MARKER), shell_marker()], ids=["runner", "shell"])
def test_every_flipped_bit_of_a_marker_is_noticed(data: bytes) -> None:
    """Case 11."""
    for position in range(len(data) * 8):
        with pytest.raises(MarkerDamagedError):
            decode(flipped(data, position), run_id=RUN_ID, number=3)


def test_every_piece_appended_to_or_put_before_a_marker_is_noticed() -> None:
    """Case 11: not only what is missing."""
    data = encode(MARKER)
    for piece in (b"\n", b" ", b"\0", b"STEP=3\n", data):
        for wrong in (data + piece, piece + data):
            with pytest.raises(MarkerDamagedError):
                decode(wrong, run_id=RUN_ID, number=3)


@given(st.binary(max_size=600))
def test_no_bytes_make_the_reader_of_markers_fail_otherwise(data: bytes) -> None:
    """Case 11: whatever lies there, the answer is a marker or the reason why it is none."""
    for wrong in (data, data + b"CHECKSUM=" + f"{posix_cksum(data)}\n".encode()):
        with pytest.raises(MarkerDamagedError):
            decode(wrong, run_id=RUN_ID, number=3)


def test_a_marker_of_another_run_or_step_is_no_marker() -> None:
    """Whole, and yet not ours."""
    for run_id, number, why in (("workflow_20261120_171501", 3, "another run"), (RUN_ID, 4, "another step")):
        with pytest.raises(MarkerDamagedError, match=why):
            decode(encode(MARKER), run_id=run_id, number=number)
    with pytest.raises(MarkerDamagedError, match="exit code 1"):
        decode(encode(MARKER._replace(exit_code=1)), run_id=RUN_ID, number=3)


@pytest.mark.parametrize("name", ["checkpoint.json", "workflow.json", "state/step_01_state.json"])
def test_every_truncation_and_flipped_bit_of_a_document_is_noticed(complete: Project, name: str) -> None:
    """Case 11: of the state of a step, of checkpoint.json and of workflow.json."""
    data = (complete.newest_run / name).read_bytes()
    assert decode_document(data)
    for size in range(len(data)):
        with pytest.raises(RecordDamagedError):
            decode_document(data[:size])
    for position in range(len(data) * 8):
        with pytest.raises(RecordDamagedError):
            decode_document(flipped(data, position))


def flipped(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


# ---------------------------------------------------------------- the whole program: markers


def spoil_cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def spoil_bit(data: bytes) -> bytes:
    return flipped(data, 8 * 40 + 3)


def spoil_empty(_: bytes) -> bytes:
    return b""


def spoil_zeros(data: bytes) -> bytes:
    return bytes(len(data))


SPOILERS = (spoil_cut, spoil_bit, spoil_empty, spoil_zeros)


def spoil(path: Path, how: Any) -> bytes:
    data = path.read_bytes()
    path.write_bytes(how(data))
    return bytes(how(data))


@pytest.mark.parametrize("how", SPOILERS)
def test_a_damaged_marker_is_kept_aside_and_its_step_runs_again(damaged: Project, how: Any) -> None:
    """Cases 10, 11, 13: said, and nothing else runs."""
    marker = damaged.newest_run / "step_00.complete"
    wrong = spoil(marker, how)
    result = damaged.run("resume")
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert "step 00" in told
    assert "does not count" in told
    assert "step_00.complete.damaged" in told
    assert (damaged.newest_run / "step_00.complete.damaged").read_bytes() == wrong
    assert damaged.executions == ["00", "01", "02-blue", "03", "00"]
    assert damaged.markers == [0, 1, 2, 3]


def test_the_second_damage_of_a_marker_does_not_hide_the_first(damaged: Project) -> None:
    """Never silently deleted: `.damaged`, `.damaged.2`."""
    for text in (b"one", b"two"):
        (damaged.newest_run / "step_00.complete").write_bytes(text)
        assert damaged.run("resume").returncode == 0
    assert (damaged.newest_run / "step_00.complete.damaged").read_bytes() == b"one"
    assert (damaged.newest_run / "step_00.complete.damaged.2").read_bytes() == b"two"


def test_a_marker_copied_from_another_step_or_run_does_not_count(damaged: Project) -> None:
    """Whole bytes in the wrong place."""
    run = damaged.newest_run
    shutil.copy(run / "step_01.complete", run / "step_00.complete")
    result = damaged.run("resume")
    assert result.returncode == 0, result.stderr
    assert "it belongs to another step" in result.stdout + result.stderr
    assert damaged.executions.count("00") == 2
    assert damaged.run("run").returncode == 0
    other = damaged.newest_run
    assert other != run
    shutil.copy(run / "step_03.complete", other / "step_03.complete")
    result = damaged.run("resume")
    assert result.returncode == 0, result.stderr
    assert "it belongs to another run" in result.stdout + result.stderr
    assert damaged.executions.count("03") == 3


@pytest.mark.parametrize("kind", ["directory", "link", "fifo"])
def test_what_stands_in_the_place_of_a_marker_is_not_read(damaged: Project, kind: str) -> None:
    """A directory, a link to a whole marker, a pipe: none of them completes a step, none hangs the resume."""
    import os

    path = damaged.newest_run / "step_00.complete"
    path.rename(damaged.path / "kept")
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(damaged.path / "kept")
    else:
        os.mkfifo(path)
    result = damaged.run("resume", timeout=20)
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert "Traceback" not in told
    assert damaged.executions.count("00") == 2
    assert path.is_file()
    assert not path.is_symlink()


# ---------------------------------------------------------------- the whole program: states


@pytest.mark.parametrize("how", SPOILERS)
def test_a_damaged_state_of_a_step_that_published_nothing_leaves_it_complete(damaged: Project, how: Any) -> None:
    """Case 11: its marker is whole and nothing is lost that anyone needs; said."""
    state = damaged.newest_run / "state/step_00_state.json"
    wrong = spoil(state, how)
    before = damaged.executions
    result = damaged.run("resume")
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert "the state of step 00 s0 is damaged" in told
    assert "stays complete" in told
    assert damaged.executions == before
    assert state.with_name(state.name + ".damaged").read_bytes() == wrong


@pytest.mark.parametrize("how", SPOILERS)
def test_a_damaged_state_of_a_step_that_published_values_runs_it_again(damaged: Project, how: Any) -> None:
    """Case 11: without them the steps after it would see nothing, silently."""
    state = damaged.newest_run / "state/step_01_state.json"
    wrong = spoil(state, how)
    (damaged.newest_run / "step_02.complete").unlink()
    result = damaged.run("resume")
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert "the state of step 01 s1 is damaged" in told
    assert damaged.executions == ["00", "01", "02-blue", "03", "01", "02-blue"]
    assert state.with_name(state.name + ".damaged").read_bytes() == wrong


def test_a_missing_state_is_as_a_damaged_one(damaged: Project) -> None:
    """Deleted by hand: the one that published runs again, the other stays complete."""
    for path in (damaged.newest_run / "state").glob("*_state.json"):
        path.unlink()
    result = damaged.run("resume")
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert "is missing" in told
    assert damaged.executions == ["00", "01", "02-blue", "03", "01"]


def test_values_that_were_changed_behind_our_back_are_not_handed_on(damaged: Project) -> None:
    """A whole document that is not the one the marker vouches for."""
    state = damaged.newest_run / "state/step_01_state.json"
    document = decode_document(state.read_bytes())
    document.pop("checksum")
    document["outputs"]["COLOUR"] = "red"
    state.write_bytes(encode_document(document))
    (damaged.newest_run / "step_02.complete").unlink()
    assert damaged.run("resume").returncode == 0
    assert damaged.executions[-2:] == ["01", "02-blue"]


# ---------------------------------------------------------------- the whole program: the other documents


@pytest.mark.parametrize("how", [*SPOILERS, None])
def test_a_damaged_or_missing_master_state_is_rebuilt_and_said_so(damaged: Project, how: Any) -> None:
    """Cases 11, 14: it is derived, so nothing runs again."""
    path = damaged.newest_run / "checkpoint.json"
    if how is None:
        path.unlink()
    else:
        spoil(path, how)
    before = damaged.executions
    assert damaged.run("status").returncode == 0
    result = damaged.run("resume")
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert f"checkpoint.json is {'damaged' if how else 'missing'}" in told
    assert "rebuilt from the markers" in told
    assert damaged.executions == before
    document = decode_document(path.read_bytes())
    assert document["completed_steps"] == [0, 1, 2, 3]
    assert document["status"] == "completed"


@pytest.mark.parametrize("how", SPOILERS)
def test_a_damaged_definition_is_refused_with_the_way_out(damaged: Project, how: Any) -> None:
    """Case 11: workflow.json is truth, so nothing is guessed in its place."""
    spoil(damaged.newest_run / "workflow.json", how)
    before = damaged.executions
    for words in (("resume", damaged.newest_run.name), ("status", damaged.newest_run.name)):
        result = damaged.run(*words)
        assert result.returncode == 3, result.stdout + result.stderr
        assert "workflow.json" in result.stderr
        assert "help: " in result.stderr
    assert damaged.executions == before


def test_a_damaged_run_is_passed_over_and_said_so(damaged: Project) -> None:
    """`workflow resume` without a name takes an older run that is whole."""
    whole = damaged.newest_run.name
    (damaged.newest_run / "step_03.complete").unlink()
    assert damaged.run("run").returncode == 0
    spoil(damaged.newest_run / "workflow.json", spoil_cut)
    result = damaged.run("resume")
    assert result.returncode == 0
    assert "passed over" in result.stdout + result.stderr
    assert whole in result.stdout


# ---------------------------------------------------------------- the small files


@pytest.mark.parametrize("content", [b"", b"x", b"0\n", b"-7\n", b"\xff\xff", b"9" * 5000, None])
def test_a_damaged_epoch_never_goes_back_to_one_that_was_used(damaged: Project, content: bytes | None) -> None:
    """An exit record of an old epoch must never pass for one of the attempt in hand."""
    path = damaged.newest_run / "state/epoch"
    (damaged.newest_run / "step_00.complete").unlink()
    assert damaged.run("resume").returncode == 0
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    used = {line.split()[1] for line in exits_of(damaged)}
    assert used == {"1", "2"}
    (damaged.newest_run / "step_00.complete").unlink()
    result = damaged.run("resume")
    assert result.returncode == 0, result.stdout + result.stderr
    assert exits_of(damaged)[-1].split()[1] not in used


def exits_of(project: Project) -> list[str]:
    return (project.newest_run / "state/worker_1.exits").read_text().splitlines()


@pytest.mark.parametrize("name", ["run.holder", "worker_1.running", "worker_1.exits", "values"])
@pytest.mark.parametrize("content", [b"", b"\0\xff" * 400, b"01 1 1 9e999\n", b"01 1 1 0 END\n" * 3], ids=range(4))
def test_notes_that_make_no_sense_do_no_harm(damaged: Project, name: str, content: bytes) -> None:
    """Nothing depends on them once their runner ended well."""
    (damaged.newest_run / "state" / name).write_bytes(content)
    (damaged.newest_run / "step_03.complete").unlink()
    result = damaged.run("resume")
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert "Traceback" not in told
    assert "this is a bug" not in told
    assert damaged.executions == ["00", "01", "02-blue", "03", "03"]


def test_an_exit_record_without_its_end_does_not_count() -> None:
    """Torn lines, and a number that was cut: `END` closes a record."""
    whole = b"01 1 1 0 END\n"
    assert len(records.decode_exits(whole)) == 1
    for size in range(len(whole) - 1):
        assert records.decode_exits(whole[:size]) == []
        assert len(records.decode_exits(whole[:size] + b"\n" + whole)) == 1


def test_a_run_directory_without_its_subdirectories_is_still_readable(damaged: Project) -> None:
    """Somebody removed `state/` and `logs/`: the markers stand, and nothing ends in a traceback."""
    run = damaged.newest_run
    layout = RunLayout(str(run))
    shutil.rmtree(run / "state")
    assert set(read_markers(layout).whole) == {0, 1, 2, 3}
    assert States(layout).raw(0) is None
    assert read_epoch(layout) >= 0
    for words in (("status",), ("resume",)):
        result = damaged.run(*words, run.name)
        told = result.stdout + result.stderr
        assert "Traceback" not in told, told
        assert "this is a bug" not in told, told

"""JSON that is damaged on purpose, or whole and not what we write: a clean error, in bounded time."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.conftest import Project
from workflow.checkpoint import records
from workflow.checkpoint.records import RecordDamagedError, RecordNewerError, decode_document, encode_document

HORRORS: dict[str, bytes] = {
    "deep lists": b"[" * 100_000,
    "deep and closed": b"[" * 50_000 + b"]" * 50_000,
    "deep objects": b'{"a":' * 50_000,
    "duplicate keys": b'{"version": "3.0.0", "version": "9.0.0"}',
    "not a number": b'{"version": NaN, "epoch": Infinity}',
    "huge number": b'{"version": ' + b"9" * 1_000_000 + b"}",
    "byte order mark": b'\xef\xbb\xbf{"version": "3.0.0"}',
    "NUL": b'{"version": "3.0.0\0"}\0',
    "UTF-16": '{"version": "3.0.0"}'.encode("utf-16"),
    "not UTF-8": b'{"version": "\xff\xfe"}',
    "lone surrogate": b'{"version": "\\ud800"}',
    "list": b"[1, 2, 3]",
    "number": b"1",
    "null": b"null",
}


def signed(data: bytes) -> bytes:
    """The same with a right checksum, as somebody who knows the format could write it."""
    body = data.rstrip(b"}") + b",\n"
    return body + b'  "checksum": "' + records.digest(body).encode() + b'"\n}\n'


@pytest.mark.parametrize("horror", HORRORS)
@pytest.mark.parametrize("is_signed", [False, True], ids=["plain", "signed"])
def test_horrors_of_json_are_refused_quickly(horror: str, is_signed: bool) -> None:
    """Case 66: the reader answers with its own error, or with an object, and nothing else."""
    data = signed(HORRORS[horror]) if is_signed else HORRORS[horror]
    try:
        document = decode_document(data)
    except (RecordDamagedError, RecordNewerError):
        return
    assert is_signed
    assert isinstance(document, dict)


@pytest.mark.parametrize("body", [b'{"a": 1}\n{"b": 2,\n', b'{"a": 1}, \n', b' {"a": 1,\n'])
def test_what_is_not_one_document_from_end_to_end_is_refused(body: bytes) -> None:
    """Not even with a right checksum: nobody is to read the first of two."""
    with pytest.raises(RecordDamagedError):
        decode_document(body + b'  "checksum": "' + records.digest(body).encode() + b'"\n}\n')


@pytest.mark.parametrize("horror", ["deep and closed", "huge number", "duplicate keys", "UTF-16", "list", "NUL"])
@pytest.mark.parametrize("name", ["checkpoint.json", "workflow.json", "state/step_01_state.json"])
def test_horrors_of_json_end_in_a_clean_error(damaged: Project, horror: str, name: str) -> None:
    """Case 66, the whole program."""
    (damaged.newest_run / name).write_bytes(signed(HORRORS[horror]))
    result = damaged.run("resume", damaged.newest_run.name, timeout=20)
    told = result.stdout + result.stderr
    assert result.returncode in (0, 3), told
    assert "Traceback" not in told
    assert "this is a bug" not in told
    assert result.stderr


WRONG_SHAPES: dict[str, Any] = {
    "no definition": {},
    "definition is a list": {"definition": [1]},
    "steps is a number": {"definition": {"steps": 7}},
    "step without number": {"definition": {"steps": [{"name": "x"}]}},
    "number is text": {"definition": {"steps": [{"number": "x"}]}},
    "number is huge": {"definition": {"steps": [{"number": 10**30}]}},
    "params is a list": {"definition": {"steps": []}, "params": [1]},
    "started is text": {"definition": {"steps": []}, "started": "yesterday"},
    "project is null": {"definition": {"steps": [], "project": None, "source": None}},
    "infinity": {"definition": {"steps": [{"number": 1}]}, "started": "1e999"},
}


@pytest.mark.parametrize("shape", WRONG_SHAPES)
def test_a_definition_of_the_wrong_shape_ends_in_a_clean_error(damaged: Project, shape: str) -> None:
    """Case 66: right bytes, wrong content, by another program or by hand."""
    run = damaged.newest_run
    (run / "workflow.json").write_bytes(encode_document({"version": "3.0.0", **WRONG_SHAPES[shape]}))
    for words in (("resume", run.name), ("resume",), ("status", run.name)):
        result = damaged.run(*words, timeout=20)
        told = result.stdout + result.stderr
        assert "Traceback" not in told, (words, told)
        assert "this is a bug" not in told, (words, told)
        assert result.returncode in (0, 3), (words, told)


def test_a_newer_format_is_refused_with_the_version_that_can_read_it(damaged: Project) -> None:
    """Case 68."""
    path = damaged.newest_run / "workflow.json"
    document = decode_document(path.read_bytes())
    document.pop("checksum")
    path.write_bytes(encode_document({**document, "version": "4.1.0"}))
    result = damaged.run("resume", damaged.newest_run.name)
    assert result.returncode == 3
    assert "4.1.0" in result.stderr
    assert "upgrade" in result.stderr


def test_the_limits_of_the_json_reader_are_those_of_this_interpreter() -> None:
    """Case 66 leans on these two: Python refuses numbers of more digits, and recursion that deep."""
    assert 0 < sys.get_int_max_str_digits() < 1_000_000
    with pytest.raises((ValueError, RecursionError)):
        json.loads(HORRORS["huge number"])

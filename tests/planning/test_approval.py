"""An answer is whole or it is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workflow.checkpoint import approval
from workflow.checkpoint.approval import Approval, ApprovalDamagedError, decode, encode
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.marker import posix_cksum

GIVEN = Approval(5, "deploy", "Deploy\n'to' $(production)?", True, "ada \udcff", "2026-11-20T17:16:42Z")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    layout = RunLayout(os.fspath(tmp_path / "workflow_20261120_171500"))
    os.makedirs(layout.state_dir)
    assert approval.read(layout, 5) is None
    disk = Disk()
    approval.write(disk, layout, GIVEN)
    assert approval.read(layout, 5) == GIVEN
    rejected = GIVEN._replace(is_approved=False)
    approval.write(disk, layout, rejected)
    disk.close()
    assert approval.read(layout, 5) == rejected


def test_a_shell_may_answer() -> None:
    body = encode(GIVEN).rpartition(b"CHECKSUM=")[0]
    assert decode(body + b"CHECKSUM=%s\n" % posix_cksum(body).encode(), number=5) == GIVEN


def test_unknown_keys_are_ignored() -> None:
    body = encode(GIVEN).rpartition(b"CHECKSUM=")[0] + b"LATER=more\n"
    assert decode(body + b"CHECKSUM=%s\n" % posix_cksum(body).encode(), number=5) == GIVEN


def test_no_part_of_an_answer_and_no_changed_letter_counts() -> None:
    whole = encode(GIVEN)
    for length in range(len(whole)):
        with pytest.raises(ApprovalDamagedError):
            decode(whole[:length], number=5)
    for at in range(len(whole)):
        with pytest.raises(ApprovalDamagedError):
            decode(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], number=5)
    with pytest.raises(ApprovalDamagedError, match="another step"):
        decode(whole, number=6)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"STEP=5\n",
        b"no key\n",
        encode(GIVEN).rpartition(b"CHECKSUM=")[0] + b"ANSWER=rejected\n",
        encode(GIVEN).rpartition(b"CHECKSUM=")[0].replace(b"approved", b"perhaps"),
        encode(GIVEN).rpartition(b"CHECKSUM=")[0].replace(b"STEP=5", b"STEP=five"),
        encode(GIVEN).rpartition(b"CHECKSUM=")[0].replace(b"%0A", b"%0"),
    ],
)
def test_what_makes_no_sense_is_no_answer_even_with_a_right_checksum(body: bytes) -> None:
    with pytest.raises(ApprovalDamagedError):
        decode(body + b"CHECKSUM=%s\n" % posix_cksum(body).encode(), number=5)

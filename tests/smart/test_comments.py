"""Edits of comments are told from edits of code, and in doubt count as code."""

from __future__ import annotations

import subprocess

import hypothesis
import pytest
from hypothesis import strategies

from workflow.planning.comments import code_digest, is_shell

SCRIPT = b"#!/bin/sh\n#| timeout: 5m\n# says hello\necho hello # loudly\n\nexit 0\n"


def test_comments_and_blank_lines_do_not_count() -> None:
    edited = b"#!/bin/sh\n#| timeout: 5m\n\n# greets the world,\n# twice\necho hello # loudly\nexit 0\n"
    assert code_digest(SCRIPT) == code_digest(edited) is not None


@pytest.mark.parametrize(
    "edited",
    [
        SCRIPT.replace(b"hello #", b"Hello #"),
        SCRIPT.replace(b"#!/bin/sh", b"#!/bin/sh -e"),
        SCRIPT.replace(b"5m", b"6m"),
        SCRIPT.replace(b"exit 0", b"# exit 0"),
        SCRIPT.replace(b"# loudly", b"# softly"),
        SCRIPT.replace(b"\necho", b"\n  echo"),
    ],
)
def test_everything_else_counts(edited: bytes) -> None:
    assert code_digest(edited) != code_digest(SCRIPT)


@pytest.mark.parametrize(
    "text",
    [
        b"cat <<END\n# content\nEND\n",
        b"x='\n# content\n'\n",
        b'x="\n# content\n"\n',
        b"echo a \\\n# content\n",
        b"x=\"$(echo '\"')\" y='\n# content\n'\n",
        b"echo \"it's\" '\n# content\n'\n",
        b"x=${y:-\n# content\n}\n",
        b"echo } ${y:-\n# content\n}\n",
        b'echo "${y:-"}"\n# content\n}"\n',
        b"x=${y:-'}'\n# content\n}\n",
        b"x=${y:-\\}\n# content\n}\n",
        b"x=${y:-$(echo })\n# content\n}\n",
        b"x=${y:-`echo }`\n# content\n}\n",
        b"x=${y:-<(echo })\n# content\n}\n",
        b"x=${y:- # \n# content\n}\n",
    ],
)
def test_where_a_comment_may_be_content_nothing_is_said(text: bytes) -> None:
    assert code_digest(text) is None


def test_quotes_that_end_on_their_line_are_certain() -> None:
    assert code_digest(b'echo "it\'s" \'a "b"\' \\\' \\"\n# note\n') is not None
    assert code_digest(b'echo ${x:-${y}} "${x:-"a"}" ${x#"$y"} ${#x} {a} # ${\n# note\n') is not None


TEXTS = ["echo a", "# note", "x='", "'", 'y="', '"', "echo \\", "cat <<E", "E", "echo '#'", "  # deep", "", "echo $x$y"]
TEXTS += ["echo ${z:-", "}", 'echo "${z:-"', '}"', "echo ${z:-}", "echo } ${z:-a${z:-}"]
LINES = strategies.sampled_from(TEXTS)


@hypothesis.given(strategies.lists(LINES, max_size=7), strategies.integers(0, 7))
@hypothesis.settings(max_examples=150)
def test_a_comment_that_is_put_in_changes_nothing_of_what_the_script_does(lines: list[str], at: int) -> None:
    """Against a real shell: where both texts have one digest, both say the same."""
    text = "\n".join(lines) + "\n"
    edited = "\n".join([*lines[:at], "# put in", *lines[at:]]) + "\n"
    one, other = code_digest(text.encode()), code_digest(edited.encode())
    if one is None or one != other:
        return

    def said(script: str) -> tuple[int, bytes]:
        done = subprocess.run(["sh", "-c", script], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        return done.returncode, done.stdout

    assert said(text) == said(edited)


def test_shells_are_known_by_their_name() -> None:
    assert is_shell(("sh", "-e"))
    assert is_shell(("/usr/bin/env", "bash"))
    assert is_shell(("/bin/dash",))
    assert not is_shell(("python3",))
    assert not is_shell(("env",))

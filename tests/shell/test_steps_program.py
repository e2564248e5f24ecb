"""steps.sh: every step as plain shell that every shell reads the same."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Project
from tests.shell.conftest import is_yash, run_shell
from workflow.checkpoint.layout import LIBRARY
from workflow.execution.steps_program import shell_quote

YAML = "name: texts\nsteps:\n"


def with_texts(project: Project, **texts: str) -> None:
    """Write a workflow.yaml with one step for each text."""
    lines = [YAML]
    for name, text in texts.items():
        body = "".join(f"      {line}\n" if line else "\n" for line in text.split("\n"))
        lines.append(f"  - name: {name}\n    run: |-\n{body}")
    project.file("workflow.yaml", "".join(lines))


# ---------------------------------------------------------------- quoting

ANY_BYTES = st.binary(max_size=60).map(lambda data: data.replace(b"\0", b"\x01"))
SHELL_BYTES = st.lists(
    st.sampled_from([b"'", b'"', b"\\", b"$", b"`", b"\n", b"!", b"#", b"~", b"*", b"\x81", b"a"])
).map(b"".join)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(ANY_BYTES, SHELL_BYTES))
def test_a_quoted_word_is_the_same_bytes_in_the_shell(shell: list[str], data: bytes) -> None:
    if is_yash(shell):
        data = data.decode("utf-8", "replace").encode()
    script = os.fsencode(f"printf %s {shell_quote(os.fsdecode(data))}")
    done = run_shell(shell, script)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")


def test_every_byte_but_nul_survives_quoting_in_a_file(tmp_path: Path, shell: list[str]) -> None:
    data = bytes(range(1, 128)) if is_yash(shell) else bytes(range(1, 256))
    script = tmp_path / "script"
    script.write_bytes(os.fsencode(f"printf %s {shell_quote(os.fsdecode(data))}\n"))
    done = subprocess.run([*shell, str(script)], capture_output=True, check=False, timeout=20)
    assert (done.returncode, done.stdout) == (0, data)


# ---------------------------------------------------------------- texts

TEXTS = {
    "backslash": "echo one\\",
    "quotes": "echo 'it'\"'\"'s' \"two\"",
    "hash": "echo a#b '#000' '=>' # comment",
    "heredoc": "cat <<'A' && cat <<B\n$(id) `id` 'x\nA\n$((1 + 1))\nB",
    "exits": "trap 'echo bye' EXIT\necho before\nexit 0",
    "percent": "printf '%s\\n' '%s%%' -- '-n'",
    "background": "echo a & echo b & wait",
}
SAID = {
    "backslash": "one",
    "quotes": "it's two",
    "hash": "a#b #000 =>",
    "heredoc": "$(id) `id` 'x\n2",
    "exits": "before\nbye",
    "percent": "%s%%\n--\n-n",
}


def test_texts_arrive_at_their_interpreter_as_they_were_written(project: Project) -> None:
    with_texts(project, **TEXTS)
    done = project.run()
    assert done.returncode == 0, done.stderr + done.stdout
    for number, name in enumerate(TEXTS):
        log = (project.newest_run / f"logs/step_{number:02d}.log").read_text().rstrip("\n")
        assert sorted(log.split()) == ["a", "b"] if name == "background" else log == SAID[name], name


@pytest.mark.parametrize("text", ["echo 'open", 'echo "open', "echo $(open", "if true; then", "}", "cat <<E\nx\nE\n)"])
def test_a_text_that_does_not_parse_fails_alone(project: Project, text: str) -> None:
    with_texts(project, before="echo before >>ran.txt", broken=text, after="echo after >>ran.txt")
    assert project.run().returncode == 1
    assert project.executions == ["before"]
    assert project.markers == [0]
    with_texts(project, before="echo before >>ran.txt", broken="true", after="echo after >>ran.txt")
    assert project.run("resume").returncode == 0
    assert project.executions == ["before", "after"]


def test_a_text_longer_than_an_argument_may_be_runs(project: Project) -> None:
    """One argument ends at 128 KiB."""
    line = "n=$((n + 1)) # " + "x" * 90 + "\n"
    assert len(line) * 2500 > 200_000
    with_texts(project, long="n=0\n" + line * 2500 + "echo $n >>ran.txt")
    done = project.run()
    assert done.returncode == 0, done.stderr
    assert project.executions == ["2500"]


def test_steps_and_resume_programs_parse_under_every_shell(project: Project, shell: list[str]) -> None:
    with_texts(project, **TEXTS, open_quote="echo 'it", brace="}", long="x" * 200_000)
    project.run("--output", "quiet")
    for name in ("steps.sh", "resume.sh", *(f"lib/{name}" for name in LIBRARY)):
        done = subprocess.run(
            [*shell, "-n", str(project.newest_run / name)], capture_output=True, check=False, timeout=20
        )
        assert done.returncode == 0, done.stderr


def test_hash_lines_inside_a_script_are_not_options(project: Project) -> None:
    project.step(0, "cat <<'E'\n#| timeout: never\nE\necho '#| x' => made '#000'")
    done = project.run()
    assert done.returncode == 0, done.stderr
    assert (project.path / "made").read_text() == "#| x = #000\n"

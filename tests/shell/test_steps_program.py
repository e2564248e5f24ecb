"""steps.sh: every step as plain shell that every shell reads the same."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Project
from tests.shell.conftest import is_yash, run_shell, text_step
from workflow.checkpoint.layout import LIBRARY
from workflow.execution.steps_program import is_plain, shell_quote, steps_program
from workflow.model import Repeat, Rules, Step, Workflow

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


# ---------------------------------------------------------------- rules


def program_of(*steps: Step) -> str:
    return steps_program(Workflow("w", "/nowhere", "workflow.yaml", steps)).decode()


def test_a_step_without_rules_has_one_function() -> None:
    assert program_of(text_step(0, "true")).count("() {\n") == 1


@pytest.mark.parametrize("condition", ["always", "failure"])
def test_only_shell_tests_become_functions(condition: str) -> None:
    assert "workflow_if_" not in program_of(text_step(0, "true", Rules(condition=condition)))


def test_tests_have_what_their_step_has(shell: list[str], tmp_path: Path) -> None:
    text = "printf '%s\\n' \"$P|$M|$E|$WORKFLOW_STEP_NAME\" # it's"
    rules = Rules(condition=text, matrix=(("M", "it's\nm"), ("P", "matrix")), repeat=Repeat("- 2>/dev/null\n" + text))
    step = text_step(7, "true", rules, params=(("P", "param"),), env=(("E", "$(id)"),), working_directory="a b")
    program = tmp_path / "steps.sh"
    program.write_text(program_of(step))
    (tmp_path / "a b").mkdir()
    for kind in ("if", "until"):
        script = f'workflow_enter() {{ cd "$1"; }}\nworkflow_exec() {{ "$@"; }}\n. "$1"\nworkflow_{kind}_07 && pwd'
        done = run_shell(shell, script, str(program), cwd=tmp_path)
        assert done.stdout.decode() == f"matrix|it's\nm|$(id)|s7\n{tmp_path}/a b\n", done.stderr


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (text_step(0, "true"), True),
        (text_step(0, "true", Rules(condition="true", lock="db", approval="?")), True),
        (text_step(0, "true", Rules(matrix=(("M", "1"),))), False),
        (text_step(0, "true", Rules(repeat=Repeat("", 2))), False),
        (text_step(0, "true", env=(("A", "1"),)), False),
        (text_step(0, "true", params=(("A", "1"),)), False),
        (text_step(0, "true", working_directory="sub"), False),
    ],
)
def test_a_plain_step_changes_nothing_of_the_shell_that_runs_it(step: Step, expected: bool) -> None:
    assert is_plain(step) is expected

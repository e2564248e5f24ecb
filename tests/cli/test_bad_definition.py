"""Definitions that cannot be: a clear error with file, line and help, exit 2, and nothing is lost or written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import assert_refused, tree
from tests.conftest import Project, clean_env


def refused(project: Project, *words: str, command: tuple[str, ...] = ("run",)) -> str:
    """Assert that the definition is refused by run, plan and lint alike, and that nothing is written."""
    before = tree(project)
    message = assert_refused(project.run(*command), 2, *words)
    assert tree(project) == before
    return message


def test_an_empty_directory_says_how_to_begin(project: Project) -> None:
    message = refused(project, "steps", command=())
    hint = message.partition("help: ")[2].partition(": ")[2].strip()
    # the advice works as it stands
    hint = hint.replace("workflow run", f'"{sys.executable}" -m workflow run')
    done = subprocess.run(["sh", "-c", hint], cwd=project, env=clean_env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout


def test_a_directory_without_steps_names_what_it_holds(project: Project) -> None:
    project.file("steps/common.sh", "x=1\n")
    refused(project, "no steps", "common.sh", "step_NN_name.ext")


def test_two_steps_with_one_number_are_both_named_with_the_way_out(project: Project) -> None:
    """RELIABILITY 67."""
    project.step(1, name="first")
    project.step(1, name="second")
    message = refused(project, "step_01_first.sh", "step_01_second.sh")
    assert "mv " in message
    assert "02" in message


def test_a_script_that_may_not_be_executed_says_chmod(project: Project) -> None:
    project.step(0, executable=False)
    refused(project, "steps/step_00_s0.sh", "chmod +x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_script_that_cannot_be_read_says_so(project: Project) -> None:
    project.step(0).chmod(0o111)
    refused(project, "steps/step_00_s0.sh", "read")


def test_a_script_that_cannot_be_read_says_so_to_root_too(project: Project) -> None:
    """A link to nowhere is what cannot be read by anybody."""
    (project.path / "steps").mkdir()
    (project.path / "steps/step_00_gone.sh").symlink_to("nowhere.sh")
    refused(project, "steps/step_00_gone.sh", "nowhere.sh")


def test_every_error_is_told_at_once_with_line_and_caret(project: Project) -> None:
    project.step(0, "#| timeuot: 5s")
    project.step(1, "#| timeout: banana")
    project.step(2, "#| interactive: maybe")
    message = refused(project, "3 problems", "timeout")
    for place in ("step_00_s0.sh:2", "step_01_s1.sh:2", "step_02_s2.sh:2"):
        assert place in message
    assert "^^^^^^^" in message
    assert "did you mean" in message


YAML = {
    "does not parse": ("steps:\n  - run: [\n", ["workflow.yaml"]),
    "a tab": ("steps:\n\t- run: x\n", ["workflow.yaml:2"]),
    "no mapping": ("- just\n- a list\n", ["workflow.yaml"]),
    "empty": ("", ["workflow.yaml"]),
    "no steps": ("name: nothing\nsteps: []\n", ["workflow.yaml"]),
    "unknown word": ("steps:\n  - {run: x, tiemout: 3s}\n", ["workflow.yaml:2", "tiemout", "timeout"]),
    "wrong type": ("steps:\n  - {run: x, timeout: [1]}\n", ["workflow.yaml:2", "timeout"]),
    "a word of later": ("steps:\n  - {run: x, secrets: [TOKEN]}\n", ["workflow.yaml:2", "secrets", "not available"]),
    "the same key twice": ("steps:\n  - run: x\n    run: y\n", ["workflow.yaml:3", "twice"]),
    "cycle": (
        "steps:\n  - {name: a, run: x, needs: [b]}\n  - {name: b, run: x, needs: [a]}\n",
        ["workflow.yaml:", "a", "b"],
    ),
    "needs itself": ("steps:\n  - {name: a, run: x, needs: [a]}\n", ["workflow.yaml:2"]),
    "needs nobody": ("steps:\n  - {name: a, run: x, needs: [aa]}\n", ["workflow.yaml:2", "aa"]),
    "negative number": ("steps:\n  - {number: -1, run: x}\n", ["workflow.yaml:2", "-1"]),
    "huge number": ("steps:\n  - {number: 99999999999999999999, run: x}\n", ["workflow.yaml:2"]),
    "number of many digits": (f"steps:\n  - {{number: {'9' * 5000}, run: x}}\n", ["workflow.yaml:2"]),
    "a number twice": ("steps:\n  - {number: 3, run: x}\n  - {number: 3, run: y}\n", ["workflow.yaml:3", "3"]),
    "NUL": ('steps:\n  - run: "a\\0b"\n', ["workflow.yaml:2"]),
    "deep nesting": ("steps: " + "[" * 5000 + "]" * 5000 + "\n", ["workflow.yaml"]),
    "alias bomb": (
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
        + "".join(
            f"d{n}: &d{n} [*{'c' if not n else f'd{n - 1}'}, *{'c' if not n else f'd{n - 1}'}]\n" for n in range(30)
        ),
        ["workflow.yaml"],
    ),
    "a tag that would run code": ("steps: !!python/object/apply:os.system ['touch owned']\n", ["workflow.yaml:1"]),
}


@pytest.mark.parametrize("case", YAML)
def test_a_yaml_file_that_cannot_be_is_refused(project: Project, case: str) -> None:
    """RELIABILITY 66, 67: with the line, in bounded time."""
    text, words = YAML[case]
    project.file("workflow.yaml", text)
    refused(project, *words, command=())


def test_bytes_that_are_no_text_are_refused(project: Project) -> None:
    (project.path / "workflow.yaml").write_bytes(b"steps:\n  - run: \xff\xfe\n")
    refused(project, "workflow.yaml", command=())


def test_a_definition_broken_after_a_run_leaves_the_run_as_it_is(project: Project) -> None:
    """Bad input loses nothing: the run is carried on once the definition is mended."""
    text = "steps:\n  - run: echo 00 >>ran.txt\n  - run: '[ -e ok ]'\n"
    project.file("workflow.yaml", text)
    assert project.run("-q").returncode == 1
    project.file("workflow.yaml", "steps: [")
    refused(project, "workflow.yaml", command=("--resume",))
    assert project.run("status").returncode == 0
    project.file("workflow.yaml", text)
    project.file("ok", "")
    assert project.run("-q", "--resume").returncode == 0
    assert project.executions == ["00"]


NAMES = [
    "new\nline\ttab",
    'it\'s "x"',
    "$(touch owned)`touch owned`",
    "-rf",
    "a b  c;d&e|f",
    "*?[a-z]~#=%41",
    "back\\slash",
    "\x1b[31mred",
    "ünï العربية 🚀",
    "\udcff\udcfe",
    "x" * 200,
]


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[:24] for name in NAMES])
def test_hostile_names_go_round_everywhere(project: Project, name: str) -> None:
    """RELIABILITY 64: run, fail, status, logs, plan, mark, resume, also as plain shell; nothing is evaluated."""
    project.step(0, name=name)
    project.step(1, "[ -e ok ] && echo 01 >>ran.txt", name=f"{name}2"[-200:])
    failed = project.run()
    assert failed.returncode == 1, failed.stderr
    assert "\x1b" not in failed.stdout + failed.stderr
    run_id = project.newest_run.name
    for words in (["status"], ["status", "--json"], ["plan", "--resume"], ["plan", "--resume", "--json"], ["logs"]):
        result = project.run(*words)
        assert result.returncode == 0, (words, result.stderr)
        assert "\x1b" not in result.stdout
    assert project.run("logs", run_id, "--", name).returncode == 0
    assert project.run("mark", run_id, "--pending", "--", name).returncode == 0
    project.file("ok", "")
    resumed = project.run("--resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    resumed.stdout.encode("utf-8")  # whole, valid UTF-8
    assert project.executions == ["00", "00", "01"]
    (project.newest_run / "step_01.complete").unlink()
    shell = subprocess.run(
        ["sh", project.newest_run / "resume.sh"], cwd="/", env=clean_env(), capture_output=True, check=False
    )
    assert shell.returncode == 0, shell.stderr
    assert project.executions == ["00", "00", "01", "01"]
    assert project.markers == [0, 1]
    assert project.run("resume", "-q").returncode == 0
    assert not list(project.path.glob("**/owned"))


@pytest.mark.parametrize("name", ["it's $(touch owned)", "new\nline", "-dash", "\udcff", "a b"])
def test_hostile_paths_of_the_project_do_no_harm(tmp_path: Path, name: str) -> None:
    """RELIABILITY 64."""
    path = tmp_path / name
    path.mkdir()
    project = Project(path)
    project.step(0)
    project.step(1, "[ -e ok ] && echo 01 >>ran.txt")
    assert project.run().returncode == 1
    assert project.run("status").returncode == 0
    project.file("ok", "")
    assert project.run("--resume").returncode == 0
    assert project.executions == ["00", "01"]
    assert not list(tmp_path.glob("**/owned"))

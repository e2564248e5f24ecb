"""A directory of numbered scripts becomes steps."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from blake3 import blake3

from workflow.definition.loader import ignored_files, load
from workflow.definition.steps_directory import parts, renumbered
from workflow.errors import DefinitionError
from workflow.model import DEFAULT_SHELL


@pytest.mark.parametrize(
    ("file_name", "number", "name"),
    [
        ("step_00_hello.sh", 0, "hello"),
        ("step_7_a_b.sh", 7, "a_b"),
        ("05_build.sh", 5, "build"),
        ("05-build-all.sh", 5, "build-all"),
        ("step_12.sh", 12, "step_12"),
        ("step_03_.sh", 3, "step_03"),
        ("step_000123_deep.sh", 123, "deep"),
        ("step_00_v1.2.sh", 0, "v1.2"),
        ("step_01-dash.sh", 1, "dash"),
    ],
)
def test_number_and_name_come_from_the_file_name(project, file_name, number, name):
    project.script(file_name)
    (step,) = project.load().steps
    assert (step.number, step.name, step.script) == (number, name, f"steps/{file_name}")


@pytest.mark.parametrize(
    "file_name",
    [
        "common.sh", "README", ".step_00_a.sh", "step_01_x.sh~", "step_01_x.sh.bak", "step_01_x.sh.orig",
        "step_01_x.swp",
        "00.sh", "steps_00_a.sh", "step_a_00.sh", "step_.sh", "#step_01_x.sh#", "step_-1_x.sh", "٠٠_arabic.sh",
    ],
)  # fmt: skip
def test_other_files_are_ignored_and_named_for_lint(project, file_name):
    project.script("step_00_a.sh")
    project.script(file_name, "#| not: [options\n", 0o000)
    assert [step.name for step in project.load().steps] == ["a"]
    named = ignored_files(str(project.path / "steps"))
    assert named == ([] if file_name.startswith(".") else [file_name])


def test_directories_beside_the_steps_are_not_read(project):
    project.script("step_00_a.sh")
    project.script("step_01_deeper.sh", folder="steps/__pycache__")
    assert len(project.load().steps) == 1
    assert ignored_files(str(project.path / "steps")) == []


def test_steps_are_sorted_by_number_with_gaps(project):
    for name in ("step_10_c.sh", "9-b.sh", "step_002_a.sh", "step_100000_d.sh"):
        project.script(name)
    assert [step.number for step in project.load().steps] == [2, 9, 10, 100000]


def test_a_sh_script_without_a_hashbang_runs_under_sh_and_needs_no_execute_bit(project):
    project.script("step_00_a.sh", "", 0o644)
    (step,) = project.load().steps
    assert step.interpreter == DEFAULT_SHELL == ("sh",)
    assert step.content_digest == f"blake3:{blake3(b'').hexdigest()}"


def test_a_script_with_a_hashbang_is_left_to_the_kernel(project):
    project.script("step_00_a.py", "#!/usr/bin/env python3\nprint(1)\n")
    (step,) = project.load().steps
    assert step.interpreter is None
    assert step.text is None


def test_a_hashbang_without_execute_bit_says_chmod(project):
    project.script("step_00_it's.sh", "#!/bin/sh\n", 0o644)
    problem = project.problem()
    assert problem.help == """chmod +x 'steps/step_00_it'"'"'s.sh'"""


def test_a_script_that_nothing_says_how_to_run_is_a_problem(project):
    project.script("step_00_a.py", "print(1)\n")
    assert "#!" in project.problem().help


def test_shell_says_how_to_run_a_script_whatever_its_own_text_says(project):
    project.script("step_00_a.py", "#| shell: python3 -u\nprint(1)\n", 0o644)
    project.script("step_01_b.sh", "#!/bin/false\n#| shell: bash -eu -o pipefail\n", 0o644)
    first, second = project.load().steps
    assert first.interpreter == ("python3", "-u")
    assert second.interpreter == ("bash", "-eu", "-o", "pipefail")


def test_a_hashbang_with_a_carriage_return_is_a_problem(project):
    project.script("step_00_a.sh", b"#!/bin/sh\r\necho\r\n")
    assert "carriage return" in project.problem().message


def test_a_byte_order_mark_would_hide_the_first_line_and_is_a_problem(project):
    path = project.script("step_00_a.sh", b"\xef\xbb\xbf#!/bin/sh\n#| timeout: 5m\n")
    problem = project.problem()
    assert "byte order mark" in problem.message
    subprocess.run(problem.help, shell=True, check=True, cwd=project.path)
    assert path.read_bytes().startswith(b"#!/bin/sh")
    assert project.load().steps[0].timeout_s == 300.0


def test_a_hashbang_that_names_nothing_is_a_problem(project):
    project.script("step_00_a.sh", b"#! \necho\n")
    assert "names no program" in project.problem().message


def test_two_scripts_of_one_number_are_one_problem_with_the_command_that_renumbers(project):
    project.script("step_01_a.sh")
    project.script("step_01_b.sh")
    project.script("step_02_c.sh")
    problem = project.problem()
    assert "steps/step_01_a.sh" in problem.message
    assert "steps/step_01_b.sh" in problem.message
    assert problem.help == "mv steps/step_01_b.sh steps/step_03_b.sh"


def test_three_scripts_of_one_number_get_two_different_free_numbers(project):
    for name in ("01_a.sh", "01_b.sh", "01_c.sh"):
        project.script(name)
    assert [problem.help for problem in project.problems()] == [
        "mv steps/01_b.sh steps/02_b.sh",
        "mv steps/01_c.sh steps/03_c.sh",
    ]


def test_two_steps_of_one_name_are_a_problem(project):
    project.script("step_01_a.sh")
    project.script("step_02_a.sh")
    problem = project.problem()
    assert problem.message == "two steps have the name `a`: steps/step_01_a.sh and steps/step_02_a.sh"


def test_a_name_option_replaces_the_one_of_the_file(project):
    project.script("step_01_a.sh")
    project.script("step_02_a.sh", "#| name: b\n")
    assert [step.name for step in project.load().steps] == ["a", "b"]


def test_a_directory_without_steps_says_what_names_look_like_and_what_is_there(project):
    project.script("hello.sh")
    problem = project.problem()
    assert "hello.sh" in problem.message
    assert "step_00_hello.sh" in problem.help


def test_an_empty_directory_is_a_problem(project):
    (project.path / "steps").mkdir()
    assert "it is empty" in project.problem().message


def test_a_number_above_a_million_is_a_problem_however_long(project):
    project.script("step_1000000_a.sh")
    project.script(f"step_{'9' * 240}_b.sh")
    assert all("above 999,999" in problem.message for problem in project.problems())
    assert len(project.problems()) == 2


def test_leading_zeros_do_not_make_a_number_too_large(project):
    project.script("step_0000000005_a.sh")
    assert project.load().steps[0].number == 5


def test_a_broken_symbolic_link_a_directory_and_a_fifo_are_problems(project):
    steps = project.path / "steps"
    steps.mkdir()
    (steps / "step_00_link.sh").symlink_to("nowhere")
    (steps / "step_01_directory.sh").mkdir()
    os.mkfifo(steps / "step_02_fifo.sh")
    (steps / "step_03_loop.sh").symlink_to("step_03_loop.sh")
    first, second, third, fourth = project.problems()
    assert "nowhere" in first.message
    assert "a directory" in second.message
    assert "a named pipe" in third.message
    assert "cannot be read" in fourth.message


def test_a_symbolic_link_to_a_script_is_a_step(project):
    real = project.script("real.sh", folder="elsewhere")
    (project.path / "steps").mkdir()
    (project.path / "steps" / "step_00_a.sh").symlink_to(real)
    assert project.load().steps[0].script == "steps/step_00_a.sh"


def test_a_script_that_may_not_be_read_says_chmod(project, mocker):
    project.script("step_00_a.sh")
    real = os.open

    def refusing(path, flags, *args, **kwargs):
        if path == "step_00_a.sh":
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *args, **kwargs)

    mocker.patch("os.open", refusing)
    problem = project.problem()
    assert problem.help == "chmod +r steps/step_00_a.sh"


def test_an_input_output_error_names_the_script(project, mocker):
    project.script("step_00_a.sh")
    mocker.patch("workflow.definition.steps_directory.os.read", side_effect=OSError(5, "Input/output error"))
    problem = project.problem()
    assert (problem.path, "Input/output error" in problem.message) == ("steps/step_00_a.sh", True)


AWKWARD = [
    b"new\nline", b"quo'te\"s", b"$(touch x)", b"`id`", b"-rf", b"sp ace", b"caf\xe9", b"\xff\xfe",
    "שלום".encode(), "🦊".encode(), b"tab\t", b"back\\slash", b"*?[a]", b"#|", b"%s%n",
]  # fmt: skip


@pytest.mark.skipif(sys.platform == "darwin", reason="APFS refuses names that are not UTF-8")
@pytest.mark.parametrize("name", AWKWARD)
def test_any_bytes_in_a_name_come_back_as_they_are(project, name):
    project.script(b"step_00_" + name + b".sh")
    (step,) = project.load().steps
    assert os.fsencode(step.name) == name
    assert os.fsencode(step.script) == b"steps/step_00_" + name + b".sh"
    assert (project.path / step.script).is_file()


def test_a_name_of_255_bytes_is_a_step(project):
    name = "a" * (255 - len("step_00_.sh"))
    project.script(f"step_00_{name}.sh")
    assert project.load().steps[0].name == name


def test_problems_with_awkward_names_can_be_printed(project):
    project.script(b"step_00_caf\xe9\n.py")
    project.problem()


def test_the_digest_is_of_the_whole_file_however_large(project):
    text = b"#!/bin/sh\n" + b"# padding\n" * 400_000
    project.script("step_00_a.sh", text)
    assert project.load().steps[0].content_digest == f"blake3:{blake3(text).hexdigest()}"


def test_steps_outside_the_project_have_absolute_paths(project, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "step_00_a.sh").touch()
    workflow = load(str(project.path), str(outside))
    assert workflow.steps[0].script == f"{outside}/step_00_a.sh"
    assert workflow.source == str(outside)


def test_steps_in_the_project_itself_have_bare_names(project):
    project.script("step_00_a.sh", folder=".")
    assert project.load(".").steps[0].script == "step_00_a.sh"


def test_ten_thousand_steps_load_without_yaml(project, mocker):
    directory = project.path / "steps"
    directory.mkdir()
    for number in range(10_000):
        (directory / f"step_{number:04d}_s{number}.sh").write_bytes(b"echo hello\n")
    mocker.patch.dict(sys.modules, {"yaml": None, "jsonschema": None})  # to import one of them is an error
    steps = project.load().steps
    assert [step.number for step in steps] == list(range(10_000))
    assert steps[9_999].name == "s9999"


def test_every_problem_is_told_at_once_in_order(project):
    project.script("step_00_a.py", "no hashbang\n")
    project.script("step_01_b.sh", "#!/bin/sh\n", 0o644)
    project.script("step_02_c.sh", "#| tiemout: 5m\n#| needs: nobody\n")
    problems = project.problems()
    assert [problem.path.removeprefix("steps/") for problem in problems] == [
        "step_00_a.py",
        "step_01_b.sh",
        "step_02_c.sh",
        "step_02_c.sh",
    ]
    assert [problem.line for problem in problems][2:] == [1, 2]


def test_renumbered_keeps_the_width():
    assert renumbered("steps/step_009_a.sh", 10) == "steps/step_010_a.sh"
    assert renumbered("9-a", 10) == "10-a"
    assert parts("hello") is None


def test_the_error_is_of_the_command_line_kind(project):
    project.script("nothing.sh")
    with pytest.raises(DefinitionError) as caught:
        project.load()
    assert "-->" in caught.value.render()

"""A script with `# %%` cells becomes steps that mean what the script means by hand."""

from __future__ import annotations

import subprocess

import pytest
from blake3 import blake3


def cells(project, text, name="flow.sh"):
    project.file(text, name)
    return project.load(name).steps


def test_each_cell_is_a_step_with_the_preamble_before_it(project):
    first, second = cells(project, "set -e\nx=1\n# %% build\necho a\n# %% test it\necho b\n")
    assert (first.number, first.name, first.source.line) == (0, "build", 3)
    assert (second.number, second.name, second.source.line) == (1, "test it", 5)
    assert first.text == "set -e\nx=1\n# %% build\necho a\n"
    assert second.text == "set -e\nx=1\n\n\n# %% test it\necho b\n"
    assert first.interpreter == ("sh",)


def test_lines_have_the_numbers_they_have_in_the_file(project, tmp_path):
    text = "x=1\n# %% a\necho a\n# %% b\n\nif then\n"
    last = cells(project, text)[-1]
    (tmp_path / "cell").write_text(last.text)
    by_hand = subprocess.run(["sh", str(tmp_path / "cell")], capture_output=True, text=True, check=False).stderr
    whole = subprocess.run(["sh", str(project.path / "flow.sh")], capture_output=True, text=True, check=False).stderr
    assert by_hand.replace(str(tmp_path / "cell"), "") == whole.replace(str(project.path / "flow.sh"), "")


def test_the_digest_of_a_cell_does_not_change_with_the_cells_before_it(project):
    before = cells(project, "x=1\n# %% a\necho a\n# %% b\necho b\n")[1]
    after = cells(project, "x=1\n# %% a\necho a\necho more\n# %% b\necho b\n")[1]
    assert before.content_digest == after.content_digest
    assert before.content_digest == "blake3:" + blake3(b"x=1\n# %% b\necho b\n").hexdigest()


def test_a_change_of_the_preamble_changes_every_cell(project):
    before = cells(project, "x=1\n# %% a\n# %% b\n")
    after = cells(project, "x=2\n# %% a\n# %% b\n")
    assert all(old.content_digest != new.content_digest for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("#!/bin/bash", ("/bin/bash",)),
        ("#!/usr/bin/env -S bash -e", ("/usr/bin/env", "-S bash -e")),
        ("#! /bin/sh -e ", ("/bin/sh", "-e")),
    ],
)
def test_the_scripts_own_first_line_says_what_runs_the_cells(project, line, words):
    assert cells(project, f"{line}\n# %% a\n")[0].interpreter == words


def test_options_stand_below_the_line_of_the_cell(project):
    first, second = cells(
        project, "# %% a\n#| timeout: 5m\n#| name: better\n\necho\n#| timeout: [\n# %%\n# why\n#| number: 7\n"
    )
    assert (first.timeout_s, first.name) == (300.0, "better")
    assert (second.number, second.name, second.timeout_s) == (7, "step_07", None)


def test_a_problem_in_a_cell_stands_at_the_line_of_the_file(project):
    project.file("x=1\n# %% a\necho\n# %% b\n# c\n#| tiemout: 5\n", "flow.sh")
    problem = project.problem("flow.sh")
    assert (problem.path, problem.line, problem.column) == ("flow.sh", 6, 4)


def test_options_before_the_first_cell_are_a_problem(project):
    project.file("#!/bin/sh\n#| timeout: 5m\n# %% a\n", "flow.sh")
    problem = project.problem("flow.sh")
    assert (problem.line, "belong to no step" in problem.message) == (2, True)


def test_an_option_sign_in_a_here_document_of_the_preamble_is_text(project):
    assert len(cells(project, "x=$(cat <<END\n#| timeout: 5m\nEND\n)\n# %% a\n")) == 1


@pytest.mark.parametrize("line", ["echo '# %% a'", "  # %% a", "# %%a", "# %%%", "## %% a", "#  %% a"])
def test_only_a_line_of_its_own_begins_a_cell(project, line):
    assert [step.name for step in cells(project, f"# %% only\n{line}\n")] == ["only"]


def test_shell_replaces_the_interpreter_of_a_cell(project):
    assert cells(project, "# %% a\n#| shell: python3 -u\n")[0].interpreter == ("python3", "-u")


def test_run_in_a_cell_is_a_problem(project):
    project.file("# %% a\n#| run: echo\n", "flow.sh")
    assert "the cell is the text of the step" in project.problem("flow.sh").message


def test_a_script_without_cells_says_how_to_write_one(project):
    project.file("#!/bin/sh\necho\n", "flow.sh")
    problem = project.problem("flow.sh")
    assert problem.message == "there are no cells in this script"
    assert "# %% name" in problem.help


def test_a_nul_byte_is_told_with_its_line(project):
    project.file(b"# %% a\n\x7fELF\x00\n", "flow.sh")
    problem = project.problem("flow.sh")
    assert (problem.line, "NUL" in problem.message) == (2, True)


def test_two_cells_of_one_name_name_both_lines(project):
    project.file("# %% a\n# %% a\n", "flow.sh")
    assert project.problem("flow.sh").message == "two steps have the name `a`: flow.sh:1 and flow.sh:2"


def test_bytes_that_are_not_utf8_stay_what_they_are(project):
    (step,) = cells(project, b"# %% caf\xe9\nprintf '\xff'\n")
    assert step.text.encode("utf-8", "surrogateescape") == b"# %% caf\xe9\nprintf '\xff'\n"
    assert step.name.encode("utf-8", "surrogateescape") == b"caf\xe9"


def test_carriage_returns_are_no_part_of_a_name(project):
    assert cells(project, b"# %% a\r\necho\r\n")[0].name == "a"


def test_ten_thousand_cells_do_not_outgrow_memory(project):
    steps = cells(project, "".join(f"# %% c{n}\necho {n}\n" for n in range(10_000)))
    assert len(steps) == 10_000
    assert sum(len(step.text) for step in steps) < 8 * 1024 * 1024

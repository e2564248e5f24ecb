"""Traps met in real pipelines, one test each."""

from __future__ import annotations

import shutil
import time

import pytest

from tests.conftest import Project
from tests.processes.support import marked


@pytest.mark.parametrize("source", ["script", "yaml"])
def test_a_command_longer_than_128_kib_runs(project: Project, source: str) -> None:
    """One argument of exec ends at 128 KiB (MAX_ARG_STRLEN): the text never travels as one."""
    lines = "".join(f": line {n:06d} of a generated loader\n" for n in range(9000))
    text = f"{lines}x='{'y' * 200_000}'\necho ${{#x}} >>ran.txt\n"
    assert len(text) > 2 * 128 * 1024
    if source == "script":
        project.step(0, text)
    else:
        indented = "".join(f"      {line}\n" for line in text.splitlines())
        project.file("workflow.yaml", f"steps:\n  - run: |\n{indented}")
    result = project.run("-q")
    assert result.returncode == 0, result.stderr
    assert project.executions == ["200000"]


def test_a_script_that_ends_in_exit_0_is_complete_and_the_next_one_runs(project: Project) -> None:
    """Nothing is appended to the text of a script, so nothing can be cut off by its end."""
    project.step(0, "echo 00 >>ran.txt\nexit 0")
    project.step(1, "echo 01 >>ran.txt\nexit 0\nexit 9")
    project.step(2, "echo 02 >>ran.txt; exit 4")
    assert project.run("-q").returncode == 1
    assert project.executions == ["00", "01", "02"]
    assert project.markers == [0, 1]


def test_a_script_keeps_its_own_exit_trap_and_its_own_exit_code(project: Project) -> None:
    project.step(0, "trap 'echo trapped $? >>ran.txt' EXIT\necho 00 >>ran.txt")
    project.step(1, "trap 'echo trapped $? >>ran.txt' EXIT\n(exit 7)\nexit 7")
    project.step(2, "trap 'exit 0' EXIT\nexit 5")
    result = project.run("-q")
    assert result.returncode == 1
    assert "exit code 7" in result.stderr
    assert project.executions == ["00", "trapped", "0", "trapped", "7"]
    assert project.markers == [0]


@pytest.mark.parametrize("source", ["script", "yaml"])
def test_set_e_keeps_its_effect(project: Project, source: str) -> None:
    """A step called as `step || failed`, `if step` or `step && done` would run on past its own errors."""
    lines = ["f() { false; echo survived >>ran.txt; }", "echo 00 >>ran.txt", "f", "echo after >>ran.txt"]
    if source == "script":
        project.step(0, "set -e\n" + "\n".join(lines))
    else:
        indented = "".join(f"      {line}\n" for line in lines)
        project.file("workflow.yaml", f"steps:\n  - run: |\n{indented}")
    assert project.run("-q").returncode == 1
    assert project.executions == ["00"]
    assert project.markers == []


def test_signs_that_look_like_options_inside_arguments_and_heredocs_are_text(project: Project) -> None:
    """`#`, `=>`, `'#000'`, and even `#|` below the head of the script."""
    body = """awk 'BEGIN { print "#000 => x" }' >>said.txt
printf '%s\\n' '#| timeout: 1s' 'a => b' "#fff" --color='#000' >>said.txt
cat >>said.txt <<'END'
#| nonsense: here
#!/bin/false
# %% not a cell
key => '#value'
END
echo "${x:-a#b}" >>said.txt"""
    project.step(0, body)
    indented = "".join(f"      {line}\n" for line in body.splitlines())
    project.file("same.yaml", f"steps:\n  - run: |\n{indented}")
    expected = [
        "#000 => x",
        "#| timeout: 1s",
        "a => b",
        "#fff",
        "--color=#000",
        "#| nonsense: here",
        "#!/bin/false",
        "# %% not a cell",
        "key => '#value'",
        "a#b",
    ]
    for source in ("steps", "same.yaml"):
        (project.path / "said.txt").unlink(missing_ok=True)
        result = project.run("run", source, "-q")
        assert result.returncode == 0, result.stderr
        assert (project.path / "said.txt").read_text().splitlines() == expected


def test_a_tool_that_fails_and_leaves_a_plausible_output_is_not_believed(project: Project) -> None:
    """RELIABILITY 49: existence of an output is never completion; and a step that makes none is not complete."""
    project.step(0, "#| outputs: table.csv\necho 00 >>ran.txt\nprintf 'a,b\\n1,2\\n' >table.csv\nexit 1")
    project.step(1)
    result = project.run()
    assert result.returncode == 1
    assert "table.csv" in result.stderr
    assert "not to be trusted" in result.stderr
    assert project.run("--resume", "-q").returncode == 1
    assert project.executions == ["00", "00"]
    project.step(0, "#| outputs: table.csv\nrm -f table.csv\necho 00 >>ran.txt")
    result = project.run("--resume")
    assert result.returncode == 1
    assert "did not make table.csv" in result.stderr
    assert project.markers == []


def test_background_jobs_that_are_waited_for_do_not_outlive_a_limit(project: Project) -> None:
    """`cmd & cmd & wait`."""
    with marked() as mark:
        project.step(0, f"#| timeout: 0.5s\n{mark.command} &\n{mark.command} &\nwait")
        assert project.run("-q").returncode == 124
        mark.wait_none()


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_a_make_with_jobs_does_not_outlive_a_limit_and_keeps_its_exit_code(project: Project) -> None:
    """Nested `make -j`; and a failure deep inside comes out as one."""
    with marked() as mark:
        project.file(
            "Makefile", f"all: ; $(MAKE) -s -j2 x y\nx y: ; {mark.command}\nfail: ; $(MAKE) -s -j2 bad\nbad: ; exit 3\n"
        )
        project.step(0, "#| timeout: 0.6s\nmake -s -j2 all")
        assert project.run("-q").returncode == 124
        mark.wait_none()
        project.step(0, "make -s -j2 fail")
        assert project.run("-q").returncode == 1


def test_gaps_in_the_numbers_are_no_steps(project: Project) -> None:
    for number in (0, 3, 17):
        project.step(number)
    result = project.run()
    assert result.returncode == 0
    assert "3 steps to run" in result.stdout
    assert project.executions == ["00", "03", "17"]
    assert project.markers == [0, 3, 17]


def test_helper_files_beside_the_steps_are_no_steps(project: Project) -> None:
    """`common.sh`, a README, data, a backup of an editor, a folder: named by lint, never run."""
    project.file("steps/common.sh", "said=common\nexit 9\n")
    project.file("steps/README.md", "# steps\n")
    project.file("steps/00_input.csv.bak", "1\n")
    project.file("steps/step_00_use.sh~", "exit 9\n")
    project.file("steps/lib/step_00_inner.sh", "exit 9\n")
    project.step(0, '(. ./steps/common.sh) || echo "sourced $?" >>ran.txt', name="use")
    result = project.run("-q")
    assert result.returncode == 0, result.stderr
    assert project.executions == ["sourced", "9"]
    assert "common.sh" in project.run("lint").stdout


def test_the_same_text_in_several_steps_is_several_steps(project: Project) -> None:
    """Each runs once, each has a marker, and content alone does not make one stand for another."""
    for number in range(4):
        project.step(
            number,
            'echo "$WORKFLOW_STEP" >>ran.txt\n[ "$WORKFLOW_STEP" != 02 ] || [ -e ok ]',
            name="again" * (number + 1),
        )
    assert project.run("-q").returncode == 1
    assert project.markers == [0, 1]
    (project.path / "steps" / f"step_01_{'again' * 2}.sh").rename(project.path / "steps/step_01_new.sh")
    project.file("ok", "")
    assert project.run("--resume", "-q").returncode == 0
    assert project.executions.count("03") == 1
    assert project.executions.count("00") == 1
    assert project.markers == [0, 1, 2, 3]


def test_a_background_child_that_keeps_the_log_open_holds_nobody_up(project: Project) -> None:
    """RELIABILITY 36."""
    with marked() as mark:
        project.step(0, f"(sleep 0.4; echo late; exec {mark.command}) &\necho early")
        project.step(1)
        started = time.monotonic()
        result = project.run()
        assert result.returncode == 0
        assert time.monotonic() - started < 8
        assert "early" in result.stdout
        assert project.markers == [0, 1]


def test_a_step_that_hangs_is_ended_at_its_limit_and_the_rest_can_follow(project: Project) -> None:
    """RELIABILITY 38."""
    project.step(0, "#| timeout: 0.3s\n[ -e ok ] || { mkfifo pipe; cat pipe; }\necho 00 >>ran.txt")
    project.step(1)
    assert project.run("-q").returncode == 124
    project.file("ok", "")
    assert project.run("--resume", "-q").returncode == 0
    assert project.executions == ["00", "01"]


def test_a_step_that_changes_directory_mask_or_options_changes_them_for_itself_alone(project: Project) -> None:
    project.step(0, "cd /; umask 077; set -f; export LEFT=behind; unset PATH")
    project.step(1, 'pwd >where.txt; umask >>where.txt; echo "${LEFT-nothing}" >>where.txt')
    assert project.run("-q").returncode == 0
    where, mask, left = (project.path / "where.txt").read_text().split()
    assert where == str(project.path)
    assert mask != "0077"
    assert left == "nothing"


def test_a_script_that_edits_itself_or_the_next_one_while_it_runs(project: Project) -> None:
    """What ran is what is recorded: the edited one runs as it stands when its turn comes."""
    project.step(0, "echo 00 >>ran.txt\nprintf '#!/bin/sh\\necho edited >>ran.txt\\n' >steps/step_01_s1.sh")
    project.step(1)
    assert project.run("-q").returncode == 0
    assert project.executions == ["00", "edited"]

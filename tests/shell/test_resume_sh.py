"""`sh resume.sh` in a run directory: a run carried on with a POSIX shell and no Python. Its main road."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.shell.conftest import FUNCTIONS, Resuming, failing_at, marker_of, require_program, wait_until
from workflow.checkpoint import records

pytestmark = pytest.mark.usefixtures("needs_flock")


def epoch_of(project: Project) -> int:
    return int((project.newest_run / "state/epoch").read_text())


def is_alive(project: Project, name: str) -> bool:
    """Return whether the process whose pid is in a file still runs (an ended one that nobody collected does not)."""
    try:
        stat_line = Path(f"/proc/{int((project.path / name).read_text())}/stat").read_text()
    except OSError:
        return False
    return stat_line.rpartition(")")[2].split()[0] != "Z"


# ---------------------------------------------------------------- under every shell


def test_it_bypasses_marked_steps_and_runs_the_rest_in_order(project: Project, resuming: Resuming) -> None:
    failing_at(project, 2, 5)
    (project.path / "go").touch()
    done = resuming.run()
    assert done.returncode == 0, done.stderr
    assert project.executions == ["00.1", "01.1", "02.1", "02.2", "03.1", "04.1"]
    assert project.markers == [0, 1, 2, 3, 4]
    assert "bypassed 01 s1: marked complete" in done.stdout
    assert "ok 04 s4" in done.stdout
    assert done.stderr == ""


def test_the_runner_accepts_its_markers_and_says_who_wrote_them(project: Project, resuming: Resuming) -> None:
    failing_at(project, 1, 3)
    (project.path / "go").touch()
    assert resuming.run().returncode == 0
    written = marker_of(project, 1)
    assert (written.completed_by, written.epoch, written.name) == ("shell", 2, "s1")
    state = records.decode_document((project.newest_run / "state/step_01_state.json").read_bytes())
    assert (state["status"], state["exit_code"], state["completed_by"]) == ("completed", 0, "shell")
    assert state["attempts"][-1]["number"] == 2
    done = project.run("resume", project.newest_run.name)
    assert done.returncode == 0, done.stderr
    assert "a shell without Python: 01 s1 and 02 s2" in done.stdout + done.stderr
    assert project.executions == ["00.1", "01.1", "01.2", "02.1"]


def test_a_failed_step_ends_it_with_1_the_end_of_the_log_and_how_to_go_on(project: Project, resuming: Resuming) -> None:
    failing_at(project, 1, 3)
    done = resuming.run()
    assert done.returncode == 1
    assert "error: step 01 s1 failed (attempt 2): exit code 1" in done.stderr
    assert "  | why it failed" in done.stderr
    assert f"log: {project.newest_run}/logs/step_01.log" in done.stderr
    assert f"help: sh '{project.newest_run}/resume.sh'" in done.stderr
    assert project.markers == [0]
    state = records.decode_document((project.newest_run / "state/step_01_state.json").read_bytes())
    assert (state["status"], state["failure"]["class"]) == ("failed", "exit")


def test_attempts_and_epochs_count_on_between_runner_and_shell(project: Project, resuming: Resuming) -> None:
    project.step(0, "echo $WORKFLOW_ATTEMPT.$WORKFLOW_RESUMED.$WORKFLOW_IDEMPOTENCY_KEY >>ran.txt; test -e go")
    assert project.run().returncode == 1
    assert resuming.run().returncode == 1
    assert resuming.run().returncode == 1
    assert project.run("resume").returncode == 1
    (project.path / "go").touch()
    assert resuming.run().returncode == 0
    key = f"{project.newest_run.name}.step_00"
    assert project.executions == [f"1.0.{key}", f"2.1.{key}", f"3.1.{key}", f"4.1.{key}", f"5.1.{key}"]
    assert epoch_of(project) == 5


def test_values_travel_between_python_and_shell_steps(project: Project, resuming: Resuming) -> None:
    project.step(0, FUNCTIONS + "step_output A 'first'\nstep_env B 'it'\"'\"'s \"$(id)\" `id` \\\nEND\n'\n")
    project.step(1, "test -e go")
    project.step(2, FUNCTIONS + 'printf %s "$A|$B" >seen2\nstep_output A "second\n"\nstep_output C "\\$(id)\'"\n')
    project.step(3, 'printf %s "$A|$C" >seen3\ntest -e go3')
    assert project.run().returncode == 1
    (project.path / "go").touch()
    assert resuming.run().returncode == 1
    (project.path / "go3").touch()
    assert (project.path / "seen2").read_text() == 'first|it\'s "$(id)" `id` \\\nEND\n'
    assert (project.path / "seen3").read_text() == "second\n|$(id)'"
    (project.path / "seen3").unlink()
    done = project.run("resume")
    assert done.returncode == 0, done.stderr
    assert (project.path / "seen3").read_text() == "second\n|$(id)'"


def test_an_interrupt_ends_the_step_and_leaves_no_marker(project: Project, posix_resuming: Resuming) -> None:
    # The others lose a signal that comes just before their `wait`, now and then, until the step ends.
    resuming = posix_resuming
    project.step(0, "test -e first || { touch first; exit 1; }; echo 00 >>ran.txt")
    project.step(1, "test -e go || { sleep 60 & echo $! >new; mv new pid; wait; }\necho 01 >>ran.txt")
    assert project.run().returncode == 1
    process = resuming.start()
    wait_until((project.path / "pid").exists, "the step runs")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
    assert "was interrupted" in (project.path / "resume.stderr").read_text()
    assert project.markers == [0]
    wait_until(lambda: not is_alive(project, "pid"), "the child of the step is gone", seconds=5)
    (project.path / "go").touch()
    assert resuming.run().returncode == 0
    assert project.executions == ["00", "01"]


# ---------------------------------------------------------------- exit codes


def test_an_unknown_option_ends_it_with_2(project: Project, posix_resuming: Resuming) -> None:
    failing_at(project, 0, 1)
    done = posix_resuming.run("--fast")
    assert done.returncode == 2
    assert "does not know --fast" in done.stderr
    assert project.executions == ["00.1"]


def test_a_limit_in_time_ends_it_with_124_and_nothing_of_the_step_lives_on(
    project: Project, posix_resuming: Resuming
) -> None:
    require_program("timeout")
    project.step(0, "#| timeout: 1s\ntest -e first || { touch first; exit 1; }\nsleep 60 & echo $! >pid; wait")
    assert project.run().returncode == 1
    done = posix_resuming.run()
    assert done.returncode == 124
    assert "ran out of time (limit 1s)" in done.stderr
    assert project.markers == []
    wait_until(lambda: not is_alive(project, "pid"), "the child of the step is gone", seconds=5)
    state = records.decode_document((project.newest_run / "state/step_00_state.json").read_bytes())
    assert state["failure"]["class"] == "timeout"


def test_exit_code_124_of_the_step_itself_is_no_time_limit(project: Project, sh_resuming: Resuming) -> None:
    project.step(0, "#| timeout: 50s\nexit 124")
    project.run()
    assert sh_resuming.run().returncode == 1


@pytest.mark.parametrize("program", ["sync", "cksum"])
def test_what_cannot_be_recorded_ends_it_with_125_and_is_not_done(
    project: Project, posix_resuming: Resuming, program: str
) -> None:
    failing_at(project, 0, 2)
    (project.path / "go").touch()
    project.script(f"bin/{program}", "#!/bin/sh\nexit 1\n")
    done = posix_resuming.run(env={"PATH": f"{project.path}/bin:{os.environ['PATH']}"})
    assert done.returncode == 125, done.stdout
    assert "cannot record what happened" in done.stderr
    assert project.markers == []
    assert posix_resuming.run().returncode == 0


def test_a_project_that_is_gone_ends_it_with_3(project: Project, tmp_path: Path, sh_resuming: Resuming) -> None:
    failing_at(project, 0, 1)
    program = sh_resuming.program.read_text().replace("'../..'", "'../../gone'")
    sh_resuming.program.write_text(program)
    assert sh_resuming.run(cwd=tmp_path).returncode == 3


# ---------------------------------------------------------------- what it holds a step to


def test_a_declared_output_that_is_missing_is_a_failure(project: Project, posix_resuming: Resuming) -> None:
    project.step(0, "#| outputs: ['made here', '-odd']\ntouch 'made here'; test ! -e go || touch ./-odd")
    assert project.run().returncode == 1
    done = posix_resuming.run()
    assert done.returncode == 1
    assert "exit code 0, but it did not make ./-odd" in done.stderr
    assert project.markers == []
    (project.path / "go").touch()
    assert posix_resuming.run().returncode == 0
    assert project.run("resume", project.newest_run.name).returncode == 0


@pytest.mark.parametrize("text", ["no value here", "UID=1", "A<<END\nno end", "A=nul\\0byte"])
def test_values_that_cannot_be_read_fail_the_step_that_published_them(
    project: Project, sh_resuming: Resuming, text: str
) -> None:
    project.step(0, f"test -e first || {{ touch first; exit 1; }}\nprintf '{text}' >>\"$WORKFLOW_OUTPUT\"")
    assert project.run().returncode == 1
    done = sh_resuming.run()
    assert done.returncode == 1
    assert "what it published cannot be read" in done.stderr
    assert project.markers == []


def test_an_interactive_step_is_refused_without_a_terminal(project: Project, posix_resuming: Resuming) -> None:
    project.step(0, "test -e go")
    project.step(1, "#| interactive: true\necho never >>ran.txt")
    assert project.run().returncode == 1
    (project.path / "go").touch()
    done = posix_resuming.run()
    assert done.returncode == 2
    assert "interactive and there is no terminal" in done.stderr
    assert "never" not in project.executions
    assert project.markers == [0]


def test_an_interactive_step_gets_the_terminal(project: Project, posix_shell: list[str]) -> None:
    pexpect = pytest.importorskip("pexpect")
    project.step(0, "#| interactive: true\ntest -e go || exit 1\nprintf 'name? '; read name; echo \"$name\" >>ran.txt")
    assert project.run().returncode != 0
    (project.path / "go").touch()
    child = pexpect.spawn(posix_shell[0], [*posix_shell[1:], str(project.newest_run / "resume.sh")], timeout=20)
    child.expect_exact("name? ")
    child.sendline("Ada")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert project.executions == ["Ada"]
    assert project.markers == [0]


def test_an_interrupt_at_the_terminal_is_told_once_and_ends_with_130(project: Project, posix_shell: list[str]) -> None:
    pexpect = pytest.importorskip("pexpect")
    project.step(0, "test -e first || { touch first; exit 1; }\ntouch runs; sleep 60")
    assert project.run().returncode == 1
    child = pexpect.spawn(posix_shell[0], [*posix_shell[1:], str(project.newest_run / "resume.sh")], timeout=20)
    wait_until((project.path / "runs").exists, "the step runs")
    child.sendintr()
    child.expect_exact("was interrupted")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert project.markers == []


def test_a_step_that_ignores_signals_is_killed_in_the_end(project: Project, sh_resuming: Resuming) -> None:
    project.step(0, "test -e first || { touch first; exit 1; }\ntrap '' INT TERM HUP\ntouch runs\nsleep 60; sleep 60")
    assert project.run().returncode == 1
    process = sh_resuming.start()
    wait_until((project.path / "runs").exists, "the step runs")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(20) == 143
    assert project.markers == []


def test_a_published_path_and_locale_are_for_the_steps_and_not_for_resume_sh(
    project: Project, posix_resuming: Resuming
) -> None:
    project.step(0, FUNCTIONS + "step_env PATH /nowhere\nstep_env LC_ALL tlh\nstep_env CDPATH /tmp\n")
    project.step(1, '[ -e go ] || exit 1\necho "$PATH" >>ran.txt')
    project.step(2, "echo last >>ran.txt")
    assert project.run().returncode == 1
    (project.path / "go").touch()
    done = posix_resuming.run()
    assert done.returncode == 0, done.stderr
    assert project.executions == ["/nowhere", "last"]

"""A step that wants a person's word, on a terminal: asked there, answered there, or left for later."""

from __future__ import annotations

import pexpect
import pytest

from tests.conftest import Project
from tests.processes.support import terminal

STEPS = """steps:
  - {name: build, run: echo build >>ran.txt}
  - {name: deploy, run: echo deploy >>ran.txt, approval: "Did you look?"}
  - {name: after, run: echo after >>ran.txt}
"""
QUESTION = "Step 01 deploy asks: Did you look? Approve? [y/N]: "


def asked(project: Project) -> pexpect.spawn[str]:
    project.file("workflow.yaml", STEPS)
    child = terminal(project)
    child.expect_exact(QUESTION)
    return child


def ended(child: pexpect.spawn[str]) -> tuple[str, int | None]:
    child.expect(pexpect.EOF)
    child.close()
    return str(child.before), child.exitstatus


def test_a_yes_on_the_terminal_lets_the_step_run_and_is_recorded(project: Project) -> None:
    child = asked(project)
    child.sendline("y")
    assert ended(child)[1] == 0
    assert project.executions == ["build", "deploy", "after"]
    answer = (project.newest_run / "state/step_01.approval").read_text()
    assert "ANSWER=approved\n" in answer
    assert "\nBY=" in answer
    assert "\nAT=2" in answer


def test_a_no_on_the_terminal_fails_the_step_and_blocks_what_follows(project: Project) -> None:
    child = asked(project)
    child.sendline("n")
    text, code = ended(child)
    assert code == 1
    assert "rejected" in text
    assert project.executions == ["build"]


@pytest.mark.parametrize(("key", "code"), [("c", 130), ("d", 4)])
def test_no_answer_is_not_a_no(project: Project, key: str, code: int) -> None:
    """Ctrl-C interrupts the run, Ctrl-D leaves the question open; both can be resumed."""
    child = asked(project)
    child.sendcontrol(key)
    text, exit_code = ended(child)
    assert exit_code == code
    assert "workflow approve" in text
    assert not (project.newest_run / "state/step_01.approval").exists()
    run_id = project.newest_run.name
    assert project.run("approve", run_id, "deploy").returncode == 0
    assert project.run("resume").returncode == 0
    assert project.executions == ["build", "deploy", "after"]


def test_an_answer_from_elsewhere_counts_while_other_steps_run(project: Project) -> None:
    project.file(
        "workflow.yaml",
        """steps:
  - name: both
    parallel:
      - {name: long, run: 'until [ -e go ]; do sleep 0.05; done'}
      - {name: deploy, run: touch go, approval: "Now?"}
""",
    )
    child = terminal(project, "run", "-j", "2")
    child.expect_exact("asks")
    assert project.run("approve", project.newest_run.name, "deploy").returncode == 0
    assert ended(child)[1] == 0

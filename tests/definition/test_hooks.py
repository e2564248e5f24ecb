"""What stands in `hooks:` becomes hooks, and what makes no sense is said with its place and a way out."""

from __future__ import annotations

import pytest

from tests.definition.conftest import Project
from workflow.model import Hook, Source

STEPS = "steps: [{run: x}]\n"


def test_a_hook_is_a_command_a_mapping_or_a_list_of_these(project: Project) -> None:
    project.file(
        "hooks:\n  run_failed: tell\n  checkpoint:\n    - copy it\n"
        "    - {run: send it, timeout: 1h30m, required: true}\n  run_start: {run: ask, timeout: 5}\n" + STEPS
    )
    path = "workflow.yaml"
    assert project.load().hooks == (
        Hook("run_start", "ask", Source(path, 6), 5.0),
        Hook("checkpoint", "copy it", Source(path, 4)),
        Hook("checkpoint", "send it", Source(path, 5), 5400.0, True),
        Hook("run_failed", "tell", Source(path, 2)),
    )


@pytest.mark.parametrize(
    ("said", "message", "help"),
    [
        ("{step_done: x}", "`step_done` is no option in `hooks`", "did you mean `step_complete`?"),
        ("{onfailure: x}", "`onfailure` is no option in `hooks`", ""),
        ("{run_start: ''}", "`run_start` wants a command, a mapping with `run:`, or a list of these", ""),
        ("{run_start: '  '}", "`run_start` wants a command, a mapping with `run:`, or a list of these", ""),
        ("{run_start: []}", "`run_start` wants a command, a mapping with `run:`, or a list of these", ""),
        ("{run_start: [x, '']}", "an entry of `run_start` wants a command, or a mapping with `run:`", ""),
        ("{run_start: 3}", "`run_start` wants a command, a mapping with `run:`, or a list of these", ""),
        ("{run_start: {timeout: 3}}", "`run_start` has no `run`", "it wants a command"),
        ("{run_start: [{timeout: 3}]}", "`run_start` has no `run`", "it wants a command"),
        ("{run_start: {run: ' '}}", "`run` wants a command, not", ""),
        ("{run_start: {run: x, timeout: 0}}", "`timeout` wants a duration", ""),
        ("{run_start: {run: x, timeout: -1}}", "`timeout` wants a duration", ""),
        ("{run_start: {run: x, timeout: soon}}", "`timeout` wants a duration", ""),
        ("{run_start: {run: x, tiemout: 1}}", "`tiemout` is no option of a hook", "did you mean `timeout`?"),
        ("{run_start: {run: x, required: yes}}", "`required` wants true or false", "write true"),
        ("[x]", "`hooks` wants a mapping of events", ""),
        ("", "`hooks` wants a mapping of events", ""),
    ],
)
def test_what_makes_no_sense_is_said(project: Project, said: str, message: str, help: str) -> None:
    project.file(f"hooks: {said}\n{STEPS}")
    problem = project.problem()
    assert problem.message.startswith(message)
    assert help in problem.help
    assert problem.line == 1


def test_a_step_has_no_hooks_of_its_own(project: Project) -> None:
    project.file("steps: [{run: x, hooks: {run_start: y}}]\n")
    assert "put it at the top" in project.problem().help

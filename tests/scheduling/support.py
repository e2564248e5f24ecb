"""What the scheduling tests share: projects told in YAML, what became of each step, and who ran beside whom."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.cli.support import Result, wait_for
from tests.conftest import Project, markers_of

# So long a step sleeps that must not be waited for; a test that waits for it runs into its own limit.
LONG = "sleep 60"
IMPATIENT_S = 20.0


def flow(project: Project, text: str) -> None:
    """Write `workflow.yaml`, so that `run` and `resume` find it."""
    project.file("workflow.yaml", text)


def states(project: Project) -> dict[str, str]:
    """Return what `status --json` says of each step of the newest run, by name."""
    result = project.run("status", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["problems"] == [], document["problems"]
    return {step["name"]: step["status"] for step in document["steps"]}


def run_status(project: Project) -> str:
    return str(json.loads(project.run("status", "--json").stdout)["status"])


def state_of(project: Project, number: int) -> dict[str, Any]:
    """Return the state file of a step of the newest run; {} when there is none."""
    path = project.newest_run / f"state/step_{number:02d}_state.json"
    return json.loads(path.read_text()) if path.exists() else {}


def attempts_of(project: Project, number: int) -> list[dict[str, Any]]:
    """Return the recorded attempts of a step, oldest first."""
    return list(state_of(project, number).get("attempts", []))


def ok(result: Result) -> Result:
    """Assert that the program ended well and in good order."""
    return ended(result, 0)


def ended(result: Result, exit_code: int) -> Result:
    """Assert that the program ended with an exit code, without a traceback."""
    told = result.stdout + result.stderr
    assert result.returncode == exit_code, told
    assert "Traceback" not in told, told
    assert "this is a bug" not in told, told
    return result


def begin(
    project: Project, until: str | Callable[[], Any], *words: str, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start the program and wait until a file is there, or a condition holds, while it runs."""
    process = project.start(*words, env=env)

    def has_come() -> Any:
        if isinstance(until, str):
            if (project.path / until).exists():
                return True
        elif found := until():
            return found
        assert process.poll() is None, told(project)
        return False

    wait_for(has_come)
    return process


def told(project: Project) -> str:
    """Return what a program started with `begin` said so far."""
    names = ("stdout.txt", "stderr.txt")
    return "".join((project.path / name).read_text() for name in names if (project.path / name).exists())


def kill_runner(process: subprocess.Popen[bytes]) -> None:
    """End the runner and nothing else, as a kill -9 does."""
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def at_once(project: Project) -> int:
    """Return the largest number of steps that were inside `counted` at one time."""
    inside = most = 0
    for line in (project.path / "inside.log").read_text().split():
        inside += 1 if line == "+" else -1
        most = max(most, inside)
    assert inside == 0
    return most


# One writer, appended in one write each, so the order in the file is the order of the events.
def counted(body: str) -> str:
    """Return a step's text that notes in `inside.log` when it begins and when it ends."""
    return f"echo + >>inside.log; {body}; echo - >>inside.log"


class Line(NamedTuple):
    """One line of `log.txt`: what happened (`start`, `end`, `fail`) to which step."""

    what: str
    step: int


def log_of(path: str | os.PathLike[str]) -> list[Line]:
    """Return the lines that steps appended to `log.txt`, in the order they happened."""
    file = Path(path) / "log.txt"
    if not file.exists():
        return []
    lines = (line.split() for line in file.read_text().splitlines())
    return [Line(words[0], int(words[1])) for words in lines]


def names_marked(project: Project, names: list[str]) -> set[str]:
    """Return the names of the steps that have a marker in the newest run; `names` by number from 0."""
    return {names[number] for number in markers_of(project.newest_run)}

"""Draw docs/images/run.svg: a real run, a kill -9, a resume, as a terminal shows them.

    python docs/images/make_run_svg.py            # writes docs/images/run.svg

Every line in the picture was printed by the program in a temporary directory. Only what differs from
one run to the next is made the same: the run's id, the directory, process numbers.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PICTURE = Path(__file__).with_name("run.svg")
STEPS = {
    "step_00_fetch.sh": "echo 'fetching 3 files'\nsleep 1\n",
    "step_01_train.sh": 'for round in 1 2 3 4; do\n    echo "round $round of 4"\n    sleep 1\ndone\n',
    "step_02_report.sh": "echo 'report: report.html'\n",
}
RUN_ID = "workflow_20261120_171500"
PATIENCE_S = 30.0
COLUMNS = 98
PROMPT = "\x1b[1;36m$\x1b[0m "


def transcript() -> str:
    """Run, kill, resume in a temporary directory; return the session with its colours (ANSI escapes)."""
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory).resolve()
        (project / "steps").mkdir()
        for name, text in STEPS.items():
            (project / "steps" / name).write_text(text, encoding="utf-8")
        parts = [f"{PROMPT}ls steps\n{'  '.join(STEPS)}\n", f"{PROMPT}workflow run\n"]
        parts.append(_run_and_kill(project))
        parts.append("\x1b[1;31mKilled\x1b[0m  \x1b[2m# kill -9, in the middle of step 01\x1b[0m\n")
        parts.append(f"{PROMPT}workflow --resume\n")
        resumed = _start(project, "--resume")
        said, _ = resumed.communicate(timeout=PATIENCE_S)
        if resumed.returncode != 0:
            raise SystemExit(f"the resume ended with {resumed.returncode}:\n{said.decode()}")
        parts.append(said.decode())
        parts.append(f"{PROMPT}ls .checkpoints/{RUN_ID}/step_*.complete\n")
        markers = sorted(path.name for path in project.glob(".checkpoints/workflow_*/step_*.complete"))
        parts += [f".checkpoints/{RUN_ID}/{name}\n" for name in markers]
        return _same_every_time("".join(parts), project)


def plain(text: str) -> str:
    """Return a transcript without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def picture(text: str) -> str:
    """Return a transcript as SVG."""
    from rich.console import Console
    from rich.terminal_theme import MONOKAI
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(text), soft_wrap=True)
    drawn = console.export_svg(title="workflow", theme=MONOKAI, unique_id="run")
    # No font is fetched from elsewhere: whoever looks at the picture has one.
    drawn = re.sub(r" *@font-face \{.*?\}\n", "", drawn, flags=re.DOTALL)
    # Told to those who cannot see it, and what the test compares with a run of today.
    return drawn.replace("<style>", f"<desc>{escape(plain(text))}</desc>\n    <style>", 1)


def _run_and_kill(project: Path) -> str:
    runner = _start(project, "run")
    give_up_at = time.monotonic() + PATIENCE_S
    while not list(project.glob(".checkpoints/workflow_*/step_00.complete")):
        if time.monotonic() > give_up_at or runner.poll() is not None:
            raise SystemExit("the run did not get past its first step")
        time.sleep(0.02)
    time.sleep(1.5)
    runner.send_signal(signal.SIGKILL)
    said, _ = runner.communicate(timeout=PATIENCE_S)
    return said.decode()


def _start(project: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "FORCE_COLOR": "1",
        "LC_ALL": "C.UTF-8",
        "PYTHONUTF8": "1",
    }
    # Both streams in one file, as on a terminal; a pipe would be held open by the step that lives on.
    return subprocess.Popen(
        [sys.executable, "-m", "workflow", *arguments],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _same_every_time(text: str, project: Path) -> str:
    text = text.replace(str(project), "~/demo")
    return re.sub(r"workflow_\d{8}_\d{6}(_\d+)?", RUN_ID, text)


if __name__ == "__main__":
    PICTURE.write_text(picture(transcript()), encoding="utf-8")
    print(f"{PICTURE}: written")

"""Steps that print without end: the runner's memory stays flat, the log is cut, the step never notices."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import Project, clean_env

PEAK_GROWTH_KIB = 30 * 1024
CAPPED = """
import sys
from workflow.execution import local
local.LOG_CAP_BYTES, local.LOG_SLACK_BYTES, local.LOG_LOOK_S = 1 << 20, 1 << 18, 0.05
from workflow.cli.main import main
main(sys.argv[1:])
"""


def peak_kib(project: Project, *words: str) -> int:
    """Run the program to its end and return the peak memory of the runner itself."""
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(
            [sys.executable, "-m", "workflow", *words],
            cwd=project.path,
            env=clean_env(),
            stdout=nowhere,
            stderr=nowhere,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


@pytest.mark.parametrize("output", ["quiet", "stream"])
@pytest.mark.parametrize("what", ["head -c 200000000 /dev/zero", "yes | head -c 200000000"])
def test_output_of_any_size_and_kind_leaves_memory_flat(project: Project, output: str, what: str) -> None:
    """Case 69: binary without a newline, and lines."""
    project.step(0, ":")
    before = peak_kib(project, "run")
    project.step(0, what)
    assert peak_kib(project, "run", "--output", output) - before < PEAK_GROWTH_KIB
    assert (project.newest_run / "logs/step_00.log").stat().st_size == 200_000_000


def test_a_log_past_its_cap_is_cut_with_a_line_that_says_so_and_the_step_goes_on(project: Project) -> None:
    """Case 69: what comes after the cut is kept again, and the step is unaffected."""
    project.step(
        0,
        "i=0; while [ $i -lt 12 ]; do head -c 1000000 /dev/zero; sleep 0.1; i=$((i+1)); done; sleep 0.3; echo the end",
    )
    ended = subprocess.run(
        [sys.executable, "-c", CAPPED, "run", "--output", "quiet"],
        cwd=project.path,
        env=clean_env(),
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0
    log = (project.newest_run / "logs/step_00.log").read_bytes()
    assert len(log) < 4 << 20
    assert b"workflow cut this log at 1 MiB" in log
    assert log.endswith(b"the end\n")

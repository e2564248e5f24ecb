"""Runs of long ago: made now, and dated back with everything in them that knows the run's name."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from tests.conftest import Project
from workflow.checkpoint import marker, records

DAY_S = 86400.0


def touched(run: Path, days: float) -> Path:
    """Let a run be last touched so many days ago; its name stays. Works for a plain file, too."""
    at = time.time() - days * DAY_S
    for path in (run, run / "state", run / "checkpoint.json"):
        if path.exists():
            os.utime(path, (at, at))
    return run


def dated_back(run: Path, days: float, again: int = 1, touched_days: float | None = None) -> Path:
    """Rename a run as if it had started so many days ago, and been last touched then (or `touched_days` ago)."""
    start = time.strftime("workflow_%Y%m%d_%H%M%S", time.gmtime(time.time() - days * DAY_S))
    old_id, new_id = run.name, start if again == 1 else f"{start}_{again}"
    for path in run.glob("step_*.complete"):
        number = int(path.name[5:-9])
        known = marker.decode(path.read_bytes(), run_id=old_id, number=number)
        path.write_bytes(marker.encode(known._replace(run_id=new_id)))
    for name, key in (("workflow.json", "workflow_id"), ("checkpoint.json", "workflow_id")):
        if (run / name).exists():
            document = records.decode_document((run / name).read_bytes())
            document[key] = new_id
            if "run_id" in document:
                document["run_id"] = new_id
            (run / name).write_bytes(records.encode_document(document))
    new = run.with_name(new_id)
    run.rename(new)
    return touched(new, days if touched_days is None else touched_days)


def completed(project: Project, days: float, again: int = 1) -> Path:
    """Make a completed run that started so many days ago."""
    done = project.run("-q")
    assert done.returncode == 0, done.stderr
    return dated_back(project.newest_run, days, again)


def failed(project: Project, days: float, again: int = 1) -> Path:
    """Make a run that failed so many days ago; its step fails as long as the file `bad` is there."""
    (project.path / "bad").touch()
    assert project.run("-q").returncode == 1
    (project.path / "bad").unlink()
    return dated_back(project.newest_run, days, again)


def copied(run: Path, days: float, again: int = 1) -> Path:
    """Make a copy of a run, dated back."""
    copy = run.with_name("workflow_20000101_000000")
    shutil.copytree(run, copy, symlinks=True)
    for path in copy.glob("step_*.complete"):
        known = marker.decode(path.read_bytes(), run_id=run.name, number=int(path.name[5:-9]))
        path.write_bytes(marker.encode(known._replace(run_id=copy.name)))
    return dated_back(copy, days, again)


def may_fail(project: Project) -> None:
    """Write two steps; the second fails as long as the file `bad` is there."""
    project.step(0)
    project.step(1, "[ ! -e bad ] && echo 01 >>ran.txt")

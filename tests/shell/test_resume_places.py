"""Where `sh resume.sh` works: odd paths and names, moved, called from anywhere; and what a look leaves alone."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project, executions_of, markers_of, runs_of
from tests.shell.conftest import Resuming, failing_at

pytestmark = pytest.mark.usefixtures("needs_flock")


def content_of(directory: Path) -> dict[str, tuple[float, bytes]]:
    """Return every file below a directory: when it was written, and what it holds."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime, path.read_bytes()) for path in files}


def test_odd_project_paths(tmp_path: Path, posix_shell: list[str]) -> None:
    name = os.fsdecode(
        b"with a space/it's $(touch bad) `touch bad`/-dash/new\nline/\xc3\xbcber \xff\x81/ends in newline\n"
    )
    path = tmp_path / name
    path.mkdir(parents=True)
    project = Project(path)
    failing_at(project, 0, 2)
    (path / "go").touch()
    done = Resuming(project, posix_shell).run()
    assert done.returncode == 0, done.stderr
    assert executions_of(path) == ["00.1", "00.2", "01.1"]
    assert not list(tmp_path.rglob("bad"))
    done = project.run("resume", project.newest_run.name)
    assert done.returncode == 0, done.stderr


def test_odd_step_names(project: Project, posix_resuming: Resuming) -> None:
    names = ["a b", "it's", "$(touch bad)", 'q"uote', "eq=ual", "new\nline", os.fsdecode(b"\xff\x81"), "-x", "über"]
    text = "#!/bin/sh\nprintf '%s/' \"$WORKFLOW_STEP_NAME\" >>ran.txt; test -e go\n"
    for number, name in enumerate(names):
        project.script(f"steps/{number:02d}_{name}.sh", text)
    assert project.run().returncode == 1
    (project.path / "go").touch()
    done = posix_resuming.run()
    assert done.returncode == 0, done.stderr
    assert os.fsdecode((project.path / "ran.txt").read_bytes()) == f"{names[0]}/" + "".join(
        f"{name}/" for name in names
    )
    done = project.run("resume", project.newest_run.name)
    assert done.returncode == 0, done.stderr
    assert not (project.path / "bad").exists()


def test_a_moved_project_carries_on_where_it_is_now(project: Project, tmp_path: Path, posix_shell: list[str]) -> None:
    failing_at(project, 0, 2)
    moved = tmp_path / "moved here"
    project.path.rename(moved)
    (moved / "go").touch()
    assert Resuming(Project(moved), posix_shell).run(cwd=tmp_path).returncode == 0
    assert markers_of(runs_of(moved)[0]) == [0, 1]
    assert not project.path.exists()


def test_it_can_be_called_from_anywhere(project: Project, posix_shell: list[str]) -> None:
    failing_at(project, 0, 1)
    (project.path / "go").touch()
    run = project.newest_run
    environment = {"PATH": os.environ["PATH"], "CDPATH": "/"}
    for cwd, name in (
        (run, "resume.sh"),
        (run / "state", "../resume.sh"),
        (project.path, f".checkpoints/{run.name}/resume.sh"),
    ):
        done = subprocess.run([*posix_shell, name], cwd=cwd, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    assert project.executions == ["00.1", "00.2"]


def test_a_dry_run_writes_nothing(project: Project, resuming: Resuming) -> None:
    failing_at(project, 1, 3)
    marker_path = project.newest_run / "step_00.complete"
    before = content_of(project.newest_run)
    done = resuming.run("--dry-run")
    assert (done.returncode, done.stdout) == (0, "bypass 00 s0\nrun    01 s1\nrun    02 s2\n")
    assert content_of(project.newest_run) == before
    marker_path.write_bytes(b"")
    before = content_of(project.newest_run)
    assert "run    00 s0" in resuming.run("--dry-run").stdout
    assert content_of(project.newest_run) == before


def test_umask_is_the_users_in_the_step_and_files_of_the_run_are_never_open_to_all(
    project: Project, posix_shell: list[str]
) -> None:
    project.step(0, "test -e first || { touch first; exit 1; }\numask >mask; touch made")
    project.step(1, "echo")
    assert project.run().returncode == 1
    resuming = Resuming(project, posix_shell)
    wrapper = project.script("loose.sh", '#!/bin/sh\numask 000\nexec "$@"\n')
    resuming.shell = [str(wrapper), *posix_shell]
    assert resuming.run().returncode == 0
    assert int((project.path / "mask").read_text(), 8) == 0
    assert stat.S_IMODE((project.path / "made").stat().st_mode) == 0o666
    for path in [project.newest_run, *project.newest_run.rglob("*")]:
        assert not path.stat().st_mode & 0o022, path

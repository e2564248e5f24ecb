"""`workflow checkpoint compress`: a run becomes one archive, and every command still understands it."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.support import (
    assert_helped,
    document,
    end_orphans,
    hanging_step,
    kill,
    killed_in,
    start_until,
    tree,
    wait_for,
)
from tests.conftest import Project, clean_env
from workflow.checkpoint import archive_reader, packed, streams
from workflow.checkpoint.layout import CheckpointRoot
from workflow.errors import CheckpointError


def archives(project: Project) -> list[Path]:
    return sorted((project.path / ".checkpoints").glob("workflow_*.tar.gz"))


def finished(project: Project, *, fails: bool = False) -> str:
    """Leave a run that is over; return its id."""
    project.step(0, 'echo hello; echo WORD=kept >>"$WORKFLOW_OUTPUT"; echo 00 >>ran.txt')
    project.step(1, 'echo "$WORD"; echo 01 >>ran.txt' + ("; [ -e mended ]" if fails else ""))
    assert project.run("-q").returncode == int(fails)
    return project.newest_run.name


def compressed(project: Project, *words: str) -> str:
    run_id = finished(project, fails=bool(words))
    result = project.run("checkpoint", "compress")
    assert result.returncode == 0, result.stderr
    assert project.runs == []
    return run_id


def without_times(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith(("started", "changed", "files"))]


def test_a_run_becomes_one_archive_and_the_saving_is_said(project: Project) -> None:
    run_id = finished(project)
    result = project.run("checkpoint", "compress", run_id)
    assert result.returncode == 0
    assert f"{run_id} is now .checkpoints/{run_id}.tar.gz" in result.stdout
    assert "% saved" in result.stdout
    assert [path.name for path in archives(project)] == [f"{run_id}.tar.gz"]
    assert project.runs == []
    assert not [name for name in os.listdir(project.path / ".checkpoints") if name.startswith((".tmp", ".trash"))]


def test_reading_commands_say_of_an_archive_what_they_said_of_the_run(project: Project) -> None:
    run_id = finished(project, fails=True)
    looks = (
        ("status",),
        ("status", run_id),
        ("logs",),
        ("logs", run_id, "1"),
        ("graph", "--run", run_id),
        ("plan", "--resume"),
    )
    before = [project.run(*words) for words in looks]
    assert project.run("checkpoint", "compress", run_id).returncode == 0
    there = tree(project.path)
    for words, old in zip(looks, before, strict=True):
        new = project.run(*words)
        assert new.returncode == old.returncode, new.stderr
        assert without_times(new.stdout) == without_times(old.stdout), words
    assert tree(project.path) == there, "a command that looks wrote in the project"


def test_status_of_an_archive_as_json(project: Project) -> None:
    run_id = finished(project, fails=True)
    before = document(project.run("status", "--json"))
    assert project.run("checkpoint", "compress").returncode == 0
    after = document(project.run("status", "--json"))
    assert after["run_dir"] == str(project.path / f".checkpoints/{run_id}.tar.gz")
    for step in before["steps"]:
        step.pop("log", None)
    for key in ("run_dir", "updated_at"):
        before.pop(key), after.pop(key)
    assert after == before


def test_reading_leaves_nothing_in_the_temporary_directory(project: Project, tmp_path: Path) -> None:
    compressed(project)
    place = tmp_path / "temporary"
    place.mkdir()
    for words in (("status",), ("logs",), ("status", "workflow_20200101_000000"), ("logs", "no-such-step")):
        project.run(*words, env={"TMPDIR": str(place)})
        assert os.listdir(place) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_reading_that_is_interrupted_leaves_nothing(project: Project, tmp_path: Path, number: signal.Signals) -> None:
    finished(project)
    with open(project.newest_run / "logs/step_00.log", "wb") as file:
        file.write(os.urandom(1 << 20) * 4)
    assert project.run("checkpoint", "compress").returncode == 0
    place = tmp_path / "temporary"
    place.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "workflow", "logs"],
        cwd=project.path,
        env=clean_env({"TMPDIR": str(place)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        # It cannot write 4 MB into a pipe that nobody reads: it waits, its copy of the run in place.
        wait_for(lambda: list(place.rglob("step_01.log")))
        mode = stat.S_IMODE(next(place.iterdir()).stat().st_mode)
        time.sleep(0.1)
        process.send_signal(number)
        process.communicate(timeout=20)
    assert mode == 0o700
    assert process.returncode in (130, 128 + number, -number)
    assert os.listdir(place) == []


def test_a_failed_run_is_put_back_and_goes_on(project: Project) -> None:
    """Case 63: in the place where it was; what is complete is bypassed, values are there."""
    run_id = finished(project, fails=True)
    before = {path: data for path, data in _files(project.newest_run).items() if not path.endswith(("lock", "holder"))}
    assert project.run("checkpoint", "compress").returncode == 0
    project.file("mended", "")
    result = project.run("resume")
    assert result.returncode == 0, result.stderr
    assert f"resuming {run_id}" in result.stderr
    assert project.executions == ["00", "01", "01"]
    assert archives(project) == []
    assert (project.newest_run / "logs/step_01.log").read_text().endswith("kept\n")
    assert before["step_00.complete"] == (project.newest_run / "step_00.complete").read_bytes()


def _files(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_a_run_that_is_put_back_is_what_it_was(project: Project) -> None:
    run_id = finished(project)
    own = project.newest_run / "state/step_00.d"
    odd = {
        "a\nb": b"1",
        "quote'\"$(x)": b"2",
        os.fsdecode(b"\xff\xfe"): b"3",
        "x" * 250: b"4",
        " -rf": b"5",
        "ü🙂": b"6",
    }
    (own / "deep" / "er").mkdir(parents=True)
    (own / "empty").mkdir()
    for name, data in odd.items():
        (own / "deep" / name).write_bytes(data)
    (own / "run.sh").write_bytes(b"#!/bin/sh\n")
    (own / "run.sh").chmod(0o750)
    (project.newest_run / "state/step_00_state.json.damaged").write_bytes(b"{")
    before = {path: data for path, data in _files(project.newest_run).items() if not path.endswith((".lock",))}
    assert project.run("checkpoint", "compress").returncode == 0
    # A word on the second step puts the directory back; its own files change, the others do not.
    result = project.run("mark", run_id, "1", "--pending")
    assert result.returncode == 0, result.stderr
    after = _files(project.newest_run)
    assert {path for path in before if after.get(path) != before[path]} <= {
        "step_01.complete",
        "state/step_01_state.json",
    }
    assert (project.newest_run / "state/step_00.d/empty").is_dir()
    assert stat.S_IMODE((project.newest_run / "state/step_00.d/run.sh").stat().st_mode) == 0o750
    assert archives(project) == []


def test_the_same_run_gives_the_same_bytes(project: Project, tmp_path: Path) -> None:
    finished(project, fails=True)
    copies = []
    for name in ("one", "two"):
        subprocess.run(["cp", "-r", str(project.path), str(tmp_path / name)], check=True)
        time.sleep(0.01)
        other = Project(tmp_path / name)
        assert other.run("checkpoint", "compress").returncode == 0
        copies.append(archives(other)[0].read_bytes())
    assert copies[0] == copies[1]


def test_all_takes_what_is_over_and_leaves_the_rest(project: Project) -> None:
    hanging_step(project, 0)
    killed_in(project, 0)
    paused = project.newest_run.name
    project.file("go", "")
    assert project.run("run", "-q").returncode == 0
    done = project.newest_run.name
    for name in ("go", "here_00"):
        (project.path / name).unlink()
    process = start_until(project, "here_00", "run")
    live = project.newest_run.name
    try:
        answer = document(project.run("checkpoint", "compress", "--all", "--json"))
        assert {row["run_id"]: row["result"] for row in answer["runs"]} == {
            paused: "unfinished",
            done: "compressed",
            live: "live",
        }
        assert answer["compressed"] == 1
        assert answer["saved_percent"] > 0
        refused = project.run("checkpoint", "compress", live)
        assert_helped(refused, 75, f"{live} is being run by process")
        assert project.run("checkpoint", "compress", paused).returncode == 0
        assert sorted(path.name[:-7] for path in archives(project)) == sorted([paused, done])
    finally:
        kill(process)
        end_orphans(project)


def test_a_run_whose_step_outlived_its_runner_is_live(project: Project) -> None:
    hanging_step(project, 0)
    kill(start_until(project, "here_00", "run"))
    run_id = project.newest_run.name
    try:
        assert_helped(project.run("checkpoint", "compress", run_id), 75, "outlived its runner")
    finally:
        end_orphans(project)
    assert project.run("checkpoint", "compress", run_id).returncode == 0


def test_two_at_once_leave_one_archive(project: Project) -> None:
    run_id = finished(project)
    processes = [project.start("checkpoint", "compress", run_id) for _ in range(3)]
    codes = sorted(process.wait(30) for process in processes)
    assert codes[0] == 0
    assert set(codes) <= {0, 3, 75}
    assert project.runs == []
    assert archive_reader.verify(str(archives(project)[0])).run_id == run_id
    assert project.run("status").returncode == 0


def test_two_resumes_of_an_archive_run_each_step_once(project: Project) -> None:
    compressed(project, "fails")
    project.file("mended", "")
    processes = [project.start("resume") for _ in range(3)]
    codes = [process.wait(30) for process in processes]
    assert 0 in codes
    assert set(codes) <= {0, 3, 75}
    assert project.executions == ["00", "01", "01"]
    assert archives(project) == []


def test_a_completed_run_is_packed_by_itself_where_the_definition_says_so(project: Project) -> None:
    project.file(
        "workflow.yaml",
        "name: packed\ncheckpoints: {compress: true, private: true}\n"
        "steps:\n- {name: a, run: echo hello}\n- {name: b, run: test -e mended}\n",
    )
    assert project.run("-q").returncode == 1
    assert archives(project) == [], "only what completed is packed"
    project.file("mended", "")
    assert project.run("resume", "-q").returncode == 0
    assert project.runs == []
    assert stat.S_IMODE(archives(project)[0].stat().st_mode) == 0o600
    assert document(project.run("status", "--json"))["status"] == "completed"
    assert project.run("--resume").returncode == 0
    assert len(archives(project)) == 2, "a complete run is complete, so another was started"


def test_where_both_are_there_the_directory_counts(project: Project, tmp_path: Path) -> None:
    run_id = finished(project, fails=True)
    subprocess.run(["cp", "-r", str(project.newest_run), str(tmp_path / "kept")], check=True)
    assert project.run("checkpoint", "compress").returncode == 0
    (tmp_path / "kept").rename(project.path / f".checkpoints/{run_id}")
    (project.path / f".checkpoints/{run_id}/logs/step_00.log").write_text("of the directory\n")
    assert project.run("logs", run_id, "0").stdout == "of the directory\n"
    project.file("mended", "")
    assert project.run("resume", run_id, "-q").returncode == 0
    assert archives(project) == [], "a stale archive must not come back one day"


def test_what_an_archive_cannot_hold_stays_where_it_is(project: Project) -> None:
    finished(project)
    own = project.newest_run / "state/step_00.d"
    own.mkdir(exist_ok=True)
    (own / "link").symlink_to("/etc/passwd")
    result = project.run("checkpoint", "compress")
    assert_helped(result, 3, "state/step_00.d/link (a link or device)")
    assert len(project.runs) == 1
    assert archives(project) == []
    answer = project.run("checkpoint", "compress", "--all", "--json")
    assert answer.returncode == 3
    assert json.loads(answer.stdout)["runs"][0]["result"] == "refused"


def test_wrong_words(project: Project) -> None:
    project.steps(1)
    assert_helped(project.run("checkpoint", "compress"), 3, "there are no runs")
    assert document(project.run("checkpoint", "compress", "--all", "--json"))["runs"] == []
    run_id = finished(project)
    assert_helped(project.run("checkpoint", "compress", run_id, "--all"), 2, "--all means every run")
    assert_helped(project.run("checkpoint", "compress", "workflow_20200101_000000"), 3, "there is no run", run_id)
    assert_helped(project.run("checkpoint", "compres"), 2, "compress")
    said = project.run("checkpoint", "compress", run_id, "--dry-run")
    assert f"{run_id} would become" in said.stdout
    assert archives(project) == []
    assert project.run("checkpoint", "compress", f".checkpoints/{run_id}/").returncode == 0
    again = project.run("checkpoint", "compress", run_id)
    assert (again.returncode, again.stdout) == (0, f"{run_id} is an archive already: .checkpoints/{run_id}.tar.gz\n")
    assert project.run("status", f".checkpoints/{run_id}.tar.gz").returncode == 0


def test_an_archive_that_is_a_link_or_open_to_all_is_refused(project: Project, tmp_path: Path) -> None:
    """Case 79: as a directory would be."""
    run_id = compressed(project)
    archive = archives(project)[0]
    archive.chmod(0o666)
    assert_helped(project.run("status", run_id), 3, "everybody may write")
    archive.rename(tmp_path / "elsewhere")
    archive.symlink_to(tmp_path / "elsewhere")
    assert_helped(project.run("status", run_id), 3, "is a link")
    archive.unlink()
    (tmp_path / "elsewhere").rename(archive.with_name("workflow_20200101_000000.tar.gz"))
    archive.with_name("workflow_20200101_000000.tar.gz").chmod(0o644)
    assert_helped(project.run("status", "workflow_20200101_000000"), 3, f"holds another run, {run_id}")


def has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_zstd_where_this_python_has_it(project: Project) -> None:
    run_id = finished(project)
    result = project.run("checkpoint", "compress", "--zstd")
    if not any(has_module(name) for name in ("compression.zstd", "backports.zstd")):
        assert_helped(result, 2, "this Python cannot do zstd")
        assert len(project.runs) == 1
        return
    assert result.returncode == 0
    archive = project.path / f".checkpoints/{run_id}.tar.zst"
    assert archive_reader.verify(str(archive)).run_id == run_id
    assert project.run("status").returncode == 0
    data = archive.read_bytes()
    for changed in (data + b"x", data[:-1], data[:100] + bytes([data[100] ^ 1]) + data[101:]):
        archive.write_bytes(changed)
        with pytest.raises(CheckpointError, match="cannot be used"):
            archive_reader.verify(str(archive))


def test_a_question_in_an_archive_is_answered(project: Project) -> None:
    project.file(
        "workflow.yaml", "name: asks\nsteps:\n- {name: a, run: echo a}\n- {name: b, run: echo b, approval: Well?}\n"
    )
    assert project.run("-q").returncode == 4
    run_id = project.newest_run.name
    assert project.run("checkpoint", "compress", run_id).returncode == 0
    result = project.run("approve", "b")
    assert result.returncode == 0, result.stderr
    assert project.run("resume", run_id, "-q").returncode == 0
    assert archives(project) == []


def test_a_list_reads_only_the_manifest(project: Project) -> None:
    run_id = compressed(project, "fails")
    layout = CheckpointRoot(str(project.path / ".checkpoints")).run(run_id)
    archive = archives(project)[0]
    # What stands behind the manifest may be gone: who only lists does not see it.
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    short = packed.in_short(layout, str(archive))
    assert (short["status"], short["completed_tasks"], short["total_tasks"]) == ("failed", 1, 2)
    assert (short["marks"], short["problem"], short["run_dir"]) == ([], None, str(archive))
    archive.write_bytes(b"")
    short = packed.in_short(layout, str(archive))
    assert short["status"] is None
    assert "not made by workflow" in short["problem"]


def test_what_a_killed_reader_left_the_next_one_removes(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "temporary"
    (place / f"{streams.READING}dead").mkdir(parents=True)
    (place / f"{streams.READING}dead/secret").write_text("of a run")
    alive = place / f"{streams.READING}alive"
    alive.mkdir()
    monkeypatch.setattr(streams, "SETTLED_AFTER_S", 0.0)
    monkeypatch.setattr(streams.tempfile, "tempdir", str(place))
    held = os.open(alive, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    mine = streams.ReadingPlace()
    assert sorted(os.listdir(place)) == sorted([alive.name, os.path.basename(mine.path)])
    mine.remove()
    os.close(held)
    assert os.listdir(place) == [alive.name]

"""`workflow checkpoint export` and `import`: a run goes on in another place, once somebody says that they trust it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.cli.support import assert_helped, document, end_orphans, kill, start_until, tree
from tests.conftest import Project, markers_of
from workflow.checkpoint import portable, records, store
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.marker import posix_cksum

DEFINITION = """\
name: moves
steps:
- name: make
  outputs: [out/data.txt]
  run: |
    mkdir -p out && echo data >out/data.txt
    echo "DATA=$PWD/out/data.txt" >>"$WORKFLOW_OUTPUT"
    echo '@PROJECT@ stays' >>"$WORKFLOW_STATE/note"
    echo "LITERAL=@PROJECT@-and-@PROJECT-" >>"$WORKFLOW_OUTPUT"
    echo 00 >>ran.txt
- name: use
  run: |
    echo "$DATA $LITERAL"
    echo 01 >>ran.txt
    test -e mended
"""


def moving(project: Project) -> str:
    """Leave a run that failed in its second step; return its id."""
    project.file("workflow.yaml", DEFINITION)
    assert project.run("-q", env={"SECRET": "hunter2"}).returncode == 1
    return project.newest_run.name


def exported(project: Project, *words: str) -> Path:
    result = project.run("checkpoint", "export", "--out", "../run.tar.gz", *words)
    assert result.returncode == 0, result.stderr
    return project.path.parent / "run.tar.gz"


def copy(project: Project, name: str = "elsewhere") -> Project:
    """Return the project as another machine has it: its definition, at another path, without its runs and outputs."""
    other = Project(project.path.parent / name / "deeper")
    other.path.mkdir(parents=True)
    shutil.copy(project.path / "workflow.yaml", other.path)
    return other


def test_a_run_goes_on_in_another_directory(project: Project) -> None:
    """Case 63: what is complete is bypassed, its values are those of the new place."""
    run_id = moving(project)
    other = copy(project)
    archive = exported(project, "--with-outputs")
    shutil.rmtree(project.path)
    result = other.run("checkpoint", "import", str(archive), "--with-outputs")
    assert result.returncode == 0, result.stderr
    assert f"{run_id} is imported (failed, " in result.stdout
    assert (other.path / "out/data.txt").read_text() == "data\n"
    status = document(other.run("status", "--json"))
    assert status["problems"] == []
    assert [step["status"] for step in status["steps"]] == ["completed", "failed"]
    assert status["project_path"] == str(other.path)
    other.file("mended", "")
    assert other.run("resume", "--trust").returncode == 0
    assert other.executions == ["01"]
    log = (other.newest_run / "logs/step_01.log").read_text().splitlines()
    assert log[-1] == f"{other.path}/out/data.txt @PROJECT@-and-@PROJECT-"
    assert (other.newest_run / "state/step_00.d/note").read_text() == "@PROJECT@ stays\n"


def test_the_plan_has_the_hash_that_a_run_of_that_place_has(project: Project) -> None:
    """What is kept of a run is no part of its plan, wherever the hash was worked out."""
    project.file("workflow.yaml", f"checkpoints: {{task_interval: 1, max_snapshots: 9}}\n{DEFINITION}")
    assert project.run("-q").returncode == 1
    other = copy(project)
    run_id = document(other.run("checkpoint", "import", str(exported(project)), "--json"))["run_id"]
    imported = document(other.run("status", run_id, "--json"))["plan_hash"]
    assert other.run("run", "--force", "-q").returncode == 1
    assert document(other.run("status", "--json"))["run_id"] != run_id
    assert document(other.run("status", "--json"))["plan_hash"] == imported


def test_nothing_in_the_documents_names_the_place_it_came_from(project: Project, tmp_path: Path) -> None:
    moving(project)
    archive = exported(project)
    there = tmp_path / "there"
    with tarfile.open(archive) as tar:
        tar.extractall(there, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    names = [path for path in there.rglob("*") if path.is_file() and "logs" not in path.parts]
    assert [path for path in names if str(project.path).encode() in path.read_bytes()] == []
    assert [path for path in names if b"hunter2" in path.read_bytes()] == []
    run = next(there.iterdir())
    stored = records.decode_document((run / "workflow.json").read_bytes())
    assert stored["definition"]["project"] == portable.TOKEN
    assert stored["plan_hash"] == records.digest(records.encode_document(stored["definition"]))
    # Each marker vouches for its state as it stands in the archive.
    marker = store.read_markers(RunLayout(str(run))).whole[0]
    assert marker.state_digest == records.digest((run / "state/step_00_state.json").read_bytes())
    assert not {"steps.sh", "resume.sh", "lib"} & set(os.listdir(run))


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(project: Project, tmp_path: Path) -> None:
    run_id = moving(project)
    first = exported(project, "--with-outputs").read_bytes()
    subprocess.run(["mv", str(project.path), str(tmp_path / "moved")], check=True)
    moved = Project(tmp_path / "moved")
    assert moved.run("checkpoint", "export", run_id, "-o", "one.tgz", "--with-outputs").returncode == 0
    assert (moved.path / "one.tgz").read_bytes() == first
    assert moved.run("checkpoint", "compress", run_id).returncode == 0
    before = tree(moved.path / ".checkpoints")
    assert moved.run("checkpoint", "export", run_id, "-o", "two.tar.gz", "--with-outputs").returncode == 0
    assert (moved.path / "two.tar.gz").read_bytes() == first
    after = tree(moved.path / ".checkpoints")
    assert {path for path in after if after[path] != before.get(path)} == {"audit.jsonl"}


def test_what_comes_back_gives_the_same_bytes_again(project: Project) -> None:
    moving(project)
    first = exported(project).read_bytes()
    other = copy(project)
    assert other.run("checkpoint", "import", "../../run.tar.gz").returncode == 0
    assert other.run("checkpoint", "export", "--out", "again.tar.gz").returncode == 0
    assert (other.path / "again.tar.gz").read_bytes() == first


def test_an_imported_run_asks_for_trust_once(project: Project) -> None:
    """Case 77: in every way in which a run may go on."""
    run_id = moving(project)
    archive = exported(project)
    other = copy(project)
    assert other.run("checkpoint", "import", str(archive)).returncode == 0
    imported = records.decode_document((other.newest_run / "state/imported").read_bytes())
    assert imported["file"] == str(archive)
    assert imported["digest"].startswith("blake3:")
    before = tree(other.path)
    for words in (("resume",), ("resume", run_id), ("run", "--resume"), ("--resume-last",), ("resume", "--force")):
        assert_helped(other.run(*words), 3, "was imported", "--trust")
    shell = subprocess.run(["sh", str(other.newest_run / "resume.sh")], capture_output=True, text=True, check=False)
    assert shell.returncode == 3
    assert "WORKFLOW_TRUST=1" in shell.stderr
    assert tree(other.path) == before
    assert other.executions == []
    assert other.run("resume", "--dry-run").returncode == 0
    assert other.run("run", "--resume", "--trust").returncode == 1
    assert other.run("resume").returncode == 1, "said once, it holds"
    assert (other.newest_run / "state/imported.trusted").exists()
    assert other.executions == ["01", "01"]


def test_a_shell_carries_an_imported_run_on_when_told_so(project: Project) -> None:
    moving(project)
    archive = exported(project)
    other = copy(project)
    assert other.run("checkpoint", "import", str(archive)).returncode == 0
    other.file("mended", "")
    program = str(other.newest_run / "resume.sh")
    env = {"PATH": os.environ["PATH"], "WORKFLOW_TRUST": "1"}
    result = subprocess.run(["sh", program], env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert markers_of(other.newest_run) == [0, 1]
    assert other.executions == ["01"]
    assert f"{other.path}/out/data.txt" in (other.newest_run / "logs/step_01.log").read_text()
    assert other.run("resume").returncode == 0


def test_what_a_shell_completed_goes_on_elsewhere_too(project: Project) -> None:
    """The state of a step that resume.sh completed holds sums of the files with its values: they are made anew."""
    project.file(
        "workflow.yaml",
        DEFINITION.replace("test -e mended", 'echo "MORE=$PWD/x" >>"$WORKFLOW_OUTPUT"; test -e mended')
        + '- name: last\n  run: echo "$MORE"; test -e ready\n',
    )
    assert project.run("-q").returncode == 1
    project.file("mended", "")
    shell = subprocess.run(["sh", str(project.newest_run / "resume.sh")], capture_output=True, text=True, check=False)
    assert shell.returncode == 1, shell.stderr
    archive = exported(project)
    other = copy(project)
    other.file("ready", "")
    assert other.run("checkpoint", "import", str(archive)).returncode == 0
    assert document(other.run("status", "--json"))["problems"] == []
    result = other.run("resume", "--trust")
    assert result.returncode == 0, result.stderr
    assert (other.newest_run / "logs/step_02.log").read_text().splitlines()[-1] == f"{other.path}/x"
    assert other.executions == []


def test_a_run_that_is_there_already_is_never_overwritten_unasked(project: Project) -> None:
    run_id = moving(project)
    archive = exported(project)
    before = tree(project.newest_run)
    assert_helped(project.run("checkpoint", "import", str(archive)), 2, f"there is a run {run_id} already", "--as-new")
    assert tree(project.newest_run) == before
    result = project.run("checkpoint", "import", str(archive), "--as-new")
    assert result.returncode == 0, result.stderr
    assert [run.name for run in project.runs] == [run_id, f"{run_id}_2"]
    status = document(project.run("status", f"{run_id}_2", "--json"))
    assert (status["problems"], status["completed_tasks"]) == ([], 1)
    project.file("mended", "")
    assert project.run("resume", f"{run_id}_2", "--trust").returncode == 0
    assert project.executions == ["00", "01", "01"]
    assert project.run("checkpoint", "import", str(archive), "--force").returncode == 0
    assert (project.path / f".checkpoints/{run_id}/state/imported").exists()
    assert len(project.runs) == 2
    assert project.run("checkpoint", "compress", run_id).returncode == 0
    assert_helped(project.run("checkpoint", "import", str(archive)), 2, "already")
    assert project.run("checkpoint", "import", str(archive), "--force").returncode == 0
    assert not list((project.path / ".checkpoints").glob("*.tar.gz"))


def test_a_live_run_is_neither_exported_nor_replaced(project: Project) -> None:
    run_id = moving(project)
    archive = exported(project)
    project.file("workflow.yaml", DEFINITION.replace("test -e mended", ": >here_01; sleep 30"))
    process = start_until(project, "here_01", "resume", run_id)
    try:
        for words in (("export", run_id, "--out", "x.tar.gz"), ("import", str(archive), "--force")):
            assert_helped(project.run("checkpoint", *words), 75, f"{run_id} is being run by process")
        assert not (project.path / "x.tar.gz").exists()
    finally:
        kill(process)
        end_orphans(project)


def test_outputs_do_not_overwrite_what_is_there(project: Project) -> None:
    moving(project)
    archive = exported(project, "--with-outputs")
    other = copy(project)
    mine = other.file("out/data.txt", "mine\n")
    assert_helped(other.run("checkpoint", "import", str(archive), "--with-outputs"), 2, "out/data.txt", "--force")
    assert (mine.read_text(), other.runs) == ("mine\n", [])
    said = other.run("checkpoint", "import", str(archive))
    assert "it holds 1 output too" in said.stderr
    answer = document(other.run("checkpoint", "import", str(archive), "--with-outputs", "--force", "--json"))
    assert answer["restored_outputs"] == ["out/data.txt"]
    assert mine.read_text() == "data\n"
    again = document(other.run("checkpoint", "import", str(archive), "--with-outputs", "--as-new", "--json"))
    assert again["restored_outputs"] == [], "what is the same is left alone"


def test_outputs_that_cannot_be_taken_along_are_named(project: Project) -> None:
    project.file(
        "workflow.yaml",
        "name: outs\nsteps:\n"
        "- name: a\n  outputs: [gone.txt, tree, link, odd]\n"
        "  run: mkdir -p tree/x; echo 1 >tree/x/y; echo 2 >odd; echo 3 >gone.txt; ln -s odd link\n",
    )
    assert project.run("-q").returncode == 0
    (project.path / "gone.txt").unlink()
    result = project.run("checkpoint", "export", "-o", "x.tar.gz", "--with-outputs")
    assert result.returncode == 0
    assert "not there: gone.txt" in result.stderr
    assert "left out: link" in result.stderr
    with tarfile.open(project.path / "x.tar.gz") as tar:
        outputs = [name.partition("/outputs/")[2] for name in tar.getnames() if "/outputs/" in name]
    assert outputs == ["odd", "tree/x/y"]


def test_a_private_run_stays_private(project: Project) -> None:
    project.file("workflow.yaml", "name: mine\ncheckpoints: {private: true}\nsteps:\n- {name: a, run: echo a}\n")
    assert project.run("-q").returncode == 0
    archive = exported(project)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    other = copy(project)
    assert other.run("checkpoint", "import", str(archive)).returncode == 0
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [other.newest_run, *other.newest_run.rglob("*")]}
    assert modes == {0o600, 0o700}


def test_a_compressed_run_of_another_project_can_be_imported(project: Project) -> None:
    run_id = moving(project)
    assert project.run("checkpoint", "compress").returncode == 0
    other = copy(project)
    result = other.run("checkpoint", "import", str(project.path / f".checkpoints/{run_id}.tar.gz"))
    assert result.returncode == 0, result.stderr
    assert_helped(other.run("resume"), 3, "was imported")
    other.file("mended", "")
    assert other.run("resume", "--trust").returncode == 0
    assert other.executions == ["01"]
    assert (other.newest_run / "logs/step_01.log").read_text().splitlines()[-1].startswith(f"{other.path}/out/")


def test_wrong_words_of_export(project: Project) -> None:
    assert_helped(project.run("checkpoint", "export", "-o", "x.tar.gz"), 3, "there are no runs")
    moving(project)
    assert_helped(project.run("checkpoint", "export"), 2, "--out")
    assert_helped(project.run("checkpoint", "export", "-o", "x.zip"), 2, "x.zip", "run.tar.gz")
    assert_helped(project.run("checkpoint", "export", "-o", "no/where.tar.gz"), 2, "there is no directory", "mkdir")
    project.file("x.tar.gz", "mine\n")
    assert_helped(project.run("checkpoint", "export", "-o", "x.tar.gz"), 2, "x.tar.gz is there already", "--force")
    assert (project.path / "x.tar.gz").read_text() == "mine\n"
    assert project.run("checkpoint", "export", "-o", "x.tar.gz", "--force").returncode == 0
    (project.path / "link.tar.gz").symlink_to("x.tar.gz")
    assert_helped(project.run("checkpoint", "export", "-o", "link.tar.gz", "--force"), 2, "no plain file")
    answer = document(project.run("checkpoint", "export", "-o", "y.tar.gz", "--json"))
    assert (answer["outputs"], answer["size_bytes"]) == (0, (project.path / "y.tar.gz").stat().st_size)


def test_a_disk_that_takes_nothing_is_told_in_words_that_fit(project: Project) -> None:
    run_id = moving(project)
    archive = exported(project)
    before = tree(project.path / ".checkpoints")
    for words, said in (
        (("compress", run_id), f"{run_id} could not be made an archive: No space left on device"),
        (("export", run_id, "--out", "x.tar.gz"), "x.tar.gz could not be written: No space left on device"),
        (("import", str(archive), "--as-new"), f"{archive} could not be imported: No space left on device"),
    ):
        result = project.run("checkpoint", *words, env={"WORKFLOW_FAULT": "write:1:ENOSPC:forever"})
        assert_helped(result, 125, said, f"workflow checkpoint {words[0]} {words[1]}")
    after = tree(project.path / ".checkpoints")
    assert {path: facts[-1] for path, facts in after.items()} == {path: facts[-1] for path, facts in before.items()}


def test_wrong_words_of_import(project: Project) -> None:
    assert_helped(project.run("checkpoint", "import"), 2, "FILE")
    assert_helped(project.run("checkpoint", "import", "nothing.tar.gz"), 3, "No such file")
    moving(project)
    (project.path / "plain.tar.gz").write_bytes(b"")
    assert_helped(project.run("checkpoint", "import", "plain.tar.gz"), 3, "not made by workflow")
    archive = exported(project)
    shutil.copy(archive, project.path / ".checkpoints/workflow_20200101_000000.tar.gz")
    assert_helped(project.run("status", "workflow_20200101_000000"), 3, "exported run", "checkpoint import")


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ("/home/ada/p", "@PROJECT@"),
        ("/home/ada/p/x", "@PROJECT@/x"),
        ("in /home/ada/p.", "in @PROJECT@."),
        ("-I/home/ada/p/include:/home/ada/p", "-I@PROJECT@/include:@PROJECT@"),
        ("/home/ada/p2", "/home/ada/p2"),
        ("/home/ada/p.old/x", "/home/ada/p.old/x"),
        ("@PROJECT@", "@PROJECT-@"),
        ("@PROJECT-@PROJECT@", "@PROJECT--@PROJECT-@"),
        ("@PROJECT/home/ada/p", "@PROJECT-@PROJECT@"),
    ],
)
def test_the_path_of_the_project_leaves_and_comes_back(text: str, leaves: str) -> None:
    assert portable.leaving("/home/ada/p")(text) == leaves
    assert portable.arriving("/home/ada/p")(leaves) == text


def test_what_is_damaged_stays_damaged() -> None:
    change = portable.leaving("/p")
    document = records.encode_document({"path": "/p/x"})
    assert records.decode_document(portable.change_file("workflow.json", document, change)) == {
        **json.loads(document),
        "path": "@PROJECT@/x",
        "checksum": records.digest(b'{\n  "path": "@PROJECT@/x",\n'),
    }
    torn = document[:-3]
    with pytest.raises(records.RecordDamagedError):
        records.decode_document(portable.change_file("workflow.json", torn, change))
    body = b"STEP=1\nSTATE=%s\n" % records.digest(b"old").encode()
    for marker in (body + b"CHECKSUM=blake3:0\n", body, b""):
        assert portable.change_marker(marker, b"old", b"new") == marker
    shell = b"STEP=1\nSTATE=%s\n" % posix_cksum(b"old").encode()
    whole = shell + b"CHECKSUM=%s\n" % posix_cksum(shell).encode()
    changed = b"STEP=1\nSTATE=%s\n" % posix_cksum(b"new").encode()
    expected = changed + b"CHECKSUM=%s\n" % posix_cksum(changed).encode()
    assert portable.change_marker(whole, b"old", b"new") == expected
    assert portable.change_marker(whole, b"other", b"new") == whole

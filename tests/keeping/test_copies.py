"""Copies of sources in `archive/`: what is kept, when, what is not, and how one is put back."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import jsonschema
import pytest

from tests.cli.support import assert_helped, tree
from tests.conftest import Project
from workflow.definition import schemas

LOOP = """\
steps:
- name: loop
  run: echo round >>PROMPT.md
  archive: PROMPT.md
  repeat: {max_iterations: 3}
"""
STAMPED = re.compile(r"(.+)_\d{8}_\d{6}(?:_\d+)?(\.\w+)?")


def kept(project: Project) -> list[str]:
    """Return the names of the copies of the newest run without their times, sorted."""
    names = [path.name for path in (project.newest_run / "archive").iterdir() if path.name != "index.jsonl"]
    return sorted("".join(part or "" for part in STAMPED.fullmatch(name).groups()) for name in names)  # type: ignore[union-attr]


def copies(project: Project) -> list[dict[str, object]]:
    result = project.run("checkpoint", "restore", "--archive", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    jsonschema.Draft202012Validator(schemas.schema("checkpoint-restore-archive")).validate(document)
    return document["copies"]  # type: ignore[no-any-return]


def content(project: Project, name: object) -> str:
    return (project.newest_run / "archive" / str(name)).read_text()


# ---------------------------------------------------------------- what is kept


def test_the_definition_is_kept_and_the_named_file_at_the_start_and_after_each_iteration(project: Project) -> None:
    project.file("workflow.yaml", LOOP)
    project.file("PROMPT.md", "task\n")
    assert project.run("run").returncode == 0
    found = copies(project)
    assert [(it["path"], it["what"], it["iteration"]) for it in found] == [
        ("workflow.yaml", "definition", None),
        ("PROMPT.md", "file", None),
        ("PROMPT.md", "file", 1),
        ("PROMPT.md", "file", 2),
        ("PROMPT.md", "file", 3),
    ]
    assert [content(project, it["name"]) for it in found[1:]] == ["task\n" + "round\n" * n for n in range(4)]


def test_scripts_of_a_directory_are_kept_and_a_resume_copies_only_what_changed(project: Project) -> None:
    project.steps(3)
    project.step(2, "[ -e fixed ]")
    assert project.run("run").returncode == 1
    assert kept(project) == ["step_00_s0.sh", "step_01_s1.sh", "step_02_s2.sh"]
    project.step(2, "true")
    assert project.run("resume").returncode == 0
    assert kept(project) == ["step_00_s0.sh", "step_01_s1.sh", "step_02_s2.sh", "step_02_s2.sh"]
    modes = {it["path"]: it["mode"] for it in copies(project)}
    assert modes["steps/step_00_s0.sh"] == "0755"


def test_a_hundred_scripts_are_kept_as_well(project: Project) -> None:
    """More than are written one by one."""
    project.steps(100)
    assert project.run("run", "--until", "0").returncode == 0
    assert len(kept(project)) == 100
    assert all(it["is_there"] for it in copies(project))


def test_a_policy_is_kept(project: Project) -> None:
    project.steps(1)
    project.file("policy.yaml", "limits: {time: 1h}\n")
    assert project.run("run", "--policy", "policy.yaml").returncode == 0
    assert "policy.yaml" in kept(project)


def test_a_step_without_repeat_has_its_file_kept_when_it_has_ended(project: Project) -> None:
    project.file("workflow.yaml", "steps:\n- {run: echo made >new.txt, archive: [new.txt]}\n- run: rm new.txt\n")
    result = project.run("run")
    assert result.returncode == 0
    assert "no copy" not in result.stderr  # it need not be there at the start
    assert kept(project) == ["new.txt", "workflow.yaml"]


def test_files_of_one_name_do_not_take_each_others_place(project: Project) -> None:
    project.file("a/x.md", "of a")
    project.file("b/x.md", "of b")
    project.file("workflow.yaml", "steps:\n- {run: 'true', archive: [a/x.md, b/x.md]}\n")
    assert project.run("run").returncode == 0
    assert {it["path"]: content(project, it["name"]) for it in copies(project)[1:]} == {
        "a/x.md": "of a",
        "b/x.md": "of b",
    }


@pytest.mark.parametrize("words", [["--no-archive"], ["--preset", "minimal"]])
def test_none_are_kept_where_none_are_wanted(project: Project, words: list[str]) -> None:
    project.file("workflow.yaml", LOOP)
    assert project.run("run", *words).returncode == 0
    assert not (project.newest_run / "archive").exists()


def test_the_setting_and_the_flag_over_it(project: Project) -> None:
    project.file("workflow.yaml", "checkpoints: {archive: false}\n" + LOOP)
    assert project.run("run").returncode == 0
    assert not (project.newest_run / "archive").exists()
    assert project.run("run", "--archive").returncode == 0
    assert "workflow.yaml" in kept(project)


# ---------------------------------------------------------------- what is not kept


def refused(project: Project, name: str) -> str:
    """Run a step that names a file with `archive`; return what was said, once, of the copy that was not kept."""
    project.file("workflow.yaml", f"steps:\n- {{run: 'true', archive: [{name}], repeat: {{max_iterations: 3}}}}\n")
    result = project.run("run")
    assert result.returncode == 0, result.stderr
    said = [line for line in (result.stderr + result.stdout).splitlines() if "no copy of" in line]
    assert len(said) == 1, result.stderr + result.stdout
    assert kept(project) == ["workflow.yaml"]
    return said[0]


def test_a_file_that_is_missing_is_told_once(project: Project) -> None:
    assert "it is not there" in refused(project, "gone.md")


def test_a_directory_is_not_copied(project: Project) -> None:
    (project.path / "notes").mkdir()
    assert "it is a directory: name the files in it" in refused(project, "notes")


def test_a_pipe_is_not_waited_for(project: Project) -> None:
    os.mkfifo(project.path / "pipe")
    assert "it is no plain file" in refused(project, "pipe")


def test_a_huge_file_is_not_copied_and_the_limit_is_told(project: Project) -> None:
    with (project.path / "huge.bin").open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    said = refused(project, "huge.bin")
    assert "18 MB" in said
    assert "17 MB is the most" in said


def test_a_link_that_leads_out_of_the_project_is_not_followed(project: Project, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("theirs")
    (project.path / "link.txt").symlink_to(tmp_path / "outside.txt")
    assert "out of the project" in refused(project, "link.txt")


def test_a_directory_that_leads_out_of_the_project_is_not_followed(project: Project, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x.txt").write_text("theirs")
    (project.path / "link").symlink_to(tmp_path / "outside")
    assert "out of the project" in refused(project, "link/x.txt")


def test_a_file_outside_of_the_project_is_not_copied(project: Project, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("theirs")
    assert "outside of the project" in refused(project, "../x.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_told(project: Project) -> None:
    project.file("locked.txt", "x").chmod(0)
    assert "it cannot be read (Permission denied)" in refused(project, "locked.txt")


@pytest.mark.parametrize("name", [".env", ".env.local", "server.pem", "id_ed25519", "credentials.json", "Secrets.yaml"])
def test_what_holds_secrets_by_its_name_is_not_copied(project: Project, name: str) -> None:
    project.file(name, "TOKEN=abc")
    assert "secrets" in refused(project, name)


def test_a_link_is_no_other_name_for_what_holds_secrets(project: Project) -> None:
    project.file(".env", "TOKEN=abc")
    (project.path / "notes.txt").symlink_to(".env")
    assert "secrets" in refused(project, "notes.txt")


def test_the_example_of_an_environment_is_no_secret(project: Project) -> None:
    project.file(".env.example", "TOKEN=")
    project.file("workflow.yaml", "steps:\n- {run: 'true', archive: .env.example}\n")
    assert project.run("run").returncode == 0
    assert len(copies(project)) == 2


def test_the_copy_of_a_private_file_is_private(project: Project) -> None:
    project.file("mine.md", "x").chmod(0o600)
    project.file("workflow.yaml", "steps:\n- {run: 'true', archive: mine.md}\n")
    assert project.run("run").returncode == 0
    mine = next(it for it in copies(project) if it["path"] == "mine.md")
    path = project.newest_run / "archive" / str(mine["name"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_pattern_is_refused(project: Project) -> None:
    project.file("workflow.yaml", "steps:\n- {run: 'true', archive: 'prompts/*.md'}\n")
    assert project.run("run").returncode == 2


def test_an_archive_directory_that_cannot_be_written_harms_nothing(project: Project) -> None:
    project.file("workflow.yaml", "steps:\n- {run: 'exit 1', name: first}\n")
    assert project.run("run", "--no-archive").returncode == 1
    (project.newest_run / "archive").write_text("in the way")
    project.file("workflow.yaml", "steps:\n- {run: 'true', name: first}\n")
    result = project.run("resume")
    assert result.returncode == 0, result.stderr
    assert "no copies were kept" in result.stderr


# ---------------------------------------------------------------- putting one back


@pytest.fixture
def looped(project: Project) -> Project:
    project.file("workflow.yaml", LOOP)
    project.file("PROMPT.md", "task\n")
    assert project.run("run").returncode == 0
    return project


def test_nothing_is_replaced_unasked(looped: Project) -> None:
    (looped.path / "PROMPT.md").write_text("precious\n")
    before = tree(looped)
    assert_helped(looped.run("checkpoint", "restore", "--archive", "PROMPT.md"), 2, "left alone", "--force")
    assert tree(looped) == before


def test_what_was_there_is_kept_before_it_is_replaced(looped: Project) -> None:
    (looped.path / "PROMPT.md").write_text("precious\n")
    first = next(it for it in copies(looped) if it["path"] == "PROMPT.md")
    result = looped.run("checkpoint", "restore", "--archive", str(first["name"]), "--force", "--json")
    assert result.returncode == 0, result.stderr
    restored = json.loads(result.stdout)["restored"]
    assert (looped.path / "PROMPT.md").read_text() == "task\n"
    assert content(looped, restored["kept_as"]) == "precious\n"
    # And back again.
    assert looped.run("checkpoint", "restore", "--archive", restored["kept_as"], "--force").returncode == 0
    assert (looped.path / "PROMPT.md").read_text() == "precious\n"


def test_a_file_that_is_gone_comes_back_with_its_permissions(project: Project) -> None:
    project.steps(2)
    assert project.run("run").returncode == 0
    script = project.path / "steps/step_01_s1.sh"
    before = script.read_bytes()
    script.unlink()
    assert (
        project.run("checkpoint", "restore", project.newest_run.name, "--archive", "steps/step_01_s1.sh").returncode
        == 0
    )
    assert script.read_bytes() == before
    assert os.access(script, os.X_OK)


def test_what_is_there_already_is_left_as_it_is(looped: Project) -> None:
    result = looped.run("checkpoint", "restore", "--archive", "PROMPT.md")
    assert result.returncode == 0
    assert "already" in result.stdout


def test_a_damaged_copy_is_refused_and_a_whole_one_named(looped: Project) -> None:
    found = [it for it in copies(looped) if it["path"] == "PROMPT.md"]
    (looped.newest_run / "archive" / str(found[-1]["name"])).write_text("flipped")
    (looped.path / "PROMPT.md").unlink()
    result = looped.run("checkpoint", "restore", "--archive", "PROMPT.md")
    assert_helped(result, 3, "damaged", str(found[-2]["name"]))
    assert looped.run("checkpoint", "restore", "--archive", str(found[-2]["name"])).returncode == 0


def test_nothing_is_put_outside_of_the_project(looped: Project, tmp_path: Path) -> None:
    (looped.path / "out").symlink_to(tmp_path)
    for place in ("../x.md", "/tmp/x.md", "out/x.md", "."):
        result = looped.run("checkpoint", "restore", "--archive", "PROMPT.md", "--to", place, "--force")
        assert_helped(result, 2)
    assert not (tmp_path / "x.md").exists()


def test_a_pipe_in_the_place_is_refused_and_not_waited_for(looped: Project) -> None:
    os.mkfifo(looped.path / "ff")
    words = ("checkpoint", "restore", "--archive", "PROMPT.md", "--to", "ff", "--force")
    assert_helped(looped.run(*words, timeout=20), 2, "ff is no plain file", "--to PATH")
    assert (looped.path / "ff").is_fifo()


def test_a_source_behind_a_link_that_leads_out_is_not_put_back(project: Project, tmp_path: Path) -> None:
    """Definition and scripts are copied wherever they lie; put back is what lies in the project."""
    (tmp_path / "flow.yaml").write_text("steps: [{run: ':'}]\n")
    (project.path / "workflow.yaml").symlink_to(tmp_path / "flow.yaml")
    assert project.run("run").returncode == 0
    (tmp_path / "flow.yaml").write_text("steps: [{run: 'false'}]\n")
    result = project.run("checkpoint", "restore", "--archive", "workflow.yaml", "--force")
    assert_helped(result, 2, "a link there leads out of the project, to", str(tmp_path / "flow.yaml"), "--to PATH")
    assert "false" in (tmp_path / "flow.yaml").read_text()


def test_an_index_that_names_a_place_outside_writes_nothing_there(looped: Project, tmp_path: Path) -> None:
    index = looped.newest_run / "archive/index.jsonl"
    index.write_text(index.read_text().replace('"PROMPT.md"', '"../evil.md"'))
    assert_helped(looped.run("checkpoint", "restore", "--archive", "../evil.md"), 2, "not in the project")
    assert not (tmp_path / "evil.md").exists()


def test_names_in_the_index_lead_nowhere_else(looped: Project) -> None:
    index = looped.newest_run / "archive/index.jsonl"
    line = json.loads(index.read_text().splitlines()[-1])
    for name in ("../workflow.json", "/etc/passwd", "index.jsonl", "a/b_20260101_000000.md"):
        index.write_text(json.dumps({**line, "name": name, "path": "got.txt"}) + "\n")
        assert_helped(looped.run("checkpoint", "restore", "--archive", "got.txt"), 3)
    assert not (looped.path / "got.txt").exists()


@pytest.mark.parametrize("garbage", ["{", "[]", "null", '{"name": 1}', "\x00\x01", '{"a": ' * 5000])
def test_lines_of_the_index_that_make_no_sense_are_passed_over(looped: Project, garbage: str) -> None:
    number = len(copies(looped))
    index = looped.newest_run / "archive/index.jsonl"
    index.write_text(garbage + "\n" + index.read_text() + garbage)
    assert len(copies(looped)) == number


def test_a_name_that_is_none_says_what_there_is(looped: Project) -> None:
    assert_helped(looped.run("checkpoint", "restore", "--archive", "PROMT.md"), 3, "did you mean PROMPT")


def test_a_compressed_run_gives_its_copies_too(looped: Project) -> None:
    run = looped.newest_run.name
    assert looped.run("checkpoint", "compress", run).returncode == 0
    (looped.path / "PROMPT.md").unlink()
    assert looped.run("checkpoint", "restore", run, "--archive", "PROMPT.md").returncode == 0
    assert (looped.path / "PROMPT.md").read_text().endswith("round\n")


def test_an_imported_run_gives_nothing_before_it_is_trusted(looped: Project, tmp_path: Path) -> None:
    assert looped.run("checkpoint", "export", "--out", "run.tar.gz").returncode == 0
    other = Project(tmp_path / "other")
    other.path.mkdir()
    assert other.run("checkpoint", "import", str(looped.path / "run.tar.gz")).returncode == 0
    assert_helped(other.run("checkpoint", "restore", "--archive", "PROMPT.md"), 3, "imported")
    assert not (other.path / "PROMPT.md").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "RUN@N"),
        (["--force", "x@1"], "--archive"),
        (["--to", "there", "x@1"], "--archive"),
        (["x", "file", "--archive"], "PATH"),
        (["x", "--dry-run", "--archive"], "--dry-run"),
    ],
)
def test_words_of_the_two_kinds_of_restore_are_not_mixed(project: Project, words: list[str], said: str) -> None:
    project.steps(1)
    assert_helped(project.run("checkpoint", "restore", *words), 2, said)

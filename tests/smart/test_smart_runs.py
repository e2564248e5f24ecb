"""--smart through the real program: what is reused, what runs, what is told, what is recorded."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.support import assert_helped, document, hanging_step, kill, start_until, tree
from tests.conftest import Project
from workflow.checkpoint.outputs import digest_of

FLOW = """\
name: demo
smart: true
steps:
  - {name: compile, inputs: ["src/**"], outputs: [out.o], run: "cat src/* >out.o; echo compile >>ran.txt"}
  - {name: link, inputs: [out.o], outputs: [app], run: "cp out.o app; echo VERSION=3 >>$WORKFLOW_OUTPUT;
      echo link >>ran.txt"}
  - {name: announce, run: "echo announce$VERSION >>ran.txt"}
"""


@pytest.fixture
def demo(project: Project) -> Project:
    project.file("workflow.yaml", FLOW)
    project.file("src/a.c", "a\n")
    result = project.run()
    assert result.returncode == 0, result.stderr
    assert project.executions == ["compile", "link", "announce3"]
    (project.path / "ran.txt").unlink()
    return project


def master(project: Project) -> dict[str, object]:
    found: dict[str, object] = json.loads((project.newest_run / "checkpoint.json").read_text())
    return found


def state(project: Project, number: int) -> dict[str, object]:
    found: dict[str, object] = json.loads((project.newest_run / f"state/step_{number:02d}_state.json").read_text())
    return found


def test_what_has_not_changed_is_reused_with_its_values(demo: Project) -> None:
    """A10, S9: said, marked, and in checkpoint.json."""
    result = demo.run()
    assert result.returncode == 0, result.stderr
    assert demo.executions == ["announce3"]
    assert demo.markers == [0, 1, 2]
    assert master(demo)["smart_execution"] == {
        "enabled": True,
        "skipped_steps": [0, 1],
        "skip_reason": "no_relevant_changes",
    }
    assert master(demo)["execution_mode"]["smart_execution"] is True  # type: ignore[index]
    assert state(demo, 0)["status"] == "reused"
    assert state(demo, 0)["reason"]["code"] == "no_relevant_changes"  # type: ignore[index]
    assert "reused 00 compile" in result.stdout


def settled(demo: Project) -> None:
    """Make all files look as if they had been there for long, so that a quick look is kept of them."""
    time.sleep(3.2)
    assert demo.run().returncode == 0


@pytest.mark.parametrize("is_quick", [False, True])
def test_the_outputs_of_reused_steps_are_recorded_and_compared(demo: Project, is_quick: bool) -> None:
    """The digests are those of the success that it rests on, however it was looked at."""
    if is_quick:
        settled(demo)
    assert demo.run().returncode == 0
    made = str(demo.path / "app")
    assert state(demo, 1)["output_digests"] == {made: digest_of(made)}
    assert state(demo, 1)["outputs"]["files_modified"] == [made]  # type: ignore[index]
    assert demo.run("checkpoint", "validate").returncode == 0
    demo.file("app", "tampered\n")
    refused = demo.run("checkpoint", "validate")
    assert refused.returncode == 3
    assert "app" in refused.stdout
    (demo.path / "ran.txt").unlink()
    result = demo.run("resume", "--revalidate")
    assert result.returncode == 0, result.stderr
    assert "link" in demo.executions
    assert "compile" not in demo.executions
    assert (demo.path / "app").read_text() == "a\n"
    assert demo.run("checkpoint", "validate").returncode == 0


def test_of_what_several_write_the_digest_is_of_what_is_there(project: Project) -> None:
    """A later writer that is not asked this time leaves its bytes; they are no damage."""
    project.file(
        "workflow.yaml",
        "smart: true\nsteps:\n"
        "  - {name: build, inputs: [src], outputs: [app], run: 'cp src app; echo build >>ran.txt'}\n"
        "  - {name: strip, inputs: [app], outputs: [app], run: 'echo x >>app; echo strip >>ran.txt'}\n",
    )
    project.file("src", "1\n")
    project.run()
    assert project.run("--only", "build").returncode == 0
    assert project.executions == ["build", "strip"]
    assert project.run("checkpoint", "validate").returncode == 0


def test_without_smart_everything_runs(demo: Project) -> None:
    assert demo.run("--no-smart").returncode == 0
    assert demo.executions == ["compile", "link", "announce3"]
    assert master(demo)["smart_execution"] == {"enabled": False, "skipped_steps": [], "skip_reason": None}


def test_the_flag_is_enough(project: Project) -> None:
    project.file("workflow.yaml", FLOW.replace("smart: true\n", ""))
    project.file("src/a.c", "a\n")
    project.run("--smart")
    assert project.run("--smart").returncode == 0
    assert project.executions == ["compile", "link", "announce3", "announce3"]


def test_a_change_runs_what_depends_on_it_and_the_reason_is_recorded(demo: Project) -> None:
    demo.file("src/b.c", "b\n")
    result = demo.run("-v")
    assert demo.executions == ["compile", "link", "announce3"]
    assert "input-new: src/b.c" in result.stdout
    assert state(demo, 0)["reason"] == {"code": "input-new", "detail": "src/b.c"}


def test_the_same_bytes_made_again_end_the_chain(demo: Project) -> None:
    """Early cut-off."""
    demo.file("src/b.c", "")
    assert demo.run().returncode == 0
    assert demo.executions == ["compile", "announce3"]


def test_a_failed_step_is_not_known_as_a_success(demo: Project) -> None:
    demo.file("workflow.yaml", FLOW.replace("cp out.o app;", "cp out.o app; [ ! -e broken ] || exit 1;"))
    assert demo.run().returncode == 0
    demo.file("src/a.c", "changed\n")
    demo.file("broken", "")
    assert demo.run().returncode == 1
    demo.file("src/a.c", "a\n")
    (demo.path / "broken").unlink()
    (demo.path / "ran.txt").unlink()
    assert demo.run().returncode == 0
    assert "link" in demo.executions


def test_a_resume_of_a_smart_run_bypasses_what_was_reused(demo: Project) -> None:
    demo.file("workflow.yaml", FLOW.replace('run: "echo announce', 'run: "[ ! -e broken ] || exit 1; echo announce'))
    demo.file("broken", "")
    assert demo.run().returncode == 1
    (demo.path / "broken").unlink()
    result = demo.run("resume")
    assert result.returncode == 0, result.stderr
    assert demo.executions == ["announce3"]
    assert demo.markers == [0, 1, 2]


def test_a_kill_while_a_step_runs_makes_it_unknown(project: Project) -> None:
    hanging_step(project, 0, before="#| inputs: [data]")
    project.file("data", "1")
    project.file("go", "")
    assert project.run("--smart").returncode == 0
    (project.path / "go").unlink()
    (project.path / "here_00").unlink()
    project.file("data", "2")
    process = start_until(project, "here_00", "run", "--smart")
    kill(process)
    project.file("go", "")
    project.file("data", "1")
    assert project.run("--smart").returncode == 0
    assert project.executions.count("00") >= 2


def test_plan_and_explain_write_nothing_and_say_why(demo: Project) -> None:
    demo.file("src/a.c", "other\n")
    demo.file("workflow.yaml", FLOW.replace("cp out.o app;", "cp out.o app; true;"))
    before = tree(demo.path)
    plan = document(demo.run("plan", "--json"))
    told = document(demo.run("explain", "link", "--json"))
    text = demo.run("explain", "compile")
    assert tree(demo.path) == before
    assert [step["choice"] for step in plan["steps"]] == ["run", "run", "run"]
    first = plan["steps"][0]
    assert [reason["code"] for reason in first["reasons"]] == ["input-changed"]
    pair = next(pair for pair in first["evidence"]["inputs"] if pair["name"] == "src/a.c")
    assert pair["before"] != pair["now"]
    assert {reason["code"] for reason in told["reasons"]} == {"script-changed", "upstream-changed"}
    assert any(line.startswith("+cp out.o app; true;") for line in told["diff"])
    assert "input-changed: src/a.c" in text.stdout


def test_plan_tells_by_its_exit_code_whether_there_is_work(project: Project) -> None:
    project.file("workflow.yaml", FLOW.partition("  - {name: announce")[0])
    project.file("src/a.c", "a\n")
    assert project.run("plan", "--exit-code").returncode == 10
    project.run()
    assert project.run("plan", "--exit-code").returncode == 0
    os.utime(project.path / "src/a.c")
    assert project.run("plan", "--exit-code").returncode == 0
    project.file("src/a.c", "b\n")
    assert project.run("plan", "--exit-code").returncode == 10


def test_what_is_never_reused_says_so(demo: Project) -> None:
    told = document(demo.run("explain", "announce", "--json"))
    assert told["can_be_reused"] is False
    assert "neither inputs nor outputs" in told["reasons"][0]["detail"]


@pytest.mark.parametrize(("empty", "code"), [("error", 1), ("warn", 0), ("ignore", 0)])
def test_a_pattern_that_matches_nothing_means_what_is_declared(project: Project, empty: str, code: int) -> None:
    project.file(
        "workflow.yaml",
        f"smart: true\nsteps: [{{name: s, inputs: [{{path: '*.none', empty: {empty}}}], run: 'echo s >>ran.txt'}}]\n",
    )
    result = project.run()
    assert result.returncode == code, result.stderr
    assert project.executions == ([] if code else ["s"])
    assert ("nothing matches its input *.none" in result.stderr) is (empty != "ignore")


def test_comments_count_until_they_are_told_not_to(project: Project) -> None:
    def write(comment: str, comments: str) -> None:
        project.file("workflow.yaml", f"smart: {{comments: {comments}}}\nsteps: steps\n")
        project.step(0, f"#| outputs: [made]\n# {comment}\necho 00 >>ran.txt; : >made")

    write("one", "ignore")
    project.run()
    write("two", "ignore")
    project.run()
    assert project.executions == ["00"]
    write("three", "count")
    project.run()
    assert project.executions == ["00", "00"]


def test_inputs_with_odd_names_and_links_that_go_round(project: Project) -> None:
    odd = project.path / "in" / "a\nb '\"$(x)"
    odd.parent.mkdir()
    odd.write_text("1")
    (project.path / "in" / os.fsdecode(b"\xff")).write_text("2")
    (project.path / "in" / "round").symlink_to(".")
    (project.path / "in" / "nowhere").symlink_to("nowhere")
    project.file("workflow.yaml", "smart: true\nsteps: [{name: s, inputs: [in], run: 'echo s >>ran.txt'}]\n")
    assert project.run().returncode == 0
    assert project.run().returncode == 0
    assert project.executions == ["s"]
    odd.write_text("3")
    result = project.run("-v")
    assert project.executions == ["s", "s"]
    assert "input-changed: in/a\\nb" in result.stdout


# ------------------------------------------------------------------ git as evidence


@pytest.fixture
def repository(project: Project) -> Project:
    project.file(
        "workflow.yaml",
        "steps:\n"
        "  - {name: docs, inputs: ['docs/**'], run: 'echo docs >>ran.txt'}\n"
        "  - {name: code, inputs: ['src/**'], run: 'echo code >>ran.txt'}\n",
    )
    project.file("docs/a.md", "a\n")
    project.file("src/a.c", "a\n")
    project.file(".gitignore", ".checkpoints/\nran.txt\nsrc/generated\n")
    git(project.path, "init", "-q")
    git(project.path, "add", ".")
    git(project.path, "commit", "-qm", "first")
    return project


def git(path: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, *words], cwd=path, check=True, capture_output=True)


def test_what_differs_from_a_revision_runs_and_the_rest_is_skipped(repository: Project) -> None:
    repository.file("src/a.c", "b\n")
    result = repository.run("--changed-since", "HEAD")
    assert result.returncode == 0, result.stderr
    assert repository.executions == ["code"]
    assert master(repository)["smart_execution"] == {
        "enabled": True,
        "skipped_steps": [0],
        "skip_reason": "no_relevant_changes",
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda path: (path / "src/new.c").write_text("untracked"),
        lambda path: (path / "src/generated").write_text("ignored by git, and an input all the same"),
        lambda path: (path / "src/a.c").chmod(0o755),
        lambda path: (path / "src/a.c").unlink(),
        lambda path: (path / "workflow.yaml").write_text((path / "workflow.yaml").read_text() + "\n"),
    ],
)
def test_whatever_git_cannot_vouch_for_runs(repository: Project, change) -> None:
    change(repository.path)
    assert repository.run("--changed-since", "HEAD").returncode == 0
    assert "code" in repository.executions


def test_commits_since_the_revision_count(repository: Project) -> None:
    repository.file("docs/a.md", "b\n")
    git(repository.path, "commit", "-qam", "second")
    assert repository.run("--changed-since", "HEAD").returncode == 0
    assert repository.executions == []
    assert repository.run("--changed-since", "HEAD~1").returncode == 0
    assert repository.executions == ["docs"]


def test_git_that_cannot_answer_is_said_before_anything_runs(repository: Project, project: Project) -> None:
    assert_helped(repository.run("--changed-since", "nonsense"), 2, "no revision nonsense")
    assert repository.runs == []


def test_a_project_that_is_no_repository_says_so(project: Project) -> None:
    project.file("workflow.yaml", "smart: {changes: git}\nsteps: [{name: s, inputs: [a], run: 'true'}]\n")
    assert_helped(project.run(), 2, "changes: git")


# ------------------------------------------------------------------ two writers of one path


@pytest.mark.parametrize("smart", ["smart: true\n", ""])
def test_lint_and_plan_name_both_writers(project: Project, smart: str) -> None:
    project.file(
        "workflow.yaml",
        f"{smart}steps:\n"
        "  - {name: build, inputs: [src], outputs: [app, dist], run: 'cp src app; mkdir -p dist'}\n"
        "  - {name: strip, inputs: [app], outputs: [app], run: 'echo x >>app'}\n"
        "  - {name: pack, inputs: [app], outputs: [dist/app], run: 'cp app dist'}\n",
    )
    project.file("src", "1\n")
    said = "app is made by 00 build and edited by 01 strip"
    lint = project.run("lint")
    assert said in lint.stdout
    assert "dist is made by 00 build and edited by 02 pack" in lint.stdout
    told = document(project.run("lint", "--json"))["written_by_many"]
    assert told[0] == {"path": "app", "steps": [{"step": 0, "name": "build"}, {"step": 1, "name": "strip"}]}
    assert said in project.run("plan").stderr
    assert said in document(project.run("plan", "--json"))["notices"]


def test_resume_sh_goes_by_the_markers_of_reused_steps(demo: Project) -> None:
    """A marker is a marker: what was reused is bypassed, and the values it published are there."""
    demo.file("workflow.yaml", FLOW.replace('run: "echo announce', 'run: "[ ! -e broken ] || exit 1; echo announce'))
    demo.file("broken", "")
    assert demo.run().returncode == 1
    (demo.path / "broken").unlink()
    command = ["sh", str(demo.newest_run / "resume.sh")]
    done = subprocess.run(command, cwd=demo.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert demo.executions == ["announce3"]
    assert demo.markers == [0, 1, 2]


def test_what_resume_sh_ran_is_not_known_as_the_success_before_it(project: Project) -> None:
    """A shell notes no successes, so it forgets those there are: a step it ran and that failed since must run again."""
    flow = "smart: true\nsteps:\n  - {name: s, inputs: [data], run: '[ ! -e broken ]; echo s >>ran.txt'}\n"
    project.file("workflow.yaml", flow)
    project.file("data", "1")
    assert project.run().returncode == 0
    project.file("data", "2")
    project.file("broken", "")
    assert project.run().returncode == 1
    command = ["sh", str(project.newest_run / "resume.sh")]
    subprocess.run(command, cwd=project.path, check=False, capture_output=True, timeout=60)
    project.file("data", "1")
    assert list((project.path / ".checkpoints/cache").glob("successes-*")) == []
    (project.path / "broken").unlink()
    assert project.run().returncode == 0
    assert project.executions == ["s", "s"]


# ------------------------------------------------------------------ what a step was held against when it ended


def test_a_step_that_gets_its_path_from_another_counts(project: Project) -> None:
    tool = project.script("tools/mine", '#!/bin/sh\nexec sh "$@"\n')
    project.file(
        "workflow.yaml",
        "smart: true\nsteps:\n"
        f"  - {{name: path, inputs: [x], run: 'echo PATH={tool.parent}:$PATH >>$WORKFLOW_ENV'}}\n"
        "  - {name: s, inputs: [x], shell: mine, run: 'echo s >>ran.txt'}\n",
    )
    project.file("x", "1")
    for _ in range(2):
        result = project.run()
        assert result.returncode == 0, result.stderr
        assert "counts for this run" not in result.stderr
    assert project.executions == ["s"]


def test_what_changed_while_a_step_ran_is_named(project: Project) -> None:
    project.script("tools/mine", '#!/bin/sh\nexec sh "$@"\n')
    project.file(
        "workflow.yaml",
        "smart: true\n"
        "steps: [{name: s, inputs: [x], shell: tools/mine, run: 'echo : >>tools/mine; echo s >>ran.txt'}]\n",
    )
    project.file("x", "1")
    result = project.run()
    assert "its interpreter" in result.stderr
    assert "tools/mine changed while it ran" in result.stderr


def test_words_that_do_not_go_together_are_refused(project: Project) -> None:
    project.file("workflow.yaml", "steps: [{name: s, inputs: [x], run: 'true'}]\n")
    assert_helped(project.run("--no-smart", "--changed-since", "HEAD"), 2, "--no-smart", "--changed-since")
    project.file("workflow.yaml", "smart:\n  base: main\nsteps: [{name: s, inputs: [x], run: 'true'}]\n")
    for words in (("run",), ("lint",)):
        assert_helped(project.run(*words), 2, "`base` goes with `changes: git`", "workflow.yaml:2")

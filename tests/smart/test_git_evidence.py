"""`changes: git`: git vouches for files, and for nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.support import assert_helped, document
from tests.conftest import Project
from tests.smart.test_smart_runs import git
from workflow.planning.git_changes import unchanged_since

SINCE = ("--changed-since", "HEAD")


def committed(project: Project, flow: str, *ignored: str, **files: str) -> Project:
    """Make a repository of the project with `flow` as its definition; each step appends its name to ran.txt."""
    project.file("workflow.yaml", flow)
    project.file(".gitignore", "".join(f"{name}\n" for name in (".checkpoints/", "ran.txt", *ignored)))
    for name, text in files.items():
        project.file(name.replace("__", "/"), text)
    git(project.path, "init", "-q")
    git(project.path, "add", ".")
    git(project.path, "commit", "-qm", "first")
    return project


@pytest.fixture
def copied(project: Project) -> Project:
    """`copy` makes out from in, which git tracks."""
    flow = "steps:\n  - {name: copy, inputs: [in], outputs: [out], run: 'cp in out; echo copy >>ran.txt'}\n"
    return committed(project, flow, "out", **{"in": "1\n"})


def test_what_was_made_of_something_else_is_made_again(copied: Project) -> None:
    assert copied.run("--smart").returncode == 0
    copied.file("in", "2\n")
    assert copied.run("--smart").returncode == 0
    git(copied.path, "checkout", "in")
    result = copied.run("-v", *SINCE)
    assert "output-changed" in result.stdout
    assert (copied.path / "out").read_text() == "1\n"
    copied.run(*SINCE)
    assert copied.executions == ["copy"] * 3


def test_a_value_made_of_something_else_is_not_handed_on(project: Project) -> None:
    flow = "steps:\n  - {name: s, inputs: [in], run: 'echo V=$(cat in) >>$WORKFLOW_OUTPUT'}\n"
    committed(project, f"{flow}  - {{name: t, run: 'echo $V >>ran.txt'}}\n", **{"in": "1\n"})
    project.file("in", "2\n")
    project.run("--smart")
    git(project.path, "checkout", "in")
    project.run(*SINCE)
    assert project.executions == ["2", "1"]


def test_a_step_that_leaves_nothing_is_skipped_whatever_it_saw_last(project: Project) -> None:
    committed(project, "steps:\n  - {name: s, inputs: [in], run: 'echo s >>ran.txt'}\n", **{"in": "1\n"})
    project.file("in", "2\n")
    project.run("--smart")
    git(project.path, "checkout", "in")
    project.run(*SINCE)
    assert project.executions == ["s"]
    told = document(project.run("explain", "s", *SINCE, "--json"))
    assert told["last_success"] is not None
    assert [(reason["code"], reason["detail"]) for reason in told["reasons"]] == [("no_relevant_changes", "")]


def test_an_output_that_was_emptied_is_made_again(copied: Project) -> None:
    copied.run("--smart")
    copied.run(*SINCE)
    copied.file("out", "")
    copied.run(*SINCE)
    assert copied.executions == ["copy", "copy"]


def test_a_fresh_clone_skips_where_what_is_made_is_there(copied: Project) -> None:
    copied.file("out", "1\n")
    copied.run(*SINCE)
    assert copied.executions == []


@pytest.mark.parametrize("how", ['echo V=1 >>"$WORKFLOW_OUTPUT"', ". $WORKFLOW_LIB/step_execution.sh; step_env V 1"])
def test_a_fresh_clone_runs_what_others_have_their_values_from(project: Project, how: str) -> None:
    """Git knows files, and no value that was published."""
    flow = f"steps:\n  - {{name: s, inputs: [in], run: '{how}'}}\n  - {{name: t, run: 'echo got=$V >>ran.txt'}}\n"
    committed(project, flow, **{"in": "1\n"})
    told = document(project.run("explain", "s", *SINCE, "--json"))
    assert [reason["code"] for reason in told["reasons"]] == ["never-run"]
    assert "may publish values" in told["reasons"][0]["detail"]
    assert project.run("run", *SINCE).returncode == 0
    assert project.executions == ["got=1"]
    # Now its success is known, and what it published then is handed on.
    result = project.run("run", "-v", *SINCE)
    assert "00 s  reused" in result.stdout
    assert project.executions == ["got=1"] * 2


@pytest.mark.parametrize("is_known", [True, False])
def test_values_that_are_given_count(project: Project, is_known: bool) -> None:
    flow = "steps:\n  - {name: s, inputs: [in], params: {P: '1'}, run: 'echo $P$V >>ran.txt'}\n"
    flow += "  - {name: t, inputs: [in], env: {V: own}, run: 'echo $V >>ran.txt'}\n"
    committed(project, flow, "e", **{"in": "1\n"})
    project.file("e", "V=2\n")
    if is_known:
        project.run("--smart")
        (project.path / "ran.txt").unlink()
    project.run(*SINCE)
    assert project.executions == []
    told = document(project.run("plan", *SINCE, "--param", "P=2", "--json"))
    assert [reason["code"] for reason in told["steps"][0]["reasons"]] == ["env-changed"]
    project.run(*SINCE, "--param", "P=2")
    project.run(*SINCE, "--env-file", "e")
    assert project.executions == ["2", "12"]


@pytest.mark.parametrize(("output", "wanted"), [("gen", "gen"), ("gen", "gen/*"), ("gen/a", "gen"), ("gen/a", "gen/a")])
def test_what_a_step_of_this_run_writes_is_not_as_git_saw_it(project: Project, output: str, wanted: str) -> None:
    flow = (
        "steps:\n"
        f"  - {{name: gen, inputs: [src], outputs: [{output}], run: 'cp src gen/a; echo gen >>ran.txt'}}\n"
        f"  - {{name: use, inputs: ['{wanted}'], run: 'cat gen/a >>ran.txt'}}\n"
    )
    committed(project, flow, src="1\n", gen__a="1\n")
    project.run(*SINCE)
    assert project.executions == []
    project.file("src", "2\n")
    plan = document(project.run("plan", *SINCE, "--json"))
    assert [step["choice"] for step in plan["steps"]] == ["run", "run"]
    project.run(*SINCE)
    assert project.executions == ["gen", "2"]


def test_what_a_step_of_this_run_makes_for_the_first_time_is_foreseen(project: Project) -> None:
    flow = (
        "steps:\n"
        "  - {name: gen, inputs: [src], outputs: [gen/new], run: 'cp src gen/new; echo gen >>ran.txt'}\n"
        "  - {name: use, inputs: ['gen/*'], run: 'cat gen/* >>ran.txt'}\n"
    )
    committed(project, flow, "gen/new", src="1\n", gen__a="2\n")
    plan = document(project.run("plan", *SINCE, "--json"))
    assert [step["choice"] for step in plan["steps"]] == ["run", "run"]
    project.run(*SINCE)
    assert project.executions == ["gen", "2", "1"]


@pytest.mark.parametrize("command", ["rm gen/a", "rm -r gen; mkdir gen; touch gen/.hidden"])
def test_what_a_step_of_this_run_takes_away_is_missed(project: Project, command: str) -> None:
    flow = (
        "steps:\n"
        f"  - {{name: gen, inputs: [src], outputs: [gen], run: '{command}; echo gen >>ran.txt'}}\n"
        "  - {name: use, inputs: ['gen/*', other], run: 'echo use >>ran.txt'}\n"
    )
    committed(project, flow, src="1\n", gen__a="1\n", gen__b="1\n", other="1\n")
    project.file("src", "2\n")
    project.run(*SINCE)
    assert project.executions == ["gen", "use"]


def test_a_policy_that_git_does_not_know_counts(project: Project) -> None:
    flow = "steps:\n  - {name: s, inputs: [in], env: {V: '1'}, run: 'echo $V >>ran.txt'}\n"
    committed(project, flow, "mine.yaml", **{"in": "1\n"})
    project.file("mine.yaml", "env: {V: '2'}\n")
    result = project.run(*SINCE, "--policy", "mine.yaml")
    assert result.returncode == 0, result.stderr
    assert len(project.executions) == 1


def test_an_empty_revision_is_none(copied: Project) -> None:
    assert_helped(copied.run("--changed-since", ""), 2, "git knows no revision")


def test_a_pattern_that_stands_for_nothing_is_vouched_for_by_nobody(project: Project) -> None:
    flow = "steps:\n  - {name: s, inputs: ['scr/**'], run: 'echo s >>ran.txt'}\n"
    committed(project, f"{flow}  - {{name: t, inputs: ['!x'], run: 'echo t >>ran.txt'}}\n", src__a="1\n")
    project.run(*SINCE)
    assert project.executions == ["s", "t"]


# ------------------------------------------------------------------ links


def is_untouched(path: Path, name: str) -> bool:
    return unchanged_since(str(path), "HEAD", os.environ).is_untouched(str(path / name))


def test_a_link_is_as_it_was_when_what_it_leads_to_is(project: Project) -> None:
    path = project.path
    (path / "d").mkdir()
    project.file("d/tracked", "1")
    project.file("d/ignored", "1")
    for name, target in (
        ("good", "d/tracked"),
        ("bad", "d/ignored"),
        ("far", "/etc/passwd"),
        ("round", "round"),
        ("twice", "good"),
        ("twice-bad", "hop"),
        ("into", "d"),
        ("out", "/etc"),
    ):
        (path / name).symlink_to(target)
    (path / "hop").symlink_to("d/tracked")
    committed(project, "steps: [{name: s, run: ':'}]\n", "d/ignored", "hop")
    names = ("good", "twice", "into", "into/tracked")
    assert [it for it in names if not is_untouched(path, it)] == []
    names = ("bad", "far", "round", "twice-bad", "out", "out/passwd", "into/ignored")
    assert [it for it in names if is_untouched(path, it)] == []
    project.file("e/tracked", "1")
    git(path, "add", "e")
    git(path, "commit", "-qm", "second")
    (path / "into").unlink()
    (path / "into").symlink_to("e")
    assert not is_untouched(path, "into/tracked")


@pytest.mark.parametrize("pattern", ["{}/src/*.c", "link/*.c", "l*/*.c", "d*/link/*.c"])
def test_a_file_that_was_deleted_behind_another_name_is_missed(project: Project, pattern: str) -> None:
    if pattern.startswith("d"):
        (project.path / "deep").mkdir()
        (project.path / "deep" / "link").symlink_to("../src")
    else:
        (project.path / "link").symlink_to("src")
    flow = f"steps:\n  - {{name: s, inputs: ['{pattern.format(project.path)}'], run: 'echo s >>ran.txt'}}\n"
    committed(project, flow, src__a="1\n", **{"src__a.c": "1\n", "src__b.c": "1\n"})
    project.run(*SINCE)
    assert project.executions == []
    os.unlink(project.path / "src" / "b.c")
    project.run(*SINCE)
    assert project.executions == ["s"]


def taken_away(link: Path) -> None:
    link.unlink()


def led_elsewhere(link: Path) -> None:
    link.unlink()
    link.symlink_to("empty")


def made_a_directory(link: Path) -> None:
    link.unlink()
    link.mkdir()


@pytest.mark.parametrize("pattern", ["link/*.c", "l*/*.c", "**/*.c"])
@pytest.mark.parametrize("change", [taken_away, led_elsewhere, made_a_directory])
def test_files_behind_a_link_that_leads_elsewhere_are_missed(
    project: Project, pattern: str, change: Callable[[Path], None]
) -> None:
    link = project.path / "link"
    link.symlink_to("src")
    flow = f"steps:\n  - {{name: s, inputs: ['{pattern}', other], run: 'echo s >>ran.txt'}}\n"
    flow += "  - {name: t, inputs: [other, 'src/*.c'], run: 'echo t >>ran.txt'}\n"
    committed(project, flow, other="1\n", empty__a="1\n", **{"src__a.c": "1\n"})
    project.run(*SINCE)
    assert project.executions == []
    change(link)
    project.run(*SINCE)
    assert project.executions == ["s"]


def test_a_tracked_file_that_is_left_out_of_the_work_tree_is_missed(project: Project) -> None:
    flow = "steps:\n  - {name: s, inputs: ['src/*'], run: 'echo s >>ran.txt'}\n"
    committed(project, flow, src__a="1\n", src__b="1\n")
    git(project.path, "update-index", "--skip-worktree", "src/b")
    os.unlink(project.path / "src" / "b")
    project.run(*SINCE)
    assert project.executions == ["s"]

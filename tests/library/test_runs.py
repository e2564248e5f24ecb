"""Building, running and resuming a workflow from a program; the same with every checkpointer."""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_program
from tests.library.conftest import make
from workflow import (
    Checkpointer,
    CheckpointNotFoundError,
    DefinitionError,
    FileCheckpointer,
    NoCheckpointerError,
    Result,
    RunFailedError,
    StepNotFoundError,
    StoreError,
    UsageError,
    Workflow,
)
from workflow.library.stores import MemoryStore

Keeper = FileCheckpointer | Checkpointer


def ran(where: Path) -> list[str]:
    path = where / "ran.txt"
    return path.read_text().split() if path.exists() else []


def three(where: Path, keeper: Keeper | None, *, broken: bool = True) -> Workflow:
    """Steps a, b, c; b fails as long as there is a file `broken`."""
    if broken:
        (where / "broken").touch()
    return (
        Workflow("three", project=where, checkpointer=keeper)
        .step("a", "echo a >>ran.txt; echo WORD=hello >>$WORKFLOW_OUTPUT")
        .step("b", "test ! -e broken; echo b >>ran.txt; echo $WORD >word.txt", outputs=["word.txt"])
        .step("c", "echo c >>ran.txt")
    )


# ---------------------------------------------------------------- with every checkpointer


def test_a_run_that_completes_is_truthy_and_knows_its_steps(where: Path, keeper: Keeper) -> None:
    result = three(where, keeper, broken=False).run()
    assert result
    assert (result.status, result.exit_code, ran(where)) == ("completed", 0, ["a", "b", "c"])
    assert [(step.name, step.status.value, step.exit_code) for step in result.steps] == [
        ("a", "completed", 0),
        ("b", "completed", 0),
        ("c", "completed", 0),
    ]
    assert [str(reason) for reason in result["b"].reasons] == ["never-run: no marker"]
    assert result.values == {"WORD": "hello"}
    assert result.duration_s > 0
    assert all(step.duration_s > 0 for step in result.steps)


def test_a_failure_is_falsy_and_a_resume_carries_on_where_it_stopped(where: Path, keeper: Keeper) -> None:
    workflow = three(where, keeper)
    failed = workflow.run()
    assert not failed
    assert (failed.status, failed.exit_code) == ("failed", 1)
    assert [step.status.value for step in failed.steps] == ["completed", "failed", "blocked"]
    assert failed["b"].failure is not None
    assert failed["b"].failure.kind == "exit"
    assert [it.trigger for it in keeper.list(failed.run_id)].count("error") >= 1
    (where / "broken").unlink()
    result = workflow.resume()
    assert result
    assert result.run_id == failed.run_id
    assert [step.status.value for step in result.steps] == ["bypassed", "completed", "completed"]
    assert ran(where) == ["a", "b", "c"]
    assert (where / "word.txt").read_text() == "hello\n"  # what a published before is there again


def test_going_back_to_a_checkpoint_runs_what_came_after_it_again(where: Path, keeper: Keeper) -> None:
    workflow = three(where, keeper, broken=False)
    workflow.run()
    after_a = next(it for it in keeper.list() if it.completed_tasks == 1)
    assert workflow.resume(after_a.id)
    assert ran(where) == ["a", "b", "c", "b", "c"]


def test_a_name_of_ones_own_finds_the_run(where: Path, keeper: Keeper) -> None:
    workflow = three(where, keeper)
    first = workflow.run("monday")
    workflow.run("tuesday")
    (where / "broken").unlink()
    assert workflow.resume("monday").run_id == first.run_id
    assert {it.run_name for it in keeper.list("monday")} == {"monday"}
    assert {it.run_id for it in keeper.list("monday")} == {first.run_id}
    assert keeper.latest("monday").status == "completed"
    assert keeper.latest("tuesday").status == "failed"


def test_a_resume_without_a_name_takes_the_newest_open_run_of_this_workflow(where: Path, keeper: Keeper) -> None:
    open_run = three(where, keeper).run()
    other = Workflow("other", project=where, checkpointer=keeper).step("x", "false")
    other.run()
    (where / "broken").unlink()
    assert three(where, keeper, broken=False).resume().run_id == open_run.run_id


def test_checkpoints_are_listed_loaded_and_deleted(where: Path, keeper: Keeper) -> None:
    run = three(where, keeper, broken=False).run()
    found = keeper.list()
    assert [it.number for it in found] == sorted(it.number for it in found)
    assert all(it.id == f"{run.run_id}@{it.number}" and it.workflow == "three" for it in found)
    assert found[-1].trigger == "completion"
    assert (found[-1].completed_tasks, found[-1].total_tasks) == (3, 3)
    assert keeper.load(found[-1].id)["status"] == "completed"
    assert keeper.size_bytes() > 0
    keeper.delete(found[0].id)
    assert [it.id for it in keeper.list()] == [it.id for it in found[1:]]
    with pytest.raises(CheckpointNotFoundError):
        keeper.load(found[0].id)
    assert keeper.delete_all(run.run_id) > 0
    assert not keeper.list()


def test_only_the_checkpoints_of_one_workflow_are_deleted(where: Path, keeper: Keeper) -> None:
    three(where, keeper, broken=False).run()
    Workflow("other", project=where, checkpointer=keeper).step("x", "true").run()
    keeper.delete_all(workflow="three")
    assert {it.workflow for it in keeper.list()} == {"other"}


@pytest.mark.parametrize("kind", ["file", "memory", "sqlite"])
def test_words_say_when_checkpoints_are_made(where: Path, tmp_path: Path, kind: str) -> None:
    def names(**words: Any) -> list[str]:
        keeper = make(kind, tmp_path, **words)
        keeper.delete_all()
        three(where, keeper, broken=False).run()
        return [f"{it.trigger} {it.name}".strip() for it in keeper.list()]

    before = names(save_after_step=False, save_before_step=True)
    assert [it for it in before if it.startswith("auto before")] == [
        "auto before 00 a",
        "auto before 01 b",
        "auto before 02 c",
    ]
    quiet = names(auto_save=False)
    assert quiet == ["completion"]
    assert len(names(save_after_step=True)) >= 4
    assert len(names(save_before_step=True, max_checkpoints=2)) == 2


def test_time_makes_checkpoints_while_something_happens(where: Path, tmp_path: Path) -> None:
    keeper = make("memory", tmp_path, save_after_step=False, save_interval=0.3)
    workflow = Workflow("slow", project=where, checkpointer=keeper).step("a", "true").step("b", "sleep 1.5")
    workflow.run()
    assert "auto" in [it.trigger for it in keeper.list()][1:]


def test_nothing_of_a_run_is_left_where_a_store_keeps_it(where: Path, tmp_path: Path) -> None:
    keeper = make("memory", tmp_path)
    three(where, keeper).run()
    (place,) = (tmp_path / "tmp").iterdir()
    assert place.stat().st_mode & 0o777 == 0o700
    assert not list(place.glob("workflow_*/*"))
    del keeper
    gc.collect()
    assert not list((tmp_path / "tmp").iterdir())
    three(where, make("sqlite", tmp_path)).run()
    assert not list((tmp_path / "checkpoints.db-runs").glob("workflow_*/*"))
    assert sorted(it.name for it in where.iterdir()) == ["broken", "ran.txt"]


def test_another_program_resumes_from_the_same_database(where: Path, tmp_path: Path) -> None:
    three(where, make("sqlite", tmp_path)).run("night")
    (where / "broken").unlink()
    assert three(where, make("sqlite", tmp_path), broken=False).resume("night")
    assert ran(where) == ["a", "b", "c"]


def test_two_runs_at_once_in_one_program_know_nothing_of_each_other(where: Path, keeper: Keeper) -> None:
    workflow = Workflow("pair", project=where, checkpointer=keeper).step("a", "sleep 0.3; echo $WHO >>ran.txt")
    results: dict[str, Result] = {}

    def run(who: str) -> None:
        results[who] = workflow.run(who, env={"WHO": who})

    threads = [threading.Thread(target=run, args=(who,)) for who in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results.values())
    assert results["one"].run_id != results["two"].run_id
    assert sorted(ran(where)) == ["one", "two"]


# ---------------------------------------------------------------- errors


def test_without_a_checkpointer_nothing_can_be_resumed(where: Path) -> None:
    workflow = three(where, None, broken=False)
    assert workflow.run()
    assert sorted(it.name for it in where.iterdir()) == ["ran.txt", "word.txt"]
    with pytest.raises(NoCheckpointerError, match="No checkpointer configured") as caught:
        workflow.resume()
    assert "FileCheckpointer" in caught.value.help
    with pytest.raises(NoCheckpointerError):
        _ = workflow.checkpointer


def test_a_checkpoint_that_is_not_there_is_told_with_what_may_be_wrong(where: Path, keeper: Keeper) -> None:
    workflow = three(where, keeper)
    with pytest.raises(CheckpointNotFoundError, match="Checkpoint not found: there is none of workflow three"):
        workflow.resume()
    run = workflow.run("monday")
    for name in ("mondy", f"{run.run_id}@999", "workflow_20000101_000000"):
        with pytest.raises(CheckpointNotFoundError, match="Checkpoint not found") as caught:
            workflow.resume(name)
        assert all(word in caught.value.help for word in ("spelling", "place", "deleted", run.run_id))
        assert caught.value.exit_code == 3


def test_a_completed_step_that_the_workflow_lacks_is_told(where: Path, keeper: Keeper) -> None:
    three(where, keeper).run("monday")
    (where / "broken").unlink()
    other = Workflow("three", project=where, checkpointer=keeper).step("b", "echo b >>ran.txt")
    with pytest.raises(StepNotFoundError, match="not found during resume") as caught:
        other.resume("monday")
    assert "a" in caught.value.message.rpartition(": ")[2]
    assert ran(where) == ["a"]
    assert other.resume("monday", ignore_missing=True)


def test_a_renamed_step_with_the_same_text_is_the_same_step(where: Path, keeper: Keeper) -> None:
    Workflow("w", project=where, checkpointer=keeper).step("old", "echo a >>ran.txt").step("x", "false").run()
    renamed = Workflow("w", project=where, checkpointer=keeper).step("new", "echo a >>ran.txt").step("x", "true")
    assert renamed.resume()
    assert ran(where) == ["a"]


def test_every_error_of_a_definition_is_told_where_it_was_written(where: Path) -> None:
    workflow = Workflow("bad", project=where)
    workflow.step("a", "true", timeout="soon")
    workflow.step("b", "true", needs=["nobody"])
    with pytest.raises(DefinitionError) as caught:
        workflow.run()
    text = caught.value.render()
    assert "`timeout` wants a duration" in text
    assert "there is no step or group `nobody`" in text or "there is no step `nobody`" in text
    assert text.count(os.path.basename(__file__)) == 2
    assert 'workflow.step("a", "true", timeout="soon")' in text
    with pytest.raises(DefinitionError):
        workflow.check()
    assert not list(where.iterdir())


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda w: w.step("a", "true").step("a", "true"), "two steps"),
        (lambda w: w.step("a"), "either a text"),
        (lambda w: w.step("a", "true", call=print), "either a text"),
        (lambda w: w.step("a", "true", args=[1]), "for a function"),
        (lambda w: w.step("a", "true", env={"A": object()}), "nothing that a definition can hold"),
        (lambda w: w.step("a", "a\0b"), "NUL"),
        (lambda w: w.run("workflow_20260101_000000"), "cannot be a name of yours"),
        (lambda w: w.run(checkpointer=MemoryStore()), "no checkpointer"),
        (lambda w: w.step("a", "true").edge("a", "b").check(), "names a step that is not there"),
    ],
)
def test_what_cannot_be_is_refused_in_words(where: Path, build: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build(Workflow("w", project=where))


def test_a_word_that_a_run_does_not_know_is_a_type_error(where: Path) -> None:
    with pytest.raises(TypeError, match="keep_gong"):
        Workflow("w", project=where).step("a", "true").run(keep_gong=True)  # type: ignore[call-arg]


class Failing(MemoryStore):
    """Fails at the nth save."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def save(self, run_id: str, facts: Any, state: bytes) -> int:
        self.left -= 1
        if self.left == 0:
            raise ConnectionError("the database went away")
        return super().save(run_id, facts, state)


def test_a_store_that_fails_stops_the_run_and_loses_nothing(where: Path, tmp_path: Path) -> None:
    store = Failing(at=2)
    keeper = Checkpointer(store, working_directory=tmp_path / "running")
    workflow = Workflow("w", project=where, checkpointer=keeper).step("a", "echo a >>ran.txt")
    workflow.step("b", "sleep 5; echo b >>ran.txt")
    with pytest.raises(StoreError, match="failed to save: ConnectionError: the database went away"):
        workflow.run()
    assert ran(where) == ["a"]
    workflow = Workflow("w", project=where, checkpointer=keeper).step("a", "echo a >>ran.txt")
    assert workflow.step("b", "echo b >>ran.txt").resume()
    assert ran(where) == ["a", "b"]


def test_a_store_that_cannot_be_asked_is_told_as_such(where: Path) -> None:
    class Deaf(MemoryStore):
        def list(self, run_id: str | None = None) -> Any:
            raise OSError("no route")

    with pytest.raises(StoreError, match="failed to list: OSError: no route"):
        three(where, Checkpointer(Deaf())).resume()


def test_a_state_that_was_changed_in_the_store_is_not_carried_on(where: Path) -> None:
    class Careless(MemoryStore):
        def load(self, run_id: str, number: int) -> bytes:
            return super().load(run_id, number)[:-1] + b"?"

    workflow = three(where, Checkpointer(Careless()))
    workflow.run()
    with pytest.raises(Exception, match="is damaged"):
        workflow.resume()


def test_raise_for_failure_says_what_failed(where: Path, keeper: Keeper) -> None:
    with pytest.raises(RunFailedError, match="01 b failed: exit code 1") as caught:
        three(where, keeper).run().raise_for_failure()
    assert caught.value.exit_code == 1
    assert caught.value.result is not None


# ---------------------------------------------------------------- what the command line can do


def test_the_command_line_carries_on_what_a_program_began(where: Path) -> None:
    run = three(where, FileCheckpointer(where / ".checkpoints")).run()
    (where / "broken").unlink()
    done = run_program("resume", run.run_id, cwd=where)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran(where) == ["a", "b", "c"]
    status = run_program("status", run.run_id, cwd=where)
    assert "completed" in status.stdout


def test_a_program_without_a_checkpointer_keeps_runs_where_the_command_line_does(where: Path) -> None:
    result = Workflow("w", project=where).step("a", "true").run()
    assert result.run_dir == str(where / ".checkpoints" / result.run_id)


def test_selection_parameters_and_limits_are_those_of_the_command_line(where: Path, keeper: Keeper) -> None:
    workflow = Workflow("w", project=where, checkpointer=keeper, params={"REGION": "eu"})
    workflow.step("a", "echo a$REGION >>ran.txt").step("b", "echo b$REGION >>ran.txt; exit $CODE", params={"CODE": 3})
    assert not workflow.run(params={"REGION": "us"})
    assert ran(where) == ["aus", "bus"]
    assert workflow.resume(params={"CODE": 0})
    assert ran(where) == ["aus", "bus", "bus"]  # the region is that of the run
    assert workflow.run(only=["a"])
    assert ran(where)[3:] == ["aeu"]
    with pytest.raises(UsageError, match="no step has a parameter"):
        workflow.run(params={"REGON": "us"})


def test_runs_that_begin_in_the_same_second_get_ids_of_their_own(where: Path, keeper: Keeper) -> None:
    workflow = Workflow("w", project=where, checkpointer=keeper).step("a", "true")
    ids = [workflow.run().run_id for _ in range(4)]
    assert len(set(ids)) == 4
    assert {it.run_id for it in keeper.list()} == set(ids)


def test_plan_writes_nothing_and_says_why(where: Path, keeper: Keeper) -> None:
    workflow = three(where, keeper)
    before = sorted(where.iterdir())
    assert [step["choice"] for step in workflow.plan()["steps"]] == ["run", "run", "run"]
    assert sorted(where.iterdir()) == before
    run = workflow.run()
    assert [step["choice"] for step in workflow.plan(run.run_id)["steps"]] == ["bypass", "run", "run"]


def test_observers_hear_every_event_and_one_that_raises_harms_nobody(where: Path, keeper: Keeper) -> None:
    heard: list[str] = []

    class Good:
        def on_event(self, event: object) -> None:
            heard.append(type(event).__name__)

    class Bad:
        def on_event(self, event: object) -> None:
            raise ValueError("no")

    result = three(where, keeper, broken=False).run(observers=[Bad(), Good()])
    assert result
    assert [name for name in heard if name.startswith("Run")] == ["RunStarted", "RunFinished"]
    assert heard.count("StepFinished") == 3
    assert any("Bad stopped reporting" in it for it in result.notices)


def test_what_a_person_is_asked_is_asked_of_the_program(where: Path, keeper: Keeper) -> None:
    workflow = Workflow("w", project=where, checkpointer=keeper).step("a", "true", approval="Publish it?")
    waiting = workflow.run()
    assert (bool(waiting), waiting.exit_code) == (False, 4)
    asked: list[str] = []
    assert workflow.resume(approve=lambda text: not asked.append(text))
    assert len(asked) == 1
    assert "Publish it?" in asked[0]


def test_show_prints_a_run_as_the_command_line_does(where: Path, keeper: Keeper, capsys: Any) -> None:
    three(where, keeper, broken=False).run(show=True)
    printed = capsys.readouterr().out
    assert "00 a" in printed
    assert "completed" in printed


def test_the_program_keeps_its_directory_its_signals_and_its_children(where: Path, keeper: Keeper) -> None:
    import signal
    import subprocess

    handlers = [signal.getsignal(it) for it in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    here = os.getcwd()
    three(where, keeper).run()
    assert child.wait() == 7
    assert os.getcwd() == here
    after = [signal.getsignal(it) for it in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]
    assert after == handlers

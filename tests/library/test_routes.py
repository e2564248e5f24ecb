"""Edges and routes: what comes after what, which way is taken, and that a resume takes the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.library.conftest import make
from workflow import FileCheckpointer, UsageError, Workflow

WAYS = {"big": ["classify", "large", "polish", "report"], "small": ["classify", "tiny", "report"]}


def routed(where: Path, **words: object) -> Workflow:
    workflow = Workflow("routed", project=where, jobs=1, **words)  # type: ignore[arg-type]
    workflow.step("classify", "cat kind.txt | sed 's/^/KIND=/' >>$WORKFLOW_OUTPUT; echo classify >>ran.txt")
    for name in ("large", "tiny", "polish", "report"):
        workflow.step(name, f"test ! -e broken_{name}; echo {name} >>ran.txt")
    return (
        workflow.route("classify", by="KIND", to={"big": "large", "small": "tiny"})
        .edge("large", "polish")
        .edge("polish", "report")
        .edge("tiny", "report")
        .start("classify")
    )


def ran(where: Path) -> list[str]:
    return (where / "ran.txt").read_text().split()


@pytest.mark.parametrize("kind", ["big", "small"])
def test_the_value_decides_and_what_only_the_other_way_leads_to_is_skipped(where: Path, kind: str) -> None:
    (where / "kind.txt").write_text(kind)
    result = routed(where).run()
    assert result
    assert ran(where) == WAYS[kind]
    skipped = {step.name for step in result.steps if step.status.value == "skipped"}
    assert skipped == {"classify", "large", "tiny", "polish", "report"} - set(WAYS[kind])


def test_where_no_way_is_taken_nothing_behind_it_runs(where: Path) -> None:
    (where / "kind.txt").write_text("huge")
    result = routed(where).run()
    assert result
    assert ran(where) == ["classify"]


@pytest.mark.parametrize("store", ["file", "sqlite"])
def test_a_resume_goes_the_way_that_was_taken(where: Path, tmp_path: Path, store: str) -> None:
    (where / "kind.txt").write_text("big")
    (where / "broken_polish").touch()
    workflow = routed(where, checkpointer=make(store, tmp_path))
    assert not workflow.run()
    (where / "broken_polish").unlink()
    (where / "kind.txt").write_text("small")  # what was decided stands
    assert workflow.resume()
    assert ran(where) == WAYS["big"]


def test_steps_without_edges_between_them_run_side_by_side(where: Path) -> None:
    workflow = Workflow("w", project=where, jobs=2, checkpointer=FileCheckpointer(where / ".checkpoints"))
    workflow.step("end", "cat a b >both").step("a", "until test -e b; do sleep 0.02; done; echo a >a")
    workflow.step("b", "echo b >b").edge("a", "end").edge("b", "end")
    assert workflow.run()
    assert (where / "both").read_text() == "a\nb\n"


def test_a_test_of_the_step_and_one_of_the_way_must_both_hold(where: Path) -> None:
    workflow = Workflow("w", project=where).step("a", "true").step("b", "echo b >>ran.txt", when="test -e x")
    workflow.edge("a", "b", when="test -e y")
    (where / "x").touch()
    assert workflow.run()["b"].status.value == "skipped"
    (where / "y").touch()
    assert workflow.run()["b"].status.value == "completed"


def test_a_step_that_is_reached_by_two_ways_runs_when_one_was_taken(where: Path) -> None:
    workflow = Workflow("w", project=where).step("a", "true").step("b", "true").step("c", "echo c >>ran.txt")
    workflow.edge("a", "c", when="false").edge("b", "c", when="true")
    assert workflow.run()["c"].status.value == "completed"


@pytest.mark.parametrize("value", ["it's; touch hacked", "$(touch hacked)", "a b"])
def test_a_value_is_compared_as_it_is(where: Path, value: str) -> None:
    (where / "value.txt").write_text(value)
    workflow = Workflow("w", project=where).step("a", "printf 'V=%s\\n' \"$(cat value.txt)\" >>$WORKFLOW_OUTPUT")
    workflow.step("b", "true").route("a", by="V", to={value: "b"})
    assert workflow.run()["b"].status.value == "completed"
    assert not (where / "hacked").exists()


def test_what_edges_cannot_be_is_refused(where: Path) -> None:
    def workflow() -> Workflow:
        return Workflow("w", project=where).step("a", "true").step("b", "true").step("c", "true", when="always")

    with pytest.raises(UsageError, match="round in a circle"):
        workflow().edge("a", "b").edge("b", "a").check()
    with pytest.raises(UsageError, match="no way leads from a to b"):
        workflow().start("a").edge("b", "c").check()
    with pytest.raises(UsageError, match="runs at the end"):
        workflow().edge("a", "c", when="true").check()
    with pytest.raises(UsageError, match="cannot be the name of a published value"):
        workflow().route("a", by="no-name", to={"x": "b"})

"""Outputs that a step has among its inputs, and directories in which several steps have a hand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.smart.test_world import Make, Sandbox, joined, step
from workflow.model import Input, Status, Step


def test_a_step_whose_own_file_is_among_its_inputs_is_not_run_for_that(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    one = step(0, "s", inputs=(Input("**"), Input("!cache")), outputs=("made",))
    sandbox = Sandbox(tmp_path, [one], {"s": joined("a", to="made")})
    assert sandbox.run() == ["s"]
    assert sandbox.run() == []
    (tmp_path / "made").write_bytes(b"2")
    assert sandbox.reasons() == {"s": ["output-changed"]}
    assert sandbox.run() == ["s"]
    assert sandbox.run() == []


def in_dist(path: Path, _: Step) -> None:
    (path / "dist").mkdir(exist_ok=True)
    (path / "dist" / "x").write_bytes((path / "a").read_bytes() + bytes(random.randbytes(4)))


@pytest.mark.parametrize("wanted", ["**", "."])
def test_a_step_whose_own_directory_is_among_its_inputs_is_not_run_for_that(tmp_path: Path, wanted: str) -> None:
    (tmp_path / "a").write_bytes(b"1")
    one = step(0, "s", inputs=(Input(wanted), Input("!cache")), outputs=("dist",))
    sandbox = Sandbox(tmp_path, [one], {"s": in_dist})
    assert sandbox.run() == ["s"]
    assert sandbox.run() == []
    (tmp_path / "a").write_bytes(b"2")
    assert sandbox.reasons() == {"s": ["input-changed"]}
    assert sandbox.run() == ["s"]
    assert sandbox.run() == []
    for change in (lambda: (tmp_path / "dist/x").write_bytes(b"3"), lambda: (tmp_path / "dist/new").write_bytes(b"")):
        change()
        assert sandbox.reasons() == {"s": ["output-changed"]}
        assert sandbox.run() == ["s"]
        (tmp_path / "dist/new").unlink(missing_ok=True)
        sandbox.run()


@pytest.mark.parametrize("other", ["d", "d/x"])
def test_a_directory_that_another_step_makes_too_is_held_against_what_was_found_there(
    tmp_path: Path, other: str
) -> None:
    """What `make` leaves now is what `edit` left the last time, and has to be edited all the same."""
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "d").mkdir()

    def edit(path: Path, _: Step) -> None:
        with (path / "d" / "x").open("ab") as file:
            file.write(b"!")

    make = step(0, "make", inputs=(Input("a"),), outputs=(other,))
    editor = step(1, "edit", inputs=(Input("d"),), outputs=("d",))
    sandbox = Sandbox(tmp_path, [make, editor], {"make": joined("a", to="d/x"), "edit": edit})
    assert sandbox.run() == ["make", "edit"]
    (tmp_path / "a").write_bytes(b"1!")
    assert sandbox.run() == ["make", "edit"]
    assert (tmp_path / "d" / "x").read_bytes() == b"1!!"


# ------------------------------------------------------------------ one makes a directory, another edits a file in it


def appends(name: str, *, also: str = "") -> Make:
    def make(path: Path, _: Step) -> None:
        with (path / name).open("ab") as file:
            file.write((path / also).read_bytes() if also else b"!")

    return make


def made_anew(path: Path, _: Step) -> None:
    """Make d with a, which is as `in`, and `other`; nothing else stays in it."""
    if (path / "d").exists():
        for name in ("a", "b", "other"):
            (path / "d" / name).unlink(missing_ok=True)
    (path / "d").mkdir(exist_ok=True)
    (path / "d" / "a").write_bytes((path / "in").read_bytes())
    (path / "d" / "other").write_bytes(b"0")


@pytest.fixture
def edited(tmp_path: Path) -> Sandbox:
    """`make` makes the directory d, `edit` appends to d/a, and `add` puts d/b into it."""
    for name in ("in", "tail", "new"):
        (tmp_path / name).write_bytes(b"1")
    steps = [
        step(0, "make", inputs=(Input("in"),), outputs=("d",)),
        step(1, "edit", inputs=(Input("tail"), Input("d/a")), outputs=("d/a",)),
        step(2, "add", inputs=(Input("new"),), outputs=("d/b",)),
    ]
    makes = {"make": made_anew, "edit": appends("d/a", also="tail"), "add": joined("new", to="d/b")}
    return Sandbox(tmp_path, steps, makes)


def test_an_edit_in_a_directory_that_another_step_made_is_no_tampering(edited: Sandbox) -> None:
    assert edited.run() == ["make", "edit", "add"]
    assert edited.run() == []
    (edited.path / "in").write_bytes(b"2")
    assert edited.run() == ["make", "edit", "add"]
    assert (edited.path / "d" / "a").read_bytes() == b"21"
    assert edited.run() == []


def test_what_is_edited_again_is_made_again_before(edited: Sandbox) -> None:
    edited.run()
    (edited.path / "tail").write_bytes(b"3")
    assert edited.reasons()["make"] == ["output-changed"]
    assert edited.run() == ["make", "edit", "add"]
    assert (edited.path / "d" / "a").read_bytes() == b"13"


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("d/other", {"make": ["output-changed"], "edit": [], "add": []}),
        ("d/more", {"make": ["output-changed"], "edit": [], "add": []}),
        ("d/a", {"make": ["output-changed"], "edit": ["input-changed", "output-changed"], "add": []}),
        ("d/b", {"make": ["output-changed"], "edit": [], "add": ["output-changed"]}),
    ],
)
def test_tampering_in_a_directory_of_several_is_noticed(
    edited: Sandbox, name: str, reasons: dict[str, list[str]]
) -> None:
    edited.run()
    (edited.path / name).write_bytes(b"tampered")
    assert edited.reasons() == reasons
    edited.run()
    assert (edited.path / "d" / "a").read_bytes() == b"11"


def test_what_is_made_as_it_was_edited_is_edited_all_the_same(edited: Sandbox) -> None:
    """What `make` leaves now is what `edit` left the last time."""
    edited.run()
    (edited.path / "in").write_bytes(b"11")
    assert "edit" in edited.run()
    assert (edited.path / "d" / "a").read_bytes() == b"111"


def test_a_directory_made_in_a_pass_that_did_not_get_further_is_edited_in_the_next(edited: Sandbox) -> None:
    edited.run()
    (edited.path / "in").write_bytes(b"11")
    rest = edited.steps[1:]
    world = edited.world()
    judgement = world.judge(edited.steps[0], {})
    world.begins(edited.steps[0], edited.disk)
    made_anew(edited.path, edited.steps[0])
    told = {"run_id": "r", "completed_at": "", "duration_s": 0.0, "published": {}, "env": {}}
    assert world.ends(judgement, Status.SUCCEEDED, **told) == ""
    world.save(edited.disk)
    assert rest[0].name in edited.run()
    assert (edited.path / "d" / "a").read_bytes() == b"111"


def test_a_needed_directory_that_a_step_edits_itself_is_no_reason(edited: Sandbox) -> None:
    edited.steps[1] = step(1, "edit", inputs=(Input("tail"),), outputs=("d/a",), needs=(0,))
    assert edited.run() == ["make", "edit", "add"]
    assert edited.run() == []
    (edited.path / "d" / "other").write_bytes(b"tampered")
    assert edited.reasons()["edit"] == ["upstream-changed"]


def test_who_edits_a_whole_directory_leaves_what_was_made_in_it_to_its_maker(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"1")
    (tmp_path / "d").mkdir()
    steps = [
        step(0, "make", inputs=(Input("in"),), outputs=("d/x",)),
        step(1, "edit", inputs=(Input("d"),), outputs=("d",)),
    ]

    def edit(path: Path, _: Step) -> None:
        appends("d/x")(path, _)
        (path / "d" / "own").write_bytes(random.randbytes(4))

    sandbox = Sandbox(tmp_path, steps, {"make": joined("in", to="d/x"), "edit": edit})
    assert sandbox.run() == ["make", "edit"]
    assert sandbox.run() == []
    (tmp_path / "in").write_bytes(b"2")
    assert sandbox.run() == ["make", "edit"]
    assert sandbox.run() == []
    (tmp_path / "d" / "own").write_bytes(b"tampered")
    assert sandbox.run() == ["make", "edit"]
    assert (tmp_path / "d" / "x").read_bytes() == b"2!"


def test_a_directory_on_the_way_to_what_another_step_makes_is_of_nobody(edited: Sandbox) -> None:
    def add(path: Path, _: Step) -> None:
        (path / "d" / "sub").mkdir(exist_ok=True)
        (path / "d" / "sub" / "b").write_bytes(b"1")

    edited.steps[2] = step(2, "add", inputs=(Input("new"),), outputs=("d/sub/b",))
    edited.makes["add"] = add
    assert edited.run() == ["make", "edit", "add"]
    assert edited.run() == []
    (edited.path / "d" / "sub" / "c").write_bytes(b"")
    assert edited.reasons()["make"] == ["output-changed"]


def test_a_step_that_makes_another_path_now_leaves_its_old_one_to_its_editor(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"1")
    edit = step(1, "edit", inputs=(Input("x"),), outputs=("x",))
    steps = [step(0, "make", inputs=(Input("in"),), outputs=("x",)), edit]
    sandbox = Sandbox(tmp_path, steps, {"make": joined("in", to="x"), "edit": appends("x")})
    assert sandbox.run() == ["make", "edit"]
    sandbox.steps[0] = step(0, "make", inputs=(Input("in"),), outputs=("y",))
    sandbox.makes["make"] = joined("in", to="y")
    assert sandbox.run() == ["make"]
    assert sandbox.run() == []

"""compress, export and import that die, or meet a broken disk, at any of their operations: the old or the new state.

The commands run in a child of this process, which costs a tenth of a new interpreter; the kill is a real one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.packing_places import CASES, KILLED, Place, assert_goes_on_after_death, make_base, make_place
from tests.crash.recovering import sample


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def place(request: pytest.FixtureRequest, base: Path, tmp_path: Path) -> Place:
    return make_place(request.param, base, tmp_path)


def die(place: Place, points: list[int]) -> int:
    died = 0
    for at in points:
        for moment in ("before", "after"):
            place.restore()
            fault = f"any:{at}:die:{moment}"
            code, said = place.call(*place.words, fault=fault)
            assert code in (KILLED, 0), f"{fault}: {said}"
            died += code == KILLED
            assert_goes_on_after_death(place, fault)
    return died


def fail(place: Place, points: list[int]) -> None:
    for at in points:
        for code_name in ("ENOSPC", "EIO"):
            for how in ("", ":forever"):
                place.restore()
                fault = f"any:{at}:{code_name}{how}"
                code, said = place.call(*place.words, fault=fault)
                assert code in (0, 125), f"{fault}: {code} {said}"
                assert "Traceback" not in said
                assert code == 0 or said.startswith("error: "), f"{fault}: {said}"
                assert_goes_on_after_death(place, fault)


@pytest.mark.parametrize("place", CASES, indirect=True)
def test_killed_at_any_operation_it_is_the_old_or_the_new(place: Place) -> None:
    """Case 1, for compress, export, import and the way back: a sample; nothing is lost, and the next one cleans up."""
    points = sample(range(1, place.operations() + 1), 4)
    assert die(place, points) >= len(points)


@pytest.mark.parametrize("place", ["compress", "export", "import"], indirect=True)
def test_on_a_broken_disk_nothing_half_is_left(place: Place) -> None:
    """Cases 5, 6, 7 and 19, for archives: a full or failing disk at an operation, once and for ever."""
    fail(place, sample(range(1, place.operations() + 1), 2))


@pytest.mark.proof
@pytest.mark.parametrize("place", CASES, indirect=True)
def test_killed_at_every_operation_it_is_the_old_or_the_new(place: Place) -> None:
    """Case 1, the long form: before and after each operation."""
    points = list(range(1, place.operations() + 1))
    assert die(place, points) >= len(points)


@pytest.mark.proof
@pytest.mark.parametrize("place", CASES, indirect=True)
def test_on_a_broken_disk_at_every_operation_nothing_half_is_left(place: Place) -> None:
    """Cases 5, 6, 7 and 19, the long form."""
    fail(place, list(range(1, place.operations() + 1)))

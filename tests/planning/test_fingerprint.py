"""What a step is: the manifest, its digest, and the words for what changed."""

from __future__ import annotations

from dataclasses import replace

import hypothesis
import pytest
from blake3 import blake3
from hypothesis import strategies

from workflow.model import Repeat, Retries, Rules, Source, Step
from workflow.planning.fingerprint import differences, fingerprint, manifest

PLAIN = Step(1, "load", Source("steps/step_01_load.sh"), script="steps/step_01_load.sh", content_digest="blake3:aa")

SCHEDULING: tuple[dict[str, object], ...] = (
    {"rules": Rules(retries=Retries(3, 1.0))},
    {"rules": Rules(lock="db", cpus=2.0, memory_bytes=1 << 30)},
    {"rules": Rules(continue_on_error=True, approval="really?", matrix_of="x")},
)


@pytest.mark.parametrize(
    "change",
    [
        {"content_digest": "blake3:bb"},
        {"interpreter": ("python3", "-u")},
        {"working_directory": "sub"},
        {"env": (("A", "1"),)},
        {"params": (("A", "1"),)},
        {"outputs": ("table.csv",)},
        {"interactive": True},
        {"rules": Rules(matrix=(("A", "1"),), matrix_of="load")},
        {"rules": Rules(condition="test -f x")},
        {"rules": Rules(condition="always")},
        {"rules": Rules(repeat=Repeat("test -f x"))},
        {"rules": Rules(repeat=Repeat(max_iterations=3))},
    ],
)
def test_what_a_step_does_is_part_of_it(change: dict[str, object]) -> None:
    """RELIABILITY 47, 54."""
    changed = manifest(replace(PLAIN, **change))  # type: ignore[arg-type]
    assert fingerprint(changed) != fingerprint(manifest(PLAIN))
    assert list(differences(manifest(PLAIN), changed))


@pytest.mark.parametrize(
    "change", [{"number": 7}, {"name": "x"}, {"timeout_s": 5.0}, {"needs": (0,)}, {"group": "g"}, *SCHEDULING]
)
def test_number_name_limits_and_scheduling_are_not(change: dict[str, object]) -> None:
    """RELIABILITY 48: identity by content."""
    changed = manifest(replace(PLAIN, **change))  # type: ignore[arg-type]
    assert fingerprint(changed) == fingerprint(manifest(PLAIN))
    assert not list(differences(manifest(PLAIN), changed))


def test_a_value_of_a_matrix_is_a_variable_and_if_and_repeat_are_definition() -> None:
    """A matrix that is written out as steps with `env` is the same work."""
    as_matrix = manifest(replace(PLAIN, rules=Rules(matrix=(("A", "1"),), matrix_of="load")))
    assert as_matrix == manifest(replace(PLAIN, env=(("A", "1"),)))
    assert [str(it) for it in differences(manifest(PLAIN), as_matrix)] == ["env-changed: A"]
    ruled = manifest(replace(PLAIN, rules=Rules(condition="test -f x", repeat=Repeat("test -f y", 3))))
    assert [str(it) for it in differences(manifest(PLAIN), ruled)] == ["definition-changed: if, repeat"]


def test_a_variable_and_a_parameter_of_one_name_are_two_things() -> None:
    as_env, as_param = replace(PLAIN, env=(("A", "1"),)), replace(PLAIN, params=(("A", "1"),))
    assert fingerprint(manifest(as_env)) != fingerprint(manifest(as_param))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"content": "a"}, {"content": "b"}, ["script-changed"]),
        ({"content": "a"}, {"content": "a", "env.X": "1", "param.B": "2"}, ["env-changed: B, X"]),
        ({"content": "a", "env.X": "1"}, {"content": "a"}, ["env-changed: X"]),
        ({"content": "a"}, {"content": "a", "output.0": "x", "output.1": "y"}, ["definition-changed: output"]),
        (
            {"content": "a"},
            {"content": "b", "env.X": "1", "interpreter": "sh"},
            ["script-changed", "env-changed: X", "definition-changed: interpreter"],
        ),
        ({}, {}, []),
    ],
)
def test_changes_are_told_most_telling_first(old: dict[str, str], new: dict[str, str], expected: list[str]) -> None:
    found = [str(reason) for reason in differences(old, new)]
    assert len(found) == len(expected)
    for reason, words in zip(found, expected, strict=True):
        assert reason.startswith(words)


TEXT = strategies.text(strategies.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@hypothesis.given(strategies.dictionaries(TEXT.map(lambda key: f"env.{key}"), TEXT, max_size=4), TEXT)
def test_the_digest_is_of_sorted_nul_ended_pairs(content: dict[str, str], digest: str) -> None:
    """D5: tagged; the quick way for a plain step gives the same bytes as the long one."""
    plain = {"content": f"blake3:{digest.encode().hex()}"}
    for case in (plain, {**content, **plain}):
        data = "".join(f"{key}\0{case[key]}\0" for key in sorted(case)).encode("utf-8", "surrogateescape")
        assert fingerprint(case) == f"blake3:{blake3(data).hexdigest()}"


@hypothesis.given(strategies.dictionaries(TEXT, TEXT, max_size=4), strategies.dictionaries(TEXT, TEXT, max_size=4))
def test_differences_and_digests_never_disagree(one: dict[str, str], other: dict[str, str]) -> None:
    old, new = {"content": "x", **one}, {"content": "x", **other}
    assert (fingerprint(old) == fingerprint(new)) == (not list(differences(old, new)))

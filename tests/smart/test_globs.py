"""Patterns of inputs against their plain twin, over trees with odd names, links and loops."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.smart import plain_globs
from workflow.planning import globs

NAMES = ("a", "b", "c.c", ".h", "[x]", "a b", "n\nl", "é", "\udcff", "*", "-r", "!a", "\\")
TARGETS = (".", "..", "a", "b", "a/b", "nowhere", "c.c", "../a")
SEGMENTS = (*NAMES[:9], "*", "**", "?", "*.c", "[ab]", "[!a]", ".*", "[[]x]", "a*", "*a*", "??", "[", "x[")

Tree = dict[str, Any]  # a name, and what it is: None a file, a text the target of a link, a Tree a directory

files = st.none()
links = st.sampled_from(TARGETS)


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Tree]:
    names = st.sampled_from(NAMES)
    return st.dictionaries(
        names, st.recursive(leaves, lambda it: st.dictionaries(names, it, max_size=4), max_leaves=8), max_size=5
    )


# Most names of patterns are names of the tree: what matches nothing proves little.
segments = st.one_of(st.sampled_from(SEGMENTS), st.sampled_from(("a", "b", "*", "**")))
positive = st.lists(segments, min_size=1, max_size=4).map("/".join).filter(lambda it: not it.startswith("!"))
patterns = st.lists(
    st.one_of(positive, positive, st.just("."), positive.map("!{}".format), positive.map("./{}".format)),
    min_size=1,
    max_size=4,
)
TIMES = 20 if os.environ.get("PROOF") == "long" else 1
slowly = settings(max_examples=80 * TIMES, suppress_health_check=[HealthCheck.too_slow])


@contextmanager
def standing(tree: Tree) -> Iterator[str]:
    """Give a directory with that tree in it, alone in another: a link to `..` leads no further than there."""
    outer = os.path.realpath(tempfile.mkdtemp())
    base = f"{outer}/base"
    try:
        os.mkdir(base)
        build(base, tree)
        yield base
    finally:
        shutil.rmtree(outer)


def build(directory: str, tree: Tree) -> None:
    for name, what in tree.items():
        path = f"{directory}/{name}"
        if what is None:
            os.close(os.open(path, os.O_CREAT))
        elif isinstance(what, str):
            os.symlink(what, path)
        else:
            os.mkdir(path)
            build(path, what)


def found(base: str, given_patterns: list[str]) -> list[str]:
    return [path.removeprefix("./") for path in globs.expand(base, given_patterns).paths]


@slowly
@given(trees(files), patterns)
def test_patterns_stand_for_what_they_say(tree: Tree, given_patterns: list[str]) -> None:
    with standing(tree) as base:
        assert set(found(base, given_patterns)) == plain_globs.expanded(base, given_patterns)


@slowly
@given(trees(st.one_of(files, links)), patterns)
def test_links_are_followed_and_loops_come_to_an_end(tree: Tree, given_patterns: list[str]) -> None:
    """At least every path that passes no directory twice; nothing that is not there or not meant."""
    only_in = [it for it in given_patterns if not it.startswith("!")]
    with standing(tree) as base:
        paths = set(found(base, only_in))
        assert plain_globs.expanded(base, only_in) <= paths
        assert [path for path in paths if not plain_globs.may_mean(base, only_in, path)] == []
        without = set(found(base, given_patterns))
        out = [plain_globs.parts(it[1:]) for it in given_patterns if it.startswith("!")]
        assert without == {
            it for it in paths if not any(plain_globs.takes_out(each, plain_globs.parts(it)) for each in out)
        }


@slowly
@given(trees(files), positive, positive)
def test_what_a_pattern_stands_for_is_what_it_means_of_the_same_path_alone(tree: Tree, one: str, other: str) -> None:
    """`is_meant` and `may_lead_through`, which are asked of paths that are gone, never say less than `expand`."""
    with standing(tree) as base:
        for path in found(base, [one, f"!{other}"]):
            assert globs.is_meant(path, [one, f"!{other}"])
            names = path.split("/")
            assert all(globs.may_lead_through("/".join(names[:it]), [one]) for it in range(1, len(names) + 1))


# ------------------------------------------------------------------ what the answer depends on


def facts(paths: list[str]) -> list[object] | None:
    """Return what stat tells of paths, a directory by what it lists; None where a link stands: those are not kept."""
    seen: list[object] = []
    for path in paths:
        if os.path.islink(path):
            return None
        if os.path.isdir(path):
            seen.append(sorted((it.name, it.is_dir(follow_symlinks=False)) for it in os.scandir(path)))
        else:
            seen.append(os.path.lexists(path))
    return seen


def remove(base: str, name: str) -> None:
    path = f"{base}/{name}"
    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def change(base: str, kind: int, name: str, choose: Callable[[list[str]], str]) -> None:
    """Make one change somewhere in the tree."""
    there = sorted(os.path.relpath(f"{top}/{it}", base) for top, dirs, names in os.walk(base) for it in (*dirs, *names))
    folders = sorted(os.path.relpath(top, base) for top, _, _ in os.walk(base))
    new = f"{base}/{choose(folders)}/{name}"
    if kind == 0 and not os.path.lexists(new):
        os.close(os.open(new, os.O_CREAT))
    elif kind == 1 and not os.path.lexists(new):
        os.makedirs(f"{new}/b")
        os.close(os.open(f"{new}/b/a", os.O_CREAT))
    elif kind == 2 and there:
        remove(base, choose(there))
    elif kind == 3 and there:
        path = choose(there)
        was_directory = os.path.isdir(f"{base}/{path}")
        remove(base, path)
        os.close(os.open(f"{base}/{path}", os.O_CREAT)) if was_directory else os.makedirs(f"{base}/{path}/a")
    elif kind == 4 and there and not os.path.lexists(new):
        path = choose(there)
        if not f"{new}/".startswith(f"{base}/{path}/") and not os.path.normpath(new).startswith(f"{base}/{path}/"):
            os.rename(f"{base}/{path}", new)


@settings(slowly, max_examples=150 * TIMES)
@given(trees(st.one_of(files, files, links)), patterns, st.integers(0, 4), st.sampled_from(NAMES), st.data())
def test_no_change_makes_a_difference_that_none_of_what_was_looked_at_tells(
    tree: Tree, given_patterns: list[str], kind: int, name: str, data: st.DataObject
) -> None:
    """What a quick look rests on. Case 52: also what was not there at first."""
    with standing(tree) as base:
        before = globs.expand(base, given_patterns)
        looked = [*before.looked, *(os.path.join(base, path) for path in before.paths)]
        then = None if before.has_links else facts(looked)
        change(base, kind, name, lambda them: data.draw(st.sampled_from(them)))
        if then is not None and globs.expand(base, given_patterns).paths != before.paths:
            assert facts(looked) != then


def test_a_name_at_the_end_of_a_pattern_stands_for_all_that_is_below_it() -> None:
    with standing({"p": {"src": {"f": None, ".h": None}}, "q": {"src": None}}) as base:
        assert found(base, ["*/src"]) == ["p/src", "p/src/.h", "p/src/f", "q/src"]
        assert found(base, ["**/src"]) == ["p/src", "p/src/.h", "p/src/f", "q/src"]
        assert found(base, ["*/src/*"]) == ["p/src/f"]


@pytest.mark.parametrize("pattern", ["[", "x[", "[]", "[!]"])
def test_brackets_that_do_not_close_are_themselves(pattern: str) -> None:
    with standing({pattern: None, "y": None}) as base:
        assert found(base, [pattern]) == [pattern]

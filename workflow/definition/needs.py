"""`needs:` -> numbers of steps: a word names a step, a group or a matrix, and only one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from workflow.definition.matrix import Variant
from workflow.definition.nodes import Node
from workflow.definition.raw import RawStep
from workflow.errors import Problem, listed, nearest, one_line

# Finding the nearest of more names takes longer than reading the definition.
_MOST_COMPARED = 2000
_MOST_LOOKED_FOR = 50
# Ten thousand steps that each need ten thousand would be a hundred million edges.
MOST_NEEDS = 5_000_000


class _Words:
    """What a word in `needs` may name."""

    def __init__(
        self,
        numbers: Sequence[int],
        names: Sequence[str],
        groups: Sequence[str | None],
        variants: Mapping[int, Sequence[Variant]],
    ) -> None:
        self.by_name: dict[str, int] = {}
        self.groups: dict[str, list[int]] = {}
        self.matrices: dict[str, range] = {}
        for index, number in enumerate(numbers):
            members = range(number, number + len(variants.get(index, (None,))))
            if index in variants:
                self.matrices[names[index]] = members
                self.by_name.update((variant.name, at) for variant, at in zip(variants[index], members, strict=True))
            else:
                self.by_name[names[index]] = number
            group = groups[index]
            if group is not None:
                self.groups.setdefault(group, []).extend(members)
        self._numbers = set(self.by_name.values())
        self._looked_for = 0

    def meanings(self, word: str) -> dict[str, frozenset[int]]:
        """Return what `word` means: kind -> the numbers it stands for; what says the same twice is left out."""
        found: dict[str, frozenset[int]] = {}
        if len(word) <= 20 and word.isascii() and word.isdigit() and int(word) in self._numbers:
            found["number"] = frozenset((int(word),))
        if word in self.by_name:
            found["name"] = frozenset((self.by_name[word],))
        for kind, members in (("matrix", self.matrices.get(word)), ("group", self.groups.get(word))):
            if members is not None:
                found[kind] = frozenset(members)
        return {
            kind: members
            for at, (kind, members) in enumerate(found.items())
            if members not in list(found.values())[:at]
        }

    def nearest(self, word: str) -> str:
        """Return the help that names what is most like a word that means nothing; empty after very many of them."""
        self._looked_for += 1
        if self._looked_for > _MOST_LOOKED_FOR:
            return ""
        known = [*self.groups, *self.matrices]
        if len(self.by_name) <= _MOST_COMPARED:
            known += self.by_name
        near = nearest(word, known) if len(known) <= 2 * _MOST_COMPARED else None
        if near is None and word.startswith("step_"):
            near = nearest(word.removeprefix("step_").lstrip("0123456789").lstrip("_-"), known)
        if near:
            return f"did you mean `{one_line(near)}`?"
        by_number = sorted((number, name) for name, number in self.by_name.items())
        steps = f"there are {listed([f'{number:02d} {one_line(name)}' for number, name in by_number], 6)}"
        others = [one_line(name) for name in dict.fromkeys((*self.groups, *self.matrices))]
        return f"{steps}; groups: {listed(others, 6)}" if others else steps


def needs(
    steps: Sequence[RawStep],
    numbers: Sequence[int],
    names: Sequence[str],
    groups: Sequence[str | None],
    variants: Mapping[int, Sequence[Variant]],
    problems: list[Problem],
    *,
    is_whole: bool,
    is_unique: bool,
) -> list[tuple[int, ...] | None]:
    """Return for each step the numbers it needs, sorted, each once; None for plain order.

    Unless `is_whole`, some names are not known, and a word that means nothing is passed over; unless
    `is_unique`, some are told of already, and one that means too much is.
    """
    result: list[tuple[int, ...] | None] = [None] * len(steps)
    if not any("needs" in step.values for step in steps):
        return result
    words = _Words(numbers, names, groups, variants)
    total = 0
    for index, step in enumerate(steps):
        said = step.values.get("needs")
        if said is None:
            continue
        assert step.options is not None
        own = range(numbers[index], numbers[index] + len(variants.get(index, (None,))))
        is_list = isinstance(said, list)
        found: set[int] = set()
        known: set[str] = set()
        for position, word in enumerate(said if is_list else [said]):
            if str(word) in known:
                continue
            known.add(str(word))
            place = step.options.at(["needs", position] if is_list else ["needs"])
            meanings = words.meanings(str(word))
            if len(meanings) > 1:
                if is_unique:
                    problems.append(_ambiguous(str(word), meanings, place))
            elif not meanings:
                if is_whole:
                    problems.append(_unknown(words, str(word), place))
            else:
                ((kind, members),) = meanings.items()
                if any(number in members for number in own):
                    problems.append(_own(str(word), kind, place))
                else:
                    found |= members
        total += len(found) * len(own)
        if total > MOST_NEEDS:
            message = f"up to here, the needs of all steps come to more than {MOST_NEEDS:,}"
            advice = "put a step between: it needs the group, and the others need it"
            problems.append(step.option_problem("needs", message, advice))
            return result
        result[index] = tuple(sorted(found))
    return result


def _unknown(words: _Words, word: str, place: Node) -> Problem:
    what = "step or group" if words.groups else "step"
    return place.problem(f"there is no {what} `{one_line(word[:80])}`", words.nearest(word))


def _own(word: str, kind: str, place: Node) -> Problem:
    message = "a step cannot need itself"
    if kind in ("group", "matrix"):
        message += f", and it is one of the {kind} `{one_line(word)}`"
    return place.problem(message, "take it out of `needs`")


def _ambiguous(word: str, meanings: Mapping[str, frozenset[int]], place: Node) -> Problem:
    shown = one_line(word)
    if set(meanings) == {"number", "name"}:
        return place.problem(
            f"`{shown}` is the number of one step and the name of another",
            "rename the other one: a name should not be a number",
        )
    phrases = {
        "number": "the number of step {}",
        "name": "the name of step {}",
        "group": "the name of the group of {}",
        "matrix": "the name of the matrix of {}",
    }
    both = listed([phrases[kind].format(_labels(members)) for kind, members in meanings.items()])
    return place.problem(f"`{shown}` is {both}", "rename one of them, or say which by the numbers")


def _labels(members: Iterable[int]) -> str:
    return listed([f"{number:02d}" for number in sorted(members)], 4)

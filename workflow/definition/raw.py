"""What every reader returns: steps as they were found, before numbers, names and needs are settled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from workflow.definition.nodes import Node
from workflow.errors import Problem
from workflow.model import Source


@dataclass(slots=True, eq=False)
class RawGroup:
    """A list of steps below `parallel:`. `name` empty: `group_NN`, by the number of its first step.

    `first` is that number, below 0 while not known. `is_wrong`: it was given a name that made no sense.
    """

    place: Node
    name: str = ""
    first: int = -1
    is_wrong: bool = False


@dataclass(slots=True, eq=False)
class RawStep:
    """A step as found. `number` None: counted on from the one before. `name` empty: `step_NN`.

    `place` is where problems of the whole step point (None: the file of `source`); `options` is the mapping
    the values in `values` came from. `text_interpreter` is what its own `#!` line or its kind says; None lets
    the kernel read the line.
    """

    source: Source
    number: int | None = None
    name: str = ""
    script: str | None = None
    text: str | None = None
    interpreter: tuple[str, ...] | None = None
    content_digest: str = ""
    options: Node | None = None
    values: dict[str, Any] = field(default_factory=dict)
    place: Node | None = None
    kind: str = "script"  # script, cell or item: what may and may not stand in its options
    objection: Problem | None = None  # why it cannot run as it is, unless `shell:` says how
    group: RawGroup | None = None  # the list it stands in

    def is_wrong(self, word: str) -> bool:
        """Tell whether an option was given whose value made no sense; a problem tells of it already."""
        return (
            self.options is not None
            and self.options.entries is not None
            and word in self.options.entries
            and word not in self.values
        )

    def problem(self, message: str, help: str = "") -> Problem:
        """Return a problem with the step as a whole."""
        if self.place is not None:
            return self.place.problem(message, help)
        return Problem(message, self.source.path, self.source.line, help=help)

    def option_problem(self, word: str, message: str, help: str = "") -> Problem:
        """Return a problem with the value of one option."""
        if self.options is None:
            return self.problem(message, help)
        return self.options.at([word]).problem(message, help)


@dataclass(slots=True)
class RawWorkflow:
    """The steps in the order they were found, and the words at the top (None: there are none).

    `is_partial`: there was more that could not be read, and problems tell of it.
    """

    steps: list[RawStep]
    top: Node | None = None
    values: dict[str, Any] = field(default_factory=dict)
    is_partial: bool = False


def digest(data: bytes) -> str:
    """Return `blake3:<hex>` of `data`."""
    return f"blake3:{blake3(data).hexdigest()}"

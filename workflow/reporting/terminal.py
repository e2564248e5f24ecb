"""What a terminal may be used for: a live line, colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Style(NamedTuple):
    """`live`: the cursor may be moved. `colour`: colours may be used."""

    live: bool
    colour: bool


def style(*, isatty: bool, environ: Mapping[str, str]) -> Style:
    """Work out what may be done with a stream.

    NO_COLOR (no-color.org: present and not empty) wins over everything. FORCE_COLOR gives colours
    without a terminal, never a live line. CI and TERM=dumb mean that nobody watches or nothing moves.
    """
    if environ.get("NO_COLOR"):
        return Style(live=False, colour=False)
    can_move = isatty and environ.get("TERM", "") not in ("", "dumb", "unknown")
    if "FORCE_COLOR" in environ:
        is_forced = environ["FORCE_COLOR"].lower() not in ("", "0", "false")
        return Style(live=can_move and not _is_ci(environ), colour=is_forced)
    return Style(live=can_move and not _is_ci(environ), colour=can_move)


def _is_ci(environ: Mapping[str, str]) -> bool:
    return environ.get("CI", "").lower() not in ("", "0", "false")

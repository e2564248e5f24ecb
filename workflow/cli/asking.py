"""Asking a person on the terminal; before something is taken away, without one, whoever typed --force."""

from __future__ import annotations

import sys

import click

from workflow.errors import UsageError


def may_go_on(question: str, *, is_forced: bool, refusal: str, advice: str) -> bool:
    """Return whether to go on: forced, or a person said yes (no is what Enter means).

    Raises UsageError (`refusal`, with `advice` as its help) where there is nobody to ask.
    """
    if is_forced:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(refusal, help=advice)
    return confirm(question)


def confirm(question: str, *, default: bool = False) -> bool:
    """Ask a person on the terminal; `default` is what Enter means."""
    try:
        return click.confirm(question, default=default, err=True)
    except click.Abort:  # Ctrl-D, Ctrl-C: no answer is not a no
        click.echo(err=True)
        raise KeyboardInterrupt from None

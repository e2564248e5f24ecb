"""The options that every command with an answer has, under the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

HELP_NAMES = {"help_option_names": ["-h", "--help"]}


def answering(*formats: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command --json, --format, --checkpoint-dir and --debug; `formats` are the words of --format."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option("--debug", is_flag=True, expose_value=False, help="Tracebacks."),
            click.option("--checkpoint-dir", metavar="D", help="Where runs are recorded (default .checkpoints)."),
            click.option("--format", "as_format", type=click.Choice(formats), help="--format json is --json."),
            click.option("--json", "as_json", is_flag=True, help="One JSON document."),
        ):
            command = option(command)
        return command

    return decorate

"""The door: which command was meant, and how every end of it becomes an exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence

from workflow import __version__
from workflow.errors import EXIT_BUG, EXIT_USAGE, WorkflowError, nearest, one_line, printable

# Command -> module that defines it under the same name; loaded when it is called.
COMMANDS = {
    "run": "workflow.cli.running",
    "resume": "workflow.cli.running",
    "plan": "workflow.cli.running",
    "status": "workflow.cli.looking",
    "logs": "workflow.cli.looking",
    "mark": "workflow.cli.marking",
    "approve": "workflow.cli.marking",
    "graph": "workflow.cli.graph",
    "explain": "workflow.cli.explaining",
    "checkpoint": "workflow.cli.checkpoint",
    "doctor": "workflow.cli.doctor",
    "schema": "workflow.cli.looking",
    "lint": "workflow.cli.looking",
    "metrics": "workflow.cli.metrics",
}
ALIASES = {"checkpoints": "checkpoint"}
LATER = ("report", "init")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code; never returns."""
    # Reading ten thousand steps makes no garbage worth looking for; the engine turns this on again.
    gc.disable()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words in (["--version"], ["-V"]):
        print(f"workflow {__version__}")
        sys.exit(0)
    code = _exit_code(words)
    # All is said and recorded: a late signal, such as the second HUP of a terminal that closes, is not to turn this
    # exit code into a death.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def _exit_code(words: list[str]) -> int:
    import click

    is_debug = "--debug" in words
    try:
        return _dispatch(words)
    except WorkflowError as error:
        return _said(error.render(), error.exit_code, is_debug)
    except click.UsageError as error:
        return _said(_usage_text(error, words), EXIT_USAGE, is_debug)
    except click.ClickException as error:
        return _said(f"error: {error.format_message()}", EXIT_USAGE, is_debug)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, EOFError, click.Abort):
        print(file=sys.stderr)  # closes the line of a terminal's ^C
        return _said("error: interrupted", 130, is_debug)
    except BrokenPipeError:
        # Whoever read our output went away; what was asked for may well be done.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except Exception as error:  # noqa: BLE001 the door: whatever gets here is a bug of ours, and says so
        text = (
            f"error: {type(error).__name__}: {error} (this is a bug in workflow)\n"
            "help: run again with --debug and report the traceback"
        )
        return _said(text, EXIT_BUG, is_debug)


def _said(text: str, exit_code: int, is_debug: bool) -> int:
    try:
        if is_debug:
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        print(text, file=sys.stderr, flush=True)
    except OSError:  # nobody reads our messages any more: the exit code still tells
        pass
    return exit_code


def _dispatch(words: list[str]) -> int:
    if words and words[0] in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0
    name, rest = _command(words)
    from importlib import import_module

    command = getattr(import_module(COMMANDS[name]), name)
    # Not by its `main`, which makes exit code 1, that of a failed step, of a reader who went away.
    with command.make_context(f"workflow {name}", rest) as context:
        return int(command.invoke(context) or 0)


def _command(words: list[str]) -> tuple[str, list[str]]:
    """Return which command was meant: bare options mean `run`."""
    if "--checkpoint-status" in words and (words[0] == "run" or words[0].startswith("-")):
        # One by one: the next to it may well be the name of a directory.
        rest = words[words[0] == "run" :]
        rest.remove("--checkpoint-status")
        return "status", rest
    if not words or words[0].startswith("-"):
        return "run", words
    name = ALIASES.get(words[0], words[0])
    if name in COMMANDS:
        return name, words[1:]
    if name in LATER:
        raise CommandError(f"`workflow {name}` is not available in this version", "what there is: workflow --help")
    like = nearest(name, COMMANDS)
    if os.path.exists(name):
        raise CommandError(f"there is no command {one_line(name)}", f"to run it: workflow run {one_line(name)}")
    raise CommandError(
        f"there is no command {one_line(name)}",
        f"did you mean: workflow {like}?" if like else "what there is: workflow --help",
    )


class CommandError(WorkflowError):
    """The command itself is wrong."""

    exit_code = EXIT_USAGE

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message, help=help)


def _usage_text(error: object, words: list[str]) -> str:
    import click

    assert isinstance(error, click.UsageError)
    command = error.ctx.command_path if error.ctx is not None else f"workflow {_command(words)[0]}"
    message, advice = error.format_message(), f"what there is: {command} --help"
    if isinstance(error, click.NoSuchOption):
        message = f"there is no option {one_line(error.option_name)} of {command}"
        if error.possibilities:
            advice = f"did you mean {' or '.join(sorted(error.possibilities))}? {advice}"
    elif isinstance(error, click.BadOptionUsage):
        message = f"{one_line(error.option_name)} wants a value after it"
    elif isinstance(error, click.MissingParameter) and error.param is not None:
        message = f"{command} wants {error.param.make_metavar(error.ctx) if error.ctx else error.param.name}"
    elif isinstance(error, click.BadParameter) and error.param is not None:
        message = f"{' / '.join(error.param.opts)}: {error.message.rstrip('.')}"
    elif message.startswith("Got unexpected extra argument"):
        message = f"too much for {command}: {message.partition('(')[2].rstrip(')')}"
    return f"error: {printable(message)}\nhelp: {advice}"


HELP = """\
workflow runs numbered shell steps and, after any crash, carries on where it was.

  workflow run [SOURCE]         run workflow.yaml, else steps/, or SOURCE
  workflow resume [RUN|RUN@N]   carry on the newest open run, RUN, or RUN from its snapshot N
  workflow plan [SOURCE]        what would run, and why; runs nothing
  workflow status [RUN]         where a run stands and how to go on
  workflow logs [RUN] [STEP]    what the steps said; -f follows
  workflow metrics [RUN]        what it did, spent and takes; --prometheus for monitors
  workflow graph [SOURCE]       the picture of the steps: what waits for what
  workflow explain STEP         why a step would run or be reused
  workflow mark RUN STEP        --done or --pending: your word on a step
  workflow approve [RUN] STEP   say yes to a step that asks; --reject says no
  workflow checkpoint VERB      list, show, validate, clean and compress runs: see its --help
  workflow doctor               which settings are in force, and what this machine lacks
  workflow lint [SOURCE]        check a definition
  workflow schema NAME          the JSON Schema of a file or an answer

Without a command: workflow run. `workflow COMMAND --help` tells the options.
Exit codes: 0 done, 1 a step failed, 2 wrong definition or command line, 3 checkpoint missing or damaged,
4 waiting for approval or a higher limit, 75 busy, 124 out of time, 125 could not be recorded,
130/143/129 interrupted.
"""

"""`checkpoint pin` and `checkpoint abandon`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from workflow.cli.answering import HELP_NAMES, answering
from workflow.errors import UsageError, one_line
from workflow.session import open_disk, open_root, user_name

if TYPE_CHECKING:
    from workflow.checkpoint.durable import Disk
    from workflow.checkpoint.layout import CheckpointRoot, RunLayout

LONGEST_NOTE = 1000


class Word(NamedTuple):
    """What is said of a run: by which verb, the name of its tag, whether it is taken back, and why."""

    verb: str
    tag: str
    is_off: bool
    note: str

    def again(self, run_id: str, checkpoint_dir: str | None) -> str:
        """Return what to type to say it once more."""
        words = ["workflow", "checkpoint", self.verb, run_id]
        words += ["--off"] if self.is_off else []
        words += ["--note", self.note] if self.note else []
        words += ["--checkpoint-dir", checkpoint_dir] if checkpoint_dir else []
        return one_line(shlex.join(words))


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options that both have."""
    off = click.option("--off", "is_off", is_flag=True, help="Take it back.")
    note = click.option("--note", default="", metavar="TEXT", help="Why, for people.")
    return off(note(answering("json", "text")(command)))


@click.command(context_settings=HELP_NAMES)
@click.argument("run_id", metavar="RUN")
@_options
def pin(run_id: str, is_off: bool, note: str, checkpoint_dir: str | None, **given: Any) -> int:
    """Keep RUN whatever its age: nothing that cleans removes it, until --off."""
    from workflow.keeping import tagging

    _refuse_note(note, is_off=is_off)
    word = Word("pin", "pinned", is_off, note)
    return _tag(
        run_id,
        checkpoint_dir,
        given,
        word,
        tagging.unpin if is_off else (lambda disk, layout: tagging.pin(disk, layout, by=user_name(), note=note)),
    )


@click.command(context_settings=HELP_NAMES)
@click.argument("run_id", metavar="RUN")
@_options
def abandon(run_id: str, is_off: bool, note: str, checkpoint_dir: str | None, **given: Any) -> int:
    """Say that nobody will carry RUN on: a resume without a name passes it over. --off takes that back."""
    from workflow.keeping import tagging

    _refuse_note(note, is_off=is_off)
    word = Word("abandon", "abandoned", is_off, note)
    return _tag(
        run_id,
        checkpoint_dir,
        given,
        word,
        tagging.take_up if is_off else (lambda disk, layout: tagging.abandon(disk, layout, by=user_name(), note=note)),
    )


def _refuse_note(note: str, *, is_off: bool) -> None:
    if note and is_off:
        raise UsageError("--note goes with what is said, and --off takes it back", help="give one of them")
    if len(note) > LONGEST_NOTE:
        raise UsageError(f"--note: at most {LONGEST_NOTE:,} characters", help="leave the rest to a file")


def _tag(
    run_id: str,
    checkpoint_dir: str | None,
    given: dict[str, Any],
    word: Word,
    act: Callable[[Disk, RunLayout], dict[str, Any]],
) -> int:
    from workflow.checkpoint import store
    from workflow.checkpoint.streams import told_as
    from workflow.keeping.tagging import answer_without_writing

    root = open_root(checkpoint_dir)
    layout = store.find_run(root, run_id)
    document = answer_without_writing(layout, word.tag, is_off=word.is_off, note=word.note)
    if document is None:
        what = f"that {layout.run_id} is {'no longer ' if word.is_off else ''}{word.tag} could not be recorded"
        with told_as(what, word.again(layout.run_id, checkpoint_dir)):
            document = _written(root, layout, act, word)
    if given["as_json"] or given["as_format"] == "json":
        from workflow.cli.printing import print_json

        print_json(document)
    else:
        print(_sentence(document))
    return 0


def _written(
    root: CheckpointRoot, layout: RunLayout, act: Callable[[Disk, RunLayout], dict[str, Any]], word: Word
) -> dict[str, Any]:
    from workflow.auditing import audited
    from workflow.upkeep import to_write_in

    disk = open_disk(layout if layout.archive is None else None)
    try:
        layout = to_write_in(root, layout, disk)
    finally:
        disk.close()
    disk = open_disk(layout)
    try:
        with audited(root, disk, word.verb, layout.run_id, is_taken_back=word.is_off, note=word.note):
            return act(disk, layout)
    finally:
        disk.close()


def _sentence(document: dict[str, Any]) -> str:
    run_id, tag = document["run_id"], document["tag"]
    if not document["is_set"]:
        return f"{run_id} is no longer {tag}" if document["was_changed"] else f"{run_id} was not {tag}"
    by = f" (recorded as {one_line(document['by'])}'s word)" if document["by"] else ""
    return f"{run_id} is {tag}{'' if document['was_changed'] else ' already'}{by}"

"""`workflow checkpoint restore RUN@N`, `push`, `fetch`: the files of the work tree that are kept with snapshots."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from workflow.cli.answering import HELP_NAMES, answering
from workflow.errors import count, listed, one_line
from workflow.session import open_disk, open_root

if TYPE_CHECKING:
    from workflow.checkpoint.layout import CheckpointRoot
    from workflow.keeping.tree_restoring import Restored
    from workflow.keeping.tree_sharing import Shared

_WORDS = {"added": "back", "changed": "changed"}
MOST_SHOWN = 50


def restore_files(name: str, paths: tuple[str, ...], checkpoint_dir: str | None, *, is_dry: bool, is_json: bool) -> int:
    """Bring files of the project back as they were at snapshot `name` (RUN@N)."""
    from workflow.keeping.tree_restoring import restore

    root = open_root(checkpoint_dir)
    if is_dry:
        done = restore(root, name, paths, is_dry=True)
    else:
        with _on_record(root, "restore", name.partition("@")[0], checkpoint=name) as about:
            done = restore(root, name, paths, is_dry=False)
            about |= {"files": len(done.restored), "before": done.before}
    if is_json:
        from workflow.cli.printing import print_json

        print_json(done.document())
        return 0
    from workflow.cli.printing import print_text

    print_text("\n".join(_restored_lines(done)))
    return 0


@contextmanager
def _on_record(
    root: CheckpointRoot, operation: str, run_id: str | None = None, **about: Any
) -> Iterator[dict[str, Any]]:
    """Note an operation in the audit log, with what is put into the dictionary."""
    from workflow.auditing import audited

    disk = open_disk()
    try:
        with audited(root, disk, operation, run_id, **about) as noted:
            yield noted
    finally:
        disk.close()


def _without_password(remote: str) -> str:
    """Return a remote as it may be written down: an address can hold a password."""
    return re.sub(r"//[^/@]*@", "//", remote)


def _restored_lines(done: Restored) -> list[str]:
    lines = []
    for path, change in done.restored[:MOST_SHOWN]:
        lines.append(f"  {_WORDS.get(change, change):8} {one_line(path)}")
    if len(done.restored) > MOST_SHOWN:
        lines.append(f"  and {len(done.restored) - MOST_SHOWN:,} more")
    files = count(len(done.restored), "file")
    if not done.restored:
        lines.append(f"nothing to restore: every file is as at {done.checkpoint_id}")
    elif done.is_dry:
        lines.append(f"would restore {files} as at {done.checkpoint_id}; nothing was written")
    else:
        lines.append(f"restored {files} as at {done.checkpoint_id}")
    if done.left:
        lines.append(f"left alone, not there at {done.checkpoint_id}: {listed(map(one_line, done.left))}")
    if done.before is not None:
        lines.append(f"what was replaced: workflow checkpoint restore {done.before}")
    return lines


@click.command(context_settings=HELP_NAMES)
@click.argument("remote", metavar="REMOTE")
@click.argument("names", metavar="[RUN|RUN@N]...", nargs=-1)
@answering("json", "text")
def push(remote: str, names: tuple[str, ...], as_json: bool, as_format: str | None, checkpoint_dir: str | None) -> int:
    """Give kept files of this project to REMOTE, of all runs or of those named. Nothing there is replaced."""
    from workflow.keeping.tree_sharing import push as push_files

    with _on_record(open_root(checkpoint_dir), "push", remote=_without_password(remote)) as about:
        done = push_files(remote, names)
        about |= {"checkpoints": len(done.moved), "differing": len(done.differing)}
    return _say_shared(done, is_json=as_json or as_format == "json")


@click.command(context_settings=HELP_NAMES)
@click.argument("remote", metavar="REMOTE")
@click.argument("names", metavar="[RUN|RUN@N]...", nargs=-1)
@answering("json", "text")
def fetch(remote: str, names: tuple[str, ...], as_json: bool, as_format: str | None, checkpoint_dir: str | None) -> int:
    """Take kept files from REMOTE, of all runs or of those named. Nothing here is replaced, no file is changed."""
    from workflow.keeping.tree_sharing import fetch as fetch_files

    with _on_record(open_root(checkpoint_dir), "fetch", remote=_without_password(remote)) as about:
        done = fetch_files(remote, names)
        about |= {"checkpoints": len(done.moved), "differing": len(done.differing)}
    return _say_shared(done, is_json=as_json or as_format == "json")


def _say_shared(done: Shared, *, is_json: bool) -> int:
    """Print what went over; exit code 3 where something under one name is not the same on both sides."""
    from workflow.errors import EXIT_CHECKPOINT

    if is_json:
        from workflow.cli.printing import print_json

        print_json(done.document())
    else:
        where = "to" if done.verb == "push" else "from"
        verb = "pushed" if done.verb == "push" else "fetched"
        known = f", {done.same:,} there already" if done.same else ""
        named = f": {listed(done.moved)}" if done.moved else ""
        print(f"{verb} {count(len(done.moved), 'checkpoint')} {where} {one_line(done.remote)}{known}{named}")
        if done.differing:
            print(f"not the same on both sides, and left as they are: {listed(done.differing)}")
    return EXIT_CHECKPOINT if done.differing else 0

"""`workflow checkpoint VERB`: the door to everything that is done with runs while no step is running."""

from __future__ import annotations

from typing import Any

import click

from workflow.cli.answering import HELP_NAMES
from workflow.errors import UsageError, nearest, one_line

# Verb -> module that defines it under the same name; loaded when it is called. Names of Python's own end in `_`.
VERBS: dict[str, str] = {
    "list": "workflow.cli.checkpoint_looking",
    "show": "workflow.cli.checkpoint_looking",
    "latest": "workflow.cli.checkpoint_looking",
    "diff": "workflow.cli.checkpoint_looking",
    "create": "workflow.cli.checkpoint_making",
    "restore": "workflow.cli.checkpoint_restoring",
    "push": "workflow.cli.checkpoint_files",
    "fetch": "workflow.cli.checkpoint_files",
    "validate": "workflow.cli.checkpoint_checking",
    "repair": "workflow.cli.checkpoint_checking",
    "delete": "workflow.cli.checkpoint_cleaning",
    "clean": "workflow.cli.checkpoint_cleaning",
    "prune": "workflow.cli.checkpoint_cleaning",
    "pin": "workflow.cli.checkpoint_tagging",
    "abandon": "workflow.cli.checkpoint_tagging",
    "compress": "workflow.cli.checkpoint_packing",
    "export": "workflow.cli.checkpoint_packing",
    "import": "workflow.cli.checkpoint_packing",
}
ALIASES = {"ls": "list"}
# What the list of verbs says of each, so that no module is loaded for it and no sentence cut off.
IN_SHORT: dict[str, str] = {
    "list": "the runs there are, or the snapshots of RUN (also: ls)",
    "show": "a run or a snapshot: progress, steps, what a resume takes up",
    "latest": "the newest snapshot of RUN",
    "diff": "what differs between two runs or snapshots",
    "create": "make a snapshot now, also while the run goes on",
    "restore": "bring files back as they were at RUN@N, or as RUN copied them",
    "push": "give the files kept with snapshots to a git remote",
    "fetch": "take files kept with snapshots from a git remote",
    "validate": "five checks; exit 3 when one fails",
    "repair": "rebuild what can be, keep aside what is damaged",
    "delete": "remove runs, or single snapshots of them",
    "clean": "remove runs by age, number or outcome",
    "prune": "trim the snapshots of RUN; without RUN, remove all runs",
    "pin": "keep RUN from everything that cleans",
    "abandon": "say that nobody will carry RUN on",
    "compress": "turn a run into one archive that is still read",
    "export": "write a run into a file for another machine",
    "import": "put an exported run among those of this project",
}


class Verbs(click.Group):
    """Loads only the module of the verb that was typed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        from importlib import import_module

        name = ALIASES.get(cmd_name, cmd_name)
        if name not in VERBS:
            return None
        module = import_module(VERBS[name])
        command: Any = getattr(module, name, None) or getattr(module, f"{name}_")
        return command  # type: ignore[no-any-return]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        with formatter.section("Commands"):
            formatter.write_dl([(verb, IN_SHORT[verb]) for verb in VERBS])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if not word.startswith("-") and self.get_command(ctx, word) is None:
            like = nearest(word, [*VERBS, *ALIASES])
            advice = (
                f"did you mean: workflow checkpoint {like}?" if like else "what there is: workflow checkpoint --help"
            )
            raise UsageError(f"there is no `workflow checkpoint {one_line(word)}`", help=advice)
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, invoke_without_command=True, context_settings=HELP_NAMES)
@click.pass_context
def checkpoint(ctx: click.Context) -> None:
    """List, show, validate, repair, clean and compress runs. To go back to a snapshot: workflow resume RUN@N."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


checkpoints = checkpoint

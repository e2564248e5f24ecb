"""Links in the documents resolve; the commands and options they show exist; the version has its changelog entry."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click

import workflow
from steps.checks.project_files import ROOT, finish, project_files, shown
from workflow.cli.main import ALIASES, COMMANDS

LINK = re.compile(r"(?<!\!)\[[^\]\n]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
SHELL_FENCE = re.compile(r"^```(?:sh|shell|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# A command line of ours: at the start of a line or span, or after `$`, `&&`, `;`, `|`, a folder. It ends at what the
# shell would end it at.
INVOCATION = re.compile(r"(?:^|[$;&|(] ?|/)workflow((?: +[^\s`|;&#()<>]+)*)(?![\w.-])", re.MULTILINE)

# What is still a plan may name what is still to come.
PLANS = ("docs/design/",)


def documents() -> list[Path]:
    """Return the Markdown files of the project."""
    return [path for path in project_files() if path.suffix == ".md"]


def anchors(text: str) -> set[str]:
    """Return the anchors that the headings of a document get (GitHub's rule: lower case, dashes, no punctuation)."""
    seen: dict[str, int] = {}
    found = set()
    for heading in re.findall(r"^#{1,6}\s+(.*?)\s*#*$", FENCE.sub("", text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
        again = seen.get(slug, 0)
        seen[slug] = again + 1
        found.add(f"{slug}-{again}" if again else slug)
    return found


def broken_links(path: Path) -> Iterator[str]:
    """Yield a sentence for each link to a file or heading that is not there. Links to other hosts are left alone."""
    text = path.read_text(encoding="utf-8")
    for target in LINK.findall(CODE.sub("", FENCE.sub("", text))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        other = (path.parent / name).resolve() if name else path
        if not other.exists():
            yield f"{shown(path)}: link to {target}, which does not exist"
        elif anchor and other.suffix == ".md" and anchor not in anchors(other.read_text(encoding="utf-8")):
            yield f"{shown(path)}: link to {target}, but {shown(other)} has no such heading"


def command_line() -> click.Group:
    """Return all commands in one group, out of the table that the door dispatches by."""
    commands = {name: getattr(importlib.import_module(module), name) for name, module in COMMANDS.items()}
    commands |= {alias: commands[name] for alias, name in ALIASES.items()}
    # What the door itself understands before any command is loaded.
    own = [click.Option(["-V", "--version"], is_flag=True), click.Option(["--checkpoint-status"], is_flag=True)]
    return click.Group("workflow", commands=commands, params=own)


def options_of(command: click.Command) -> set[str]:
    """Return every option word of one command, `--help` with it."""
    words = {"--help"}
    for parameter in command.params:
        words.update(parameter.opts)
        words.update(parameter.secondary_opts)
    return words


def unknown_words(path: Path, group: click.Group) -> Iterator[str]:
    """Yield a sentence for each command or option that code shows and the program does not have."""
    context = click.Context(group, info_name="workflow")
    text = path.read_text(encoding="utf-8")
    spans = SHELL_FENCE.findall(text) + [span[1:-1] for span in CODE.findall(FENCE.sub("", text))]
    run = group.get_command(context, "run")
    for arguments in (found.split() for span in spans for found in INVOCATION.findall(span)):
        command: click.Command = group
        known = options_of(group) | (options_of(run) if run else set())  # bare `workflow --resume` means `workflow run`
        for word in arguments:
            option = word.partition("=")[0]
            if option.startswith("--"):
                if option not in known:
                    yield f"{shown(path)}: `workflow {' '.join(arguments)}`: there is no option {option}"
            elif isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z-]*", word):
                below = command.get_command(context, word)
                if below is None:
                    yield f"{shown(path)}: `workflow {' '.join(arguments)}`: there is no command {word}"
                    break
                command = below
                known = options_of(command)
            else:
                continue  # a value or a source


def problems() -> list[str]:
    """Return everything that does not agree, one sentence each."""
    found = [problem for path in documents() for problem in broken_links(path)]
    group = command_line()
    for path in documents():
        if not shown(path).startswith(PLANS):
            found.extend(unknown_words(path, group))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if f"## [{workflow.__version__}]" not in changelog:
        found.append(f"CHANGELOG.md has no entry `## [{workflow.__version__}]`")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found.extend(
        f"README.md does not show `{command}`" for command in ("make run", "make test") if command not in readme
    )
    return found


if __name__ == "__main__":
    finish(
        problems(), f"{len(documents())} documents: links resolve, commands exist, changelog has {workflow.__version__}"
    )

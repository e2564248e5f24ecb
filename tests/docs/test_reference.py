"""The reference says what the program does: every command, option, word, file, variable and code, and no other."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import click
import pytest

from tests.conftest import clean_env, newest_run_of, run_program
from tests.docs.documents import ROOT, documents, first_cells, section, words_in
from workflow import errors
from workflow.cli.checkpoint import VERBS
from workflow.cli.main import COMMANDS
from workflow.cli.running import LATER_OPTIONS
from workflow.definition import schemas
from workflow.definition.vocabulary import LATER

REFERENCE = ROOT / "docs/reference"
SHARING = ("run", "resume", "plan")


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def documented_words(text: str) -> set[str]:
    return words_in(first_cells(text))


# ---------------------------------------------------------------- command line


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_option_of_a_checkpoint_verb_is_in_the_reference_and_no_other(verb: str) -> None:
    group = importlib.import_module(COMMANDS["checkpoint"]).checkpoint
    command = group.get_command(click.Context(group), verb)
    there = {"-h", "--help"}
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            there.update(parameter.opts, parameter.secondary_opts)
    said = documented_words(section(page("checkpoint.md"), f"workflow checkpoint {verb}"))
    assert said | documented_words(section(page("checkpoint.md"), "Options that every verb has")) == there


def test_the_checkpoint_reference_has_a_section_for_every_verb_and_no_other() -> None:
    assert set(re.findall(r"^## workflow checkpoint (\w+)$", page("checkpoint.md"), re.MULTILINE)) == set(VERBS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_of_a_command_is_in_the_reference_and_no_other(name: str) -> None:
    command = getattr(importlib.import_module(COMMANDS[name]), name)
    assert isinstance(command, click.Command)
    there = {"-h", "--help"}
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            there.update(parameter.opts, parameter.secondary_opts)
    said = documented_words(section(page("cli.md"), f"workflow {name}"))
    if name in SHARING:
        said |= documented_words(section(page("cli.md"), "Options of run, resume and plan"))
    assert said == there


def test_the_reference_has_a_section_for_every_command_and_no_other() -> None:
    assert set(re.findall(r"^## workflow (\w+)$", page("cli.md"), re.MULTILINE)) == set(COMMANDS)


def test_options_that_are_refused_are_named_as_such() -> None:
    text = section(page("cli.md"), "Known, and not available yet")
    known = {word for words, _ in LATER_OPTIONS.values() for word in words}
    assert words_in([text]) - {"--checkpoint", "@N"} == known


def test_the_readme_names_every_command() -> None:
    table = section((ROOT / "README.md").read_text(encoding="utf-8"), "Commands")
    named = {span.split()[1] for cell in first_cells(table) for span in re.findall(r"`([^`]+)`", cell)}
    assert set(COMMANDS) <= named


# ---------------------------------------------------------------- options of steps


def words_of(name: str) -> set[str]:
    """Return the option words of a section as the schema has them."""
    document = schemas.schema("workflow")
    top = document["properties"]
    if name == "step":
        return set(document["$defs"]["step"]["properties"])
    return set(top) if name == "workflow" else set(top[name]["properties"])


@pytest.mark.parametrize("name", ["step", "workflow", "checkpoints", "limits", "git"])
def test_option_words_are_those_of_the_schema(name: str) -> None:
    text = section(page("options.md"), f"Of a {name}" if name in ("step", "workflow") else f"Of {name}")
    assert documented_words(text) == words_of(name)
    rows = [row for row in text.splitlines() if row.startswith("| `")]
    unavailable = {row.split("`")[1] for row in rows if "not available in this version" in row}
    assert unavailable == set(LATER[name])


# ---------------------------------------------------------------- files, environment

WRITES_EVERYTHING = """\
. "$WORKFLOW_LIB/step_execution.sh"
[ "$WORKFLOW_STEP" = 00 ] || exit 1
env | sed -n 's/^\\(WORKFLOW_[A-Z_]*\\)=.*/\\1/p' | sort -u >names.txt
step_output RESULT 1
step_env MODE fast
step_warning careful
step_save key value
step_once once true
echo '# done' >>"$WORKFLOW_SUMMARY"
"""


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose run wrote everything a run can write: killed steps, damage, values, texts."""
    project = tmp_path_factory.mktemp("used")
    (project / "all.sh").write_text(
        f"#!/bin/sh\n# %% first\n{WRITES_EVERYTHING}# %% second\n{WRITES_EVERYTHING}", encoding="utf-8"
    )
    assert run_program("run", "all.sh", cwd=project).returncode == 1
    run = newest_run_of(project)
    (run / "step_00.complete").write_bytes(b"")
    (run / "state/step_01_state.json").write_bytes(b"{")
    assert run_program("resume", cwd=project).returncode == 1
    assert run_program("resume", cwd=project).returncode == 1
    return project


def test_every_file_a_run_leaves_is_in_the_reference(used: Path) -> None:
    names = [
        re.escape(span)
        .replace("NN", r"\d{2,}")
        .replace("W", r"\d+")
        .replace("NAME", r"\w+")
        .replace("YYYYMMDD_HHMMSS", r"\d{8}_\d{6}(?:_\d+)?")
        .replace("EXT", r"\w+")
        for heading in ("The checkpoint directory", "A run")
        for cell in first_cells(section(page("files.md"), heading))
        for span in re.findall(r"`([^`]+)`", cell)
        if not span.endswith("/")
    ]
    directories = r"|state/step_\d{2,}\.d/.*"
    known = re.compile("(?:" + "|".join(names) + rf")(?:\.\d+)?{directories}")
    run = newest_run_of(used)
    files = [path.relative_to(run) for path in run.rglob("*") if path.is_file()]
    files += [
        path.relative_to(run.parent) for path in run.parent.rglob("*") if path.is_file() and run not in path.parents
    ]
    unknown = [str(path) for path in files if not known.fullmatch(str(path))]
    assert not unknown
    assert len(files) > 20


# In the state of a step between two attempts, of a repeated one, of one whose failure is tolerated.
ONLY_SOMETIMES = {"retry", "iterations", "tolerated"}


def test_keys_of_a_marker_and_of_a_step_state_are_in_the_reference(used: Path) -> None:
    run = newest_run_of(used)
    marker = (run / "step_00.complete").read_text(encoding="utf-8")
    assert [line.partition("=")[0] for line in marker.splitlines()] == [
        cell.strip("`") for cell in first_cells(section(page("files.md"), "The marker"))
    ]
    state = json.loads((run / "state/step_00_state.json").read_text(encoding="utf-8"))
    assert documented_words(section(page("files.md"), "The step state")) == set(state) | ONLY_SOMETIMES


def test_variables_of_a_step_are_in_the_reference(used: Path) -> None:
    names = (used / "names.txt").read_text(encoding="utf-8").split()
    assert documented_words(section(page("environment.md"), "What a step sees")) == {*names, "WORKFLOW_ITERATION"}


def test_functions_of_a_step_are_in_the_reference() -> None:
    library = (ROOT / "lib/step_execution.sh").read_text(encoding="utf-8")
    functions = set(re.findall(r"^(step_\w+)\(\)", library, re.MULTILINE))
    assert documented_words(section(page("environment.md"), "Functions a step may call")) == functions


def test_variables_that_are_read_are_in_the_reference() -> None:
    read = set()
    for path in (ROOT / "workflow").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        read |= set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"|\"(\w+)\" (?:not )?in environ", text))
    named = {name for pair in read for name in pair if name}
    text = section(page("environment.md"), "What workflow reads")
    assert named <= set(re.findall(r"`([A-Z_]+)`", text))


# ---------------------------------------------------------------- exit codes, JSON


def test_exit_codes_are_in_the_reference() -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    said = {int(cell) for cell in first_cells(page("exit-codes.md"))}
    assert said == codes | {129, 130, 143, 141}


def test_events_and_their_keys_are_in_the_reference(used: Path) -> None:
    answer = run_program("resume", "--json", cwd=used)
    assert answer.returncode == 1
    text = section(page("json.md"), "Events of a run")
    rows = {row.split("`")[1]: set(re.findall(r"`(\w+)`", row)) for row in text.splitlines() if row.startswith("| `")}
    for line in answer.stdout.splitlines():
        event = json.loads(line)
        keys = set(event) - {"event", "time"}
        assert keys <= rows[event["event"]], event["event"]


@pytest.mark.parametrize("arguments", [("status",), ("plan", "all.sh"), ("lint", "all.sh")], ids=lambda it: it[0])
def test_keys_of_answers_are_in_the_reference(used: Path, arguments: tuple[str, ...]) -> None:
    answer = json.loads(run_program(*arguments, "--json", cwd=used).stdout)
    text = section(page("json.md"), f"workflow {arguments[0]} --json")
    said = set(re.findall(r"`(\w+)`", text))
    assert set(answer) <= said
    for step in answer["steps"] if isinstance(answer["steps"], list) else ():
        assert set(step) <= said


# ---------------------------------------------------------------- links


def test_links_and_pictures_lead_somewhere() -> None:
    broken = []
    for path in documents():
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            other = path.parent / name if name else path
            if not other.exists():
                broken.append(f"{path.name}: {target}")
            elif anchor:
                headings = re.findall(r"^#+ (.+)$", other.read_text(encoding="utf-8"), re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
                if anchor not in slugs:
                    broken.append(f"{path.name}: {target}")
    assert not broken


def test_every_document_is_reachable_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop().resolve()
        if path in seen or path.suffix != ".md" or not path.exists():
            continue
        seen.add(path)
        text = path.read_text(encoding="utf-8")
        waiting += [path.parent / target.partition("#")[0] for target in re.findall(r"\]\(([^):\s]+)\)", text)]
    assert {path.resolve() for path in documents()} <= seen


def test_the_environment_of_tests_is_clean() -> None:
    # What the documents show must not depend on who runs the tests.
    assert not any(name.startswith(("WORKFLOW_", "CHECKPOINT_")) for name in clean_env())

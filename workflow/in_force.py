"""Which settings of `checkpoints` are in force, and where each came from.

Flag, else environment, else policy, else definition, else the standard value: the one place where that is decided.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from workflow.definition import loader
from workflow.definition.files import shown_path
from workflow.definition.settings import checkpoint_settings
from workflow.errors import UsageError, nearest, one_line
from workflow.model import CheckpointSettings, Retention, Workflow

MOST_MINUTES = 525600.0
DIRECTORY_VARIABLES = ("WORKFLOW_CHECKPOINT_DIR", "CHECKPOINT_DIR")

# Variable -> the setting it gives, the weaker ones first.
VARIABLES = {
    "CHECKPOINT_DIR": "directory",
    "CHECKPOINT_RETENTION_DAYS": "retention.max_age_days",
    "CHECKPOINT_ENABLED": "enabled",
    "WORKFLOW_CHECKPOINT_DIR": "directory",
    "WORKFLOW_CHECKPOINT_INTERVAL": "interval_minutes",
    "WORKFLOW_CHECKPOINT_ENABLED": "enabled",
}
_YES_OR_NO = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


class Flags(NamedTuple):
    """What the command line says of checkpoints; None: nothing. 0 means none, as in the definition."""

    directory: str | None = None
    is_recorded: bool = True
    every: int | None = None
    interval_s: float | None = None
    max_snapshots: int | None = None
    metrics_interval: int | None = None
    is_archiving: bool | None = None
    preset: str | None = None


class Preset(NamedTuple):
    """What `--preset` stands for, whatever else says otherwise; 0 means none. Any other flag wins over it."""

    task_interval: int
    metrics_interval: int
    archive: bool
    is_verbose: bool = False


# As people choose by what they do: experiments, long work, and what is soon done again.
PRESETS = {
    "aggressive": Preset(1, 1, archive=True, is_verbose=True),
    "balanced": Preset(5, 10, archive=True),
    "minimal": Preset(20, 0, archive=False),
}


class Origin(NamedTuple):
    """Where a setting came from. `kind` is flag, environment, policy, definition or standard; `where` names the flag,
    the variable, or the file and line; empty for a standard value."""

    kind: str
    where: str = ""

    def __str__(self) -> str:
        return self.where or self.kind


class InForce(NamedTuple):
    """The settings, and the origin of each by its name (`retention.max_age_days`): every one is there."""

    settings: CheckpointSettings
    origins: dict[str, Origin]


STANDARD = Origin("standard")


def in_force(workflow: Workflow | None, flags: Flags, environ: Mapping[str, str]) -> InForce:
    """Return the settings in force for a definition (None: there is none).

    Raises UsageError for a variable or a flag whose value makes no sense.
    """
    written = CheckpointSettings() if workflow is None else workflow.checkpoints
    origins = dict.fromkeys(names(), STANDARD)
    if workflow is not None:
        policy = None if workflow.policy is None else shown_path(workflow.project, workflow.policy)
        for name, place in workflow.said_at.items():
            origins[name] = Origin("policy" if place.path == policy else "definition", str(place))
    given: dict[str, Any] = {}
    for variable, name in VARIABLES.items():
        text = environ.get(variable)
        if text:  # an empty one is as good as none
            given[name] = _value(variable, name, text)
            origins[name] = Origin("environment", variable)
    for flag, name, value in _said(flags):
        given[name] = value
        origins[name] = Origin("flag", flag)
    return InForce(_changed(written, given), origins)


def settings_in_force(
    project: str, environ: Mapping[str, str], *, checkpoint_dir: str | None = None, policy: str | None = None
) -> tuple[InForce, Workflow | None]:
    """Return the settings of a project for commands that run nothing, and its definition (None: there is none).

    Raises DefinitionError, UsageError.
    """
    try:
        loader.source_path(project, None)
    except UsageError:
        if policy is not None:
            raise
        workflow = None
    else:
        workflow = loader.load(project, None, policy=policy)
    return in_force(workflow, Flags(directory=checkpoint_dir), environ), workflow


def refuse_unkept(effective: InForce) -> None:
    """Raise UsageError where a run is to be carried on and nothing of runs is kept."""
    if effective.settings.enabled:
        return
    origin = effective.origins["enabled"]
    if origin.kind == "flag":
        raise UsageError(
            f"{origin.where} keeps nothing of a run, and a resume carries on what was kept: they cannot both be",
            help=f"leave one of them out; without a resume: workflow run {origin.where}",
        )
    raise UsageError(
        f"{_switched_off(origin)}: there is nothing that could be resumed",
        help="start with: workflow run; or switch them on: WORKFLOW_CHECKPOINT_ENABLED=true workflow --resume",
    )


def refuse_idle(effective: InForce, words: Sequence[str]) -> None:
    """Raise UsageError where nothing of runs is kept and `words` want something kept."""
    if effective.settings.enabled or not words:
        return
    origin = effective.origins["enabled"]
    if origin.kind == "flag":
        raise UsageError(f"{origin.where} keeps nothing, so {words[0]} has nothing to do", help="give one of them")
    raise UsageError(
        f"{_switched_off(origin)}, so {words[0]} has nothing to do",
        help=f"leave {words[0]} out; or switch them on: WORKFLOW_CHECKPOINT_ENABLED=true workflow run {words[0]} ...",
    )


def _switched_off(origin: Origin) -> str:
    off = f"{origin.where} is false" if origin.kind == "environment" else f"`enabled: false`, {origin.where}"
    return f"checkpoints are switched off ({off})"


def policy_of(given: str | None, recorded: object, project: str) -> str | None:
    """Return the policy a resume goes by: the one that was given, else what workflow.json says that the run went by.

    Raises UsageError when that one is gone.
    """
    if given is not None or not isinstance(recorded, str):
        return given
    path = os.path.join(project, recorded)
    if not os.path.lexists(path):
        raise UsageError(
            f"the policy that this run goes by is gone: {one_line(recorded)}",
            help="put it back, or give another one: --policy FILE",
        )
    return path


def names() -> list[str]:
    """Return the name of every setting, in the order of the reference."""
    plain = [field.name for field in dataclasses.fields(CheckpointSettings) if field.name != "retention"]
    return [*plain, *(f"retention.{name}" for name in Retention._fields)]


def value_of(settings: CheckpointSettings, name: str) -> Any:
    """Return one setting by its name; None means no limit, or none by that measure."""
    group, _, inner = name.rpartition(".")
    return getattr(settings.retention if group else settings, inner)


def directory_in(environ: Mapping[str, str]) -> str | None:
    """Return the checkpoint directory that the environment gives; None when it gives none."""
    return next((environ[name] for name in DIRECTORY_VARIABLES if environ.get(name)), None)


def _said(flags: Flags) -> Iterator[tuple[str, str, Any]]:
    if flags.preset is not None:
        preset = PRESETS[flags.preset]
        for name in ("task_interval", "metrics_interval", "archive"):
            yield f"--preset {flags.preset}", name, getattr(preset, name)
    if flags.directory:
        yield "--checkpoint-dir", "directory", flags.directory
    if not flags.is_recorded:
        yield "--no-checkpoint", "enabled", False
    if flags.every is not None:
        yield "--checkpoint-every", "task_interval", flags.every
    if flags.interval_s is not None:
        yield "--checkpoint-interval", "interval_minutes", flags.interval_s / 60
    if flags.max_snapshots is not None:
        if flags.max_snapshots < 1:
            raise UsageError("--max-snapshots: at least 1 is kept", help="to make none: --checkpoint-every 0")
        yield "--max-snapshots", "max_snapshots", flags.max_snapshots
    if flags.metrics_interval is not None:
        yield "--metrics-interval", "metrics_interval", flags.metrics_interval
    if flags.is_archiving is not None:
        yield "--archive" if flags.is_archiving else "--no-archive", "archive", flags.is_archiving


def _changed(written: CheckpointSettings, given: Mapping[str, Any]) -> CheckpointSettings:
    """Return the settings with other values; 0 becomes None where it means that there is no limit."""
    if not given:
        return written
    retention = {name.partition(".")[2]: value for name, value in given.items() if "." in name}
    fresh = checkpoint_settings(
        {**{name: value for name, value in given.items() if "." not in name}, "retention": retention}
    )
    changed = {name: getattr(fresh, name) for name in given if "." not in name}
    kept = written.retention._replace(**{name: getattr(fresh.retention, name) for name in retention})
    return dataclasses.replace(written, **changed, retention=kept)


def _value(variable: str, name: str, text: str) -> Any:
    if name == "directory":
        return text
    if name == "enabled":
        known = _YES_OR_NO.get(text.strip().lower())
        if known is None:
            near = nearest(text.strip().lower(), ("true", "false"))
            raise _bad(variable, text, "true or false", f"{variable}={near or 'true'}")
        return known
    most = MOST_MINUTES if name == "interval_minutes" else math.inf
    unit = "minutes" if name == "interval_minutes" else "days"
    try:
        number = float(text) if text.isascii() else math.nan
    except ValueError:
        number = math.nan
    if not (0 <= number <= most and math.isfinite(number)):
        bound = f" up to {most:,.0f}" if math.isfinite(most) else ""
        raise _bad(variable, text, f"a number of {unit}{bound}, 0 for none", f"{variable}=7")
    return number


def _bad(variable: str, text: str, wants: str, example: str) -> UsageError:
    return UsageError(
        f"{variable} wants {wants}, not `{one_line(text[:40])}`",
        help=f"set it like {example}, or take it out: unset {variable}",
    )

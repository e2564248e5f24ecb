"""`run`, `resume`, `plan`: what to run, and who is told."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from workflow.cli.answering import HELP_NAMES
from workflow.cli.asking import confirm
from workflow.errors import EXIT_OK, EXIT_WORK_TO_DO, UsageError, WorkflowError, one_line, printable
from workflow.in_force import PRESETS
from workflow.session import NEWEST, Options, environment
from workflow.session import run as run_session

if TYPE_CHECKING:
    from workflow.reporting.github import GitHubActions

# Options of the contract whose behaviour comes later: refused, never ignored.
LATER_OPTIONS: dict[str, tuple[tuple[str, ...], bool]] = {
    "report": (("--report",), False),
}
MOST_JOBS = 512
MOST_STEPS = 1_000_000
MOST_SNAPSHOTS = 10_000


def _steering(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that `run`, `resume` and `plan` share."""

    @functools.wraps(command)
    def steered(**given: Any) -> Any:
        for name, (words, _) in LATER_OPTIONS.items():
            if given.pop(name):
                raise UsageError(f"{words[-1]} is known but not available in this version", help="leave it out for now")
        if given["is_parallel"] is False and given["jobs"] not in (None, 1):
            raise UsageError(
                f"--no-parallel means one step at a time, and -j {given['jobs']} does not", help="give one of them"
            )
        if given.pop("executor") not in (None, "local"):
            raise UsageError("--executor: only local is available in this version", help="leave it out")
        return command(**given)

    options = [
        click.option(
            "--from-step",
            "--from-task",
            "from_step",
            metavar="S",
            help="Begin at step S; it and those after it run again.",
        ),
        click.option("--until", metavar="S", help="End with step S."),
        click.option("--only", metavar="S", multiple=True, help="Run step S alone (may be repeated)."),
        click.option("--skip-failed", is_flag=True, help="Leave failed steps failed and carry on past them."),
        click.option("--retry-failed", is_flag=True, help="Run the steps that failed, and nothing else."),
        click.option("--validate", is_flag=True, help="Run nothing of a run that does not pass all five checks."),
        click.option(
            "--revalidate",
            is_flag=True,
            help="Run steps again that changed, or whose outputs did, and what depends on them.",
        ),
        click.option("--force", is_flag=True, help="run: begin a new run whatever there is; resume: do not ask."),
        click.option("--auto", "is_auto", is_flag=True, help="Never ask."),
        click.option(
            "--trust", "is_trusted", is_flag=True, help="Carry on a run that was imported; said once for all."
        ),
        click.option(
            "--param", "params", metavar="K=V", multiple=True, help="Give a parameter of the steps another value."
        ),
        click.option(
            "--env-file",
            "env_files",
            type=click.Path(),
            multiple=True,
            help="Variables for the steps, KEY=value a line.",
        ),
        click.option(
            "--policy", metavar="FILE", help="Settings, variables and limits that win over those of the definition."
        ),
        click.option("--checkpoint-dir", metavar="D", help="Where runs are recorded (default .checkpoints)."),
        click.option("--no-checkpoint", is_flag=True, help="Keep nothing of the run; it cannot be resumed."),
        click.option(
            "--checkpoint-every",
            type=click.IntRange(0, MOST_STEPS),
            metavar="N",
            help="Make a snapshot after every N completed steps (0: never).",
        ),
        click.option(
            "--checkpoint-interval",
            metavar="T",
            help="Make a snapshot every T: 90s, 5m, 1h30m (default 5m; 0s: never); a bare number counts steps.",
        ),
        click.option(
            "--max-snapshots",
            "--max",
            "max_snapshots",
            type=click.IntRange(1, MOST_SNAPSHOTS),
            metavar="N",
            help="Keep the newest N snapshots of the run (default 50).",
        ),
        click.option(
            "--metrics-interval",
            type=click.IntRange(0, MOST_STEPS),
            metavar="N",
            help="Write metrics after every N steps and iterations (0, the default: never).",
        ),
        click.option(
            "--archive/--no-archive",
            "is_archiving",
            default=None,
            help="Keep copies of the definition, of scripts and of what `archive` names (the default), or none.",
        ),
        click.option(
            "--preset",
            type=click.Choice(tuple(PRESETS)),
            help="How much is kept: aggressive (1 step, metrics, -v), balanced (5, 10), minimal (20, no archive).",
        ),
        click.option(
            "--max-iterations",
            type=click.IntRange(1, MOST_STEPS),
            metavar="N",
            help="At most N iterations of each repeated step.",
        ),
        click.option(
            "--end-running", is_flag=True, help="End a step that outlived its runner instead of waiting for it."
        ),
        click.option(
            "-j",
            "--jobs",
            type=click.IntRange(1, MOST_JOBS),
            metavar="N",
            help="At most N steps at a time (default: as many as there are processors).",
        ),
        click.option(
            "--parallel/--no-parallel",
            "is_parallel",
            default=None,
            help="Run groups and independent steps side by side (the default), or all one after another.",
        ),
        click.option(
            "--smart/--no-smart",
            "is_smart",
            default=None,
            help="Reuse steps whose world has not changed since their last success, or run them all (the default).",
        ),
        click.option(
            "--changed-since", metavar="REV", help="Reuse steps whose inputs are as in REV, a revision of git."
        ),
        click.option(
            "--git/--no-git",
            "is_git",
            default=None,
            help="Commit the files of the work tree with every snapshot, under refs of its own, or do not.",
        ),
        click.option(
            "-k", "--keep-going", is_flag=True, help="After a failure, go on with what does not depend on it."
        ),
        click.option("--executor", metavar="NAME", help="local."),
        click.option(
            "--output",
            type=click.Choice(["stream", "group", "quiet"]),
            help="What is shown of what steps print (default stream).",
        ),
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of text."),
        click.option("--format", "as_format", type=click.Choice(["json", "text"]), help="--format json is --json."),
        click.option("-v", "--verbose", is_flag=True, help="Say why each step runs."),
        click.option("-q", "--quiet", is_flag=True, help="Failures and the last line only."),
        click.option("--debug", is_flag=True, expose_value=False, help="Tracebacks."),
    ]
    options += [
        # `is_flag=False`, said aloud, would let the value be left out.
        click.option(*words, name, hidden=True, is_flag=True) if is_flag else click.option(*words, name, hidden=True)
        for name, (words, is_flag) in LATER_OPTIONS.items()
    ]
    result: Callable[..., Any] = steered
    for option in reversed(options):
        result = option(result)
    return result


@click.command(context_settings=HELP_NAMES)
@click.argument("source", required=False)
@click.option("--plan", "plan_file", metavar="FILE", help="The same as SOURCE.")
@click.option(
    "--resume",
    "resume",
    is_flag=False,
    flag_value=NEWEST,
    metavar="[RUN]",
    help="Carry on RUN, or the newest run that is not complete.",
)
@click.option("--resume-last", is_flag=True, help="Carry on the newest run that is not complete.")
@click.option("--dry-run", is_flag=True, help="Say what would run; run and write nothing.")
@_steering
def run(
    source: str | None, plan_file: str | None, resume: str | None, resume_last: bool, dry_run: bool, **given: Any
) -> int:
    """Run the steps of SOURCE: a directory, a YAML or JSON file, or one script with cells.

    Without SOURCE: workflow.yaml, else steps/.
    """
    import os

    if resume and source is None and not resume.startswith("workflow_") and os.path.exists(resume):
        # `--resume SOURCE`: the value of --resume may be left out.
        source, resume = resume, NEWEST
    if resume_last and resume is None:
        resume = NEWEST
    if plan_file is not None and source not in (None, plan_file):
        raise UsageError(
            "--plan is another word for SOURCE: give one of them", help=f"workflow run {one_line(plan_file)}"
        )
    options = _options(given, source=source if source is not None else plan_file, resume=resume)
    return _plan(options, given) if dry_run else _run(options, given)


@click.command(context_settings=HELP_NAMES)
@click.argument("run_id", metavar="[RUN|RUN@N]", required=False)
@click.option("--mission", metavar="RUN", help="The same as RUN.")
@click.option("--checkpoint", metavar="RUN@N", help="Go back to snapshot N of RUN; the same as naming it.")
@click.option("--dry-run", is_flag=True, help="Say what would run; run and write nothing.")
@_steering
def resume(run_id: str | None, mission: str | None, checkpoint: str | None, dry_run: bool, **given: Any) -> int:
    """Carry on the newest run that is not complete, or RUN, bypassing what is marked complete.

    RUN@N goes back to snapshot N of RUN first: what was completed after it runs again.
    """
    named = _one_name(run_id, mission, checkpoint)
    options = _options({**given, "force": False}, source=None, resume=named)._replace(must_resume=True)
    if dry_run:
        return _plan(options, given)
    is_json = given["as_json"] or given["as_format"] == "json"
    if _is_somebody_there(given) and not given["force"] and not is_json:
        from workflow.cli.agreeing import agree

        # What was agreed to is what runs, also if a newer run begins meanwhile.
        options = options._replace(resume=agree(options))
    return _run(options, given)


def _one_name(run_id: str | None, mission: str | None, checkpoint: str | None) -> str:
    """Return what is to be resumed: a run, or a snapshot of it. Raises UsageError where words contradict each other."""
    names = list(dict.fromkeys(name for name in (run_id, mission) if name))
    if checkpoint and len(names) == 1:
        if checkpoint.isdigit():
            return f"{names[0]}@{checkpoint}"
        if checkpoint.partition("@")[0] == names[0]:
            return checkpoint
    names += [checkpoint] if checkpoint and checkpoint not in names else []
    if len(names) > 1:
        raise UsageError(
            f"{one_line(names[0])} and {one_line(names[1])}: one run is carried on at a time",
            help=f"workflow resume {one_line(names[0])}",
        )
    return names[0] if names else NEWEST


@click.command(context_settings=HELP_NAMES)
@click.argument("source", required=False)
@click.option(
    "--resume",
    "resume",
    is_flag=False,
    flag_value=NEWEST,
    metavar="[RUN]",
    help="Plan for RUN, or the newest run that is not complete.",
)
@click.option("--resume-last", is_flag=True, help="Plan for the newest run that is not complete.")
@click.option("--exit-code", "with_exit_code", is_flag=True, help="Exit with 10 when there is work to do.")
@_steering
def plan(source: str | None, resume: str | None, resume_last: bool, with_exit_code: bool, **given: Any) -> int:
    """Say what would run, be bypassed, be skipped, and why. Writes nothing."""
    options = _options(given, source=source, resume=NEWEST if resume_last and resume is None else resume)
    return _plan(options, given, with_exit_code=with_exit_code)


def _options(given: dict[str, Any], *, source: str | None, resume: str | None) -> Options:
    params = {}
    for text in given["params"]:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--param {one_line(text)}: wants NAME=VALUE", help="for example: --param REGION=eu")
        params[name] = value
    every, interval_s = _interval(given["checkpoint_interval"])
    if given["preset"] is not None and PRESETS[given["preset"]].is_verbose and not given["quiet"]:
        given["verbose"] = True
    return Options(
        source=source,
        resume=resume,
        from_step=given["from_step"],
        until=given["until"],
        only=given["only"],
        retry_failed=given["retry_failed"],
        skip_failed=given["skip_failed"],
        validate=given["validate"],
        revalidate=given["revalidate"],
        force=given["force"],
        is_auto=given["is_auto"],
        is_trusted=given["is_trusted"],
        end_running=given["end_running"],
        params=params,
        extra_environment=_read_env_files(given["env_files"]),
        checkpoint_dir=given["checkpoint_dir"],
        jobs=given["jobs"],
        is_parallel=given["is_parallel"],
        keep_going=given["keep_going"],
        is_smart=given["is_smart"],
        changed_since=given["changed_since"],
        git=given["is_git"],
        checkpoint_every=every if given["checkpoint_every"] is None else given["checkpoint_every"],
        checkpoint_interval_s=interval_s,
        max_snapshots=given["max_snapshots"],
        metrics_interval=given["metrics_interval"],
        is_archiving=given["is_archiving"],
        preset=given["preset"],
        max_iterations=given["max_iterations"],
        policy=given["policy"],
        is_recorded=not given["no_checkpoint"],
        command=shlex.join(["workflow", *sys.argv[1:]]),
    )


def _interval(text: str | None) -> tuple[int | None, float | None]:
    """Return what --checkpoint-interval says, steps or seconds: a bare number counts steps, 0 means none of both."""
    if text is None:
        return None, None
    from workflow.definition.options import duration_s

    words = text.strip()
    if words.isascii() and words.isdigit() and 0 < len(words) < 8:
        return int(words), None if int(words) else 0.0
    seconds = duration_s(words, can_be_zero=True)
    if seconds is None:
        raise UsageError(
            f"--checkpoint-interval {one_line(text[:80])}: wants a duration like 5m or 1h30m, or a number of steps",
            help="for example: --checkpoint-interval 5m",
        )
    return None, seconds


def _read_env_files(paths: tuple[str, ...]) -> dict[str, str]:
    from workflow.checkpoint import values

    merged: dict[str, str] = {}
    for path in paths:
        try:
            with open(path, "rb") as file:
                lines = [
                    line for line in file.read().split(b"\n") if line.strip() and not line.lstrip().startswith(b"#")
                ]
            merged.update(values.decode(b"\n".join(lines)))
        except OSError as error:
            raise UsageError(
                f"--env-file {one_line(path)} cannot be read: {error.strerror}", help="one KEY=value a line"
            ) from error
        except values.ValuesError as error:
            raise UsageError(f"--env-file {one_line(path)}: {error}", help="one KEY=value a line") from error
    return merged


def _run(options: Options, given: dict[str, Any]) -> int:
    from workflow.reporting.observers import make_observer
    from workflow.reporting.terminal import style

    observer = make_observer(
        stdout=sys.stdout,
        stderr=sys.stderr,
        style=style(isatty=sys.stdout.isatty(), environ=environment()),
        json=given["as_json"] or given["as_format"] == "json",
        output=given["output"],
        quiet=given["quiet"],
        verbose=given["verbose"],
    )
    github = _github()
    try:
        is_there = _is_somebody_there(given)
        # `--force` is a yes to what we ask about the run, and none to what a step asks of a person.
        approve = confirm if is_there and not given["force"] else None
        observers = [observer] if github is None else [observer, github]
        return run_session(options, observers, _asker(given, is_there=is_there), approve)
    except WorkflowError as error:
        if github is not None:
            github.refuse(error)
        raise
    finally:
        observer.close()


def _is_somebody_there(given: dict[str, Any]) -> bool:
    return not given["is_auto"] and sys.stdin.isatty() and sys.stderr.isatty()


def _github() -> GitHubActions | None:
    """Return who tells GitHub Actions of the run; None anywhere else."""
    environ = environment()
    if environ.get("GITHUB_ACTIONS") != "true":
        return None
    from workflow.reporting.github import GitHubActions

    return GitHubActions(
        sys.stderr,
        summary_path=environ.get("GITHUB_STEP_SUMMARY", ""),
        workspace=environ.get("GITHUB_WORKSPACE", ""),
    )


def _asker(given: dict[str, Any], *, is_there: bool) -> Callable[[str], bool] | None:
    """Return who answers questions: nobody without a terminal; `--auto` never asks; `--force` says yes."""
    if given["force"]:
        return lambda _question: True
    return confirm if is_there else None


def _plan(options: Options, given: dict[str, Any], *, with_exit_code: bool = False) -> int:
    from workflow.inspection import plan_of

    as_json = given["as_json"] or given["as_format"] == "json"
    document = plan_of(options, with_evidence=as_json)
    if as_json:
        from workflow.cli.printing import print_json

        print_json(document)
    else:
        from workflow.cli.printing import print_text, style_of_stdout
        from workflow.reporting.plan_view import plan_text

        for notice in document["notices"]:
            print(f"note: {printable(notice)}", file=sys.stderr)
        print_text(plan_text(document, style_of_stdout().colour))
    return EXIT_WORK_TO_DO if with_exit_code and document["will_run"] else EXIT_OK

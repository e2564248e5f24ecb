"""What was asked for, and which words of it do not go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from workflow.errors import UsageError

if TYPE_CHECKING:
    from workflow.definition.built import Built

NEWEST = ""


class Options(NamedTuple):
    """What was asked for. `resume` None: a new run; NEWEST: the newest resumable one; else a run id.

    Steps are named by number or name, as people typed them. `jobs` None: what the definition says, else what the
    machine has; `is_parallel` False: one at a time. `must_resume`: nothing to resume is
    an error instead of a new run. `is_recorded` False: nothing of the run is kept. `is_trusted`: an imported run may
    be carried on. `policy` is a file that changes the definition. `built` is a definition out of a program, instead of
    `source`; `run_name` is what the run goes by, too. What is said of snapshots here wins over both
    (None: as they say; 0: none).
    """

    source: str | None = None
    resume: str | None = None
    must_resume: bool = False
    from_step: str | None = None
    until: str | None = None
    only: tuple[str, ...] = ()
    retry_failed: bool = False
    skip_failed: bool = False
    revalidate: bool = False
    force: bool = False
    is_auto: bool = False
    end_running: bool = False
    jobs: int | None = None
    is_parallel: bool | None = None
    keep_going: bool = False
    validate: bool = False
    is_trusted: bool = False
    is_recorded: bool = True
    checkpoint_every: int | None = None
    checkpoint_interval_s: float | None = None
    max_snapshots: int | None = None
    metrics_interval: int | None = None
    is_archiving: bool | None = None
    preset: str | None = None
    max_iterations: int | None = None
    policy: str | None = None
    is_smart: bool | None = None
    changed_since: str | None = None
    git: bool | None = None
    params: Mapping[str, str] = {}
    extra_environment: Mapping[str, str] = {}
    checkpoint_dir: str | None = None
    command: str = "workflow run"
    built: Built | None = None
    run_name: str = ""


def refuse_on_new(options: Options) -> None:
    """Refuse words that are about a run that was there before, where a new one begins."""
    about_a_run_before = {
        "--validate": options.validate,
        "--revalidate": options.revalidate,
        "--retry-failed": options.retry_failed,
        "--skip-failed": options.skip_failed,
        "--trust": options.is_trusted,
    }
    for word, is_given in about_a_run_before.items():
        if is_given:
            raise UsageError(
                f"{word} is about a run that is carried on, and this is a new one",
                help=f"workflow run --resume {word} carries the newest on, and starts one where there is none",
            )


def refuse_words(options: Options) -> None:
    """Refuse words that contradict each other, or would do nothing: whoever wrote one relies on what it says."""
    if options.retry_failed and options.skip_failed:
        raise UsageError(
            "--retry-failed runs what failed and --skip-failed leaves it: they cannot both be",
            help="give one of them; without either, failed and pending steps run",
        )
    if options.only and (options.from_step is not None or options.until is not None):
        raise UsageError(
            "--only names the steps to run, --from-step and --until a stretch of them: they cannot both be",
            help="give --only, or --from-step and --until",
        )
    if options.is_smart is False and options.changed_since is not None:
        raise UsageError(
            "--no-smart runs every step and --changed-since reuses some: they cannot both be",
            help="give one of them",
        )


def about_what_is_kept(options: Options) -> list[str]:
    """Return the words that want something kept of the run: they have nothing to do where nothing is."""
    wanted = {
        "--checkpoint-every": options.checkpoint_every,
        "--checkpoint-interval": options.checkpoint_interval_s,
        "--max-snapshots": options.max_snapshots,
        "--metrics-interval": options.metrics_interval,
        "--archive": options.is_archiving,
        "--git": options.git,
        "--preset": options.preset,
    }
    return [word for word, given in wanted.items() if given]

"""`changes: git`: which files are as in a base revision, as git tells it. Nothing of the repository is run."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from workflow.checkpoint import git
from workflow.errors import UsageError, one_line
from workflow.model import Reason, Step
from workflow.planning import globs
from workflow.planning.evidence import Evidence, Success, place_of

# It looks closely, whatever the configuration lets it overlook.
_CLOSE = ("core.trustctime=true", "core.checkStat=default", "core.fileMode=true", "core.ignoreStat=false")
_EXACT = tuple(word for setting in _CLOSE for word in ("-c", setting))
# As git's modes of files begin; those of links and submodules do not.
_FILE = "100"
# What a script publishes values by, and the program that publishes what functions return.
_PUBLISHING = ("WORKFLOW_OUTPUT", "WORKFLOW_ENV", "step_output", "step_env")
_CALLING = "workflow.library.calling"


class Unchanged(NamedTuple):
    """What git knows of the work tree at `top` against a revision.

    `same` are the files that are as they were, from `top`, and `ordered` the same sorted; `deleted` those that are not
    there, `moved` links and submodules that are not as they were: what lay behind them may be another, or not there.
    """

    top: str
    same: frozenset[str]
    ordered: tuple[str, ...]
    deleted: tuple[str, ...]
    moved: tuple[str, ...]

    def is_untouched(self, path: str) -> bool:
        """Return whether an absolute path is a file that git tracks and that is as it was.

        What git does not track is never untouched: nothing is known of it.
        """
        directory, name = os.path.split(path)
        where = os.path.realpath(directory)
        if where != directory and not self._leads_as_before(directory):
            return False
        real = os.path.join(where, name)
        is_link = os.path.islink(real)
        if os.path.isdir(real) and not is_link:
            return True  # a directory is what is in it, and that is asked for one by one
        if os.path.relpath(real, self.top) not in self.same:
            return False
        if not is_link:
            return True
        # Git knows where a link leads, and nothing of what lies there: that has to be untouched, too. A loop is not.
        is_inside = f"{os.path.realpath(real)}/".startswith(f"{self.top}/")
        return is_inside and os.path.exists(real) and self.is_untouched(os.path.join(where, os.readlink(real)))

    def _leads_as_before(self, directory: str) -> bool:
        """Return whether every link on the way to a directory is as it was."""
        while (above := os.path.dirname(directory)) != directory:
            if os.path.islink(directory) and not self.is_untouched(directory):
                return False
            directory = above
        return True

    def vouches_for(
        self, step: Step, evidence: Evidence, project: str, written: Sequence[str], made: Collection[str]
    ) -> bool:
        """Return whether all that a step declares is as it was: its inputs, none missing, and where it is `written`.

        `made` are the real paths of what steps made since git was asked. A step whose patterns stand for nothing, or
        whose outputs are not there, is not vouched for.
        """
        if not evidence.inputs or not all(os.path.lexists(place_of(step, name, project)) for name in step.outputs):
            return False
        base = os.path.realpath(os.path.join(project, step.working_directory))
        patterns = [item.pattern for item in step.inputs]
        gone = [*self.deleted, *self._gone_below(made)]
        if (gone or self.moved) and (not evidence.paths or _goes_astray(base, patterns)):
            return False  # behind a link a missing file had another name than the one that git knows
        if any(globs.is_meant(os.path.relpath(path, base), patterns) for path in (*gone, *made)):
            return False
        if any(globs.may_lead_through(os.path.relpath(path, base), patterns) for path in self.moved):
            return False
        inputs = [os.path.normpath(os.path.join(project, path)) for path in evidence.inputs]
        if made and any(_is_within(os.path.realpath(path), made) for path in inputs):
            return False
        return all(self.is_untouched(os.path.normpath(os.path.join(project, path))) for path in (*inputs, *written))

    def _gone_below(self, made: Collection[str]) -> Iterator[str]:
        """Yield the files of the base that steps took away with what they made since git was asked."""
        for path in made:
            start = f"{os.path.relpath(path, self.top)}/"
            at = bisect_left(self.ordered, start)
            while at < len(self.ordered) and self.ordered[at].startswith(start):
                if not os.path.lexists(gone := os.path.join(self.top, self.ordered[at])):
                    yield gone
                at += 1


def may_publish(step: Step, evidence: Evidence) -> bool:
    """Return whether a step may leave values to later ones, as far as its script tells; git keeps none of them."""
    if _CALLING in (step.interpreter or ()) or not evidence.script:  # too long to be looked through: in doubt it may
        return True
    return any(word in evidence.script for word in _PUBLISHING)


def _goes_astray(base: str, patterns: Sequence[str]) -> bool:
    """Return whether a pattern begins with something else than the names that git has for it: absolute, or a link."""
    for pattern in patterns:
        path = os.path.normpath(os.path.join(base, globs.fixed_part(pattern)))
        if not pattern.startswith("!") and (os.path.isabs(pattern) or os.path.realpath(path) != path):
            return True
    return False


def _is_within(path: str, places: Collection[str]) -> bool:
    while path not in places:
        above = os.path.dirname(path)
        if above == path:
            return False
        path = above
    return True


def not_of_files(reasons: Sequence[Reason], success: Success) -> list[Reason]:
    """Return the reasons to run a step whose inputs and script are as in the base, whatever they were at its success.

    Where they were others then, what it left is not of the base.
    """
    of_files = [it for it in reasons if it.code == "script-changed" or it.code.startswith("input-")]
    rest = [it for it in reasons if it not in of_files]
    if of_files and (success.outputs or success.published or success.env):
        rest.append(Reason("output-changed", f"what it left was made with something else ({of_files[0]})"))
    return rest


def unchanged_since(project: str, base: str, environ: Mapping[str, str]) -> Unchanged:
    """Ask git. Raises UsageError: no git, no work tree, no such revision."""
    env = git.clean_environment(environ)
    ask = partial(_git, env, ())
    top = ask(project, "rev-parse", "--show-toplevel").decode("utf-8", "surrogateescape").removesuffix("\n")
    commit = ask(project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}", base=base)
    revision = commit.decode("ascii").strip()
    diff = ("diff", "--no-ext-diff", "--no-textconv", "--no-renames", "--name-only", "-z", revision, "--")
    kinds = dict(_tree(ask(top, "ls-tree", "-r", "-z", revision)))
    changed = _names(_git(env, git.without_filters(top, env), top, *diff))
    # Files that the index was told to take for unchanged: nothing is known of them.
    marked = _names(ask(top, "ls-files", "-v", "-z"))
    doubtful = changed | {name[2:] for name in marked if name[0].islower() or name[0] == "S"}
    start = os.path.realpath(top)
    other = {name: os.path.join(start, name) for name in sorted(doubtful & kinds.keys())}
    return Unchanged(
        start,
        frozenset(same := kinds.keys() - doubtful),
        tuple(sorted(same)),
        tuple(path for path in other.values() if not os.path.lexists(path)),
        tuple(path for name, path in other.items() if not kinds[name].startswith(_FILE)),
    )


def _names(data: bytes) -> set[str]:
    return {os.fsdecode(name) for name in data.split(b"\0") if name}


def _tree(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the paths of a tree of git, each with its mode."""
    for line in data.split(b"\0"):
        if line:
            about, _, name = line.partition(b"\t")
            yield os.fsdecode(name), about.partition(b" ")[0].decode("ascii")


def _git(
    env: Mapping[str, str], settings: Sequence[str], directory: str, *words: str, base: str | None = None
) -> bytes:
    try:
        return git.call((*git.CALM, *_EXACT, *settings, *words), cwd=directory, env=env)
    except git.NoWorkTreeError as error:
        raise UsageError(
            f"changes: git needs git: {error.message}",
            help="install git, or leave out --changed-since and `changes: git`",
        ) from error
    except git.GitError as error:
        if base is not None:
            name = one_line(base) or "of an empty name"
            raise UsageError(f"git knows no revision {name}", help="name a commit, a branch or a tag") from error
        raise UsageError(f"changes: {error.message}", help="it works inside the work tree of a repository") from error

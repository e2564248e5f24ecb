"""How git is called, once: nothing that a repository's configuration names is run, and nothing of the caller leaks in.

What reads or writes contents runs in a git directory of our own (`worktree.Private`), so that the configuration of
the repository, its filters and its remotes are not even read. What must run in the repository itself only lists
names, and reads and writes refs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from workflow.checkpoint import children
from workflow.errors import CheckpointError, UsageError, one_line

# Whatever a repository's configuration names to be run at such times is not run; nothing is refreshed on disk.
CALM = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false")
# Refs of ours leave no reflog, whatever the configuration wants, and no call of ours starts a collection of garbage.
_QUIET = ("-c", "core.logAllRefUpdates=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false")
# Variables that say which repository is meant, or change what commands do: set inside hooks, and not meant for us.
_NOT_OURS = frozenset(
    f"GIT_{name}"
    for name in (
        *("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "ALTERNATE_OBJECT_DIRECTORIES", "COMMON_DIR"),
        *("NAMESPACE", "PREFIX", "IMPLICIT_WORK_TREE", "GRAFT_FILE", "SHALLOW_FILE", "REPLACE_REF_BASE"),
        *("QUARANTINE_PATH", "LITERAL_PATHSPECS", "GLOB_PATHSPECS", "NOGLOB_PATHSPECS", "ICASE_PATHSPECS"),
        *("EXTERNAL_DIFF", "DIFF_OPTS", "ATTR_SOURCE", "DEFAULT_HASH", "CONFIG", "INTERNAL_SUPER_PREFIX"),
        *("REFLOG_ACTION", "PAGER", "EDITOR", "TRACE", "TRACE_SETUP", "REDIRECT_STDERR"),
        *("AUTHOR_DATE", "COMMITTER_DATE", "AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL"),
    )
)
INIT_HELP = "make one, with a first commit (git init && git add . && git commit -m 'Initial commit'); or: --no-git"


class GitError(CheckpointError):
    """Git did not do what it was asked for; the message is what it said."""


class NoWorkTreeError(UsageError):
    """There is no work tree of git here that could be kept, or no git."""


class Repository(NamedTuple):
    """The repository around a project. `top` is the real path of its work tree, `project` that of the project in it.

    `git_dir` is that of this work tree, `objects` where objects are; all absolute. `environ` is for calls.
    `settings` are those of its configuration that say how files are to be looked at, by lower-case name.
    """

    top: str
    project: str
    git_dir: str
    objects: str
    environ: Mapping[str, str]
    settings: Mapping[str, str]

    @property
    def prefix(self) -> str:
        """The project's path from `top`; empty where they are the same."""
        inside = os.path.relpath(self.project, self.top)
        return "" if inside == os.curdir else inside

    @property
    def no_object(self) -> bytes:
        """The name of no object at all, as long as those of this repository."""
        return b"0" * (64 if self.settings.get("extensions.objectformat") == "sha256" else 40)

    def call(self, *words: str, given: bytes = b"") -> bytes:
        """Call git in the repository itself: for names and refs, never for contents. Raises GitError."""
        return call((*CALM, *_QUIET, *words), cwd=self.top, env=self.environ, given=given)

    def head(self) -> str | None:
        """Return the commit that HEAD leads to; None where there is none yet."""
        try:
            return self.call("rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode("ascii").strip() or None
        except GitError:
            return None


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for git: that of the caller, without what names another repository."""
    kept = {name: value for name, value in environ.items() if name not in _NOT_OURS}
    # No lock for a mere look; no fetch behind our back from a partial clone; messages that can be read.
    return {**kept, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}


def call(
    words: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str] | None,
    given: bytes = b"",
    keep: Sequence[int] = (),
    is_apart: bool = True,
) -> bytes:
    """Call git and return what it printed. Raises GitError, NoWorkTreeError when there is no git."""
    try:
        with children.started(["git", "--no-pager", *words], cwd=cwd, env=env, keep=keep, is_apart=is_apart) as process:
            said, complaint = process.communicate(given)
    except OSError as error:
        raise NoWorkTreeError(
            f"git cannot be started ({error.strerror})", help="install git, or leave it out: --no-git"
        ) from error
    if process.returncode != 0:
        raise GitError(_message(complaint, process.returncode), help="see for yourself: git status")
    return said


def _message(complaint: bytes, exit_code: int) -> str:
    """Return the line of a complaint that says what is wrong: the last that is an error, else the first."""
    lines = [line for line in complaint.decode("utf-8", "replace").splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    if telling:
        return f"git: {one_line(telling[-1].partition(': ')[2])}"
    if lines:
        return f"git: {one_line(lines[0])}"
    return f"git was ended by signal {-exit_code}" if exit_code < 0 else f"git failed (exit code {exit_code})"


def find(project: str, environ: Mapping[str, str]) -> Repository:
    """Return the repository whose work tree holds a project.

    Raises NoWorkTreeError: none does, it belongs to somebody else, or it is `/` or the home directory as a whole.
    """
    env = clean_environment(environ)
    # By its real path, so that what git says can be compared with it.
    place = os.path.realpath(project)

    def ask(*words: str) -> str:
        return call((*CALM, *words), cwd=place, env=env).decode("utf-8", "surrogateescape").removesuffix("\n")

    try:
        top = os.path.realpath(ask("rev-parse", "--show-toplevel"))
        git_dir = ask("rev-parse", "--absolute-git-dir")
        objects = os.path.join(place, ask("rev-parse", "--git-path", "objects"))
    except GitError as error:
        if "not a git repository" in error.message or "must be run in a work tree" in error.message:
            raise NoWorkTreeError(f"not a git repository: {one_line(project)}", help=INIT_HELP) from error
        raise NoWorkTreeError(f"{error.message} (in {one_line(project)})", help="to go without: --no-git") from error
    home = environ.get("HOME")
    if top == os.sep or (home and top == os.path.realpath(home)):
        what = "the root of all files" if top == os.sep else "your home directory as a whole"
        raise NoWorkTreeError(
            f"the work tree around {one_line(project)} is {what}: that is not kept in checkpoints",
            help="give the project a repository of its own (git init in it), or go without: --no-git",
        )
    if not f"{place}/".startswith(f"{top}/"):
        raise NoWorkTreeError(
            f"{one_line(project)} is not inside the work tree that git names for it ({one_line(top)})",
            help="see core.worktree in its configuration, or go without: --no-git",
        )
    return Repository(top, place, git_dir, objects, env, _settings(place, env))


def _settings(place: str, env: Mapping[str, str]) -> dict[str, str]:
    wanted = r"^(core\.(sharedrepository|ignorecase|precomposeunicode)|extensions\.objectformat)$"
    try:
        said = call(("config", "-z", "--get-regexp", wanted), cwd=place, env=env)
    except GitError:  # none of them is set
        return {}
    pairs = (entry.partition("\n") for entry in said.decode("utf-8", "surrogateescape").split("\0") if entry)
    return {name.lower(): value for name, _, value in pairs}


def without_filters(place: str, env: Mapping[str, str] | None) -> list[str]:
    """Return the words that keep the filters of a repository's own configuration from being run.

    Those of the user and of the machine stay: they are not the repository's word.
    """
    words: list[str] = []
    for scope in ("--local", "--worktree"):
        try:
            said = call(
                ("config", scope, "--includes", "-z", "--name-only", "--get-regexp", r"^filter\."), cwd=place, env=env
            )
        except GitError:  # there are none
            continue
        for name in said.decode("utf-8", "surrogateescape").split("\0"):
            start = name.rpartition(".")[0]
            if start:
                words += ["-c", f"{start}.clean=", "-c", f"{start}.smudge=", "-c", f"{start}.process="]
                words += ["-c", f"{start}.required=false"]
    return words

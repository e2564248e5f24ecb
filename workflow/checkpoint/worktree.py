"""The files of a work tree as a tree object of git, made beside everything the repository has.

A git directory of our own (`Private`) stands beside the repository: its own configuration, its own index, its own
attributes, which say that bytes are kept as they are; only objects go where the repository has its own. So HEAD,
branches, index, stash and hooks of the repository are neither touched nor asked, and no filter of it is run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from workflow.checkpoint import git, locks, temporary
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.git import GitError, Repository
from workflow.errors import NotRecordedError, count, listed, one_line, size_text

# How many runs of one project may keep its files at the same time, each with an index of its own.
MOST_SLOTS = 64
MEGABYTE_BYTES = 1_000_000
_LINK = b"160000"
_RAW = b"* -filter -text -eol -ident -working-tree-encoding\n"
# Commands that write no object.
_READING = frozenset({"diff-tree", "ls-tree"})
_FLUSHED = ("-c", "core.fsync=loose-object", "-c", "core.fsyncMethod=batch")


class Guard(NamedTuple):
    """What is not kept: larger files are left out, of a work tree with more than that nothing is kept."""

    file_bytes: float
    total_bytes: float
    files: int


class TooMuchError(GitError):
    """The work tree is larger than the guard lets pass."""


class Captured(NamedTuple):
    """A tree that is in the store. `large` are the files that were left out for their size, with it."""

    tree: str
    files: int
    large: tuple[tuple[str, int], ...] = ()


class Private:
    """A git directory of our own beside a repository; the objects are those of the repository.

    `close` gives back the lock. With `is_passing` objects that are made go into the directory itself: nothing of
    them is left in the repository when the directory is removed.
    """

    def __init__(self, path: str, repository: Repository, disk: Disk, lock_fd: int | None, *, is_passing: bool) -> None:
        self.path = path
        self.repository = repository
        self._disk = disk
        self._lock_fd = lock_fd
        objects = f"{path}/objects" if is_passing else repository.objects
        # Objects of the repository are for reading only: what is written is written whole, for even the look whether
        # it is there already sets the time of the one that is.
        self._alternates = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(repository.objects)} if is_passing else {}
        self._environ = {
            **repository.environ,
            "GIT_OBJECT_DIRECTORY": objects,
            "GIT_DIR": path,
            "GIT_WORK_TREE": repository.top,
        }
        self._in_index: set[bytes] | None = None
        self._furnish()

    def _furnish(self) -> None:
        for name in ("refs", "info", "objects"):
            self._disk.make_directory(f"{self.path}/{name}")
        self._disk.write(f"{self.path}/HEAD", b"ref: refs/heads/none\n", sync=False)
        self._disk.write(f"{self.path}/info/attributes", _RAW, sync=False)
        self._disk.write(f"{self.path}/config", _configuration(self.repository.settings), sync=False)

    def close(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def call(
        self,
        *words: str,
        given: bytes = b"",
        index: str = "index",
        more: Mapping[str, str] | None = None,
        is_apart: bool = True,
    ) -> bytes:
        """Call git with this directory as its own; `is_apart` as of `children.started`. Raises GitError."""
        env = {**self._environ, "GIT_INDEX_FILE": f"{self.path}/{index}", **(more or {})}
        if words[0] in _READING:
            env |= self._alternates
        # Who is killed leaves git to end what it does, and the lock with it: nobody else uses the index meanwhile.
        keep = () if self._lock_fd is None else (self._lock_fd,)
        words = (*git.CALM, *_FLUSHED, *words)
        return git.call(words, cwd=self.repository.top, env=env, given=given, keep=keep, is_apart=is_apart)

    def forget(self, index: str = "index") -> None:
        """Remove the index, and the lock of one that was being written: everything is looked at anew."""
        self._in_index = None
        for name in (index, f"{index}.lock"):
            with suppress(NotRecordedError):
                if os.path.lexists(f"{self.path}/{name}"):
                    self._disk.remove(f"{self.path}/{name}", sync=False)

    def capture(self, guard: Guard, outside: Collection[str], also: Collection[bytes] = ()) -> Captured:
        """Put the files of the work tree into the store: those that git tracks or does not ignore.

        Left out are what lies below `outside` (real paths), repositories within, and what the guard says, but never
        `also` (paths from the top). A submodule is the commit that the index names. A file that is written just now is
        as it is met. Raises GitError, TooMuchError.
        """
        found = _listed(self.repository, guard, outside, also)
        try:
            return self._put(found)
        except GitError:
            # The index may know objects that were pruned since, or be of another repository.
            self.forget()
            return self._put(found)

    def _put(self, found: _Found) -> Captured:
        if self._in_index is None:
            self._in_index = {path for path in self.call("ls-files", "-z").split(b"\0") if path}
        gone = self._in_index - found.files.keys() - found.links.keys()
        changes = b"".join(b"0 %s\t%s\0" % (self.repository.no_object, path) for path in gone)
        changes += b"".join(b"%s %s 0\t%s\0" % (_LINK, commit, path) for path, commit in found.links.items())
        if changes:
            self.call("update-index", "-z", "--add", "--replace", "--index-info", given=changes)
        paths = b"".join(path + b"\0" for path in found.files)
        self.call("update-index", "-z", "--add", "--remove", "--replace", "--stdin", given=paths)
        self._in_index = {*found.files, *found.links}
        tree = self.call("write-tree").decode("ascii").strip()
        return Captured(tree, len(found.files), tuple(found.large))

    def commit(self, tree: str, message: str, parents: Sequence[str]) -> str:
        """Put a commit of a tree into the store; return its name. Its author is workflow. Raises GitError."""
        words = [word for parent in parents for word in ("-p", parent)]
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in _OURSELVES}
        given = message.encode("utf-8", "backslashreplace")
        return self.call("commit-tree", tree, *words, "-F", "-", given=given, more=who).decode("ascii").strip()


_OURSELVES = (("NAME", "workflow"), ("EMAIL", "workflow@localhost"))


def open_slot(cache: str, repository: Repository, disk: Disk) -> Private:
    """Return a private directory below `cache` that no other run uses now, with what its index remembers; close it.

    Raises NotRecordedError.
    """
    disk.make_directory(cache)
    for number in range(1, MOST_SLOTS + 1):
        path = f"{cache}/worktree_{number}"
        disk.make_directory(path)
        fd = disk.open_lock(f"{path}/lock")
        try:
            is_ours = locks.try_lock(fd, path)
        except BaseException:
            os.close(fd)
            raise
        if not is_ours:
            os.close(fd)
            continue
        try:
            private = Private(path, repository, disk, fd, is_passing=False)
        except BaseException:
            os.close(fd)
            raise
        if os.path.lexists(f"{path}/index.lock"):
            disk.remove(f"{path}/index.lock", sync=False)
        return private
    raise GitError(f"{MOST_SLOTS} runs keep the files of this project already", help="wait for one of them to end")


class Passing:
    """A private directory that is gone at the end, somewhere outside the project; a context.

    `keeps` says that objects made in it are to stay in the repository.
    """

    def __init__(self, repository: Repository, directory: str | None, *, keeps: bool) -> None:
        self._repository = repository
        self._directory = directory or "/tmp"
        self._keeps = keeps
        self._path = ""

    def __enter__(self) -> Private:
        self._path = temporary.make_private_directory(self._directory, "workflow-git-")
        try:
            return Private(self._path, self._repository, Disk(private=True), None, is_passing=not self._keeps)
        except BaseException:
            temporary.remove_private_directory(self._path)
            raise

    def __exit__(self, *_: object) -> None:
        temporary.remove_private_directory(self._path)


def _quoted(path: str) -> str:
    """Return a path for a list that colons divide; as git reads it, one that begins with a quote is C-quoted."""
    if ":" not in path and not path.startswith('"'):
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _configuration(settings: Mapping[str, str]) -> bytes:
    is_other = settings.get("extensions.objectformat", "sha1") == "sha256"
    lines = [
        "[core]",
        f"\trepositoryFormatVersion = {int(is_other)}",
        "\tbare = false",
        "\tfileMode = true",
        "\tsymlinks = true",
        "\tautocrlf = false",
        "\tsafecrlf = false",
        "\tfsmonitor = false",
        "\tuntrackedCache = false",
        "\thooksPath = /dev/null",
        "\tattributesFile = /dev/null",
        "\tsparseCheckout = false",
        "\tlogAllRefUpdates = false",
    ]
    for name in ("sharedrepository", "ignorecase", "precomposeunicode"):
        value = settings.get(f"core.{name}", "")
        if value.isalnum():
            lines.append(f"\t{name} = {value}")
    lines += ["[gc]", "\tauto = 0", "[maintenance]", "\tauto = false", "[index]", "\tsparse = false"]
    if is_other:
        lines += ["[extensions]", "\tobjectFormat = sha256"]
    return "\n".join([*lines, ""]).encode("ascii")


class _Found(NamedTuple):
    """What is to be kept: files by path with their size, submodules by path with their commit."""

    files: dict[bytes, int]
    links: dict[bytes, bytes]
    large: list[tuple[str, int]]


def _listed(repository: Repository, guard: Guard, outside: Collection[str], also: Collection[bytes]) -> _Found:
    top = os.fsencode(repository.top)
    # What to look away from, as paths from the top.
    away = tuple(
        os.fsencode(os.path.relpath(path, repository.top)) + b"/"
        for path in outside
        if f"{path}/".startswith(f"{repository.top}/")
    )
    said = repository.call("ls-files", "-z", "-t", "-s", "-c", "-o", "--exclude-standard")
    found = _Found({}, {}, [])
    real: dict[bytes, bool] = {b"": True}
    total_bytes = 0
    for path, link in _entries(said, also):
        if away and (path + b"/").startswith(away):
            continue
        if link is not None:
            found.links[path] = link
            continue
        if path in found.files or not _is_real(top, os.path.dirname(path), real):
            continue
        try:
            status = os.lstat(os.path.join(top, path))
        except OSError:  # it is gone
            continue
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            continue
        if status.st_size > guard.file_bytes and path not in also:
            found.large.append((os.fsdecode(path), status.st_size))
            continue
        if status.st_mode & 0o444 != 0o444 and stat.S_ISREG(status.st_mode):
            if not os.access(os.path.join(top, path), os.R_OK):
                continue  # git would give up on the whole for one that may not be read
        found.files[path] = status.st_size
        total_bytes += status.st_size
    _refuse_too_much(found, total_bytes, guard)
    return found


def _refuse_too_much(found: _Found, total_bytes: int, guard: Guard) -> None:
    if len(found.files) <= guard.files and total_bytes <= guard.total_bytes:
        return
    bounds = f"{guard.files:,} files and {size_text(int(guard.total_bytes))}"
    raise TooMuchError(
        f"the work tree holds {count(len(found.files), 'file')} ({size_text(total_bytes)}), and {bounds} are the limit",
        help="leave out what is made (.gitignore), raise `max_files` and `max_total_mb` in `git:`, or: --no-git",
    )


def _entries(said: bytes, also: Collection[bytes]) -> Iterable[tuple[bytes, bytes | None]]:
    """Yield paths from the top; of a submodule with its commit."""
    for entry in said.split(b"\0"):
        if not entry:
            continue
        if entry.startswith(b"? "):
            path = entry[2:]
            if not path.endswith(b"/"):  # a repository within
                yield path, None
            continue
        about, _, path = entry.partition(b"\t")
        _, mode, commit, _ = about.split(b" ")
        yield path, commit if mode == _LINK else None
    for path in also:
        yield path, None


def _is_real(top: bytes, directory: bytes, known: dict[bytes, bool]) -> bool:
    """Return whether a directory is reached from the top through no link."""
    if directory not in known:
        try:
            is_one = stat.S_ISDIR(os.lstat(os.path.join(top, directory)).st_mode)
        except OSError:
            is_one = False
        known[directory] = is_one and _is_real(top, os.path.dirname(directory), known)
    return known[directory]


def large_text(large: Sequence[tuple[str, int]]) -> str:
    """Return what is said of files that were left out for their size."""
    names = listed(f"{one_line(path)} ({size_text(size)})" for path, size in large)
    return f"left out of the git checkpoint for their size: {names}"

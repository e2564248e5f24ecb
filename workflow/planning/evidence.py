"""What the world of a step is, and how it differs from the world of its last success.

One record serves both: what is compared is what the reasons are told from, so they cannot disagree. A step is
reused only when nothing differs and nothing is unknown; whatever cannot be looked at is a reason to run.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from blake3 import blake3

from workflow.errors import one_line
from workflow.model import Reason, Step
from workflow.planning import comments, fingerprint, globs
from workflow.planning.digests import ABSENT, Digests, UnreadableError

# What a step did that is needed, where that cannot be told: never the same as anything.
UNKNOWN = "unknown"
# `#!` lines are at most so long (Linux: BINPRM_BUF_SIZE).
SHEBANG_BYTES = 256
# Kept to show what was edited; a program of megabytes is told by its digest alone.
LONGEST_SCRIPT_BYTES = 64 * 1024


# What an interpreter with its arguments is, as part of a manifest.
Programs = dict[tuple[str, ...], dict[str, str]]


class Evidence(NamedTuple):
    """The world of a step before it runs. Paths are relative to the project, or absolute where they were declared so.

    `manifest` is what the definition says, `script` its text where that is not too long, `code` the digest of that
    without comments (empty: not known).
    `inputs` maps paths to what is there, `values` names of visible published values to their digests, `upstream`
    outputs of steps it needs by name. `objections` say why it can never be reused, `empty` are patterns of inputs
    that stand for nothing. `program` reads the script; `paths` are absolute, and a stat of each tells whether all this
    is as it was (none where it does not).
    """

    manifest: dict[str, str]
    script: str
    code: str
    inputs: dict[str, str]
    values: dict[str, str]
    upstream: dict[str, str]
    objections: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


class Success(NamedTuple):
    """The last success of a step: its world, what it left, and where that is recorded.

    `outputs` maps declared outputs to what they were, `published` and `env` are the values it published.
    """

    run_id: str
    step: int
    completed_at: str
    duration_s: float
    manifest: dict[str, str]
    script: str
    code: str
    inputs: dict[str, str]
    values: dict[str, str]
    upstream: dict[str, str]
    outputs: dict[str, str]
    published: dict[str, str]
    env: dict[str, str]


def success_document(success: Success) -> dict[str, Any]:
    return success._asdict()


def success_of(document: Mapping[str, Any]) -> Success:
    """Undo `success_document`. Raises ValueError for anything else."""
    try:
        found = Success(**document)
    except TypeError as error:
        raise ValueError(f"no record of a success: {error}") from error
    mappings: tuple[object, ...] = (
        found.manifest,
        found.inputs,
        found.values,
        found.upstream,
        found.outputs,
        found.published,
        found.env,
    )
    for mapping in mappings:
        if not isinstance(mapping, dict) or not all(isinstance(it, str) for it in (*mapping, *mapping.values())):
            raise ValueError("no record of a success: a mapping of texts is none")
    return found


def gather(
    step: Step,
    project: str,
    digests: Digests,
    *,
    values: Mapping[str, str],
    upstream: Mapping[str, str],
    path_variable: str | None,
    left_out: Collection[str] = (),
    with_code: bool = False,
    programs: Programs | None = None,
    given: Mapping[str, str] | None = None,
) -> Evidence:
    """Look at the world of a step. `left_out` are absolute directories that no pattern enters; never raises.

    `values` are the published values it will see, `upstream` what is known of outputs of the steps it `needs`.
    `with_code`: its script without comments is digested, too. `programs` keeps what interpreters are for other steps.
    `given` are variables that the run as a whole was given in files.
    """
    manifest = fingerprint.manifest(step)
    for name, value in (given or {}).items():
        manifest.setdefault(f"env.{name}", text_digest(value))  # they may be secret
    objections = list(never(step))
    base = os.path.normpath(os.path.join(project, step.working_directory))
    code = script = ""
    program: tuple[str, ...] = ()
    looked: list[str] = []
    try:
        text, program = _script(step, project)
        if len(text) <= LONGEST_SCRIPT_BYTES:
            script = text.decode("utf-8", "surrogateescape")
        if step.text is None:
            # As it is now, and not when the definition was read: this is what runs.
            manifest["content"] = bytes_digest(text)
            looked.append(os.path.join(project, step.script or ""))
        known = {} if programs is None else programs
        path_variable = path_in_force(step, values, given or {}, path_variable)
        place = (*program, "", base, path_variable or "")
        if place not in known:
            known[place] = _interpreter(program, digests, path_variable, base)
        manifest |= known[place]
        if with_code and comments.is_shell(program):
            code = comments.code_digest(text) or ""
    except OSError as error:
        objections.append(f"its script cannot be read ({error.strerror})")
    expanded = globs.expand(base, [item.pattern for item in step.inputs], left_out)
    inputs: dict[str, str] = {}
    fulls: list[str] = []
    for path in (it.removeprefix("./") for it in expanded.paths):  # as below the pattern `.`
        # As it stands where that is the same: there may be ten thousand of them.
        is_plain = base == project and not path.startswith(("/", ".."))
        full = f"{base}/{path}" if is_plain else os.path.normpath(os.path.join(base, path))
        fulls.append(full)
        try:
            inputs[path if is_plain else shown(project, full)] = digests.of(full).text
        except UnreadableError as error:
            objections.append(f"its input {one_line(path)} cannot be read ({error.strerror})")
    objections += [f"its input directory {one_line(path)} cannot be read" for path in expanded.unreadable]
    return Evidence(
        manifest,
        script,
        code,
        inputs,
        {name: text_digest(value) for name, value in values.items()},
        dict(upstream),
        tuple(objections),
        tuple(expanded.empty),
        program,
        () if expanded.has_links else (*looked, *expanded.looked, *fulls),
    )


def path_in_force(
    step: Step, values: Mapping[str, str], given: Mapping[str, str], path_variable: str | None
) -> str | None:
    """Return the PATH that a step sees."""
    for name, value in step.env:
        if name == "PATH":
            return value
    return values.get("PATH") or given.get("PATH") or path_variable


def outputs_of(step: Step, project: str, digests: Digests, below: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return what a step's declared outputs are now; an output that cannot be read is left out.

    `below` are the declared outputs, of any step, that lie below a path. Where such a path is an output of this step,
    each of them has an entry of its own and no part in that of the directory: a step that edits one of them has left
    the rest as it was.
    """
    found: dict[str, str] = {}
    for name in step.outputs:
        full = place_of(step, name, project)
        try:
            seen = {path: _output(path, digests, below.get(path, ())) for path in (full, *below.get(full, ()))}
        except UnreadableError:
            continue
        found.update({shown(project, path): text for path, text in seen.items()})
    return found


def place_of(step: Step, name: str, project: str) -> str:
    """Return the absolute path of an output by the name that the step has for it."""
    return os.path.normpath(os.path.join(project, step.working_directory, name))


def _output(path: str, digests: Digests, apart: Sequence[str]) -> str:
    seen = digests.of(path).text
    if seen == "directory" or (seen.startswith("link:") and os.path.isdir(path)):
        return f"{seen}:{_tree(path, digests, [os.path.relpath(it, path) for it in apart])}"
    return seen


def _tree(directory: str, digests: Digests, apart: Sequence[str]) -> str:
    hasher = blake3()
    expanded = globs.expand(directory, ["."])
    if expanded.unreadable:
        raise UnreadableError(0, "a directory in it cannot be read", directory)
    prefixes = tuple(f"./{path}/" for path in apart)
    for path in expanded.paths:
        if f"{path}/".startswith(prefixes):
            continue
        seen = digests.of(os.path.join(directory, path))
        if seen.text == "directory" and path != "." and any(it.startswith(f"{path}/") for it in prefixes):
            continue  # made, it may be, for what stands apart
        hasher.update(f"{path}\0{seen.text}\0".encode("utf-8", "surrogateescape"))
    return f"tree:{hasher.hexdigest()}"


def differences(
    success: Success, now: Evidence, outputs_now: Mapping[str, str], *, ignores_comments: bool
) -> list[Reason]:
    """Return every reason why a step must run that succeeded before, most telling first; empty: nothing differs."""
    reasons: list[Reason] = []
    old, new = dict(success.manifest), dict(now.manifest)
    if old.get("content") != new.get("content") and ignores_comments and now.code and success.code == now.code:
        old["content"] = new["content"]
    reasons += _interpreters(old, new)
    reasons += fingerprint.differences(old, new)
    reasons += _paths(success.inputs, now.inputs)
    for name in _changed(success.values, now.values):
        reasons.append(Reason("upstream-changed", f"the published value {name} is another"))
    unknown = {name for name, seen in now.upstream.items() if seen == UNKNOWN}
    for name in sorted(unknown):
        reasons.append(Reason("upstream-changed", f"nothing is known of what {one_line(name)} did"))
    for name in _changed(success.upstream, now.upstream):
        if name in unknown:
            continue
        reasons.append(Reason("upstream-changed", f"{one_line(name)} is another"))
    for path, seen in success.outputs.items():
        there = outputs_now.get(path, ABSENT.text)
        if there == ABSENT.text and seen != ABSENT.text:
            reasons.append(Reason("output-missing", one_line(path)))
        elif there != seen:
            reasons.append(Reason("output-changed", one_line(path)))
    return reasons


def what_changed(before: Evidence, after: Evidence) -> str:
    """Return what has another manifest: the script of a step, or the interpreter."""
    if before.manifest.get("content") != after.manifest.get("content"):
        return "its script"
    return f"its interpreter {one_line(after.manifest.get('program', ''))}"


def _interpreters(old: dict[str, str], new: dict[str, str]) -> list[Reason]:
    """Take the identity of the interpreter out of both; return what to say of it."""
    before = {key: old.pop(key, "") for key in ("program", "program.digest")}
    after = {key: new.pop(key, "") for key in ("program", "program.digest")}
    if before == after:
        return []
    return [Reason("env-changed", f"its interpreter {one_line(after['program'])} is another")]


def _paths(old: Mapping[str, str], new: Mapping[str, str]) -> list[Reason]:
    reasons = []
    for path in _changed(old, new):
        before, after = old.get(path), new.get(path)
        if after in (None, ABSENT.text) and before != ABSENT.text:
            reasons.append(Reason("input-missing", one_line(path)))
        elif before in (None, ABSENT.text):
            reasons.append(Reason("input-new", one_line(path)))
        else:
            reasons.append(Reason("input-changed", one_line(path)))
    return reasons


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [key for key in sorted({**old, **new}) if old.get(key) != new.get(key)]


def never(step: Step) -> Sequence[str]:
    """Return why a step is never reused, whatever its world."""
    if step.side_effects == "external":
        return ("side_effects: external",)
    if step.interactive:
        return ("it is interactive",)
    if step.rules.approval:
        return ("it asks a person",)
    if step.rules.is_at_the_end:
        return (f"if: {step.rules.condition}",)
    if step.rules.test:
        return ("its `if` is asked each time",)
    if step.rules.repeat is not None:
        return ("it is repeated: a resume goes on with the rounds of before",)
    if not step.outputs and all(item.pattern.startswith("!") for item in step.inputs):
        return ("it declares neither inputs nor outputs",)
    return ()


def _script(step: Step, project: str) -> tuple[bytes, tuple[str, ...]]:
    """Return the text of a step and the program with arguments that reads it. Raises OSError."""
    if step.text is not None:
        from workflow.model import TEXT_SHELL

        return step.text.encode("utf-8", "surrogateescape"), step.interpreter or TEXT_SHELL
    with open(os.path.join(project, step.script or ""), "rb") as file:
        text = file.read()
    if step.interpreter is not None:
        return text, step.interpreter
    first = text[:SHEBANG_BYTES].partition(b"\n")[0]
    if first.startswith(b"#!"):
        return text, tuple(os.fsdecode(first[2:]).split())
    return text, ()


def _interpreter(program: tuple[str, ...], digests: Digests, path_variable: str | None, base: str) -> dict[str, str]:
    """Return which program runs a step, and what it is. An upgrade of it is a change of the step's world."""
    found = programs_of(program, path_variable, base)
    seen = [_program_digest(path, digests) if real else ABSENT.text for path, real in found]
    return {"program": " ".join(path for path, _ in found), "program.digest": " ".join(seen)} if found else {}


def programs_of(program: tuple[str, ...], path_variable: str | None, base: str) -> list[tuple[str, str]]:
    """Return every word of a command that names a program, as the path that is found and where that leads in the end.

    What stands behind env, nice and the like is a program, too. The first word is there in any case, and leads to
    nothing ("") where there is none.
    """
    found = []
    for word in program:
        path = os.path.join(base, word) if os.sep in word else _in_path(word, path_variable, base)
        if path is not None and os.path.isfile(path):
            found.append((path, os.path.realpath(path)))
        elif word is program[0]:
            found.append((word, ""))
    return found


def _program_digest(path: str, digests: Digests) -> str:
    try:
        return digests.of(os.path.realpath(path)).text
    except UnreadableError:
        # A program that may be run and not read: told apart by what stat says.
        status = os.stat(path)
        return f"stat:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _in_path(name: str, path_variable: str | None, base: str) -> str | None:
    for directory in (path_variable or os.defpath).split(os.pathsep):
        path = os.path.join(base, directory, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


def text_digest(text: str) -> str:
    """Return `blake3:<hex>` of a text; a value is not kept as it is where its digest says enough."""
    return bytes_digest(text.encode("utf-8", "surrogateescape"))


def bytes_digest(content: bytes) -> str:
    return f"blake3:{blake3(content).hexdigest()}"


def shown(project: str, path: str) -> str:
    """Return a path from the project where it lies inside, so that a project may be moved."""
    if path.startswith(f"{project}/"):  # both are normal: the rest of it, without looking where we are
        return path[len(project) + 1 :]
    inside = os.path.relpath(path, project)
    return path if inside.startswith(os.pardir) else inside

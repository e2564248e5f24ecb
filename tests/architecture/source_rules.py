"""The rules of the house, as functions from source text to broken rules. Parsing only: nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

# Imports run from a higher floor to a lower one, never along a floor or upwards.
FLOORS = (
    ("model",),
    ("errors",),
    ("events",),
    ("definition", "checkpoint", "plugins"),
    ("planning",),
    ("execution", "reporting"),
    ("in_force", "options"),
    ("rerunning",),
    ("opening",),  # session is the composition root in fifteen files, each resting on those before it
    ("upkeep",),
    ("expiry",),
    (
        "recovery",
        "unkept",
        "packing",
        "reusing",
        "removed_by_hand",
        "tree_checkpoints",
        "tree_forgetting",
        "companions",
    ),
    ("invocation",),
    ("session",),
    ("auditing",),
    ("inspection",),
    ("keeping",),
    ("library",),  # beside the command line: the same session, called by programs
    ("cli", "testing"),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Third-party module -> where it may be imported: a room, or a file of a room, or a file name anywhere.
PINS = {
    "click": ("cli/",),
    "rich": ("reporting/",),
    "sh": ("execution/", "checkpoint/worktree.py", "hooks.py"),
    "yaml": ("definition/",),
    "jsonschema": ("definition/",),
}
# calling: the process of a step, which has its orders in its environment
ENVIRONMENT_IN = ("session.py", "cli/", "library/calling.py")
# temporary: what is gone again; streams: files too large for memory
WRITER = ("checkpoint/durable.py", "checkpoint/temporary.py", "checkpoint/streams.py")

ENVIRONMENT_NAMES = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
OS_WRITES = {
    "rename", "renames", "replace", "unlink", "remove", "mkdir", "makedirs", "rmdir", "removedirs", "link", "symlink",
    "truncate", "ftruncate", "mkfifo", "mknod", "chmod", "fchmod", "chown", "fchown", "lchown", "utime",
}  # fmt: skip
SHUTIL_WRITES = {
    "copy", "copy2", "copyfile", "copyfileobj", "copymode", "copystat", "copytree", "move", "rmtree", "chown",
    "make_archive", "unpack_archive",
}  # fmt: skip
PATH_WRITES = {"write_text", "write_bytes", "touch", "symlink_to", "hardlink_to"}
# Also methods of str, dict or our own objects: only told apart in a file that uses pathlib.
PATH_WRITES_AMBIGUOUS = {"unlink", "rmdir", "mkdir", "rename", "chmod"}
WRITING_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC"}


def room_of(path: str) -> str:
    """Return the room of a path below the package: its folder, or the module itself (`model.py` -> `model`)."""
    first = PurePosixPath(path).parts[0]
    return first.removesuffix(".py")


def is_in(path: str, places: tuple[str, ...]) -> bool:
    """Whether a path below the package is one of the places."""
    return any(
        path.startswith(place) if place.endswith("/") else (path == place or path.endswith(f"/{place}"))
        for place in places
    )


def imports(path: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and absolute module of every import, also those inside functions.

    `from workflow.model import Step` gives `workflow.model`; `from workflow import model` gives `workflow.model`.
    """
    package = ("workflow", *PurePosixPath(path).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                kept = package[: len(package) - node.level + 1]
                module = ".".join((*kept, module)) if module else ".".join(kept)
            if module == "workflow":
                yield from ((node.lineno, f"workflow.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def wrong_directions(path: str, tree: ast.AST) -> Iterator[str]:
    """Yield imports inside the package that go up or along a floor. The version may be read from anywhere."""
    if path == "__init__.py":
        return
    here = room_of(path)
    for line, module in imports(path, tree):
        parts = module.split(".")
        if parts[0] != "workflow" or module == "workflow.__version__":
            continue
        there = parts[1] if len(parts) > 1 else "__init__"
        if there == here:
            continue
        if there not in FLOOR_OF:
            yield f"{path}:{line}: imports {module}, which is on no floor of the house"
        elif FLOOR_OF[there] >= FLOOR_OF[here]:
            yield f"{path}:{line}: {here} must not import {there}"


def wrong_libraries(path: str, tree: ast.AST) -> Iterator[str]:
    """Yield imports of a third-party library outside the room that owns it."""
    for line, module in imports(path, tree):
        places = PINS.get(module.partition(".")[0])
        if places and not is_in(path, places):
            yield f"{path}:{line}: {module} belongs in {' or '.join(places)}"


def environment_reads(path: str, tree: ast.AST) -> Iterator[str]:
    """Yield uses of the process environment outside the rooms that read it."""
    if is_in(path, ENVIRONMENT_IN):
        return
    modules, names = bound_names(tree)
    for node in ast.walk(tree):
        called = qualified(node, modules, names) if isinstance(node, ast.Attribute | ast.Name) else None
        if called and called[0] == "os" and called[1] in ENVIRONMENT_NAMES:
            yield f"{path}:{node.lineno}: the environment is read in session and cli only"


def bound_names(tree: ast.AST) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Return names that stand for modules, and names that stand for something out of a module."""
    modules: dict[str, str] = {}
    names: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                modules[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = (node.module, alias.name)
    return modules, names


def qualified(node: ast.expr, modules: dict[str, str], names: dict[str, tuple[str, str]]) -> tuple[str, str] | None:
    """Return module and name an expression stands for (`os.rename`, or `rename` imported from os), else None."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
        return modules[node.value.id], node.attr
    if isinstance(node, ast.Name):
        return names.get(node.id)
    return None


def writes(path: str, tree: ast.AST) -> Iterator[str]:
    """Yield calls that create, change or remove files outside the one module that may.

    `os.write` on a descriptor is no offence: somebody had to open it. `/dev/...` is no file of ours.
    """
    if is_in(path, WRITER):
        return
    modules, names = bound_names(tree)
    uses_pathlib = "pathlib" in modules.values() or any(module == "pathlib" for module, _ in names.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (offence := written_by(node, modules, names, uses_pathlib)):
            yield f"{path}:{node.lineno}: {offence} writes; files are written in {' and '.join(WRITER)} only"


def written_by(
    call: ast.Call, modules: dict[str, str], names: dict[str, tuple[str, str]], uses_pathlib: bool
) -> str | None:
    """Return what to call the offence when this call writes to the file system, else None."""
    target = call.args[0] if call.args else None
    if isinstance(target, ast.Constant) and str(target.value).startswith("/dev/"):
        return None
    if isinstance(target, ast.Attribute) and target.attr == "devnull":
        return None
    known = qualified(call.func, modules, names)
    if known:
        module, name = known
        if module == "os" and name in OS_WRITES:
            return f"os.{name}"
        if module == "os" and name == "open" and WRITING_FLAGS & flags_in(call):
            return "os.open with a writing flag"
        if module == "shutil" and name in SHUTIL_WRITES:
            return f"shutil.{name}"
        if module == "tempfile":
            return f"tempfile.{name}"
        if (module, name) in {("io", "open"), ("os", "fdopen")} and mode_writes(call, 1):
            return f"{module}.{name} for writing"
        return None
    if isinstance(call.func, ast.Name) and call.func.id == "open" and mode_writes(call, 1):
        return "open for writing"
    if isinstance(call.func, ast.Attribute):
        return method_writes(call, call.func, names, uses_pathlib)
    return None


def method_writes(
    call: ast.Call, method: ast.Attribute, names: dict[str, tuple[str, str]], uses_pathlib: bool
) -> str | None:
    """Return the offence of a method call on an object, judged by the method's name; objects of ours are trusted."""
    if isinstance(method.value, ast.Name) and names.get(method.value.id, ("",))[0].startswith("workflow"):
        return None
    if method.attr in PATH_WRITES:
        return f".{method.attr}"
    if uses_pathlib and method.attr in PATH_WRITES_AMBIGUOUS:
        return f".{method.attr}"
    if uses_pathlib and method.attr == "replace" and len(call.args) == 1 and not call.keywords:
        return ".replace"  # Path.replace takes one argument, str.replace two
    if method.attr == "open" and mode_writes(call, 0) and uses_pathlib:
        return ".open for writing"
    return None


def mode_writes(call: ast.Call, position: int) -> bool:
    """Whether the mode of an open call lets it write. A mode that is not a constant counts as writing."""
    mode: ast.expr | None = call.args[position] if len(call.args) > position else None
    for keyword in call.keywords:
        if keyword.arg == "mode":
            mode = keyword.value
    if mode is None:
        return False
    return not isinstance(mode, ast.Constant) or bool(set("wax+") & set(str(mode.value)))


def flags_in(call: ast.Call) -> set[str]:
    """Return the names of the flags an os.open call is given."""
    return {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for argument in [*call.args[1:], *(keyword.value for keyword in call.keywords)]
        for node in ast.walk(argument)
        if isinstance(node, ast.Attribute | ast.Name)
    }


RULES = (wrong_directions, wrong_libraries, environment_reads, writes)

"""Declared, installed, imported and explained runtime dependencies are the same ones; no network is asked."""

from __future__ import annotations

import ast
import re
import sys
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from steps.checks.project_files import ROOT, finish, publish, shown

EXPLAINED = ROOT / "docs/design/dependencies.md"


def declared() -> dict[str, Requirement]:
    """Return the runtime requirements of pyproject.toml by canonical name.

    The array is read as a Python literal: tomllib is not there before Python 3.11.
    """
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    array = re.search(r"^dependencies = (\[.*?^\])", text, re.MULTILINE | re.DOTALL)
    if array is None:
        sys.exit("error: pyproject.toml has no `dependencies = [` at the start of a line")
    parsed = [Requirement(line) for line in ast.literal_eval(array[1])]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def imported() -> dict[str, str]:
    """Return every third-party top-level module the package imports, with one place each.

    What is imported for who checks types, and never when the program runs, is no dependency of it.
    """
    places: dict[str, str] = {}
    for path in sorted((ROOT / "workflow").rglob("*.py")):
        tree = ast.parse(path.read_bytes(), str(path))
        for_types = {id(it) for node in ast.walk(tree) if is_for_types(node) for it in ast.walk(node)}
        for node in ast.walk(tree):
            if id(node) in for_types:
                continue
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                top = name.partition(".")[0]
                if top != "workflow" and top not in sys.stdlib_module_names:
                    places.setdefault(top, f"{shown(path)}:{node.lineno}")
    return places


def is_for_types(node: ast.AST) -> bool:
    """Whether this is an `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def problems(requirements: dict[str, Requirement]) -> list[str]:
    """Return everything that does not agree, one sentence each."""
    found = []
    for name, requirement in requirements.items():
        if not requirement.specifier:
            found.append(f"{name} is declared without a lowest version")
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            found.append(f"{name} is declared but not installed")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{name} {version} is installed, {requirement.specifier} is declared")

    providers = metadata.packages_distributions()
    for module, place in imported().items():
        names = {canonicalize_name(name) for name in providers.get(module, [])}
        if not names & requirements.keys():
            found.append(f"{place}: {module} is imported but no declared dependency provides it")

    text = EXPLAINED.read_text(encoding="utf-8")
    explained = {canonicalize_name(name) for name in re.findall(r"^- \*\*(\S+)\*\*", text, re.MULTILINE)}
    found.extend(f"{name} has no reason in {shown(EXPLAINED)}" for name in requirements.keys() - explained)
    found.extend(
        f"{shown(EXPLAINED)} explains {name}, which is not declared" for name in explained - requirements.keys()
    )
    return found


if __name__ == "__main__":
    known = declared()
    publish("DEPENDENCIES", len(known))
    finish(problems(known), f"{len(known)} runtime dependencies: declared, installed in range, explained")

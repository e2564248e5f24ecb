"""The house keeps its plan: imports run one way, libraries stay in their rooms, one module writes files."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import source_rules

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "workflow"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 450


def broken(path: str, text: str) -> list[str]:
    tree = ast.parse(text, path)
    return [offence for rule in source_rules.RULES for offence in rule(path, tree)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_keeps_the_rules_of_the_house(source: Path) -> None:
    offences = broken(source.relative_to(PACKAGE).as_posix(), source.read_text(encoding="utf-8"))
    assert not offences, "\n".join(offences)


def test_every_module_stands_on_a_floor() -> None:
    rooms = {source_rules.room_of(path.relative_to(PACKAGE).as_posix()) for path in SOURCES} - {"__init__"}
    homeless = rooms - source_rules.FLOOR_OF.keys()
    assert not homeless, f"decide which floor they belong to, in source_rules.FLOORS: {homeless}"


@pytest.mark.parametrize(
    "source",
    sorted([*SOURCES, *(ROOT / "lib").glob("*.sh"), *(ROOT / "tests").rglob("*.py")]),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_no_file_has_outgrown_its_idea(source: Path) -> None:
    assert source.read_bytes().count(b"\n") < MOST_LINES


def test_importing_the_package_loads_none_of_its_rooms() -> None:
    code = "import sys, workflow; print(sorted(m for m in sys.modules if m.startswith('workflow')))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "['workflow']"


def test_every_public_name_can_be_had() -> None:
    import workflow

    missing = [name for name in workflow._PUBLIC if not hasattr(workflow, name)]
    assert not missing
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        workflow.nonsense  # noqa: B018 - the access is the test


# The rules themselves: each catches what it is there for, and lets pass what is right.
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("model.py", "from workflow.errors import count"),
        ("definition/loader.py", "from workflow.checkpoint import layout"),
        ("definition/loader.py", "def f():\n    from workflow import session"),
        ("execution/engine.py", "from ..reporting import console"),
        ("reporting/live.py", "import workflow.execution.engine"),
        ("planning/graph.py", "import workflow"),
        ("opening.py", "from workflow.session import environment"),
        ("planning/graph.py", "from workflow.nowhere import x"),
        ("reporting/console.py", "import click"),
        ("cli/status.py", "def f():\n    from rich.table import Table"),
        ("checkpoint/store.py", "import sh"),
        ("cli/main.py", "import yaml"),
        ("planning/graph.py", "from jsonschema import validators"),
        ("execution/local.py", "import os\nx = os.environ['PATH']"),
        ("execution/local.py", "import os as system\nsystem.getenv('PATH')"),
        ("execution/local.py", "from os import environ\nprint(environ)"),
        ("checkpoint/store.py", "open('x', 'w')"),
        ("checkpoint/store.py", "open('x', mode='ab')"),
        ("checkpoint/store.py", "open('x', mode)"),
        ("checkpoint/store.py", "import os\nos.replace('a', 'b')"),
        ("checkpoint/store.py", "from os import unlink as gone\ngone('a')"),
        ("checkpoint/store.py", "import os\nos.open('x', os.O_RDWR | os.O_CREAT, 0o644)"),
        ("checkpoint/store.py", "import os\nos.fdopen(3, 'w')"),
        ("checkpoint/store.py", "import shutil\nshutil.rmtree('x')"),
        ("checkpoint/store.py", "import tempfile\ntempfile.mkdtemp()"),
        ("checkpoint/store.py", "path.write_text('x')"),
        ("checkpoint/store.py", "from pathlib import Path\nPath('a').replace('b')"),
        ("checkpoint/store.py", "from pathlib import Path\nPath('a').unlink()"),
        ("reporting/junit.py", "from pathlib import Path\nPath('a').open('w')"),
    ],
)
def test_a_broken_rule_is_seen(path: str, text: str) -> None:
    assert len(broken(path, text)) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("events.py", "from workflow.model import Step\nfrom workflow.errors import count"),
        ("session.py", "import os\nfrom workflow.execution import engine\nos.environ"),
        ("cli/main.py", "import click\nfrom workflow import __version__, session"),
        ("cli/commands/run.py", "from ..main import main"),
        ("checkpoint/worktree.py", "import sh"),
        ("execution/hooks.py", "import sh"),
        ("planning/graph.py", "'a-b'.replace('-', '_')\n{}.get('environ')"),
        ("checkpoint/store.py", "open('x')\nopen('x', 'rb')\nimport os\nos.open('x', os.O_RDONLY)"),
        ("checkpoint/store.py", "from workflow.checkpoint import durable\ndurable.unlink('x')\ndurable.mkdir('x')"),
        ("checkpoint/durable.py", "import os\nos.rename('a', 'b')\nopen('x', 'w')"),
        ("execution/local.py", "open('/dev/tty', 'r+b', buffering=0)"),
        ("cli/main.py", "import os\nos.open(os.devnull, os.O_WRONLY)"),
    ],
)
def test_what_is_right_passes(path: str, text: str) -> None:
    assert broken(path, text) == []

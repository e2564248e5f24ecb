"""Whatever stands in a file: a workflow, or an error of ours; never anything else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow.definition.loader import load
from workflow.definition.resolved import from_resolved, resolved
from workflow.errors import DefinitionError, UsageError

PIECES = [
    "steps", ": ", ":", "\n", "\n  ", "\n- ", "- ", "run", "name", "needs", "[", "]", "{", "}", ",", "'", '"', "\\",
    "|", ">",
    "&a ", "*a", "<<", "!!str ", "!x ", "#", "#| ", "# %% ", "%", "@", "`", "\t", "\r", "\0", "\ufeff",
    "\x85", "\u2028",
    "é", "🦊", "0", "1", "-1", "1e9", ".nan", "null", "true", "env", "timeout", "5m", "number", "limits", "time",
    "checkpoints", "?", "---", "...", "A", "outputs", "shell", "#!", "/bin/sh",
]  # fmt: skip
SOUP = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=25).map("".join)
HALF_RIGHT = st.tuples(
    st.sampled_from(["steps:\n- run: x\n  ", "steps: [{run: x, ", '{"steps": [{"run": "x", ', ""]), SOUP
).map("".join)


@pytest.mark.parametrize("name", ["w.yaml", "w.json", "w.sh", "steps/step_00_a.sh"])
@settings(max_examples=150, deadline=None)
@given(text=HALF_RIGHT | st.binary(max_size=40))
def test_any_text_gives_a_workflow_or_an_error_that_can_be_printed(name, text):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, name)
        path.parent.mkdir(exist_ok=True)
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        path.write_bytes(b"#| " + data if name.endswith("a.sh") and isinstance(text, str) else data)
        path.chmod(0o755)
        try:
            workflow = load(directory, name.partition("/")[0])
        except (DefinitionError, UsageError) as error:
            rendered = error.render()
        else:
            assert from_resolved(resolved(workflow)) == workflow
            rendered = ""
        rendered.encode("utf-8")

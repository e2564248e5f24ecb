"""The picture of the steps as text, Mermaid and DOT; hostile names stay what they are, names."""

from __future__ import annotations

import html
import re

import pytest

from tests.reporting.fabricated import step
from workflow.model import Rules, Step, Workflow
from workflow.planning.picture import picture
from workflow.reporting.diagrams import dot_text, mermaid_text
from workflow.reporting.tree import tree_text

STEPS = (
    step(0, "setup"),
    step(1, "lint", group="checks"),
    step(2, "unit", group="checks", needs=()),
    step(3, "pack", group="more"),
    step(4, "sign", group="more"),
    step(5, "deploy", needs=(0, 3), rules=Rules(approval="ok?", condition="test -f x")),
)
HOSTILE = (
    'a"] --> b["c',
    "end",
    "two\nlines\r",
    "back\\slash\\N\\n\\",
    '"',
    "&quot;&#34;&amp;",
    "#quot;#35;",
    "`**bold**`",
    "]]></script><script>",
    "style x fill: url(#y);",
    "%% comment",
    "}; digraph {",
    "click step_00 href",
    "\x1b[31m\x00\udcff",
    "名前 é",
)


def tree(steps: tuple[Step, ...], **more: object) -> list[str]:
    workflow = Workflow("demo", "/p", "/p/workflow.yaml", steps)
    return tree_text(workflow, picture(steps), **{"is_utf8": True, **more}).splitlines()  # type: ignore[arg-type]


def test_the_tree_draws_groups_as_fork_and_join() -> None:
    assert tree(STEPS) == [
        "demo: 6 steps (2 groups)",
        "● 00 setup",
        "├─┬─ checks",
        "│ ├─ 01 lint",
        "│ └─ 02 unit    needs nothing",
        "├─┘",
        "├─┬─ more",
        "│ ├─ 03 pack",
        "│ └─ 04 sign",
        "├─┘",
        "● 05 deploy     needs 00 and 03; if: test -f x; asks for approval",
    ]


def test_the_tree_is_ascii_where_the_terminal_is_not_utf8_and_says_where_steps_stand() -> None:
    lines = tree(STEPS, is_utf8=False, statuses={0: "completed", 1: "failed", 2: "running"})
    assert "\n".join(lines).isascii()
    assert lines[1:5] == [
        "* 00 setup      completed",
        "|-+- checks",
        "| |- 01 lint    failed",
        "| `- 02 unit    running      needs nothing",
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_stays_in_its_line_of_the_tree(name: str) -> None:
    lines = tree((step(0, name), step(1, name + "1", group=name), step(2, "z", group=name)))
    assert len(lines) == 6
    assert all(line.isprintable() for line in lines)


# Every line a flowchart of ours may have; what stands in quotes holds no letter that means anything.
MERMAID = re.compile(
    r'flowchart TD|  (?:  )?step_\d+\["(?P<label>(?:[\w .,/+=-]|#\d+;)*)"\](?::::[a-z]+)?|'
    r'  subgraph group_\d+\["(?P<group>(?:[\w .,/+=-]|#\d+;)*)"\]|  end|  (?:join|needs)_\d+\(\( \)\)|'
    r"  \w+_\d+ --> \w+_\d+|  classDef [a-z]+ fill:#\w{6},stroke:#\w{6},color:#000"
)


def in_mermaid(text: str) -> list[str]:
    """Return the labels of a flowchart as a browser would show them; the test fails for any line that is not ours."""
    labels = []
    for line in text.split("\n"):
        found = MERMAID.fullmatch(line)
        assert found, line
        label = found["label"] if found["group"] is None else found["group"]
        if label is not None:
            labels.append(re.sub(r"#(\d+);", lambda code: chr(int(code[1])), label))
    return labels


DOT = re.compile(r'\s+|[{}\[\];=,]|->|"(?:\\.|[^"\\])*"|\w+')


def in_dot(text: str) -> list[str]:
    """Return the labels of a DOT file as they would be drawn; the test fails when it is no DOT file."""
    at, words = 0, []
    while at < len(text):
        found = DOT.match(text, at)
        assert found, text[at : at + 40]
        at = found.end()
        if not found[0].isspace():
            words.append(found[0])
    assert words[0] == "digraph"
    assert words.count("{") == words.count("}")
    labels = [
        words[index + 2] for index, word in enumerate(words) if words[index : index + 2] == ["label", "="] and word
    ]
    return [html.unescape(re.sub(r"\\(.)", r"\1", label[1:-1])) for label in labels]


def shown(name: str) -> str:
    from workflow.errors import one_line

    return one_line(name)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_labels_in_every_language(name: str) -> None:
    steps = (step(0, name), step(1, f"{name}1", group=name), step(2, "z", group=name))
    expected = [f"00 {shown(name)}", shown(name), f"01 {shown(name)}1", "02 z"]
    assert in_mermaid(mermaid_text(picture(steps))) == expected
    assert in_dot(dot_text(name, picture(steps))) == expected


def test_edges_and_joins_and_statuses_are_drawn() -> None:
    statuses = {0: "completed", 1: "failed", 2: "pending"}
    mermaid = mermaid_text(picture(STEPS), statuses).splitlines()
    dot = dot_text("demo", picture(STEPS), statuses).splitlines()
    assert '  step_00["00 setup#58; completed"]:::completed' in mermaid
    assert "  join_03(( ))" in mermaid
    assert "  step_01 --> join_03" in mermaid
    assert "  classDef failed fill:#f9d0d0,stroke:#c62828,color:#000" in mermaid
    assert "  step_01 -> join_03;" in dot
    assert '  step_00 [label="00 setup: completed", style=filled, fillcolor="#d3f0d3", color="#2e7d32"];' in dot
    in_mermaid("\n".join(mermaid))
    in_dot("\n".join(dot))

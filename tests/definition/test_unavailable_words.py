"""Known words that this version cannot do are refused by name; the schema and the table agree on them."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from workflow.definition.schemas import names, schema
from workflow.definition.vocabulary import LATER
from workflow.errors import UsageError
from workflow.model import RETRY_CLASSES

REFUSED = [(section, word) for section, words in LATER.items() for word in words]


@pytest.mark.parametrize(("section", "word"), REFUSED)
def test_a_word_of_a_later_version_is_refused_whatever_its_value(yaml_problem, section, word):
    text = {
        "workflow": f"{word}: true\nsteps: [{{run: x}}]\n",
        "step": f"steps: [{{run: x, {word}: [1]}}]\n",
        "checkpoints": f"checkpoints: {{{word}: {{a: 3}}}}\nsteps: [{{run: x}}]\n",
        "git": f"git: {{{word}: current}}\nsteps: [{{run: x}}]\n",
        "resources": f"steps: [{{run: x, resources: {{{word}: 1h}}}}]\n",
    }[section]
    problem = yaml_problem(text)
    assert problem.message.startswith(f"`{word}` is known but not available in this version")
    assert problem.help == "take it out for now; see docs/reference/options.md for what works today"
    assert problem.source_line[problem.column - 1 :].startswith(word)


def test_the_schema_refuses_exactly_the_words_of_the_table():
    whole = schema("workflow")
    sections = {
        "workflow": whole["properties"],
        "step": whole["$defs"]["step"]["properties"],
        "checkpoints": whole["properties"]["checkpoints"]["properties"],
        "limits": whole["properties"]["limits"]["properties"],
        "git": whole["properties"]["git"]["properties"],
        "resources": whole["$defs"]["step"]["properties"]["resources"]["properties"],
    }
    assert set(sections) == set(LATER)
    for section, words in sections.items():
        refused = {word: rule["description"].lower() for word, rule in words.items() if rule.get("not") == {}}
        assert refused == {word: f"{phrase.lower()}. not available yet." for word, phrase in LATER[section].items()}


def test_every_option_word_of_the_contract_is_known():
    contract = """
        name number run shell working_directory env secrets params if needs parallel matrix inputs outputs timeout
        retries continue_on_error on_interrupt lock resources executor carry_state interactive approval side_effects
        archive repeat
    """
    whole = schema("workflow")
    assert set(whole["$defs"]["step"]["properties"]) == set(contract.split())
    assert set(whole["properties"]) == {"name", "steps", "jobs", "smart", "checkpoints", "hooks", "git", "limits"}


@pytest.mark.parametrize("name", ["checkpoint", "doctor", "plan", "policy", "status", "step-state", "workflow"])
def test_every_schema_is_a_valid_one_of_its_draft(name):
    assert name in names()
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$schema"].endswith("2020-12/schema")


def test_every_place_that_can_be_wrong_says_what_it_wants():
    def places(rule):
        if isinstance(rule, dict):
            if "type" in rule:
                assert "x-wants" in rule or rule.get("x-section"), rule
            for part in rule.values():
                places(part)

    whole = schema("workflow")
    places(whole["properties"])
    places(whole["$defs"]["step"])
    places(whole["$defs"]["group"])


def test_the_classes_of_failure_in_the_schema_are_those_of_the_model():
    rule = schema("workflow")["$defs"]["step"]["properties"]["retries"]["properties"]["on_exit"]
    for part in (rule, rule["items"]):
        assert part["pattern"] == f"^({'|'.join(RETRY_CLASSES)})(?!\\n)$"
        assert all(name in part["x-wants"] for name in RETRY_CLASSES)


def test_a_schema_that_does_not_exist_names_the_nearest():
    with pytest.raises(UsageError) as caught:
        schema("workflows")
    assert caught.value.help == "did you mean `workflow`?"


def test_the_whole_schema_judges_whole_documents_as_the_loader_does():
    validator = Draft202012Validator(schema("workflow"))
    assert validator.is_valid({"steps": [{"run": "x", "needs": [], "timeout": "5m"}, {"steps": "more"}]})
    assert validator.is_valid({"steps": "steps", "git": True})
    assert validator.is_valid({"steps": "steps", "git": {"required": True, "max_files": 0}})
    assert validator.is_valid({"steps": "steps", "limits": {"time": 3, "jobs": 512, "cpus": 0.5, "memory": "2G"}})
    assert validator.is_valid(
        {"jobs": 4, "steps": [{"name": "g", "parallel": [{"run": "x", "retries": 3}, {"steps": "more"}]}]}
    )
    for wrong in (
        {},
        {"steps": []},
        {"steps": [{"name": "a"}]},
        {"steps": "s", "git": "yes"},
        {"steps": "s", "git": {"max_file_mb": -1}},
        {"steps": "s", "git": {"branch": "current"}},
        {"steps": [{"run": "x", "iff": 1}]},
        {"steps": [{"parallel": []}]},
        {"steps": [{"parallel": [{"run": "x", "parallel": "g"}]}]},
        {"steps": [{"parallel": [{"parallel": [{"run": "x"}]}]}]},
        {"steps": [{"run": "x", "matrix": {}}]},
        {"steps": [{"run": "x", "retries": {"delay": 1}}]},
        {"steps": [{"run": "x", "repeat": {}}]},
        {"steps": [{"run": "x"}], "jobs": 0},
    ):
        assert not validator.is_valid(wrong)


def test_the_documents_of_a_run_may_hold_more_than_the_schema_knows():
    assert Draft202012Validator(schema("checkpoint")).is_valid(
        {"version": "1.0", "workflow_id": "w", "completed_steps": [0], "total_steps": 2, "new_key": 1}
    )
    assert Draft202012Validator(schema("step-state")).is_valid(
        {"step": 0, "name": "a", "status": "completed", "more": []}
    )
    assert not Draft202012Validator(schema("step-state")).is_valid({"step": 0, "name": "a", "status": "fine"})

"""What the schema says of a mapping, turned into problems with a place and a way out."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from workflow.definition.nodes import Node, found, plain
from workflow.definition.quick_check import is_surely_valid
from workflow.definition.schemas import schema
from workflow.definition.vocabulary import LATER, unavailable
from workflow.errors import Problem, listed, nearest, one_line
from workflow.model import RETRY_CLASSES

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

_AS_WRITTEN = frozenset({"env", "params", "matrix"})


def checked_step(node: Node, problems: list[Problem]) -> dict[str, Any]:
    """Return the options of one step that are right, as JSON values; a problem for each of the others."""
    return _checked(node, "step", problems)


def checked_top(node: Node, problems: list[Problem]) -> dict[str, Any]:
    """Return the top-level words that are right, without `steps`; a problem for each of the others."""
    return _checked(node, "workflow", problems)


def checked_group(node: Node, problems: list[Problem]) -> dict[str, Any]:
    """Return the words beside and with a list below `parallel:` that are right; its steps are not looked into."""
    return _checked(node, "group", problems)


def checked_policy(node: Node, problems: list[Problem]) -> dict[str, Any]:
    """Return the top-level words of a policy that are right; the options of its steps are not looked into."""
    return _checked(node, "policy", problems)


def checked_override(node: Node, problems: list[Problem]) -> dict[str, Any]:
    """Return the options that a policy gives to one step and that are right."""
    return _checked(node, "override", problems)


@cache
def rules(section: str) -> dict[str, Any]:
    """Return the schema that a `step`, a list of steps (`group`) or the top level (`workflow`) is held against.

    Of a policy, its top level (`policy`) and what it says of one step (`override`).
    """
    if section in ("policy", "override"):
        whole = schema("policy")
        steps = whole["properties"]["steps"]
        one: dict[str, Any] = steps["additionalProperties"]
        if section == "override":
            return one
        bare = {**steps, "additionalProperties": {"type": "object", "x-wants": one["x-wants"]}}
        return {**whole, "properties": {**whole["properties"], "steps": bare}}
    whole = schema("workflow")
    if section == "step":
        rule: dict[str, Any] = whole["$defs"]["step"]
        return rule
    if section == "group":
        group = whole["$defs"]["group"]
        bare = {key: part for key, part in group["properties"]["parallel"].items() if key != "items"}
        return {**group, "properties": {**group["properties"], "parallel": bare}}
    # The steps are checked one by one with the schema of a step, whose errors say more than those of a choice.
    words = {word: rule for word, rule in whole["properties"].items() if word != "steps"}
    return {**whole, "properties": {**words, "steps": {}}, "required": []}


@cache
def _validator(section: str) -> Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(rules(section))


def _checked(node: Node, section: str, problems: list[Problem]) -> dict[str, Any]:
    value = plain(node, _AS_WRITTEN)
    if is_surely_valid(value, rules(section)):
        return {word: part for word, part in value.items() if word != "steps"}
    validator = _validator(section)
    wrong: set[str] = set()
    told: set[tuple[str | int, ...]] = set()
    for error in validator.iter_errors(value):
        path = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            for word in _value_at(value, path):
                if word not in _rule(error)["properties"]:
                    problems.append(_unknown(node.at(path).key(word), word, error))
                    wrong.add(str(path[0]) if path else word)
            continue
        if "propertyNames" in error.relative_schema_path:
            name = str(error.instance)
            problems.append(_variable_problem(node.at(path).key(name), name))
            wrong.add(str(path[0]))
            continue
        wrong.update(str(part) for part in path[:1])
        if path not in told:
            told.add(path)
            problems.append(_problem(node, path, error))
    if not isinstance(value, dict):
        return {}
    return {word: part for word, part in value.items() if word not in wrong and word != "steps"}


def _rule(error: ValidationError) -> dict[str, Any]:
    """Return the part of the schema that was not met; in ours it is always an object."""
    return error.schema if isinstance(error.schema, dict) else {}


def _value_at(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return what `path` leads to."""
    for part in path:
        value = value[part]
    return value


def _problem(node: Node, path: tuple[str | int, ...], error: ValidationError) -> Problem:
    word = next((part for part in reversed(path) if isinstance(part, str)), "")
    if error.validator == "not":
        section = _section(path)
        parent = node.at(path[:-1])
        message, advice = unavailable(word, section)
        return parent.key(word).problem(message, advice)
    rule = _rule(error)
    wants = rule.get("x-wants", "something else")
    if error.validator == "required":
        given: Any = error.instance
        missing = next(name for name in rule["required"] if name not in given)
        place = node.at(path[:-1]).key(word)
        return place.problem(f"`{one_line(word)}` has no `{missing}`", f"it wants {wants}")
    if error.validator == "pattern" and word == "outputs" and error.instance:
        return node.at(path).problem(
            "patterns (`*`, `?`, `[`) are not available in `outputs` yet",
            "name each file, or the directory they are in",
        )
    subject = f"an entry of `{one_line(word)}`" if path and isinstance(path[-1], int) else f"`{one_line(word)}`"
    advice = _advice(path, word, rule, error)
    return node.at(path).problem(f"{subject if word else 'this'} wants {wants}, not {found(error.instance)}", advice)


def _advice(path: tuple[str | int, ...], word: str, rule: dict[str, Any], error: ValidationError) -> str:
    """Return what to write instead of a value of the wrong kind; empty where nobody can guess."""
    advice = ""
    if error.instance is None and path[:1] in (("env",), ("params",)) and len(path) > 1:
        advice = f'write `{one_line(word)}: ""` for an empty text'
    elif error.instance is None and path[:1] == ("matrix",) and len(path) > 2:
        advice = 'write `""` for an empty text'
    elif word == "parallel" and rule.get("type") == "string" and isinstance(error.instance, list):
        advice = "a list of steps is an item of its own, in workflow.yaml: `- parallel: [...]`"
    elif word == "if" and isinstance(error.instance, bool):
        advice = f'a test is a command, in quotes: `if: "{str(error.instance).lower()}"`'
    elif word in ("on_exit", "backoff") and error.validator == "pattern":
        advice = _word_advice(word, str(error.instance))
    elif error.validator == "enum" and isinstance(error.instance, str):
        near = nearest(error.instance, rule["enum"])
        advice = f"did you mean `{near}`?" if near else ""
    elif error.validator == "type" and rule.get("type") == "string" and isinstance(error.instance, int | float | bool):
        advice = "put it in quotes if it is meant as text"
    elif error.validator == "type" and rule.get("type") == "boolean" and str(error.instance).lower() in _SPOKEN:
        advice = f"write {_SPOKEN[str(error.instance).lower()]}"
    return advice


def _word_advice(word: str, said: str) -> str:
    if said.isascii() and said.isdigit():
        return "write the number without quotes"
    near = nearest(said, RETRY_CLASSES if word == "on_exit" else ("constant", "exponential"))
    return f"did you mean `{near}`?" if near else ""


def _variable_problem(place: Node, name: str) -> Problem:
    if name.startswith("WORKFLOW_"):
        message = f"`{one_line(name[:80])}` is kept for workflow itself"
        return place.problem(message, "choose a name that does not begin with WORKFLOW_")
    message = f"`{one_line(name[:80])}` cannot be the name of a variable"
    return place.problem(message, "use letters, digits and `_`, and no digit first")


_WHERE = {
    "workflow": "at the top",
    "step": "for a step",
    "group": "beside a list of steps",
    "policy": "of a policy",
    "override": "that a policy can give a step",
    "hook": "of a hook",
}
_SPOKEN = {
    **dict.fromkeys(("yes", "on", "y", "1"), "true"),
    **dict.fromkeys(("no", "off", "n", "0"), "false"),
}


def _section(path: tuple[str | int, ...]) -> str:
    if len(path) > 1 and path[0] in LATER:
        return str(path[0])
    return "workflow" if path[-1] in LATER["workflow"] else "step"


def _unknown(place: Node, word: str, error: ValidationError) -> Problem:
    """Return the problem of a word that does not exist here: with the nearest one, or the place where it does exist."""
    rule = _rule(error)
    section = rule.get("x-section", "step")
    known = sorted(rule["properties"])
    elsewhere = _elsewhere(word, section)
    near = nearest(word, known)
    if elsewhere:
        advice = elsewhere
    elif near:
        advice = f"did you mean `{near}`?"
    else:
        usable = [name for name, inner in rule["properties"].items() if "not" not in inner]
        advice = f"known here: {listed(usable, 20)}"
    where = _WHERE.get(section, f"in `{section}`")
    return place.problem(f"`{one_line(word[:80])}` is no option {where}", advice)


def _elsewhere(word: str, section: str) -> str:
    whole = schema("workflow")
    if section == "workflow" and word in whole["$defs"]["step"]["properties"]:
        return f"`{word}` is an option of a step: put it there"
    if section == "group" and word in whole["$defs"]["step"]["properties"]:
        return f"`{word}` is an option of a step: put it into each step of the list"
    if section == "override" and word in whole["$defs"]["step"]["properties"]:
        return f"`{word}` says which step it is, or what it does and waits for: change it in the definition"
    if section == "policy" and word in whole["$defs"]["step"]["properties"]:
        return f"`{word}` is an option of a step: put it below `steps:` and the name of the step"
    if section == "step" and word in whole["properties"]:
        return f"`{word}` belongs to the workflow: put it at the top of workflow.yaml"
    return ""

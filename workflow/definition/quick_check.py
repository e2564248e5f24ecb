"""A quick yes to a definition that is right, so that only wrong ones pay for loading jsonschema.

It reads the very same schema. Whatever it does not know is no yes: then jsonschema decides, and
finds the words for what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_SAYS_NOTHING = frozenset({"$schema", "$id", "$defs", "title", "description", "x-section", "x-wants"})


def is_surely_valid(value: Any, schema: Mapping[str, Any]) -> bool:
    """Return True only where the schema (draft 2020-12) holds; False also means "cannot tell"."""
    for keyword, rule in schema.items():
        if keyword in _SAYS_NOTHING:
            continue
        check = _CHECKS.get(keyword)
        if check is None or not check(value, rule, schema):
            return False
    return True


def _type(value: Any, rule: Any, _schema: Mapping[str, Any]) -> bool:
    for name in [rule] if isinstance(rule, str) else rule:
        # A bool is an int to Python and none to JSON.
        if isinstance(value, _TYPES[name]) and (not isinstance(value, bool) or name == "boolean"):
            return True
    return False


def _object(value: Any, _rule: Any, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, dict):
        return True
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    for word, part in value.items():
        rule = known.get(word, others)
        if rule is False or not isinstance(word, str) or (rule is not True and not is_surely_valid(part, rule)):
            return False
    return True


def _items(value: Any, rule: Any, _schema: Mapping[str, Any]) -> bool:
    return not isinstance(value, list) or all(is_surely_valid(part, rule) for part in value)


def _names(value: Any, rule: Any, _schema: Mapping[str, Any]) -> bool:
    return not isinstance(value, dict) or all(is_surely_valid(name, rule) for name in value)


def _required(value: Any, rule: Any, _schema: Mapping[str, Any]) -> bool:
    return not isinstance(value, dict) or all(word in value for word in rule)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _pattern(value: Any, rule: Any, _schema: Mapping[str, Any]) -> bool:
    return not isinstance(value, str) or _compiled(rule).search(value) is not None


def _length(
    kind: type[str | list[Any] | dict[str, Any]], holds: Callable[[int, int], bool]
) -> Callable[[Any, Any, Mapping[str, Any]], bool]:
    return lambda value, rule, _schema: not isinstance(value, kind) or holds(len(value), rule)


def _bound(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any, Mapping[str, Any]], bool]:
    return lambda value, rule, _schema: (
        isinstance(value, bool) or not isinstance(value, (int, float)) or holds(value, rule)
    )


_CHECKS: dict[str, Callable[[Any, Any, Mapping[str, Any]], bool]] = {
    "type": _type,
    "properties": _object,
    "additionalProperties": _object,
    "propertyNames": _names,
    "items": _items,
    "required": _required,
    "pattern": _pattern,
    "enum": lambda value, rule, _schema: isinstance(value, str) and value in rule,
    "minLength": _length(str, lambda length, least: length >= least),
    "minProperties": _length(dict, lambda length, least: length >= least),
    "minItems": _length(list, lambda length, least: length >= least),
    "minimum": _bound(lambda value, least: value >= least),
    "maximum": _bound(lambda value, most: value <= most),
    "exclusiveMinimum": _bound(lambda value, least: value > least),
    "exclusiveMaximum": _bound(lambda value, most: value < most),
}

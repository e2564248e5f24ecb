"""What a step is: one manifest that is both what gets hashed and what a change is explained with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from blake3 import blake3

from workflow.model import NO_RULES, Reason, Rules, Step

Manifest = dict[str, str]


def manifest(step: Step) -> Manifest:
    """Return everything that makes this step the step it is, as text; defaults are left out.

    The number is not part of it: a step that was renumbered is still the same step. Neither is what
    says when and how often it is tried (limits in time, group, needs, retries, lock, resources), which
    changes nothing of what the step does.
    """
    content = {"content": step.content_digest}
    if step.interpreter is not None:
        content["interpreter"] = " ".join(step.interpreter)
    if step.working_directory != ".":
        content["working_directory"] = step.working_directory
    for name, value in step.env:
        content[f"env.{name}"] = value
    for name, value in step.params:
        content[f"param.{name}"] = value
    for position, path in enumerate(step.outputs):
        content[f"output.{position}"] = path
    for position, item in enumerate(step.inputs):
        content[f"input.{position}"] = item.pattern
    if step.interactive:
        content["interactive"] = "true"
    if step.rules is not NO_RULES:
        _add_rules(content, step.rules)
    return content


def _add_rules(content: Manifest, rules: Rules) -> None:
    for name, value in rules.matrix:
        content[f"env.{name}"] = value
    if rules.condition:
        content["if"] = rules.condition
    if rules.repeat is not None:
        if rules.repeat.until:
            content["repeat.until"] = rules.repeat.until
        if rules.repeat.max_iterations is not None:
            content["repeat.max_iterations"] = str(rules.repeat.max_iterations)


def fingerprint(content: Manifest) -> str:
    """Return `blake3:<hex>` of a manifest: key and value each NUL-terminated, sorted by key."""
    if len(content) == 1:
        # The usual step has nothing but its text; the same bytes as below, without the sorting.
        return f"blake3:{blake3(b'content%c%s%c' % (0, content['content'].encode('ascii'), 0)).hexdigest()}"
    text = "".join(f"{key}\0{content[key]}\0" for key in sorted(content))
    return f"blake3:{blake3(text.encode('utf-8', 'surrogateescape')).hexdigest()}"


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Reason]:
    """Tell what changed between two manifests, most telling first."""
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if "content" in changed:
        yield Reason("script-changed", "its script was edited")
    variables = [key.partition(".")[2] for key in changed if key.startswith(("env.", "param."))]
    if variables:
        yield Reason("env-changed", ", ".join(sorted(variables)))
    rest = [key.partition(".")[0] for key in changed if key != "content" and not key.startswith(("env.", "param."))]
    if rest:
        yield Reason("definition-changed", ", ".join(sorted(set(rest))))

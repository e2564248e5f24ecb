"""The five checks of a run, and what a repair did, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflow.errors import count, one_line
from workflow.reporting.wording import Palette, noted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_FINDINGS = 20
_DOES = {"sweep": "removed", "set-aside": "kept aside", "rebuild": "rebuilt"}
_WOULD = {"sweep": "would remove", "set-aside": "would keep aside", "rebuild": "would rebuild"}


def checks_text(document: Mapping[str, Any], *, colour: bool, is_utf8: bool, is_verbose: bool = False) -> str:
    """Return the answer of `checkpoint validate`: a line for each check, below a cross what is wrong and what helps.

    With `is_verbose` every file that was looked at has a line of its own.
    """
    palette = Palette(is_coloured=colour)
    tick, cross = (palette.green("✓"), palette.red("✗")) if is_utf8 else (palette.green("ok"), palette.red("XX"))
    lines = []
    for check in document["checks"]:
        notes = [one_line(check["note"])] if check["note"] else []
        lines.append(f"{tick if check['passed'] else cross} {check['title']}{palette.dim(noted(notes))}")
        if is_verbose:
            bad = {it["path"] for it in check["findings"]}
            lines += [f"    {cross if path in bad else tick} {one_line(path)}" for path in check["files"]]
        lines += _findings(check, palette)
    failed = sum(1 for check in document["checks"] if not check["passed"])
    live = " (the run is going on)" if document["is_live"] else ""
    run = one_line(str(document["run_id"]))
    total = len(document["checks"])
    lines += ["", f"{run} is whole{live}" if not failed else f"{run}: {failed} of {total} checks failed{live}"]
    return "\n".join(lines)


def _findings(check: Mapping[str, Any], palette: Palette) -> Iterator[str]:
    shown = check["findings"][:MOST_FINDINGS]
    for finding in shown:
        step = f" (step {finding['step']:02d})" if finding["step"] is not None else ""
        yield f"    {one_line(str(finding['path']))}{step}: {one_line(str(finding['what']))}"
    if len(check["findings"]) > len(shown):
        yield f"    and {len(check['findings']) - len(shown):,} more"
    for command in dict.fromkeys(str(finding["help"]) for finding in shown):
        yield palette.dim(f"    help: {one_line(command)}")


def repair_text(document: Mapping[str, Any]) -> str:
    """Return the answer of `checkpoint repair`: what was done, what runs again, what no repair mends."""
    words = _WOULD if document["dry_run"] else _DOES
    lines = []
    for action in document["actions"]:
        kept = f" as {one_line(str(action['kept_as']))}" if action["kept_as"] else ""
        path = one_line(str(action["path"]))
        lines.append(f"{words[action['action']]} {path}{kept} ({one_line(str(action['why']))})")
    for step in document["runs_again"]:
        title = f"{step['step']:02d} {one_line(str(step['name']))}"
        lines.append(f"will run again: {title} ({one_line(str(step['why']))})")
    for finding in document["left"]:
        lines.append(f"left as it is: {one_line(str(finding['path']))}: {one_line(str(finding['what']))}")
        lines.append(f"help: {one_line(str(finding['help']))}")
    run = one_line(str(document["run_id"]))
    if not document["actions"]:
        lines.append(f"{run}: nothing to repair")
    else:
        done = count(len(document["actions"]), "thing")
        lines.append(f"{run}: {done} to repair" if document["dry_run"] else f"{run}: {done} repaired")
    return "\n".join(lines)

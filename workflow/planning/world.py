"""Which steps are reused, and why the others are not: evidence held against last successes, by one function.

`plan`, `explain` and the engine all ask here. Nothing is written but by `save`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

from workflow.checkpoint.durable import Disk
from workflow.errors import one_line
from workflow.model import Reason, Status, Step, Workflow
from workflow.planning import ledger as ledgers
from workflow.planning import writers
from workflow.planning.digests import ABSENT, Digests
from workflow.planning.evidence import (
    UNKNOWN,
    Evidence,
    Programs,
    Success,
    differences,
    gather,
    never,
    outputs_of,
    path_in_force,
    place_of,
    programs_of,
    shown,
    text_digest,
    what_changed,
)
from workflow.planning.fingerprint import fingerprint, manifest
from workflow.planning.git_changes import Unchanged, may_publish, not_of_files
from workflow.planning.judgement import Judgement
from workflow.planning.ledger import Ledger
from workflow.planning.quick_looks import Quick, QuickLooks, facts_of, mapping_bytes

NO_EVIDENCE = Evidence({}, "", "", {}, {}, {})


class World:
    """The steps of a workflow, the files they depend on, and what is known of their last successes."""

    def __init__(
        self,
        workflow: Workflow,
        cache: str,
        machine: str,
        path_variable: str | None,
        left_out: Collection[str],
        unchanged: Unchanged | None = None,
        given: Mapping[str, str] | None = None,
        params: Collection[str] = (),
    ) -> None:
        """`cache` is the directory of the caches, `unchanged` what git knows (changes: git; None: digests decide).

        `given` are variables that every step gets and no definition names, `params` the names of those parameters
        that do not have their value from the definition.
        """
        self._params = frozenset(params)
        self._given = dict(given or {})
        self._workflow = workflow
        self._path_variable = path_variable
        self._left_out = frozenset(left_out)
        self._unchanged = unchanged
        self.digests = Digests(os.path.join(cache, "digests"), machine)
        self.ledger = Ledger(cache, ledgers.name_of(workflow, cache))
        # With git as evidence nothing is kept of what stat says.
        self._quick = None if unchanged is not None else self._quick_looks(cache, machine)
        self._by_number = {step.number: step for step in workflow.steps}
        self._by_name = {step.name: step for step in workflow.steps}
        self._programs: Programs = {}
        self._found: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        self._has_run: set[str] = set()
        self._made: set[str] = set()
        self._at_risk: dict[int, bool] = {}

    def _quick_looks(self, cache: str, machine: str) -> QuickLooks:
        workflow = self._workflow
        settings = (machine, str(workflow.smart.ignores_comments), workflow.project, workflow.name)
        shared = facts_of(*(os.fsencode(it) for it in settings), mapping_bytes(self._given))
        self._shared = shared
        path = ledgers.path_of(cache, ledgers.name_of(workflow, cache)).removesuffix(".json") + ".quick"
        found = QuickLooks(path, workflow.project, facts_of(shared, self.ledger.raw_digest))
        for name in self.ledger.begun_before:
            found.drop(name)
        return found

    @cached_property
    def _writers(self) -> dict[str, list[str]]:
        return self.ledger.writers(self._workflow.steps)

    @cached_property
    def _declared(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for step in self._workflow.steps:
            for name in step.outputs:
                found.setdefault(shown(self._workflow.project, self._place_of(step, name)), set()).add(step.name)
        return found

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        return writers.below({self._place_of(step, name) for step in self._workflow.steps for name in step.outputs})

    def outputs_of(self, step: Step) -> dict[str, str]:
        """Return what a step's declared outputs are now; what cannot be read is left out."""
        return outputs_of(step, self._workflow.project, self.digests, self._below)

    def _has_all(self, step: Step, outputs: Mapping[str, str]) -> bool:
        return all(shown(self._workflow.project, self._place_of(step, name)) in outputs for name in step.outputs)

    @property
    def problems(self) -> list[str]:
        """What people should know of the caches."""
        self.digests.load()
        self.ledger.get("")
        return self.problems_met

    @property
    def problems_met(self) -> list[str]:
        """What people should know of the caches as far as they were needed."""
        return [problem for problem in (self.digests.problem, self.ledger.problem) if problem]

    def writers_of_many(self) -> dict[str, list[str]]:
        """Return the output paths that more than one step left something at, with those steps in order."""
        found: dict[str, list[str]] = {}
        for path, line in self._writers.items():
            left = [(name, self.ledger.get(name)) for name in line] if len(line) > 1 else []
            found[path] = [name for name, it in left if it is not None and it.outputs.get(path) != ABSENT.text]
        return {path: line for path, line in found.items() if len(line) > 1}

    def judge(self, step: Step, values: Mapping[str, str], *, may_be_quick: bool = True) -> Judgement:
        """Look at a step whose turn has come; `values` are the published values that it will see. Never raises.

        A quick look says nothing of the evidence: only that all is as it was when the step was reused before.
        """
        if not may_be_quick or self._quick is None:
            return self._judge(step, values)
        found = self._look_quickly(self._quick, step, values)
        if found is not None:
            return found
        at_ns = time.time_ns()
        judgement = self._judge(step, values)
        if judgement.success is not None and not judgement.reasons:
            self._keep(self._quick, judgement, values, at_ns)
        return judgement

    def _look_quickly(self, looks: QuickLooks, step: Step, values: Mapping[str, str]) -> Judgement | None:
        known = looks.get(step.name)
        if known is None or never(step):
            return None
        if looks.token(known.paths, self._facts(step, values, tuple(known.program))) != known.token:
            return None
        nothing: dict[str, str] = {}
        told = (known.run_id, step.number, known.completed_at, 0.0, nothing, "", "", nothing, nothing, nothing, nothing)
        return Judgement(step, NO_EVIDENCE, Success(*told, known.published, known.env), (), outputs=known.outputs)

    def _facts(self, step: Step, values: Mapping[str, str], program: tuple[str, ...]) -> bytes:
        path_variable = path_in_force(step, values, self._given, self._path_variable)
        place = (*program, "", step.working_directory, path_variable or "")
        found = self._found.get(place)
        if found is None:
            base = os.path.normpath(os.path.join(self._workflow.project, step.working_directory))
            found = self._found[place] = programs_of(program, path_variable, base)
        names = os.fsencode("\0".join("\0".join(pair) for pair in found))
        # What it needs is no part of its manifest, and what is looked at of that is no part of what it declares.
        needed = [self._by_number[number] for number in step.needs or ()]
        made = os.fsencode(
            "\0".join("\0".join((it.name, it.working_directory, str(len(it.outputs)), *it.outputs)) for it in needed)
        )
        return facts_of(fingerprint(manifest(step)).encode("ascii"), names, mapping_bytes(values), made)

    def _keep(self, looks: QuickLooks, judgement: Judgement, values: Mapping[str, str], at_ns: int) -> None:
        """Keep what a whole look went by, if a stat of each path is fit to tell that all is as it was."""
        step, evidence, success = judgement.step, judgement.evidence, judgement.success
        shared = any(len(self._writers.get(path, ())) > 1 for path in (success.outputs if success else ()))
        written = any(path in self._writers and self._is_written_later(path, step) for path in evidence.inputs)
        if success is None or not evidence.paths or evidence.empty or shared or written:
            return
        needed = [self._by_number[number] for number in step.needs or ()]
        if any(not it.outputs for it in needed):
            return
        outputs = [self._place_of(it, name) for it in (step, *needed) for name in it.outputs]
        line_of = {path: self._writers.get(shown(self._workflow.project, path), ()) for path in outputs}
        if any(os.path.isdir(path) or len(line) > 1 for path, line in line_of.items()):
            return
        facts = self._facts(step, values, evidence.program)
        base = os.path.normpath(os.path.join(self._workflow.project, step.working_directory))
        path_variable = path_in_force(step, values, self._given, self._path_variable)
        programs = [real for _, real in programs_of(evidence.program, path_variable, base) if real]
        paths = [looks.shortened(path) for path in dict.fromkeys((*evidence.paths, *outputs, *programs))]
        token = looks.token(paths, facts, at_ns)
        # Looked at once more in between: what was seen and what stat says now belong together.
        if token and self._judge(step, values) == judgement and looks.token(paths, facts, at_ns) == token:
            told = (success.run_id, success.completed_at, success.published, success.env, dict(judgement.outputs))
            looks.put(step.name, Quick(token, *told, list(evidence.program), paths))

    def _is_written_later(self, path: str, step: Step) -> bool:
        return any(self._by_name[name].number >= step.number for name in self._writers[path])

    def _place_of(self, step: Step, name: str) -> str:
        return place_of(step, name, self._workflow.project)

    def _judge(self, step: Step, values: Mapping[str, str]) -> Judgement:
        success = self.ledger.get(step.name)
        evidence = gather(
            step,
            self._workflow.project,
            self.digests,
            values=values,
            upstream=self._upstream(step),
            path_variable=self._path_variable,
            left_out=self._left_out,
            with_code=self._workflow.smart.ignores_comments,
            programs=self._programs,
            given=self._given,
        )
        if evidence.objections:
            reasons = tuple(Reason("forced", f"never reused: {why}") for why in evidence.objections)
            return Judgement(step, evidence, success, reasons, is_never=True)
        is_vouched_for = self._unchanged is not None and self._is_untouched(self._unchanged, step, evidence)
        if success is None:
            if not is_vouched_for or may_publish(step, evidence):
                remark = ", and it may publish values, which git does not keep" if is_vouched_for else ""
                reason = Reason("never-run", f"no success of it is known{remark}")
                return Judgement(step, evidence, None, (reason,), values=values)
            # Git knows files; a value that somebody gave is not of the base.
            given = ", ".join(self._given_to(step))
            reasons = (Reason("env-changed", given),) if given else ()
            return Judgement(step, evidence, None, reasons, values=values, outputs=self.outputs_of(step))
        outputs = self.outputs_of(step)
        found = self._reasons(step, success, evidence, values, outputs)
        reasons = tuple(not_of_files(found, success) if is_vouched_for else found)
        is_of_base = len(reasons) < len(found)
        return Judgement(step, evidence, success, reasons, values=values, is_of_base=is_of_base, outputs=outputs)

    def _given_to(self, step: Step) -> list[str]:
        """Return the names of what was given on the command line and reaches a step."""
        own = manifest(step)
        variables = [name for name in self._given if f"env.{name}" not in own]
        return sorted({*variables, *(name for name, _ in step.params if name in self._params)})

    def _reasons(
        self,
        step: Step,
        success: Success,
        evidence: Evidence,
        values: Mapping[str, str],
        outputs: Mapping[str, str],
    ) -> list[Reason]:
        before = ledgers.as_it_was_before(step, evidence, self.ledger, self._writers, self._is_as_it_was)
        left = ledgers.outputs_as_left(step, outputs, self.ledger, self._writers)
        ignores = self._workflow.smart.ignores_comments
        then, before = ledgers.without_own(step, success, before, self._declared)
        reasons = differences(then, before, left, ignores_comments=ignores)
        if not reasons:
            # What a later step wrote over has to be made again before that step can run again.
            for later in self._next_writers(step, success):
                if self._may_run(later, step, values):
                    title = one_line(later.title)
                    reasons.append(Reason("output-changed", f"{title} may run again, and begins with what this makes"))
        return reasons

    def _may_run(self, later: Step, since: Step, values: Mapping[str, str]) -> bool:
        """Return whether a step that comes later may run in this pass, as far as can be told at the turn of `since`.

        In doubt it may: it would edit what it has edited already.
        """
        known = self._at_risk.get(later.number)
        if known is None:
            known = self._at_risk[later.number] = self._is_at_risk(later, since, values)
        return known

    def _is_at_risk(self, later: Step, since: Step, values: Mapping[str, str]) -> bool:
        success = self.ledger.get(later.name)
        if success is None:
            return True
        between = [it for it in self._workflow.steps if since.number < it.number < later.number]
        ahead = dict(values)
        for name, digest in success.values.items():
            if name in ahead:
                continue
            for step in between:
                left = self.ledger.get(step.name)
                value = None if left is None else {**left.published, **left.env}.get(name)
                if value is not None and text_digest(value) == digest and not self._may_run(step, since, values):
                    ahead[name] = value
        if self.judge(later, ahead).reasons:
            return True
        feeding = [it for it in between if self._feeds(it, later, success)]
        return any(self._may_run(step, since, values) for step in feeding)

    def _feeds(self, step: Step, later: Step, success: Success) -> bool:
        if step.number in (later.needs or ()):
            return True
        left = self.ledger.get(step.name)
        return left is not None and any(
            path == name or path.startswith(f"{name}/") or name.startswith(f"{path}/")
            for name in left.outputs
            for path in success.inputs
        )

    def _next_writers(self, step: Step, success: Success) -> list[Step]:
        """Return for each output the step that wrote over it next; what comes after that one is its affair."""
        found: dict[str, None] = {}
        for path in success.outputs:
            line = self._writers.get(path, [])
            found.update(dict.fromkeys(line[self._place(path, step.name) + 1 :][:1]))
        return [it for name in found if (it := self._by_name[name]).number > step.number]

    def _place(self, path: str, name: str) -> int:
        line = self._writers.get(path, [])
        return line.index(name) if name in line else len(line)

    def _is_as_it_was(self, name: str) -> bool:
        return name not in self._has_run or self.ledger.get(name) is not None

    def _upstream(self, step: Step) -> dict[str, str]:
        """Return what is known of the steps that it names in `needs`: their outputs, or which run they are of."""
        found: dict[str, str] = {}
        for number in step.needs or ():
            needed = self._by_number[number]
            success = self.ledger.get(needed.name)
            if needed.outputs:
                left = ledgers.outputs_as_left(needed, self.outputs_of(needed), self.ledger, self._writers)
                found.update({f"{needed.name}: {path}": seen for path, seen in left.items()})
                if not self._has_all(needed, left):
                    found[needed.name] = UNKNOWN
            else:
                found[needed.name] = UNKNOWN if success is None else f"{success.run_id} {success.completed_at}"
        return found

    def _is_untouched(self, unchanged: Unchanged, step: Step, evidence: Evidence) -> bool:
        """Return whether git vouches for a step, and no step before it made anything of its world in this pass."""
        if any(self._by_number[number].name in self._has_run for number in step.needs or ()):
            return False
        workflow = self._workflow
        written = [workflow.source if step.script is None else step.script]
        written += [] if workflow.policy is None else [workflow.policy]
        return unchanged.vouches_for(step, evidence, workflow.project, written, self._made)

    # ------------------------------------------------------------------ what happens

    def _runs(self, step: Step) -> None:
        self._has_run.add(step.name)
        if self._unchanged is not None:
            self._made.update(os.path.realpath(self._place_of(step, name)) for name in step.outputs)

    def begins(self, step: Step, disk: Disk) -> None:
        """Note that a step runs: until it has succeeded, nothing is known of it, even if we die."""
        self._programs.clear()  # a step may install another one
        self._found.clear()
        if self._quick is not None:
            self._quick.drop(step.name)
        if self.ledger.get(step.name) is not None:
            # Of a step that makes no file nothing would tell that it ran: even a power cut must not hide it.
            self.ledger.begin(step.name, disk, sync=not step.outputs)
        self._runs(step)
        self._at_risk.clear()

    def runs_unseen(self, steps: Iterable[Step], disk: Disk) -> None:
        """Note that steps run that are not looked at: what was known of those that make no file counts no more."""
        for step in steps:
            if not step.outputs:
                self.begins(step, disk)
            self._runs(step)

    def ends(
        self,
        judgement: Judgement,
        status: Status,
        *,
        run_id: str,
        completed_at: str,
        duration_s: float,
        published: Mapping[str, str],
        env: Mapping[str, str],
    ) -> str:
        """Note how a step ended; return what people should know, empty as a rule.

        Its inputs are looked at again: what changed while it ran may or may not have been read, so the result counts
        for nothing later.
        """
        step, before = judgement.step, judgement.evidence
        self._at_risk.clear()
        self._runs(step)  # what it made may be a link now
        if status is not Status.SUCCEEDED or judgement.is_never:
            return ""
        after = gather(
            step,
            self._workflow.project,
            self.digests,
            values=judgement.values,
            upstream={},
            path_variable=self._path_variable,
            left_out=self._left_out,
            with_code=self._workflow.smart.ignores_comments,
            programs=self._programs,
            given=self._given,
        )
        outputs = self.outputs_of(step)
        if not self._has_all(step, outputs):
            return "what it made cannot be read: it counts for this run and for no later one"
        own = set(outputs)
        changed = [
            path
            for path in sorted({**before.inputs, **after.inputs})
            if before.inputs.get(path) != after.inputs.get(path) and path not in own and not _is_below(path, own)
        ]
        if changed or after.objections or before.manifest != after.manifest:
            what = f"{changed[0] if changed else what_changed(before, after)} changed while it ran"
            what = after.objections[0] if after.objections and not changed else what
            return f"{what}: what it did counts for this run and for no later one"
        upstream = {name: seen for name, seen in self._upstream(step).items() if name.partition(": ")[2] not in own}
        if upstream != {name: before.upstream.get(name) for name in upstream}:
            return "what it needs changed while it ran: what it did counts for this run and for no later one"
        self.ledger.put(
            step.name,
            Success(
                run_id,
                step.number,
                completed_at,
                round(duration_s, 3),
                before.manifest,
                before.script,
                before.code,
                before.inputs,
                before.values,
                before.upstream,
                outputs,
                dict(published),
                dict(env),
            ),
        )
        return ""

    def save(self, disk: Disk) -> None:
        """Write the caches; never raises."""
        self.ledger.save(disk)
        self.digests.save(disk)
        if self._quick is not None:
            self._quick.save(disk, facts_of(self._shared, self.ledger.raw_digest), self.ledger.is_kept)


def _is_below(path: str, directories: Collection[str]) -> bool:
    return any(path.startswith(f"{directory}/") for directory in directories)

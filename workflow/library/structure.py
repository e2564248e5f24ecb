"""Whether the workflow that is to carry a checkpoint on has the steps that the checkpoint tells of."""

from __future__ import annotations

from workflow.checkpoint import store
from workflow.checkpoint.layout import CheckpointRoot
from workflow.definition import loader
from workflow.errors import StepNotFoundError, WorkflowError, count, listed, one_line
from workflow.inspection import definition_of
from workflow.options import Options
from workflow.planning.record import identities
from workflow.session import project_directory


def refuse_missing(options: Options, *, lenient: bool) -> None:
    """Refuse to carry on a run whose completed steps are not all there, by name or by what they do.

    Looks only: what else is wrong with the run is for the resume to say. Raises StepNotFoundError, DefinitionError.
    """
    if lenient or not options.resume or options.built is None or options.checkpoint_dir is None:
        return
    run_id = options.resume.partition("@")[0]
    try:
        layout = store.find_run(CheckpointRoot(options.checkpoint_dir), run_id)
        before, _ = definition_of(layout)
    except WorkflowError:
        return
    now = loader.load(project_directory(), None, built=options.built)
    names = {step.name for step in now.steps}
    known = {identity.fingerprint for identity in identities(now).values()}
    markers = store.read_markers(layout).whole.values()
    missing = [it.name for it in markers if it.name not in names and it.fingerprint not in known]
    if missing:
        # "Node not found during resume" elsewhere: our word for a node is step.
        raise StepNotFoundError(
            f"Step (node) not found during resume: {run_id} completed "
            f"{count(len(missing), 'step')} that this workflow does not have: {listed(one_line(it) for it in missing)}",
            help="give the workflow the steps it had then "
            f"({listed(one_line(step.name) for step in before.steps)}), or resume with ignore_missing=True",
        )

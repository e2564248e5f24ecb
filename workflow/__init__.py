"""Run numbered shell steps and survive any crash: a step is done if and only if its marker is there.

Importing this package costs next to nothing: the public names are loaded from their rooms when they are first used.
"""

from __future__ import annotations

__version__ = "0.1.0"

# Public name -> the module it lives in. The only list of what `workflow` offers to importers.
_PUBLIC = {
    "CheckpointError": "workflow.errors",
    "CheckpointSettings": "workflow.model",
    "Decision": "workflow.model",
    "DefinitionError": "workflow.errors",
    "NotRecordedError": "workflow.errors",
    "Observer": "workflow.events",
    "Reason": "workflow.model",
    "RunBusyError": "workflow.errors",
    "RunStatus": "workflow.model",
    "Status": "workflow.model",
    "Step": "workflow.model",
    "UsageError": "workflow.errors",
    "Workflow": "workflow.model",
    "WorkflowError": "workflow.errors",
}


def __getattr__(name: str) -> object:
    """Load a public name from its room (PEP 562), once.

    Raises AttributeError for a name that is not public.
    """
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})

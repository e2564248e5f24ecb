"""Run numbered shell steps and survive any crash: a step is done if and only if its marker is there.

Importing this package costs next to nothing: the public names are loaded from their rooms when they are first used.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # as who checks types knows it by its name; importing `typing` would cost all others
if TYPE_CHECKING:  # the same names for who runs nothing
    from workflow.errors import (
        CheckpointError,
        CheckpointNotFoundError,
        DefinitionError,
        NoCheckpointerError,
        NotRecordedError,
        RunBusyError,
        StepNotFoundError,
        StoreError,
        UsageError,
        WorkflowError,
    )
    from workflow.events import Observer
    from workflow.library.building import Workflow
    from workflow.library.checkpointers import Checkpoint, Checkpointer, MemoryCheckpointer, SqliteCheckpointer
    from workflow.library.file_checkpointer import FileCheckpointer
    from workflow.library.results import Result, RunFailedError, StepResult
    from workflow.library.stores import StateStore, Stored
    from workflow.model import CheckpointSettings, Decision, Reason, RunStatus, Status, Step
    from workflow.plugins import open_store

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointNotFoundError",
    "CheckpointSettings",
    "Checkpointer",
    "Decision",
    "DefinitionError",
    "FileCheckpointer",
    "MemoryCheckpointer",
    "NoCheckpointerError",
    "NotRecordedError",
    "Observer",
    "Reason",
    "Result",
    "RunBusyError",
    "RunFailedError",
    "RunStatus",
    "SqliteCheckpointer",
    "StateStore",
    "Status",
    "Step",
    "StepNotFoundError",
    "StepResult",
    "StoreError",
    "Stored",
    "UsageError",
    "Workflow",
    "WorkflowError",
    "open_store",
]

# Public name -> the module it lives in. The only list of what `workflow` offers to importers.
_PUBLIC = {
    "Checkpoint": "workflow.library.checkpointers",
    "CheckpointError": "workflow.errors",
    "CheckpointNotFoundError": "workflow.errors",
    "CheckpointSettings": "workflow.model",
    "Checkpointer": "workflow.library.checkpointers",
    "Decision": "workflow.model",
    "DefinitionError": "workflow.errors",
    "FileCheckpointer": "workflow.library.file_checkpointer",
    "MemoryCheckpointer": "workflow.library.checkpointers",
    "NoCheckpointerError": "workflow.errors",
    "NotRecordedError": "workflow.errors",
    "Observer": "workflow.events",
    "Reason": "workflow.model",
    "Result": "workflow.library.results",
    "RunBusyError": "workflow.errors",
    "RunFailedError": "workflow.library.results",
    "RunStatus": "workflow.model",
    "SqliteCheckpointer": "workflow.library.checkpointers",
    "StateStore": "workflow.library.stores",
    "Status": "workflow.model",
    "Step": "workflow.model",
    "StepNotFoundError": "workflow.errors",
    "StepResult": "workflow.library.results",
    "StoreError": "workflow.errors",
    "Stored": "workflow.library.stores",
    "UsageError": "workflow.errors",
    "Workflow": "workflow.library.building",
    "WorkflowError": "workflow.errors",
    "open_store": "workflow.plugins",
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

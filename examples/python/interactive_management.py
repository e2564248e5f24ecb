"""Checkpoints made, listed, looked at and deleted, by a person or by a pipe:

python examples/python/interactive_management.py
printf 'list\nshow 1\ndelete 1\nlist\nquit\n' | python examples/python/interactive_management.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from workflow import FileCheckpointer, Workflow, WorkflowError

HELP = "list | show N | delete N | again N (go back to N and carry on) | clear | quit"


def main() -> None:
    place = Path(tempfile.mkdtemp(prefix="workflow-interactive-"))
    keeper = FileCheckpointer(place / "checkpoints", save_after_step=True)
    workflow = (
        Workflow("interactive", project=place, checkpointer=keeper)
        .step("collect", "echo collected")
        # A checkpoint by hand, under a name, from within a step; from outside: workflow checkpoint create RUN
        .step("clean", '. "$WORKFLOW_LIB/step_execution.sh"; step_checkpoint "before the risky part"; echo cleaned')
        .step("publish", "echo published")
    )
    run_id = workflow.run().raise_for_failure().run_id
    print(HELP)
    while True:
        print("> ", end="", flush=True)
        verb, _, number = sys.stdin.readline().strip().partition(" ")
        try:
            if verb in ("quit", ""):
                break
            if verb == "list":
                for it in keeper.list(run_id):
                    print(f"{it.number}  {it.trigger:10}  {it.completed_tasks}/{it.total_tasks}  {it.name}")
            elif verb == "show":
                said = keeper.load(f"{run_id}@{number}")
                print({word: said[word] for word in ("checkpoint_id", "status", "completed_steps", "created")})
            elif verb == "delete":
                keeper.delete(f"{run_id}@{number}")
                print(f"deleted {number}")
            elif verb == "again":
                print(", ".join(f"{it.name} {it.status.value}" for it in workflow.resume(f"{run_id}@{number}").steps))
            elif verb == "clear":
                print(f"{keeper.delete_all(run_id)} run deleted")
            else:
                print(HELP)
        except WorkflowError as error:
            print(error.render())


if __name__ == "__main__":
    main()

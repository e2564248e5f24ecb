"""A workflow of functions and shell that is kept step by step:   python examples/python/basic.py

What is kept lies in ./checkpoints of the directory below, and `workflow status` looks at it as at any run.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from workflow import FileCheckpointer, Workflow


def research(topic: str) -> dict[str, int]:
    """Write what was found; what is returned is published to later steps."""
    Path("notes.txt").write_text("".join(f"{topic}: fact {n}\n" for n in range(1, 6)), encoding="utf-8")
    return {"FACTS": 5}


def analyse() -> None:
    """Published values are in the environment, as for every step."""
    lines = Path("notes.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == int(os.environ["FACTS"])
    Path("analysis.txt").write_text(f"{len(lines)} facts, the last: {lines[-1]}\n", encoding="utf-8")


def main() -> None:
    place = Path(tempfile.mkdtemp(prefix="workflow-basic-"))
    keeper = FileCheckpointer(place / "checkpoints", save_after_step=True, max_checkpoints=5, compress=False)
    workflow = (
        Workflow("basic", project=place, checkpointer=keeper)
        .step("research", call=research, args=["tides"], outputs=["notes.txt"])
        .step("analyse", call=analyse, inputs=["notes.txt"], outputs=["analysis.txt"])
        .step("report", "cat analysis.txt >report.txt", inputs=["analysis.txt"], outputs=["report.txt"])
        .edge("research", "analyse")
        .edge("analyse", "report")
        .start("research")
    )
    result = workflow.run(show=True)
    result.raise_for_failure()
    print((place / "report.txt").read_text(encoding="utf-8"), end="")
    for checkpoint in keeper.list(result.run_id):
        done = f"{checkpoint.completed_tasks}/{checkpoint.total_tasks}"
        print(f"{checkpoint.id}  {checkpoint.trigger:10}  {done}  {checkpoint.size_bytes:,} bytes")
    print(f"look at it: workflow status --checkpoint-dir {keeper.place}")


if __name__ == "__main__":
    main()

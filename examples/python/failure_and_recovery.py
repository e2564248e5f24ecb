"""A service fails in the middle; the run is carried on from where it stopped, and from an earlier checkpoint:

python examples/python/failure_and_recovery.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from workflow import SqliteCheckpointer, Workflow


def fetch(pages: int) -> None:
    """Take long, and be glad that it happens once."""
    with Path("fetched.txt").open("a", encoding="utf-8") as file:
        file.writelines(f"page {n}\n" for n in range(pages))


def ask_service() -> dict[str, str]:
    """Fail as services do."""
    if not Path("service-is-up").exists():
        raise ConnectionError("the service does not answer")
    return {"ANSWER": "42"}


def main() -> None:
    place = Path(tempfile.mkdtemp(prefix="workflow-recovery-"))
    keeper = SqliteCheckpointer(place / "checkpoints.db")
    workflow = (
        Workflow("recovery", project=place, checkpointer=keeper)
        .step("fetch", call=fetch, args=[3], outputs=["fetched.txt"])
        .step("ask", call=ask_service)
        .step("write", 'echo "the answer is $ANSWER" >answer.txt', outputs=["answer.txt"])
    )

    failed = workflow.run("my-workflow")
    assert not failed
    for step in failed.failed:
        print(f"{step}   {step.tail[-1] if step.tail else ''}")
    error = keeper.latest("my-workflow")
    print(f"kept: {error.id} ({error.trigger})")

    (place / "service-is-up").touch()
    result = workflow.resume("my-workflow")
    assert result
    print(", ".join(f"{step.name} {step.status.value}" for step in result.steps))

    first = next(it for it in keeper.list("my-workflow") if it.completed_tasks == 1)
    again = workflow.resume(first.id)
    assert again
    print(f"from {first.number}:", ", ".join(f"{step.name} {step.status.value}" for step in again.steps))
    assert (place / "fetched.txt").read_text(encoding="utf-8").count("page 0") == 1


if __name__ == "__main__":
    main()

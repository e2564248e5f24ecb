"""Many stages, checkpoints by the clock, progress, an interrupt in the middle, and the rest later:

python examples/python/long_running.py
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from pathlib import Path

from workflow import SqliteCheckpointer, Workflow
from workflow.events import Event, RunStarted, StepFinished

STAGES = 6


def stage(number: int, seconds: float) -> None:
    """Work for a while."""
    import time

    time.sleep(seconds)
    with Path("done.txt").open("a", encoding="utf-8") as file:
        file.write(f"stage {number}\n")


class Progress:
    """An observer: hears of every event once it is true on the disk."""

    def __init__(self) -> None:
        self.done = 0
        self.is_under_way = threading.Event()

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.done = event.bypassed
            print(f"{event.bypassed} of {STAGES} stages are done already")
        elif isinstance(event, StepFinished) and event.status.value == "completed":
            self.done += 1
            if self.done >= 2:
                self.is_under_way.set()
            print(f"{self.done} of {STAGES}  {event.step.name}  {event.duration_s:.1f}s")


async def main() -> None:
    place = Path(tempfile.mkdtemp(prefix="workflow-long-"))
    keeper = SqliteCheckpointer(place / "checkpoints.db", save_after_step=True, save_interval=0.5, max_checkpoints=5)
    workflow = Workflow("long", project=place, checkpointer=keeper)
    for number in range(STAGES):
        workflow.step(f"stage-{number}", call=stage, args=[number, 0.3])

    progress = Progress()
    running = asyncio.create_task(workflow.arun("nightly", observers=[progress]))
    await asyncio.to_thread(progress.is_under_way.wait)
    running.cancel()  # as a deploy would, or a time limit: asyncio.wait_for(workflow.arun(), 3600)
    try:
        await running
    except asyncio.CancelledError:
        print(f"interrupted; kept: {keeper.latest('nightly').id} ({keeper.latest('nightly').status})")

    result = await workflow.aresume("nightly", observers=[progress])
    result.raise_for_failure()
    saving = result.saving
    print(f"{result.status}; {saving.count} states, {saving.size_bytes:,} bytes, {saving.seconds:.3f}s of saving")
    assert (place / "done.txt").read_text(encoding="utf-8").splitlines() == [f"stage {n}" for n in range(STAGES)]
    print(f"{len(keeper.list('nightly'))} checkpoints, {keeper.size_bytes():,} bytes in {keeper.place}")


if __name__ == "__main__":
    asyncio.run(main())

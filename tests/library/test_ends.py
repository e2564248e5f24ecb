"""How runs of programs end before their time: cancelled, interrupted, killed; and what is left then."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import wait_for
from tests.conftest import clean_env
from tests.library.conftest import make
from workflow import Checkpointer, FileCheckpointer, RunBusyError, SqliteCheckpointer, Workflow

Keeper = FileCheckpointer | Checkpointer


def slow(where: Path, keeper: Keeper) -> Workflow:
    """A step that is quick, and one that hangs until there is a file `go`."""
    hang = ": >here; n=0; until test -e go; do sleep 0.05; n=$((n+1)); test $n -lt 600; done; echo b >>ran.txt"
    return Workflow("slow", project=where, checkpointer=keeper).step("a", "echo a >>ran.txt").step("b", hang)


def ran(where: Path) -> list[str]:
    return (where / "ran.txt").read_text().split()


def carried_on(where: Path, keeper: Keeper) -> None:
    (where / "go").touch()
    result = slow(where, keeper).resume()
    assert result
    assert result["a"].status.value == "bypassed"
    assert ran(where) == ["a", "b"]


def test_a_run_can_be_awaited_beside_other_things(where: Path, keeper: Keeper) -> None:
    async def main() -> list[Any]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        first = Workflow("one", project=where, checkpointer=keeper).step("a", "sleep 0.3")
        second = Workflow("two", project=where, checkpointer=keeper).step("a", "sleep 0.3; exit 3")
        results = await asyncio.gather(first.arun(), second.arun())
        ticking.cancel()
        return [*results, ticks]

    good, bad, ticks = asyncio.run(main())
    assert good
    assert bad["a"].exit_code == 3
    assert ticks > 10


def test_cancelling_pauses_the_run_and_a_resume_carries_on(where: Path, keeper: Keeper) -> None:
    async def main() -> None:
        task = asyncio.create_task(slow(where, keeper).arun())
        await asyncio.to_thread(wait_for, (where / "here").exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Nothing goes on behind the back of who cancelled.
        assert keeper.latest().status == "paused"

    asyncio.run(main())
    assert ran(where) == ["a"]
    carried_on(where, keeper)


def test_a_time_limit_of_asyncio_works(where: Path, keeper: Keeper) -> None:
    async def main() -> None:
        await asyncio.wait_for(slow(where, keeper).arun(), 1.5)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(main())
    carried_on(where, keeper)


def test_an_exception_of_a_run_comes_out_of_the_await(where: Path) -> None:
    workflow = Workflow("w", project=where).step("a", "true", needs=["nobody"])
    with pytest.raises(Exception, match="nobody"):
        asyncio.run(workflow.arun())


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_ends import slow
from workflow import FileCheckpointer, SqliteCheckpointer
keeper = {keeper}
if __name__ == "__main__":
    result = slow(Path({where!r}), keeper).run()
    print(result.status)
"""


def program(where: Path, tmp_path: Path, kind: str) -> subprocess.Popen[bytes]:
    place = tmp_path / ("checkpoints" if kind == "file" else "checkpoints.db")
    keeper = f"{'FileCheckpointer' if kind == 'file' else 'SqliteCheckpointer'}({str(place)!r})"
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(tests=str(Path(__file__).parent), where=str(where), keeper=keeper))
    root = str(Path(__file__).resolve().parents[2])
    env = clean_env({"PYTHONPATH": root, "TMPDIR": os.environ["TMPDIR"]})
    process = subprocess.Popen([sys.executable, str(path)], env=env, stderr=subprocess.PIPE, start_new_session=True)
    wait_for(lambda: (where / "here").exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return process


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_ctrl_c_ends_the_run_in_order_and_then_the_program(where: Path, tmp_path: Path, kind: str) -> None:
    process = program(where, tmp_path, kind)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in stderr
    keeper = make(kind, tmp_path)
    assert keeper.latest().status == "paused"
    carried_on(where, keeper)


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_program_that_is_killed_leaves_no_step_running_and_loses_nothing(
    where: Path, tmp_path: Path, kind: str
) -> None:
    process = program(where, tmp_path, kind)
    process.kill()
    process.communicate()
    keeper = make(kind, tmp_path)

    def is_over() -> bool:
        try:
            carried_on(where, keeper)
        except RunBusyError:  # it is just being brought to its end
            (where / "go").unlink()
            return False
        return True

    wait_for(is_over)


def children_of(pid: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(name))
            except (OSError, IndexError):
                continue
    return found


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_program_and_runner_killed_at_once_lose_nothing(where: Path, tmp_path: Path, kind: str) -> None:
    process = program(where, tmp_path, kind)
    for pid in (*children_of(process.pid), process.pid):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    # The step itself lives on, and its outcome is taken over.
    (where / "go").touch()
    wait_for(lambda: ran(where) == ["a", "b"])
    keeper = make(kind, tmp_path)
    assert slow(where, keeper).resume()
    assert ran(where) == ["a", "b"]


def test_a_run_whose_own_process_is_killed_is_told_as_such(where: Path, keeper: Keeper) -> None:
    class Killer:
        def on_event(self, event: object) -> None:
            if type(event).__name__ == "StepStarted" and event.step.name == "b":  # type: ignore[attr-defined]
                wait_for((where / "here").exists)
                for pid in children_of(os.getpid()):
                    if b"workflow.library.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)

    with pytest.raises(Exception, match="ended before it was over"):
        slow(where, keeper).run(observers=[Killer()])
    (where / "go").touch()
    wait_for(lambda: ran(where) == ["a", "b"])
    assert slow(where, keeper).resume()
    assert ran(where) == ["a", "b"]


def test_two_programs_keep_their_runs_in_one_database_at_once(where: Path, tmp_path: Path) -> None:
    first, second = SqliteCheckpointer(tmp_path / "c.db"), SqliteCheckpointer(tmp_path / "c.db")

    async def main() -> list[Any]:
        flows = [
            Workflow(name, project=where, checkpointer=keeper).step("a", "true").step("b", "true").step("c", "true")
            for name, keeper in (("one", first), ("two", second))
        ]
        return await asyncio.gather(*(flow.arun() for flow in flows * 2))

    results = asyncio.run(main())
    assert all(results)
    assert len({result.run_id for result in results}) == 4
    assert sum(it.trigger == "completion" for it in first.list()) == 4


def test_an_interrupt_at_any_moment_ends_the_run_and_never_hangs(where: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom workflow import MemoryCheckpointer, Workflow\n"
        "flow = Workflow('w', project=sys.argv[1], checkpointer=MemoryCheckpointer(save_before_step=True))\n"
        "for n in range(40):\n    flow.step(f's{n}', 'true')\n"
        "print('ready', flush=True)\nflow.run()\n"
    )
    for moment in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(where)],
            env=clean_env({"TMPDIR": os.environ["TMPDIR"]}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05 + 0.13 * moment)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=40)
        assert process.returncode == 0 or b"KeyboardInterrupt" in stderr
    assert not list((tmp_path / "tmp").iterdir())

"""For people who write a store of their own: the suite that tells whether it is right.

In a test module:

    from workflow.testing import StateStoreContract

    class TestMyStore(StateStoreContract):
        def make_store(self, directory):
            return MyStore(directory)

pytest finds the tests in the class. A store that is durable also says how another process opens it (`opening`): then
it is written to by several processes, and killed while it saves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from workflow.library.stores import StateStore

_FIRST, _SECOND = "workflow_20260101_000000", "workflow_20260102_000000"
_FACTS: dict[str, Any] = {"workflow": "etl", "status": "paused", "total_tasks": 3, "name": None, "nested": {"a": [1.5]}}
# Saves for ever, and says each number once it has it; of every state the bytes follow from the number.
_SAVING = """
import sys
state = lambda number: (b"%d:" % number) * SIZE
number = len(store.list(RUN))
while True:
    number = store.save(RUN, {"size": SIZE}, state(number + 1))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""
_SIZE = 20_000


class StateStoreContract:
    """What every store must do. `make_store` gives an empty one; called again with the same directory, the same one."""

    kills = 12

    def make_store(self, directory: Path) -> StateStore:
        """Return the store; `directory` is empty at first, and the test's own."""
        raise NotImplementedError

    def opening(self, directory: Path) -> str | None:
        """Return statements of Python that give `store` in another process; None: the store is not durable."""
        _ = directory
        return None

    # ------------------------------------------------------------------ what is kept

    def test_what_was_saved_is_loaded_byte_for_byte(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        states = [b"", b"\0", bytes(range(256)) * 5000, b"text\r\n\n"]
        numbers = [store.save(_FIRST, _FACTS, state) for state in states]
        assert [store.load(_FIRST, number) for number in numbers] == states

    def test_what_was_said_of_it_is_listed_as_it_was_said(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        number = store.save(_FIRST, _FACTS, b"12345")
        (stored,) = store.list(_FIRST)
        assert (stored.run_id, stored.number, dict(stored.facts), stored.size_bytes) == (_FIRST, number, _FACTS, 5)

    def test_numbers_count_up_in_each_run_from_one(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        assert [store.save(_FIRST, {}, b"") for _ in range(3)] == [1, 2, 3]
        assert store.save(_SECOND, {}, b"") == 1

    def test_all_are_listed_in_the_order_in_which_they_were_saved(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        for run in (_SECOND, _FIRST, _SECOND):
            store.save(run, {}, b"")
        assert [(it.run_id, it.number) for it in store.list()] == [(_SECOND, 1), (_FIRST, 1), (_SECOND, 2)]
        assert [it.number for it in store.list(_SECOND)] == [1, 2]

    def test_a_store_without_checkpoints_lists_none(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        assert not list(store.list())
        assert not list(store.list(_FIRST))

    def test_what_is_not_there_raises_key_error(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.save(_FIRST, {}, b"")
        for run, number in ((_FIRST, 2), (_FIRST, 0), (_SECOND, 1)):
            try:
                store.load(run, number)
            except KeyError:
                continue
            raise AssertionError(f"{run}@{number} was loaded, and never saved")

    def test_what_is_done_to_a_list_or_facts_afterwards_changes_nothing(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        facts: dict[str, Any] = {"nested": {"a": 1}}
        store.save(_FIRST, facts, b"")
        facts["nested"]["a"] = 2
        store.list()[0].facts["nested"]["a"] = 3
        assert store.list()[0].facts == {"nested": {"a": 1}}

    # ------------------------------------------------------------------ what is removed

    def test_deleting_removes_one_and_tells_whether_it_was_there(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        for _ in range(3):
            store.save(_FIRST, {}, b"x")
        assert store.delete(_FIRST, 2) is True
        assert store.delete(_FIRST, 2) is False
        assert store.delete(_SECOND, 1) is False
        assert [it.number for it in store.list()] == [1, 3]
        assert store.load(_FIRST, 3) == b"x"

    def test_a_number_is_given_once(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        for _ in range(2):
            store.save(_FIRST, {}, b"")
        for number in (1, 2):
            store.delete(_FIRST, number)
        assert store.save(_FIRST, {}, b"") == 3

    # ------------------------------------------------------------------ several at once

    def test_threads_that_save_at_once_get_numbers_of_their_own(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        got: list[tuple[int, bytes]] = []

        def save(of: int) -> None:
            for count in range(10):
                state = b"%d-%d" % (of, count)
                got.append((store.save(_FIRST, {}, state), state))

        threads = [threading.Thread(target=save, args=(of,)) for of in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(number for number, _ in got) == list(range(1, 41))
        assert all(store.load(_FIRST, number) == state for number, state in got)

    def test_processes_that_save_at_once_lose_nothing(self, tmp_path: Path) -> None:
        if self.opening(tmp_path) is None:
            return
        saving = [self._start(tmp_path) for _ in range(2)]
        told = [[self._told(it) for _ in range(10)] for it in saving]
        for it in saving:
            it.kill()
            it.communicate()
        flat = [number for numbers in told for number in numbers]
        assert len(set(flat)) == len(flat)
        store = self.make_store(tmp_path)
        assert set(flat) <= {it.number for it in store.list(_FIRST)}

    # ------------------------------------------------------------------ what survives

    def test_another_one_of_the_same_place_has_it_all(self, tmp_path: Path) -> None:
        if self.opening(tmp_path) is None:
            return
        number = self.make_store(tmp_path).save(_FIRST, _FACTS, b"state")
        store = self.make_store(tmp_path)
        assert store.load(_FIRST, number) == b"state"
        assert [dict(it.facts) for it in store.list()] == [_FACTS]

    def test_a_kill_while_it_saves_loses_nothing_that_was_told_and_leaves_nothing_half(self, tmp_path: Path) -> None:
        if self.opening(tmp_path) is None:
            return
        last = 0
        for kill in range(self.kills):
            process = self._start(tmp_path)
            last = max(last, self._told(process))
            time.sleep(0.003 * kill)  # at another place each time
            process.send_signal(signal.SIGKILL)
            rest, _ = process.communicate()
            last = max([last, *(int(line) for line in rest.splitlines() if line.isdigit())])
            store = self.make_store(tmp_path)
            there = [it.number for it in store.list(_FIRST)]
            # Old or new: all that was told, and at most the one that was under way, whole.
            assert there in (list(range(1, last + 1)), list(range(1, last + 2)))
            last = there[-1]
            for stored in store.list(_FIRST)[-2:]:
                state = store.load(_FIRST, stored.number)
                assert len(state) == stored.size_bytes
                assert state == state[: state.index(b":") + 1] * _SIZE
            store.save(_FIRST, {"size": _SIZE}, (b"%d:" % (last + 1)) * _SIZE)
            last += 1

    def _start(self, directory: Path) -> subprocess.Popen[bytes]:
        opening = self.opening(directory)
        code = f"{opening}\nRUN, SIZE = {_FIRST!r}, {_SIZE}\n{_SAVING}"
        environ_path = os.pathsep.join(it for it in sys.path if it)
        program = f"import sys; sys.path[:0] = {environ_path.split(os.pathsep)!r}\n{code}"
        return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)

    @staticmethod
    def _told(process: subprocess.Popen[bytes]) -> int:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the process that saves ended by itself"
        return int(line)

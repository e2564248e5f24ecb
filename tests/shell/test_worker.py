"""The worker shell by itself: told what to run through a pipe, with no runner."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.conftest import clean_env
from tests.shell.conftest import LIB, require_program, wait_until
from workflow.checkpoint.records import ExitRecord, decode_exits


class WorkerShell:
    """A run directory with a steps.sh, and a worker started in it."""

    def __init__(
        self,
        path: Path,
        shell: Sequence[str],
        steps: Mapping[int, str],
        umask: str = "0022",
        tests: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`steps` are the bodies of step functions, `tests` those of functions like `if_00`."""
        self.run = path / "run"
        self.project = path / "project"
        for directory in (self.run / "state", self.run / "logs", self.project):
            directory.mkdir(parents=True)
        bodies = {f"step_{number:02d}": body for number, body in steps.items()} | dict(tests or {})
        functions = (f"workflow_{name}() {{\n{body}\n}}\n" for name, body in bodies.items())
        (self.run / "steps.sh").write_text("".join(functions))
        require_program("bash")
        self._lock = os.open(self.run / "state/worker_1.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

        # A shell in between gives it descriptor 9: Python passes descriptors on under their own number only.
        hand_over = f'exec "$@" 9<&{self._lock}'
        self.process = subprocess.Popen(
            [
                *("bash", "-c", hand_over, "bash"),
                *(*shell, "-c", '. "$0"; workflow_worker "$@"', str(LIB / "step_execution.sh"), "1", umask, "0022"),
            ],
            env=clean_env(
                {
                    "WORKFLOW_RUN_DIR": str(self.run),
                    "WORKFLOW_PROJECT": str(self.project),
                    "WORKFLOW_LIB": str(LIB),
                    "WORKFLOW_RUN_ID": "workflow_20261120_171500",
                    **(env or {}),
                }
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(self._lock,),
        )

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().rstrip("\n")

    def attempt(self, number: int, attempt: int = 1) -> str:
        """Run an attempt to its end and return the answer."""
        self.tell(f"run {number:02d} 1 {attempt} 0")
        return self.answer()

    def end(self) -> int:
        """Close its stdin and return how it ended."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(20)

    def log(self, number: int) -> str:
        return (self.run / f"logs/step_{number:02d}.log").read_text()

    @property
    def exits(self) -> list[ExitRecord]:
        path = self.run / "state/worker_1.exits"
        return decode_exits(path.read_bytes()) if path.exists() else []

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        os.close(self._lock)


Start = Callable[..., WorkerShell]


@pytest.fixture
def start(tmp_path: Path, shell: list[str]) -> Iterator[Start]:
    """Start a worker with these steps, under every shell there is."""
    started: list[WorkerShell] = []

    def make(*bodies: str, umask: str = "0022", env: Mapping[str, str] | None = None, **tests: str) -> WorkerShell:
        started.append(WorkerShell(tmp_path, shell, dict(enumerate(bodies)), umask, tests, env))
        return started[-1]

    yield make
    for worker in started:
        worker.close()


def test_it_answers_every_attempt_and_leaves_an_exit_record(start: Start) -> None:
    worker = start("workflow_exec true", "workflow_exec sh -c 'exit 7'", "workflow_exec sh -c 'kill -9 $$'")
    assert worker.attempt(0) == "00 1 1 0"
    assert worker.attempt(1) == "01 1 1 7"
    assert worker.attempt(1, attempt=2) == "01 1 2 7"
    worker.attempt(2)
    assert worker.end() == 0
    content = (worker.run / "state/worker_1.exits").read_text()
    assert content == "00 1 1 0 END\n01 1 1 7 END\n01 1 2 7 END\n02 1 1 137 END\n"


def test_a_step_sees_the_variables_of_its_attempt(start: Start) -> None:
    worker = start("workflow_exec env")
    worker.tell("run 00 3 2 1")
    assert worker.answer() == "00 3 2 0"
    seen = dict(line.split("=", 1) for line in worker.log(0).splitlines() if "=" in line)
    state = f"{worker.run}/state/step_00"
    assert {name: value for name, value in seen.items() if name.startswith("WORKFLOW_")} == {
        "WORKFLOW_RUN_ID": "workflow_20261120_171500",
        "WORKFLOW_RUN_DIR": str(worker.run),
        "WORKFLOW_PROJECT": str(worker.project),
        "WORKFLOW_LIB": str(LIB),
        "WORKFLOW_STEP": "00",
        "WORKFLOW_ATTEMPT": "2",
        "WORKFLOW_RESUMED": "1",
        "WORKFLOW_IDEMPOTENCY_KEY": "workflow_20261120_171500.step_00",
        "WORKFLOW_OUTPUT": f"{state}.output",
        "WORKFLOW_ENV": f"{state}.env",
        "WORKFLOW_SUMMARY": f"{state}.summary.md",
        "WORKFLOW_EVENTS": f"{state}.events",
        "WORKFLOW_STATE": f"{state}.d",
    }


def test_a_signal_to_the_group_ends_the_step_and_not_the_worker(start: Start) -> None:
    worker = start("workflow_exec sh -c 'sleep 60 & touch runs; wait'", "workflow_exec true")
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)):
        (worker.project / "runs").unlink(missing_ok=True)
        worker.tell("run 00 1 1 0")
        wait_until((worker.project / "runs").exists, "the step runs")
        os.killpg(worker.process.pid, number)
        assert worker.answer() == f"00 1 1 {code}"
    assert worker.attempt(1) == "01 1 1 0"
    assert worker.end() == 0


def test_a_signal_between_two_steps_does_not_end_it(start: Start) -> None:
    worker = start("workflow_exec true")
    assert worker.attempt(0) == "00 1 1 0"
    for _ in range(3):
        os.killpg(worker.process.pid, signal.SIGTERM)
        time.sleep(0.05)
    assert worker.attempt(0) == "00 1 1 0"
    assert worker.end() == 0


def test_when_its_runner_is_gone_it_finishes_the_step_in_hand_and_ends(start: Start) -> None:
    worker = start("workflow_exec sh -c 'touch runs; sleep 0.5; exit 3'")
    worker.tell("run 00 4 1 0")
    wait_until((worker.project / "runs").exists, "the step runs")
    assert worker.process.stdin is not None
    assert worker.process.stdout is not None
    worker.process.stdin.close()
    worker.process.stdout.close()
    worker.process.wait(20)
    assert worker.exits == [ExitRecord(0, 4, 1, 3)]


def test_a_log_that_cannot_be_opened_is_said_and_nothing_runs(start: Start) -> None:
    worker = start("workflow_exec touch ran", "workflow_exec true")
    (worker.run / "logs/step_00.log").mkdir()
    assert worker.attempt(0) == "00 1 1 nolog"
    assert not (worker.project / "ran").exists()
    assert worker.exits == []
    assert worker.attempt(1) == "01 1 1 0"


def test_the_stdin_of_a_step_is_empty(start: Start) -> None:
    """Case 43: a step that reads stdin gets the end of file, and none of the worker's orders."""
    worker = start("workflow_exec cat", "workflow_exec true")
    worker.tell("run 00 1 1 0")
    worker.tell("run 01 1 1 0")
    assert worker.answer() == "00 1 1 0"
    assert worker.answer() == "01 1 1 0"
    assert worker.log(0) == ""


@pytest.mark.parametrize("umask", ["0000", "0027", "0077"])
def test_the_umask_of_a_step_is_the_users_and_logs_are_never_open_to_all(start: Start, umask: str) -> None:
    worker = start("workflow_exec sh -c 'umask; : >made'", umask=umask)
    assert worker.attempt(0) == "00 1 1 0"
    assert int(worker.log(0), 8) == int(umask, 8)
    assert stat.S_IMODE((worker.project / "made").stat().st_mode) == 0o666 & ~int(umask, 8)
    assert not (worker.run / "logs/step_00.log").stat().st_mode & 0o022


def test_a_child_that_keeps_the_log_open_does_not_hold_up_the_end(start: Start) -> None:
    """Case 36."""
    worker = start("workflow_exec sh -c 'sleep 30 & echo $! >pid; echo said'")
    began = time.monotonic()
    assert worker.attempt(0) == "00 1 1 0"
    assert time.monotonic() - began < 10
    assert worker.log(0) == "said\n"
    os.kill(int((worker.project / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("echo one; exit 0", 0, "one\n"),
        ("trap 'echo bye' EXIT; exit 4", 4, "bye\n"),
        ("trap 'exit 9' EXIT; true", 9, ""),
        ("set -e; f() { false; echo never; }; f; echo never", 1, ""),
        ("kill -TERM $$", 143, ""),
        ("sh -c 'kill -9 $$'; exit 5", 5, None),
        ("no_such_command", 127, None),
    ],
)
def test_what_a_text_does_to_its_own_end_is_its_own(start: Start, text: str, code: int, said: str | None) -> None:
    quoted = text.replace("'", "'\\''")
    worker = start(f"workflow_text '{quoted}'\nworkflow_exec sh \"$workflow_script\"")
    assert worker.attempt(0) == f"00 1 1 {code}"
    assert said is None or worker.log(0) == said


def test_steps_inherit_the_lock_of_their_worker(start: Start) -> None:
    worker = start("workflow_exec sh -c 'sleep 30 9>&9 & echo $! >pid; readlink /proc/self/fd/9'")
    assert worker.attempt(0) == "00 1 1 0"
    assert worker.log(0) == f"{worker.run}/state/worker_1.lock\n"
    worker.end()
    pid = int((worker.project / "pid").read_text())
    # Ours is one of the descriptors that hold it: let go of that by closing.
    os.close(worker._lock)
    worker._lock = os.open(worker.run / "state/worker_1.lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(worker._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(pid, signal.SIGKILL)

    def is_free() -> bool:
        try:
            fcntl.flock(worker._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    wait_until(is_free, "the lock is free")


def test_values_reach_later_steps_and_a_malformed_file_does_not_end_the_worker(start: Start) -> None:
    worker = start("workflow_exec sh -c 'printf %s \"$A|$B\"'")
    (worker.run / "state/values").write_text("A=it's $(id)\nB<<END\none\ntwo\nEND\n")
    (worker.run / "state/bad").write_text("UID=7\nC=3\n")
    worker.tell("values values")
    worker.tell("values bad")
    assert worker.attempt(0) == "00 1 1 0"
    assert worker.log(0) == "it's $(id)|one\ntwo"


def test_a_variable_that_a_step_sets_is_gone_with_it(start: Start) -> None:
    worker = start("IFS=0; PATH=/nowhere; cd /; umask 0; A=1; export A; workflow_exec /bin/true", "workflow_exec env")
    assert worker.attempt(0) == "00 1 1 0"
    assert worker.attempt(1) == "01 1 1 0"
    assert "\nA=1\n" not in worker.log(1)
    assert f"PATH={os.environ['PATH']}" in worker.log(1)


def test_attempts_are_separated_by_a_line_in_the_log(start: Start) -> None:
    worker = start("workflow_exec echo said")
    worker.attempt(0)
    worker.attempt(0, attempt=2)
    assert worker.log(0) == "said\n--- attempt 2 (epoch 1) ---\nsaid\n"


def test_a_working_directory_is_the_projects_whatever_cdpath_says(start: Start, tmp_path: Path) -> None:
    worker = start("CDPATH=/\nworkflow_enter tmp\nworkflow_exec pwd", "workflow_enter -\nworkflow_exec true")
    (worker.project / "tmp").mkdir()
    assert worker.attempt(0) == "00 1 1 0"
    assert worker.log(0) == f"{worker.project}/tmp\n"
    assert worker.attempt(1) == "01 1 1 126"
    assert "cannot enter the working directory of this step: -" in worker.log(1)


def test_half_a_text_is_never_run(start: Start) -> None:
    worker = start("workflow_text 'touch ran' || return\nworkflow_exec sh \"$workflow_script\"")
    (worker.run / "state/step_00.script").symlink_to("/dev/full")
    assert worker.attempt(0) == "00 1 1 126"
    assert "cannot write the text of this step" in worker.log(0)
    assert not (worker.project / "ran").exists()


# ---------------------------------------------------------------- iterations, tests, values of one step


def test_the_iteration_is_known_to_its_step_alone(start: Start) -> None:
    text = "workflow_exec sh -c 'echo \"${WORKFLOW_ITERATION-none}\"'"
    worker = start(text, text, env={"WORKFLOW_ITERATION": "77"})
    for order in ("run 00 1 1 0 3", "run 01 1 1 0", "plain 01 1 1 0"):
        worker.tell(order)
        worker.answer()
    assert worker.log(0) == "3\n"
    assert worker.log(1) == "none\n--- attempt 1 (epoch 1) ---\nnone\n"


def test_a_step_loads_values_that_are_its_alone(start: Start) -> None:
    text = "workflow_exec sh -c 'echo \"${A-unset}\"'"
    worker = start(text, text)
    (worker.run / "state/step_00.values").write_text("A<<END\nit's\n$(id)\nEND\n")
    assert worker.attempt(0) == "00 1 1 0"
    assert worker.attempt(1) == "01 1 1 0"
    assert (worker.log(0), worker.log(1)) == ("it's\n$(id)\n", "unset\n")


@pytest.mark.parametrize("order", ["run 00 1 1 0", "if 00 1 1 0", "until 00 1 1 0 1"])
def test_with_values_that_cannot_be_read_nothing_runs(start: Start, order: str) -> None:
    ran = "workflow_exec touch ran"
    worker = start(ran, if_00=ran, until_00=ran)
    (worker.run / "state/step_00.values").write_text("UID=7\n")
    worker.tell(order)
    assert worker.answer().endswith("00 1 1 126")
    assert "cannot read the values for this step" in worker.log(0)
    assert not (worker.project / "ran").exists()


@pytest.mark.parametrize(("text", "code"), [("true", 0), ("false", 1), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_answer_to_a_test_is_its_exit_code_and_no_exit_record(start: Start, text: str, code: int) -> None:
    worker = start(
        "workflow_exec true", if_00=f"workflow_exec sh -c -- '{text}'", until_00=f"workflow_exec sh -c '{text}'"
    )
    worker.tell("if 00 2 3 1")
    assert worker.answer() == f"if 00 2 3 {code}"
    worker.tell("until 00 2 3 1 4")
    assert worker.answer() == f"until 00 2 3 {code}"
    assert worker.exits == []


def test_a_test_is_asked_in_the_surroundings_of_its_step(start: Start) -> None:
    text = "workflow_exec sh -c 'env; umask; cat; readlink /proc/self/fd/9'"
    worker = start(text, if_00=text, umask="0027")
    (worker.run / "state/step_00.values").write_text("A=1\n")
    worker.attempt(0)
    seen = worker.log(0).splitlines()
    worker.tell("if 00 1 1 0")
    assert worker.answer() == "if 00 1 1 0"
    # No line between the attempts: it is none.
    assert worker.log(0).splitlines() == seen * 2
    assert "A=1" in seen
    assert "WORKFLOW_STEP=00" in seen


def test_until_sees_what_its_step_has_just_published(start: Start) -> None:
    worker = start(
        'workflow_exec sh -c \'echo COUNT=$WORKFLOW_ITERATION >>"$WORKFLOW_OUTPUT"; echo B=2 >>"$WORKFLOW_ENV"\'',
        until_00="workflow_exec sh -c 'echo $WORKFLOW_ITERATION $COUNT $B; test \"$COUNT\" = 2'",
    )
    for iteration, code in ((1, 1), (2, 0)):
        worker.tell(f"run 00 1 {iteration} 0 {iteration}")
        assert worker.answer() == f"00 1 {iteration} 0"
        worker.tell(f"until 00 1 {iteration} 0 {iteration}")
        assert worker.answer() == f"until 00 1 {iteration} {code}"
    assert [line for line in worker.log(0).splitlines() if "---" not in line] == ["1 1 2", "2 2 2"]


def test_a_test_whose_log_cannot_be_opened_is_not_asked(start: Start) -> None:
    worker = start("workflow_exec true", if_00="workflow_exec touch ran")
    (worker.run / "logs/step_00.log").mkdir()
    worker.tell("if 00 1 1 0")
    assert worker.answer() == "if 00 1 1 nolog"
    assert not (worker.project / "ran").exists()


def test_a_signal_to_the_group_ends_a_test_and_not_the_worker(start: Start) -> None:
    worker = start("workflow_exec true", if_00="workflow_exec sh -c 'touch runs; sleep 60 & wait'")
    worker.tell("if 00 1 1 0")
    wait_until((worker.project / "runs").exists, "the test runs")
    os.killpg(worker.process.pid, signal.SIGTERM)
    assert worker.answer() == "if 00 1 1 143"
    assert worker.attempt(0) == "00 1 1 0"

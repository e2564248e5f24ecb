"""The functions a step may call, in every shell, and the two readers of what steps publish."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.shell.conftest import LIB, is_yash, run_shell
from workflow.checkpoint import values

RESERVED = sorted(values.RESERVED_NAMES)


class Step:
    """A place where a step could run: its files, and a shell that sources the functions."""

    def __init__(self, path: Path, shell: Sequence[str]) -> None:
        self.path = path
        self.shell = shell
        for directory in ("state/step_05.d", "logs"):
            (path / directory).mkdir(parents=True)
        self.output = path / "state/step_05.output"
        self.events = path / "state/step_05.events"
        self.env = {
            "WORKFLOW_LIB": str(LIB),
            "WORKFLOW_RUN_DIR": str(path),
            "WORKFLOW_STEP": "05",
            "WORKFLOW_OUTPUT": str(self.output),
            "WORKFLOW_ENV": str(path / "state/step_05.env"),
            "WORKFLOW_EVENTS": str(self.events),
            "WORKFLOW_STATE": str(path / "state/step_05.d"),
        }

    def run(
        self, text: str, *args: str | bytes, options: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a text that has sourced the functions."""
        script = f'{options}\n. "$WORKFLOW_LIB/step_execution.sh"\n{text}\n'
        return run_shell(self.shell, script, *args, cwd=self.path, env={**self.env, **(env or {})})

    def published(self) -> dict[str, str]:
        return values.decode(self.output.read_bytes())


@pytest.fixture
def step(tmp_path: Path, shell: list[str]) -> Step:
    return Step(tmp_path, shell)


def test_sourcing_defines_functions_and_does_nothing_else(step: Step) -> None:
    for options in ("", "set -eu", "IFS=0123456789", "set -f"):
        done = step.run("echo after", options=options)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"after\n", b"")
    assert sorted(path.name for path in step.path.rglob("*")) == ["logs", "state", "step_05.d"]


ODD_VALUES = [
    "",
    " ",
    "plain",
    " kept  blanks\t",
    'it\'s "quoted" \\ $(id) `id` $HOME',
    "-n",
    "--",
    "%s\\n\\c",
    "~",
    "*",
    "a\nb",
    "END",
    "x\nEND\ny",
    "END\nEND_\nEND__",
    "\n",
    "a\n",
    "\n\na",
    "=",
    "K=v",
    "\r\n",
    "über",
    "\x01\x7f",
]


def test_odd_values_arrive_as_they_were(step: Step) -> None:
    text = 'n=0\nfor value in "$@"; do step_output "K$n" "$value" || exit; n=$((n + 1)); done'
    done = step.run(text, *ODD_VALUES)
    assert (done.returncode, done.stderr) == (0, b"")
    assert step.published() == {f"K{number}": value for number, value in enumerate(ODD_VALUES)}


def test_bytes_that_are_no_utf8_arrive_as_they_were(step: Step) -> None:
    if is_yash(step.shell):
        pytest.skip("yash holds characters, not bytes")
    odd = bytes(range(128, 256))
    done = step.run('step_output A "$1"\nstep_output B "$2"', odd, odd + b"\n" + odd)
    assert (done.returncode, done.stderr) == (0, b"")
    assert {key: os.fsencode(value) for key, value in step.published().items()} == {"A": odd, "B": odd + b"\n" + odd}


def test_the_last_value_of_a_name_counts_and_none_is_empty(step: Step) -> None:
    assert step.run("step_output A 1\nstep_output A 2\nstep_output B").returncode == 0
    assert step.published() == {"A": "2", "B": ""}


def test_step_env_has_a_file_of_its_own(step: Step) -> None:
    assert step.run("step_env A 'x y'").returncode == 0
    assert Path(step.env["WORKFLOW_ENV"]).read_text() == "A=x y\n"
    assert not step.output.exists()


@pytest.mark.parametrize("function", ["step_output", "step_env", "step_save", "step_load", "step_once"])
def test_a_name_that_is_none_is_refused(step: Step, function: str) -> None:
    text = f'for name in "$@"; do {function} "$name" true; test $? -eq 2 || exit 9; done\n{function}; test $? -eq 2'
    done = step.run(text, "", "1a", "a-b", "a b", "a=b", "a\nb", "é", "$(id)", "../a", "-x")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"{function}: ".encode()) >= 10
    assert not step.output.exists()
    assert list((step.path / "state/step_05.d").iterdir()) == []


def test_a_reserved_name_is_refused_at_once(step: Step) -> None:
    text = 'for name in "$@"; do step_output "$name" 1; test $? -eq 2 || exit 9; done'
    done = step.run(text, "WORKFLOW_STEP", "workflow_code", *RESERVED)
    assert done.returncode == 0, done.stderr
    assert b"the name IFS is reserved" in done.stderr
    assert not step.output.exists()


def test_a_value_that_was_not_quoted_is_refused(step: Step) -> None:
    done = step.run("step_output A two words")
    assert done.returncode == 2
    assert b'step_output: wants one value, in quotes: step_output KEY "VALUE"' in done.stderr


def test_warnings_errors_and_progress_are_one_line_each(step: Step) -> None:
    done = step.run("IFS=:\nstep_warning disk 'is  nearly\nfull'\nstep_error -n it\nstep_progress 3 10\nstep_warning")
    assert done.returncode == 0
    assert done.stdout == b"warning: disk is  nearly\nfull\nwarning: \n"
    assert done.stderr == b"error: -n it\n"
    assert step.events.read_text() == "warning disk is  nearly full\nerror -n it\nprogress 3 10\nwarning \n"


@pytest.mark.parametrize("arguments", ["", "5", "5 ''", "a 1", "-1 2", "1.5 2", "1 2 3"])
def test_progress_wants_two_whole_numbers(step: Step, arguments: str) -> None:
    done = step.run(f"step_progress {arguments}")
    assert done.returncode == 2
    assert b"step_progress DONE TOTAL" in done.stderr
    assert not step.events.exists()


def test_what_was_saved_is_loaded_by_the_next_attempt(step: Step) -> None:
    odd = "two\nlines \\ $(id) -n\n"
    assert step.run('step_save position 42\nstep_save odd "$1"\nstep_save empty ""', odd).returncode == 0
    done = step.run("step_load position; step_load odd; step_load empty")
    assert (done.returncode, done.stdout) == (0, b"42" + odd.encode())
    assert step.run("step_load other").returncode == 1
    assert sorted(path.name for path in (step.path / "state/step_05.d").iterdir()) == [
        "empty.saved",
        "odd.saved",
        "position.saved",
    ]


def test_saving_and_loading_work_whatever_path_the_step_has(step: Step) -> None:
    if os.path.basename(step.shell[0]) == "mksh":
        pytest.skip("mksh has no printf of its own")
    done = step.run("PATH=/nowhere\nstep_save A 1 && step_load A\nmv() { false; }\nstep_save A 2 && step_load A")
    assert (done.returncode, done.stdout) == (0, b"12")


def test_once_runs_a_command_until_it_succeeds_and_then_never_again(step: Step) -> None:
    text = "f() { echo ran >>ran.txt; test -e go; }\nstep_once load f"
    assert step.run(text).returncode == 1
    assert step.run(text).returncode == 1
    (step.path / "go").touch()
    assert step.run(text).returncode == 0
    assert step.run(text).returncode == 0
    assert (step.path / "ran.txt").read_text() == "ran\n" * 3


def test_once_in_once_marks_each_by_its_own_name(step: Step) -> None:
    text = "inner() { echo inner >>ran.txt; }\nouter() { step_once in inner; echo outer >>ran.txt; }\n"
    assert step.run(text + "step_once out outer\nstep_once out outer\nstep_once in inner").returncode == 0
    assert (step.path / "ran.txt").read_text() == "inner\nouter\n"


def test_once_passes_arguments_and_the_exit_code_on(step: Step) -> None:
    done = step.run("f() { printf '<%s>' \"$@\"; return 7; }\nstep_once a f 'x y' '' '*'")
    assert (done.returncode, done.stdout) == (7, b"<x y><><*>")
    assert step.run("step_once a").returncode == 2


def test_errexit_keeps_its_effect_inside_once(step: Step) -> None:
    done = step.run("f() { false; echo never; }\nstep_once a f\necho never", options="set -e")
    assert done.returncode == 1
    assert done.stdout == b""
    assert not (step.path / "state/once_a").exists()


def test_everything_works_under_errexit_and_nounset(step: Step) -> None:
    text = (
        "step_output A\nstep_output B 'x\ny'\nstep_env C 1\nstep_warning\nstep_error e\nstep_progress 1 2\n"
        "step_save D\nstep_load D\nstep_once E true\nstep_once E true\necho end"
    )
    done = step.run(text, options="set -eu")
    assert (done.returncode, done.stdout) == (0, b"warning: \nend\n"), done.stderr


@pytest.mark.parametrize("options", ["", "set -eu", "set -f", "IFS=0123456789"])
def test_f4_step_checkpoint_asks_for_a_snapshot_by_an_event(step: Step, options: str) -> None:
    text = "step_checkpoint\nstep_checkpoint before the *\nstep_checkpoint 'two\nlines 10'\necho end"
    done = step.run(text, options=options)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"end\n", b"")
    assert step.events.read_bytes() == b"checkpoint \ncheckpoint before the *\ncheckpoint two lines 10\n"


def test_what_is_not_in_this_version_says_so_and_fails(step: Step) -> None:
    done = step.run("step_mask secret")
    assert done.returncode == 2
    assert b"not available in this version" in done.stderr
    assert b"secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "call",
    [
        *(
            "step_output A 1",
            "step_env A 1",
            "step_warning x",
            "step_error x",
            "step_progress 1 2",
            "step_checkpoint x",
        ),
        *("step_save A 1", "step_load A", "step_once A true"),
    ],
)
def test_outside_a_step_a_function_says_that_it_works_inside_one_only(step: Step, call: str) -> None:
    done = run_shell(step.shell, f'set -u; . "$1"; {call}', str(LIB / "step_execution.sh"), cwd=step.path)
    assert done.returncode == 2
    assert b"works inside a step only" in done.stderr


# ---------------------------------------------------------------- two readers, one language

# What the shell exported, as name, =, value, NUL; only the names asked for.
LOAD = '. "$1"; shift; file=$1; shift; workflow_load_values "$file" || exit 3; exec env -0'


def shell_reads(shell: Sequence[str], file: Path) -> dict[str, bytes] | None:
    """Return what the shell exports after reading a file of values, None when it refuses it."""
    done = run_shell(shell, LOAD, str(LIB / "step_execution.sh"), str(file))
    if done.returncode == 3:
        return None
    assert done.returncode == 0, done.stderr
    pairs = (it.partition(b"=") for it in done.stdout.split(b"\0") if it)
    return {os.fsdecode(key): value for key, _, value in pairs}


# A prefix keeps names away from those a shell gives a meaning of its own (RANDOM, SECONDS, path).
KEYS = st.from_regex(r"k_[A-Za-z0-9_]{0,6}", fullmatch=True)
TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=30)
LINES = st.lists(st.one_of(TEXTS, st.sampled_from(["END", "END_", "", "K=v", "-n", "\\"])), max_size=5).map("\n".join)
BYTES = st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"\xff")).map(os.fsdecode)
FEW = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


def values_for(shell: Sequence[str]) -> st.SearchStrategy[str]:
    return st.one_of(TEXTS, LINES) if is_yash(shell) else st.one_of(TEXTS, LINES, BYTES)


@pytest.fixture
def read_back(tmp_path: Path, shell: list[str]) -> Callable[[bytes], None]:
    """Hold what a shell and Python read from the same bytes against each other."""
    file = tmp_path / "values"

    def check(data: bytes) -> None:
        file.write_bytes(data)
        try:
            expected = {key: os.fsencode(value) for key, value in values.decode(data).items()}
        except values.ValuesError:
            assert shell_reads(shell, file) is None, data
            return
        seen = shell_reads(shell, file)
        assert seen is not None, data
        assert {key: seen.get(key) for key in expected} == expected

    return check


@FEW
@given(data=st.data())
def test_both_readers_agree_on_what_the_runner_writes(
    shell: list[str], read_back: Callable[[bytes], None], data: st.DataObject
) -> None:
    mapping = data.draw(st.dictionaries(KEYS, values_for(shell), max_size=5))
    encoded = values.encode(mapping)
    assert values.decode(encoded) == mapping
    read_back(encoded)


@FEW
@given(data=st.data())
def test_both_readers_agree_on_what_step_output_writes(
    step: Step, read_back: Callable[[bytes], None], data: st.DataObject
) -> None:
    mapping = data.draw(st.dictionaries(KEYS, values_for(step.shell), max_size=5))
    step.output.write_bytes(b"")
    words = [os.fsencode(word) for pair in mapping.items() for word in pair]
    done = step.run('while [ "$#" -gt 0 ]; do step_output "$1" "$2" || exit; shift 2; done', *words)
    assert done.returncode == 0, done.stderr
    assert step.published() == mapping
    read_back(step.output.read_bytes())


@pytest.mark.parametrize(
    "text",
    [
        "no equals sign\n",
        "\n",
        "A=1\n\nB=2\n",
        "=1\n",
        "1A=1\n",
        "A B=1\n",
        " A=1\n",
        "A<<\nx\n\n",
        "A<<END\nno end\n",
        "A<<END\nno end\nEND \n",
        "A<END\nEND\n",
        "é=1\n",
        "A-B=1\n",
        "WORKFLOW_STEP=1\n",
        "workflow_x=1\n",
        *(f"{name}=1\n" for name in RESERVED),
        f"A={'x' * 120_001}\n",
    ],
    ids=lambda text: text[:12].strip() or "blank",
)
def test_both_readers_refuse_what_is_malformed(read_back: Callable[[bytes], None], text: str) -> None:
    with pytest.raises(values.ValuesError):
        values.decode(text.encode())
    read_back(text.encode())


def test_both_readers_accept_the_corners_of_the_language(read_back: Callable[[bytes], None]) -> None:
    read_back(
        b"A=\nB= = \nk_C<<END\nEND\nk_D<<a b $(id)\n\\\n a b $(id)\na b $(id)\nB=last\n"
        b"LONG=" + b"x" * 120_000 + b"\nE=no newline at the end"
    )
    read_back(b"A<<END\nx\nEND")


def test_a_value_is_measured_in_bytes() -> None:
    with pytest.raises(values.ValuesError, match="longer than 120,000 bytes"):
        values.decode(("A=" + "é" * 60_001).encode())

"""Metrics of a run: the files it writes, `workflow metrics`, and what Prometheus reads."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cli.support import assert_helped, tree
from tests.conftest import Project
from workflow.checkpoint import records
from workflow.definition import schemas

LOOP = """\
name: nightly
steps:
- name: loop
  run: |
    echo x >>ran.txt
    echo cost_incurred=0.5 >>"$WORKFLOW_OUTPUT"
    echo tokens_used=10 >>"$WORKFLOW_OUTPUT"
  repeat: {max_iterations: 6}
- {name: last, run: 'echo ROWS=7 >>"$WORKFLOW_OUTPUT"'}
"""


def by_time(path: Path) -> list[int]:
    return [*map(int, re.findall(r"\d+", path.name)), 1]


def files(run: Path, kind: str) -> list[dict[str, Any]]:
    """Return the whole metrics files of a kind, oldest first, each held against its schema."""
    found = sorted(
        (run / "metrics").glob(f"{kind}_*.json"), key=lambda path: [*map(int, re.findall(r"\d+", path.name)), 1]
    )
    documents = [records.decode_document(path.read_bytes()) for path in found]
    schema = schemas.schema("metrics-file" if kind == "metrics" else "metrics-state")
    for document in documents:
        jsonschema.Draft202012Validator(schema).validate(document)
    return documents


def metrics(project: Project, *words: str) -> dict[str, Any]:
    result = project.run("metrics", "--json", *words)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    jsonschema.Draft202012Validator(schemas.schema("metrics")).validate(document)
    return document  # type: ignore[no-any-return]


# ---------------------------------------------------------------- the files


def test_state_and_metrics_are_written_after_every_so_many_steps_and_iterations(project: Project) -> None:
    project.file("workflow.yaml", LOOP)
    assert project.run("run", "--metrics-interval", "2").returncode == 0
    states = files(project.newest_run, "state")
    assert [it["iteration"] for it in states] == [2, 4, 6, 6, 6]
    assert [it["cost_incurred"] for it in states] == [1, 2, 3, 3, 3]
    assert states[-1]["status"] == "completed"
    assert states[0]["status"] == "in_progress"
    assert states[0]["agent"] == "nightly"
    last = files(project.newest_run, "metrics")[-1]
    assert last["values"] == {"cost_incurred": 3, "tokens_used": 60}
    assert (last["completed_steps"], last["total_steps"], last["iterations"]) == (2, 2, 6)
    assert last["recording_seconds"] > 0
    assert last["storage_bytes"] > 0


def test_sums_and_times_go_on_after_a_resume(project: Project) -> None:
    project.file("workflow.yaml", LOOP.replace("name: last, run: '", "name: last, run: 'test -e ready; "))
    assert project.run("run", "--metrics-interval", "3").returncode == 1
    before = files(project.newest_run, "metrics")[-1]
    project.file("ready", "")
    assert project.run("resume", "--metrics-interval", "3").returncode == 0
    after = files(project.newest_run, "metrics")[-1]
    assert after["iterations"] == before["iterations"] == 6
    assert after["values"] == before["values"]
    assert after["elapsed_seconds"] > before["elapsed_seconds"]
    assert after["attempts"] == before["attempts"] + 1
    assert after["epoch"] == 2


def test_a_loop_that_begins_anew_is_counted_from_its_start(project: Project) -> None:
    project.file("workflow.yaml", LOOP)
    assert project.run("run", "--metrics-interval", "1").returncode == 0
    run = project.newest_run
    assert project.run("resume", run.name, "--from-step", "loop", "--metrics-interval", "1").returncode == 0
    counts = [it["iterations"] for it in files(run, "metrics") if it["epoch"] == 2]
    assert counts[:6] == [1, 2, 3, 4, 5, 6]
    assert set(counts[6:]) == {6}
    assert metrics(project)["iterations"] == 6


def test_none_are_written_unless_asked_for(project: Project) -> None:
    project.steps(2)
    assert project.run("run").returncode == 0
    assert project.run("run", "--metrics-interval", "0").returncode == 0
    assert all(not (run / "metrics").exists() for run in project.runs)


def test_the_newest_hundred_are_kept(project: Project) -> None:
    project.file("workflow.yaml", "steps:\n- {name: loop, run: 'true', repeat: {max_iterations: 130}}\n")
    assert project.run("run", "--metrics-interval", "1").returncode == 0
    states = files(project.newest_run, "state")
    assert len(states) == 100
    assert states[-1]["status"] == "completed"
    assert states[-2]["iteration"] == 130


def test_a_place_that_cannot_be_written_is_a_warning_once(project: Project) -> None:
    project.steps(3)
    project.step(2, "[ -e ready ]")
    assert project.run("run").returncode == 1
    (project.newest_run / "metrics").write_text("in the way")
    project.file("ready", "")
    result = project.run("resume", "--metrics-interval", "1")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("metrics were not written") == 1


def test_a_full_disk_for_metrics_harms_nothing(project: Project) -> None:
    """The disk refuses one write after another, each once: where that is a file of metrics, the run completes."""
    project.steps(2)
    warned = 0
    for at in range(1, 40):
        result = project.run(
            "run", "--metrics-interval", "1", "--no-archive", env={"WORKFLOW_FAULT": f"write:{at}:ENOSPC"}
        )
        assert "Traceback" not in result.stderr
        if "metrics were not written" in result.stderr:
            warned += 1
            assert result.returncode == 0, result.stderr
            assert len(project.markers) == 2
    assert warned


@pytest.mark.parametrize("said", ["-1", "x", "1.5", "1000001"])
def test_an_interval_that_is_none_is_refused(project: Project, said: str) -> None:
    project.steps(1)
    assert_helped(project.run("run", "--metrics-interval", said), 2, "--metrics-interval")
    project.file("workflow.yaml", f"checkpoints: {{metrics_interval: {said}}}\nsteps:\n- run: 'true'\n")
    assert project.run("run").returncode == 2


# ---------------------------------------------------------------- the command


def test_metrics_tell_what_a_run_did(project: Project) -> None:
    project.file("workflow.yaml", LOOP + "- {name: flaky, run: '[ -e once ] || { touch once; exit 1; }', retries: 2}\n")
    assert project.run("run").returncode == 0
    before = tree(project)
    told = metrics(project)
    assert tree(project) == before
    assert told["status"] == "completed"
    assert told["steps_by_status"]["completed"] == 3
    assert (told["iterations"], told["retries"], told["attempts"]) == (6, 1, 9)
    assert told["values"] == {"ROWS": 7, "cost_incurred": 3, "tokens_used": 60}
    assert told["recording"] is None
    assert told["storage_bytes"] >= sum(told["storage_by_part"].values())


def test_a_retry_is_what_retries_did_and_no_run_by_a_person(project: Project) -> None:
    flow = "steps:\n- {name: plain, run: echo x >>ran.txt}\n"
    flow += "- {name: flaky, run: 'echo f >>ran.txt; [ $(grep -c f ran.txt) -ge 4 ]', retries: 1}\n"
    flow += "- {name: loop, repeat: {max_iterations: 3}, retries: 5, "
    flow += "run: 'echo l >>ran.txt; [ $(grep -c l ran.txt) -ne 2 ]'}\n"
    project.file("workflow.yaml", flow)
    assert project.run("run", "--metrics-interval", "1").returncode == 1  # twice, one of them by `retries`
    assert metrics(project)["retries"] == 1
    assert project.run("resume", "--metrics-interval", "1").returncode == 0  # twice more, and once in the loop
    run = project.newest_run
    told = metrics(project)
    assert [it["retries"] for it in told["steps"]] == [0, 2, 1]
    assert told["retries"] == files(run, "metrics")[-1]["retries"] == 3
    assert project.run("resume", run.name, "--from-step", "plain", "--metrics-interval", "1").returncode == 0
    told = metrics(project)
    assert told["retries"] == files(run, "metrics")[-1]["retries"] == 3
    assert re.search(r"workflow_run_retries_total\{.*\} 3\b", project.run("metrics", "--prometheus").stdout)


def test_a_retry_that_a_resume_makes_is_one(project: Project) -> None:
    """The wait for it was cut off; it is still the retry that was promised."""
    flow = "steps:\n- {run: 'echo x >>ran.txt; [ -e ready ]', retries: {limit: 3, delay: 3s}}\n"
    project.file("workflow.yaml", flow)
    process = project.start("run")
    while "retry" not in (project.path / "stdout.txt").read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait()
    project.file("ready", "")
    assert project.run("resume").returncode == 0
    assert project.executions == ["x", "x"]
    assert metrics(project)["retries"] == 1


def test_recording_is_told_where_it_was_measured(project: Project) -> None:
    project.steps(3)
    assert project.run("run", "--metrics-interval", "1").returncode == 0
    recording = metrics(project)["recording"]
    assert recording["recording_seconds"] > 0
    assert recording["overhead_percent"] == pytest.approx(
        100 * recording["recording_seconds"] / recording["elapsed_seconds"], abs=2
    )
    assert "recording" in project.run("metrics").stdout


def test_a_run_that_failed_has_metrics_and_one_that_is_not_there_has_none(project: Project) -> None:
    assert_helped(project.run("metrics"), 3, "workflow run")
    project.step(0, "exit 1")
    assert project.run("run").returncode == 1
    assert metrics(project, project.newest_run.name)["steps_by_status"]["failed"] == 1
    assert_helped(project.run("metrics", "workflow_20200101_000000"), 3)
    assert_helped(project.run("metrics", "--json", "--prometheus"), 2)


def test_damaged_metrics_are_passed_over(project: Project) -> None:
    project.steps(2)
    assert project.run("run", "--metrics-interval", "1").returncode == 0
    for path in (project.newest_run / "metrics").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    assert metrics(project)["recording"] is None


# ---------------------------------------------------------------- Prometheus

LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(
    rf"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\{{(?P<labels>{LABEL}(?:,{LABEL})*)\}} (?P<value>-?[0-9.e+-]+)"
)


def test_the_text_for_prometheus_is_well_formed(project: Project) -> None:
    """By the rules of the format 0.0.4: every metric has its HELP and TYPE, once, and its samples below them."""
    project.file("workflow.yaml", LOOP.replace("nightly", '"a \\"b\\" \\\\ c\\nd"'))
    assert project.run("run", "--metrics-interval", "1").returncode == 0
    text = project.run("metrics", "--prometheus").stdout
    assert text == project.run("metrics", "--format", "prometheus").stdout
    assert text.endswith("\n")
    current, seen, samples = "", set(), set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split()[2]
            assert current not in seen
            seen.add(current)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name == current
            assert (kind == "counter") == name.endswith("_total")
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match["name"] == current
            assert (current, match["labels"]) not in samples
            samples.add((current, match["labels"]))
            float(match["value"])
    assert 'workflow="a \\"b\\" \\\\ c\\nd"' in text
    assert re.search(r'workflow_run_published_value\{.*value="cost_incurred"\} 3\b', text)
    assert re.search(r'workflow_run_status\{.*status="completed"\} 1\b', text)
    assert re.search(r'workflow_step_iterations_total\{.*name="loop"\} 6\b', text)
    assert "workflow_run_recording_seconds_total" in text


# ---------------------------------------------------------------- presets


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--preset", "aggressive"], (3, 4, True)),
        (["--preset", "minimal"], (0, 0, False)),
        (["--preset", "minimal", "--archive", "--checkpoint-every", "1"], (3, 0, True)),
        (["--preset", "aggressive", "--metrics-interval", "0", "--checkpoint-every", "0"], (0, 0, True)),
    ],
)
def test_a_preset_sets_what_is_kept_and_other_flags_win(
    project: Project, words: list[str], expected: tuple[int, int, bool]
) -> None:
    project.steps(3)
    project.step(3, "exit 1")
    assert project.run("run", *words, env={"WORKFLOW_CHECKPOINT_INTERVAL": "0"}).returncode == 1
    run = project.newest_run
    autos = len(list((run / "snapshots").glob("*_auto.json")))
    states = len(list((run / "metrics").glob("state_*.json"))) if (run / "metrics").exists() else 0
    snapshots, written, is_archived = expected
    assert autos == snapshots
    assert states >= written if written else states == 0
    assert (run / "archive").exists() is is_archived


def test_aggressive_says_why_each_step_runs(project: Project) -> None:
    project.steps(1)
    assert "never-run" not in project.run("run").stdout
    assert "never-run" in project.run("run", "--preset", "aggressive").stdout


def test_a_preset_that_is_none_is_refused(project: Project) -> None:
    project.steps(1)
    assert_helped(project.run("run", "--preset", "fast"), 2, "aggressive")

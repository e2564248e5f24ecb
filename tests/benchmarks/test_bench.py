"""The benchmarks run and give figures. What the figures are is for `make bench` to say, on a machine that is idle."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


def run_script(name: str, *words: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *words],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def measuring() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measuring", BENCHMARKS / "measuring.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_smallest_sizes_give_every_figure_and_leave_nothing_behind(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    ended = run_script(
        "bench.py",
        *("--sizes", "1,3", "--rounds", "1", "--output-bytes", "100000"),
        *("--dir", str(work), "--json", str(tmp_path / "all.json")),
        directory=tmp_path,
    )
    assert ended.returncode == 0, ended.stderr
    assert list(work.iterdir()) == []
    measured = json.loads((tmp_path / "all.json").read_text())
    targets = {figure["name"]: figure["target"] for figure in measured["figures"]}
    for name, target in {
        "scripts, full: per step / sh loop": 2.5,
        "scripts, process: per step / sh loop": 1.8,
        "YAML, full: per step / sh loop": 2.5,
        "workflow --version / python3 -c pass": 3,
        "status, 5 steps / python3 -c pass": 7,
        "run of one trivial step / python3 -c pass": 12,
        "resume, 3 steps: above a run of one step": 0.3,
        "status, 3 steps": None,
        "status --json, 3 steps": None,
        "plan, 3 steps": None,
        "scripts, full: run of 3: peak memory": 60,
        "YAML, full: run of 3: peak memory": 60,
        "--output quiet: speed / sh step >file": 0.8,
    }.items():
        assert targets.get(name, "no such figure") == target
        assert name in ended.stdout
    assert all(isinstance(figure["value"], float) for figure in measured["figures"])
    assert {tuple(it) for group in measured["raw"].values() for times in group.values() for it in times} == {
        ("wall_s", "cpu_s", "peak_kib")
    }


def test_a_group_can_be_measured_alone(tmp_path):
    ended = run_script(
        "bench.py", "--only", "memory", "--sizes", "1", "--rounds", "1", "--dir", str(tmp_path), directory=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    assert "YAML, full: run of 1: peak memory" in ended.stdout
    assert "resume" not in ended.stdout


def test_a_wrong_size_is_refused(tmp_path):
    ended = run_script("bench.py", "--sizes", "0", directory=tmp_path)
    assert ended.returncode == 2
    assert "--sizes" in ended.stderr


@pytest.mark.parametrize(
    ("of", "function"), [("loop", "_start_ready"), ("commits", "commit_done"), ("resume", "decode")]
)
def test_a_profile_names_the_functions_at_work(tmp_path, of, function):
    ended = run_script("profile_run.py", "3", "--of", of, "--lines", "2000", "--dir", str(tmp_path), directory=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert f"({function})" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_line_through_sizes_finds_slope_and_intercept(measuring):
    slope, intercept = measuring.line_through({1: 2.5, 100: 52.0, 1000: 502.0})
    assert slope == pytest.approx(0.5)
    assert intercept == pytest.approx(2.0)


def test_growth_compares_one_more_step_among_large_sizes_with_smaller_ones(measuring):
    flat = {size: 3 + 0.5 * size for size in (1, 100, 1000, 10000)}
    assert measuring.marginal_growth(flat) == pytest.approx(1)
    assert measuring.marginal_growth(flat | {10000: 3 + 500 + 9000}) == pytest.approx(2)
    assert measuring.marginal_growth({1: 1.0, 5: 2.0, 20: 3.0}) is None


def test_an_unexpected_exit_code_stops_the_benchmark_with_what_was_said(measuring, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = measuring.Command(["sh", "-c", "echo no luck; exit 3"], str(tmp_path))
    with pytest.raises(measuring.UnexpectedEndError, match="exit code 3, not 0\nno luck"):
        measuring.take(command, measuring.clean_environment(), str(tmp_path / "said"))

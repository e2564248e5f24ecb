"""The CI recipes under examples/ci, executed as far as that goes without the service; test names carry the ids.

The lines of each job run in a fresh checkout. What is uploaded and downloaded is carried as the services do: files
only, no empty directories, no modes.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Project, clean_env, executions_of, newest_run_of, runs_of

RECIPES = ROOT / "examples/ci"
EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")


def recipe(name: str) -> dict[Any, Any]:
    document = yaml.safe_load((RECIPES / name).read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


class Service:
    """A CI service: jobs in fresh checkouts of one repository, and artifacts between them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.artifacts: dict[str, dict[str, bytes]] = {}
        self.jobs = 0
        programs = path / "bin"
        programs.mkdir(parents=True)
        program = programs / "workflow"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m workflow "$@"\n', encoding="utf-8")
        program.chmod(0o755)

    def checkout(self) -> Path:
        """Return a fresh checkout: three steps, of which the second fails on a runner without `healthy`."""
        self.jobs += 1
        project = Project(self.path / f"job_{self.jobs}" / "checkout")
        project.path.mkdir(parents=True)
        project.step(0, "mkdir -p out; echo 00 >>out/ran.txt")
        project.step(1, 'echo 01 >>out/ran.txt; echo "# report" >>"$WORKFLOW_SUMMARY"; [ -n "$HEALTHY" ]')
        project.step(2, "echo 02 >>out/ran.txt")
        return project.path

    def shell(self, text: str, checkout: Path, env: Mapping[str, str], *, options: str = "-e") -> int:
        path = f"{self.path / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", options, "-o", "pipefail", "-c", text],
            cwd=checkout,
            env=clean_env({"PATH": path, **env}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        with open(checkout.parent / "log.txt", "a", encoding="utf-8") as log:
            log.write(done.stdout + done.stderr)
        return done.returncode

    def upload(self, name: str, checkout: Path, paths: list[str]) -> None:
        self.artifacts[name] = {
            str(file.relative_to(checkout)): file.read_bytes()
            for path in paths
            for file in sorted((checkout / path).rglob("*"))
            if file.is_file()
        }

    def download(self, name: str, checkout: Path) -> bool:
        for path, content in self.artifacts.get(name, {}).items():
            (checkout / path).parent.mkdir(parents=True, exist_ok=True)
            (checkout / path).write_bytes(content)
        return name in self.artifacts


class GitHub(Service):
    """Runs the jobs of a workflow file: `if`, `continue-on-error`, `env`, `run`, up- and download."""

    def __init__(self, path: Path, inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(path)
        self.inputs = dict(inputs or {})
        self.file = recipe("github.yml")
        self.outcomes: dict[str, str] = {}

    def value(self, text: str, env: Mapping[str, str]) -> str:
        """Return what an expression comes to; of the language just what the recipe uses."""

        def term(words: str) -> Any:
            words = words.strip()
            if match := re.fullmatch(r"'(.*)'", words):
                return match[1]
            known = {
                "github.run_id": "4711",
                "always()": True,
                **{f"env.{name}": value for name, value in env.items()},
                **{
                    f"inputs.{name}": self.inputs.get(name, "")
                    for name in self.file[True]["workflow_dispatch"]["inputs"]
                },
                **{f"steps.{name}.outcome": value for name, value in self.outcomes.items()},
                "needs.build.outputs.outcome": self.outcomes.get("workflow", ""),
            }
            return known[words]

        def both(words: str) -> Any:
            parts = [part.strip() for part in words.split("&&")]
            return all(comparison(part) for part in parts) if len(parts) > 1 else comparison(parts[0])

        def comparison(words: str) -> Any:
            for sign in ("==", "!="):
                if sign in words:
                    left, right = words.split(sign)
                    return (term(left) == term(right)) is (sign == "==")
            return term(words)

        left, either, right = text.partition("||")
        return str((both(left) or term(right)) if either else both(left))

    def filled(self, text: str, env: Mapping[str, str]) -> str:
        return EXPRESSION.sub(lambda match: self.value(match[1], env), text)

    def job(self, name: str, *, is_healthy: bool) -> tuple[str, Path]:
        """Run one job; return `success`, `failure` or `skipped`, and its checkout."""
        job = self.file["jobs"][name]
        checkout = self.checkout()
        env: dict[str, str] = {}
        for key, text in self.file["env"].items():
            env[key] = self.filled(text, env)
        if "if" in job and self.value(job["if"], env) != "True":
            return "skipped", checkout
        env["HEALTHY"] = "1" if is_healthy else ""
        runner = {"GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_STEP_SUMMARY": str(checkout.parent / "summary.md")}
        result = "success"
        for step in job["steps"]:
            condition = step.get("if", "")
            if (result == "failure" and "always()" not in condition) or (
                condition and self.value(condition, env) != "True"
            ):
                continue
            is_done = self.step(step, checkout, {**env, **runner})
            self.outcomes[step.get("id", step.get("name", "checkout"))] = "success" if is_done else "failure"
            if not is_done and not step.get("continue-on-error"):
                result = "failure"
        return result, checkout

    def step(self, step: dict[str, Any], checkout: Path, env: Mapping[str, str]) -> bool:
        options = step.get("with", {})
        action = step.get("uses", "").partition("@")[0]
        if step.get("name") == "Install":
            assert step["run"].startswith("python3 -m pip install ")
            return True
        if action == "actions/upload-artifact":
            assert options["include-hidden-files"] is True
            assert options["overwrite"] is True
            assert options["retention-days"] == 7
            self.upload(self.filled(options["name"], env), checkout, options["path"].split())
            return True
        if action == "actions/download-artifact":
            return self.download(self.filled(options["name"], env), checkout)
        if action == "actions/checkout":
            return True
        assert not action, f"nobody plays {action}"
        return self.shell(self.filled(step["run"], env), checkout, env) == 0


def ran(checkout: Path) -> list[str]:
    path = checkout / "out/ran.txt"
    return path.read_text().split() if path.exists() else []


def test_s49_s51_r33_github_a_second_job_carries_on_what_the_first_one_kept(tmp_path: Path) -> None:
    service = GitHub(tmp_path)
    result, first = service.job("build", is_healthy=False)
    # The job is left green: the next one decides.
    assert (result, service.outcomes["workflow"]) == ("success", "failure")
    assert ran(first) == ["00", "01"]
    assert "::error title=step 01 s1::" in (first.parent / "log.txt").read_text()
    result, second = service.job("retry", is_healthy=True)
    assert result == "success"
    assert ran(second) == ["00", "01", "01", "02"]
    assert newest_run_of(second).name == newest_run_of(first).name
    assert "| 00 s0 | completed before |" in (second.parent / "summary.md").read_text()
    assert "# report" in (second.parent / "summary.md").read_text()


def test_s49_github_a_retry_that_fails_makes_the_pipeline_red(tmp_path: Path) -> None:
    service = GitHub(tmp_path)
    service.job("build", is_healthy=False)
    result, second = service.job("retry", is_healthy=False)
    assert result == "failure"
    # And what it kept is there for the next attempt of the same pipeline, which resumes by itself.
    assert ran(second) == ["00", "01", "01"]
    result, third = service.job("build", is_healthy=True)
    assert (result, service.outcomes["workflow"]) == ("success", "success")
    assert ran(third) == ["00", "01", "01", "01", "02"]
    assert service.job("retry", is_healthy=True)[0] == "skipped"


def test_s51_github_the_first_attempt_has_nothing_to_restore_and_starts_fresh(tmp_path: Path) -> None:
    service = GitHub(tmp_path)
    result, checkout = service.job("build", is_healthy=True)
    assert (result, service.outcomes["Restore"]) == ("success", "failure")
    assert ran(checkout) == ["00", "01", "02"]
    assert service.job("retry", is_healthy=True)[0] == "skipped"


def test_s49_github_the_inputs_switch_checkpoints_and_resuming_off_and_choose_the_command(tmp_path: Path) -> None:
    service = GitHub(tmp_path / "off", {"checkpoint-enabled": "false"})
    result, checkout = service.job("build", is_healthy=False)
    assert result == "failure"
    assert not (checkout / ".checkpoints").exists()
    assert not service.artifacts
    fresh = GitHub(tmp_path / "fresh", {"resume": "false"})
    fresh.job("build", is_healthy=False)
    _, checkout = fresh.job("build", is_healthy=True)
    assert ran(checkout) == ["00", "01", "00", "01", "02"]
    assert len(runs_of(checkout)) == 2
    command = GitHub(tmp_path / "command", {"command": "run --until 0"})
    assert ran(command.job("build", is_healthy=True)[1]) == ["00"]


def test_s50_gitlab_the_retry_job_carries_on_what_the_build_job_kept(tmp_path: Path) -> None:
    service = Service(tmp_path)
    file = recipe("gitlab.yml")
    build, retry = file["build"], file["retry"]
    for job in (build, retry):
        assert job["artifacts"]["when"] == "always"
        assert job["artifacts"]["expire_in"] == "7 days"
    assert (retry["when"], retry["dependencies"]) == ("on_failure", ["build"])
    assert file["stages"].index(build["stage"]) < file["stages"].index(retry["stage"])
    first = service.checkout()
    assert service.shell("\n".join(build["script"]), first, {"CI": "true"}) == 1
    service.upload("build", first, build["artifacts"]["paths"])
    second = service.checkout()
    assert service.download("build", second)
    assert service.shell("\n".join(retry["script"]), second, {"CI": "true", "HEALTHY": "1"}) == 0
    assert ran(second) == ["00", "01", "01", "02"]
    assert newest_run_of(second).name == newest_run_of(first).name


@pytest.fixture
def flaky(project: Project) -> Project:
    """A project whose second step succeeds at its third attempt."""
    project.step(0)
    project.step(1, 'echo 01 >>ran.txt; [ "$(grep -c 01 ran.txt)" -ge 3 ]')
    project.step(2)
    return project


def retried(service: Service, project: Project, **env: str) -> int:
    return service.shell(f"sh {shlex.quote(str(RECIPES / 'retry.sh'))}", project.path, {"PAUSE": "0", **env})


def test_s63_s25_the_loop_resumes_at_most_three_times_and_keeps_a_log(flaky: Project, tmp_path: Path) -> None:
    service = Service(tmp_path / "service")
    assert retried(service, flaky) == 0
    assert flaky.executions == ["00", "01", "01", "01", "02"]
    assert len(flaky.runs) == 1
    log = (flaky.path / "workflow.log").read_text()
    shown = (flaky.path.parent / "log.txt").read_text()
    assert log == shown
    assert "there is nothing to resume; starting a new run" in log
    assert "attempt 2 of 3 ended with exit code 1; trying again in 0 s" in log


def test_s63_the_loop_gives_up_and_hands_the_exit_code_on(flaky: Project, tmp_path: Path) -> None:
    service = Service(tmp_path / "service")
    assert retried(service, flaky, ATTEMPTS="2") == 1
    assert flaky.executions == ["00", "01", "01"]
    # The next one, tomorrow's cron job say, carries on.
    assert retried(service, flaky, ATTEMPTS="1") == 0
    assert executions_of(flaky)[3:] == ["01", "02"]


def test_s63_the_loop_waits_between_attempts_and_not_for_what_will_not_pass(flaky: Project, tmp_path: Path) -> None:
    service = Service(tmp_path / "service")
    started = time.monotonic()
    assert retried(service, flaky, ATTEMPTS="2", PAUSE="1.5") == 1
    assert time.monotonic() - started >= 1.5
    flaky.file("workflow.yaml", "steps: [{rum: x}]\n")
    flaky.file("steps/step_00_s0.sh", "#!/bin/sh\n#| tiemout: 1\n:\n")
    assert retried(service, flaky, PAUSE="60") == 2


def test_s63_the_standard_pause_is_five_seconds() -> None:
    assert "pause=${PAUSE:-5}" in (RECIPES / "retry.sh").read_text()
    assert "attempts=${ATTEMPTS:-3}" in (RECIPES / "retry.sh").read_text()

"""R1, R22, R34, M24 and M26: what happens to checkpoints is told, acted upon and on record."""

from __future__ import annotations

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.conftest import Project


def declare(project: Project, hooks: dict[str, Any], count: int = 2) -> None:
    steps = [{"run": f"echo 0{number} >>ran.txt"} for number in range(count)]
    project.file("workflow.yaml", json.dumps({"hooks": hooks, "steps": steps}))


def noted(project: Project) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (project.path / ".checkpoints/audit.jsonl").read_text().splitlines()]


def test_r1_m26_every_operation_on_checkpoints_is_on_record(project: Project) -> None:
    project.steps(2)
    assert project.run(env={"USER": "ada"}).returncode == 0
    run_id = project.newest_run.name
    assert project.run("checkpoint", "create", "--name", "review", env={"USER": "grace"}).returncode == 0
    assert project.run("checkpoint", "delete", run_id, "--yes", env={"USER": "grace"}).returncode == 0
    told = [(it["by"], it["operation"], it["outcome"]) for it in noted(project)]
    assert told == [
        ("ada", "run", "begun"),
        ("ada", "create", "done"),
        ("ada", "run", "completed"),
        ("grace", "create", "done"),
        ("grace", "delete", "begun"),
        ("grace", "remove", "done"),
        ("grace", "delete", "done"),
    ]
    assert {it["run_id"] for it in noted(project)} == {run_id}


def test_m24_the_operations_on_a_checkpoint_can_be_followed_with_their_instants(project: Project) -> None:
    project.steps(3)
    assert project.run("run", "--checkpoint-every", "1").returncode == 0
    made = [it for it in noted(project) if it["operation"] == "create"]
    assert [it["checkpoint"].partition("@")[2] for it in made] == ["1", "2", "3", "4"]
    assert [it["at"] for it in made] == sorted(it["at"] for it in made)


def test_r22_a_hook_runs_after_each_checkpoint_and_copies_it_elsewhere(project: Project) -> None:
    (project.path / "elsewhere").mkdir()
    copy = 'cp "$WORKFLOW_CHECKPOINT_FILE" elsewhere/ && echo "Checkpoint created: $WORKFLOW_CHECKPOINT" >>mail.txt'
    declare(project, {"checkpoint": copy}, 3)
    assert project.run("run", "--checkpoint-every", "1").returncode == 0
    there = sorted(it.name for it in (project.path / "elsewhere").iterdir())
    assert there == sorted(it.name for it in (project.newest_run / "snapshots").iterdir())
    assert len((project.path / "mail.txt").read_text().splitlines()) == len(there) == 4


def test_r34_the_number_of_checkpoints_is_pushed_to_an_http_endpoint(project: Project) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the recipe uses curl")
    heard: list[tuple[str, str]] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The recipe of docs/how-to/hooks.md.
    push = (
        """printf 'workflow_checkpoints{run="%s"} %s\\n' "$WORKFLOW_RUN_ID" "$WORKFLOW_CHECKPOINT_NUMBER" | """
        'curl -fsS --max-time 5 --data-binary @- "$PUSHGATEWAY/metrics/job/workflow"'
    )
    declare(project, {"checkpoint": push})
    try:
        gateway = f"http://127.0.0.1:{server.server_port}"
        done = project.run("run", "--checkpoint-every", "1", env={"PUSHGATEWAY": gateway, "no_proxy": "127.0.0.1"})
    finally:
        server.shutdown()
        server.server_close()
    assert (done.returncode, done.stderr) == (0, "")
    run_id = project.newest_run.name
    assert heard == [
        ("/metrics/job/workflow", f'workflow_checkpoints{{run="{run_id}"}} {number}\n') for number in (1, 2, 3)
    ]

"""`workflow checkpoint list` over many runs, and `show` of a run of many steps."""

from __future__ import annotations

import os
import sys
import time

from measuring import Command, median_wall_s, take
from suite import Bench, tell

MANY_RUNS = 10_000
TARGET_LIST_S = 1.0
TARGET_SHOW_S = 1.0
# What the runs are copied with: a process of its own, so that ours stays small.
FABRICATE = """
import os, sys
from workflow.checkpoint import records, store
from workflow.checkpoint.layout import CheckpointRoot
from workflow.checkpoint.marker import decode, encode
import time
root, count = CheckpointRoot(sys.argv[1]), int(sys.argv[2])
model = root.run(store.run_ids(root)[0])
files = []
for directory, _, names in os.walk(model.path):
    inside = os.path.relpath(directory, model.path)
    for name in names:
        if inside in (".", "state") and not name.endswith((".sh", ".lock", ".running", ".exits")):
            path = os.path.normpath(os.path.join(inside, name))
            with open(os.path.join(model.path, path), "rb") as file:
                files.append((path, file.read()))
# checkpoint.json is what a runner writes last.
files.sort(key=lambda it: it[0] == "checkpoint.json")
for index in range(count - 1):
    layout = root.run(time.strftime("workflow_%Y%m%d_%H%M%S", time.gmtime(1_700_000_000 + index)))
    os.mkdir(layout.path)
    os.mkdir(layout.state_dir)
    for path, data in files:
        if path.endswith(".json") and os.path.dirname(path) == "":
            document = records.decode_document(data)
            document.pop("checksum")
            for key in ("workflow_id", "run_id"):
                if key in document:
                    document[key] = layout.run_id
            data = records.encode_document(document)
        elif path.endswith(".complete"):
            marker = decode(data, run_id=model.run_id, number=int(path[5:-9]))
            data = encode(marker._replace(run_id=layout.run_id))
        with open(os.path.join(layout.path, path), "wb") as file:
            file.write(data)
"""


def many_runs(bench: Bench) -> None:
    """Seconds to list many runs of five steps each, every fifth failed, and to show one of many steps."""
    count = MANY_RUNS if bench.sizes[-1] >= MANY_RUNS else max(10, bench.sizes[-1])
    size = bench.sizes[-1]
    tell(f"{count:,} runs, and one of {size:,} steps")
    project = bench.numbered_scripts(5)
    root = os.path.join(project, ".checkpoints")
    take(Command(bench.workflow("run"), project), bench.environment, bench.said)
    started = time.monotonic()
    fabricate = [sys.executable, "-c", FABRICATE, root, str(count)]
    take(Command(fabricate, project), bench.environment, bench.said)
    tell(f"made in {time.monotonic() - started:.0f} s")
    big = bench.numbered_scripts(size)
    take(Command(bench.workflow("run"), big), bench.environment, bench.said)
    commands = {
        "list": Command(bench.workflow("checkpoint", "list"), project),
        "list --json": Command(bench.workflow("checkpoint", "list", "--json"), project),
        "show": Command(bench.workflow("checkpoint", "show"), big),
        "show --json": Command(bench.workflow("checkpoint", "show", "--json"), big),
        "validate": Command(bench.workflow("checkpoint", "validate"), big),
    }
    taken = bench.measure(f"checkpoints {count} {size}", commands, bench.rounds)
    for name in ("list", "list --json"):
        bench.add(f"checkpoint {name}, {count:,} runs", median_wall_s(taken[name]), "s", TARGET_LIST_S)
    for name in ("show", "show --json"):
        bench.add(f"checkpoint {name}, {size:,} steps", median_wall_s(taken[name]), "s", TARGET_SHOW_S)
    bench.add(f"checkpoint validate, {size:,} steps", median_wall_s(taken["validate"]), "s")

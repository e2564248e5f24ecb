"""A look at steps of which nothing has changed, beside the same look by the tools that are installed.

Those are ninja, GNU make and Task as programs, doit in the interpreter that measures.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time

from measuring import Command, median_excess_s, median_wall_s, take
from suite import Bench, tell

INPUTS = 10
TARGET_NINJA = 2.0
SETTLED_S = 4.0  # what changed shortly before it is looked at is read each time


def unchanged(bench: Bench) -> None:
    """Seconds above our own start-up for steps with ten inputs each, warm."""
    size = min(bench.sizes[-1], 1_000)
    tell(f"{size:,} steps with {size * INPUTS:,} unchanged inputs")
    project = bench.numbered_scripts(1)
    os.makedirs(os.path.join(project, "in"))
    doit, task = ["def task_all():"], ["version: '3'", "tasks:", "  default:", "    deps:"]
    task += [f"      - s{number}" for number in range(size)]
    flow, ninja, make = ["name: unchanged", "steps:"], [], [f"all: {' '.join(f'o{it}' for it in range(size))}"]
    for number in range(size):
        names = [f"in/{number}_{at}" for at in range(INPUTS)]
        for name in names:
            with open(os.path.join(project, name), "w", encoding="ascii") as file:
                file.write(f"{name}\n" * 20)
        command = f"cat {' '.join(names)} >o{number}"
        flow.append(f"  - {{name: s{number}, inputs: [{', '.join(names)}], outputs: [o{number}], run: '{command}'}}")
        ninja.append(f"rule r{number}\n command = {command}\nbuild o{number}: r{number} {' '.join(names)}")
        doit.append(f"    yield dict(name='s{number}', file_dep={names}, targets=['o{number}'], actions=['{command}'])")
        task.append(f"  s{number}: {{sources: {names}, generates: [o{number}], cmds: ['{command}']}}")
        make.append(f"o{number}: {' '.join(names)}\n\t{command}")
    texts = {"workflow.yaml": flow, "build.ninja": ninja, "Makefile": make, "dodo.py": doit, "Taskfile.yml": task}
    for name, lines in texts.items():
        with open(os.path.join(project, name), "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
    source = ("workflow.yaml",)
    commands = {
        "plan": Command(bench.workflow("plan", *source, "--smart", "--exit-code"), project),
        "start-up": Command(bench.workflow("plan", *source, "--no-smart", "--exit-code"), project, code=10),
    }
    run = Command(bench.workflow("run", *source, "--smart"), project)
    take(run, bench.environment, bench.said)
    peers = {"ninja": ["ninja"], "make": ["make", "-s"], "task": ["task", "--silent"]}
    peers["doit"] = [sys.executable, "-m", "doit", "-v0"]
    for peer, argv in peers.items():
        if (importlib.util.find_spec(peer) if argv[0] == sys.executable else shutil.which(peer)) is None:
            tell(f"{peer} is not installed: left out")
            continue
        commands[peer] = Command(argv, project)
        take(commands[peer], bench.environment, bench.said)
    for _ in range(2):
        time.sleep(SETTLED_S)
        take(run, bench.environment, bench.said)
    taken = bench.measure(f"unchanged {size}", commands, bench.rounds)
    above_s = median_excess_s(taken["plan"], taken["start-up"])
    bench.add(f"plan --smart above start-up, {size:,} steps unchanged", above_s, "s")
    for peer in peers:
        if peer in taken:
            peer_s = median_wall_s(taken[peer])
            target = TARGET_NINJA if peer == "ninja" and size >= 1_000 else None
            bench.add(f"{peer}, the same", peer_s, "s")
            bench.add(f"plan --smart above start-up / {peer}", above_s / peer_s, "x", target)

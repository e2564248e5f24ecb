"""Command lines about iterations: prompts that are archived, states and metrics, bounds; rows of `seed_lines`."""

from __future__ import annotations

from typing import Any

# A loop that works on a prompt: four iterations, each with its cost.
LOOP_YAML = (
    "printf '%s\\n' 'steps:' '- name: loop' "
    "'  run: echo round >>PROMPT.md; echo cost_incurred=0.5 >>$WORKFLOW_OUTPUT; "
    "echo tokens_used=100 >>$WORKFLOW_OUTPUT' '  archive: PROMPT.md' "
    "\"  repeat: {until: '[ \\$(wc -l <PROMPT.md) -ge 4 ]', max_iterations: 9}\" >loop.yaml;"
)
LOOP = f"{LOOP_YAML} workflow run loop.yaml --metrics-interval 1"


def row(seed: str, ours: str, **more: Any) -> dict[str, Any]:
    return {"seed": seed, "ours": ours, **more}


LOOP_LINES = [
    row("ls -la .agent/prompts/", "ls -la .checkpoints/$RUN/archive/", says=r"plan_\d{8}_\d{6}\.json"),
    row(
        "with open('.agent/metrics/state_20240110_100000.json') as f: state = json.load(f)",
        f"{LOOP} && python3 -c \"import json, sys; state = json.load(open(sys.argv[1])); print(state['iteration'], "
        "state['tokens_used'], state['cost_incurred'])\" $(ls .checkpoints/*/metrics/state_*.json | tail -1)",
        state="fresh",
        says=r"\b4 400 2\b",
    ),
    row(
        "for state_file in checkpoint_dir.glob('state_*.json'): assert 'iteration' in data",
        f"{LOOP} && for file in .checkpoints/*/metrics/state_*.json; do jq -e '.iteration and .agent' $file; done && "
        "workflow checkpoint validate",
        state="fresh",
        says=r"true[\s\S]*Hashes match",
    ),
    row(
        "python ralph_orchestrator.py --checkpoint-interval 1 --metrics-interval 1 --verbose",
        "workflow run plan.json --checkpoint-interval 1 --metrics-interval 1 --verbose && "
        "ls .checkpoints/*/metrics .checkpoints/*/snapshots",
        state="fresh, fixed",
        says=r"never-run[\s\S]*state_\d+_\d+[\s\S]*0004_",
    ),
    row(
        "python ralph_orchestrator.py --checkpoint-interval 5 --metrics-interval 10",
        "workflow run plan.json --checkpoint-interval 5 --metrics-interval 10 && ls .checkpoints/*/metrics",
        state="fresh, fixed",
        says=r"metrics_\d+_\d+\.json",
    ),
    row(
        "python ralph_orchestrator.py --checkpoint-interval 10 --max-iterations 100",
        f"{LOOP_YAML} workflow run loop.yaml --checkpoint-interval 10 --max-iterations 3",
        state="fresh",
        code=1,
        says="after 3 iterations",
    ),
    row(
        "cp .agent/prompts/prompt_20240110_100000.md PROMPT.md",
        f"{LOOP}; cp $(ls .checkpoints/*/archive/PROMPT_*.md | head -1) PROMPT.md && workflow run loop.yaml && "
        "wc -l <PROMPT.md",
        state="fresh",
        says=r"\n4\n",
    ),
    row(
        "cp .agent/prompts/prompt_EARLIER.md PROMPT.md",
        f"{LOOP}; rm PROMPT.md; workflow checkpoint restore --archive PROMPT.md && wc -l <PROMPT.md",
        state="fresh",
        says=r"\n4\n",
    ),
]

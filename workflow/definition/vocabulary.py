"""The option words that are known and not available yet: word -> what it will bring.

The one list of them: messages read it, and a test holds the schema to it.
"""

from __future__ import annotations

OPTIONS_PAGE = "docs/reference/options.md"

LATER: dict[str, dict[str, str]] = {
    "workflow": {
        "smart": "running only what changed",
        "hooks": "commands at the start and end of a run",
        "git": "a commit for each step",
    },
    "step": {
        "secrets": "values kept out of logs and records",
        "if": "steps that run on a condition",
        "parallel": "parallel groups",
        "matrix": "one step for each of many values",
        "inputs": "files a step depends on",
        "retries": "trying again after a failure",
        "continue_on_error": "going on past a failed step",
        "lock": "named locks between steps",
        "resources": "CPUs, memory and time asked of a scheduler",
        "carry_state": "handing the state of the shell to later steps",
        "approval": "waiting for a person's word",
        "side_effects": "saying what a step changes outside the project",
        "archive": "keeping copies of files",
        "repeat": "repeating a step until a condition holds",
    },
    "checkpoints": {
        "enabled": "runs without a checkpoint",
        "interval_minutes": "snapshots by the clock",
        "task_interval": "snapshots after so many steps",
        "validate_on_resume": "whether a resume validates first",
        "strict_hash_check": "refusing a changed definition on resume",
        "compress": "compressing finished runs",
        "max_size_mb": "a limit to the size of a checkpoint",
        "retention": "removing old runs by age and number",
    },
    "limits": {},
}


def unavailable(word: str, section: str) -> tuple[str, str]:
    """Return message and help for a known word of `section` that this version cannot do."""
    phrase = LATER[section][word]
    return (
        f"`{word}` is known but not available in this version ({phrase})",
        f"take it out for now; see {OPTIONS_PAGE} for what works today",
    )

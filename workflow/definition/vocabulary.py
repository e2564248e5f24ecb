"""The option words that are known and not available yet: word -> what it will bring.

The one list of them: messages read it, and a test holds the schema to it.
"""

from __future__ import annotations

OPTIONS_PAGE = "docs/reference/options.md"

LATER: dict[str, dict[str, str]] = {
    "workflow": {},
    "step": {
        "secrets": "values kept out of logs and records",
        "carry_state": "handing the state of the shell to later steps",
    },
    "checkpoints": {},
    "limits": {},
    "git": {
        "branch": "commits on the current branch instead of refs of their own",
    },
    "resources": {
        "time": "what is asked of a cluster",
        "partition": "what is asked of a cluster",
    },
}


def unavailable(word: str, section: str) -> tuple[str, str]:
    """Return message and help for a known word of `section` that this version cannot do."""
    phrase = LATER[section][word]
    return (
        f"`{word}` is known but not available in this version ({phrase})",
        f"take it out for now; see {OPTIONS_PAGE} for what works today",
    )

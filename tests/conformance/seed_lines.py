"""The command lines of the five older systems' documents, and what each becomes here (decision D11).

`ours` is shell text run in a project whose state is `state`; `$RUN` is its newest run. `code` is the exit code that
it must have, `says` a pattern that its output must match. `asks`: it puts a question, which is answered with yes at
a terminal. Lines that only show options of a command already listed stand here once. What has no form here stands in
`NOT_HERE`, with the reason.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.conformance.loop_lines import LOOP_LINES


class Line(NamedTuple):
    """One command line of a document."""

    seed: str
    ours: str
    state: str = "failed"
    code: int = 0
    says: str = ""
    asks: bool = False


FLEETTOOLS = [
    Line("fleet checkpoints list <mission-id>", "workflow checkpoints list $RUN", says=r"@1\b.*error"),
    Line("fleet checkpoints ls <mission-id>", "workflow checkpoints ls $RUN", says=r"@1\b.*error"),
    Line("fleet checkpoints show <checkpoint-id>", "workflow checkpoints show $RUN@1", says=r"50%[\s\S]*error"),
    Line("fleet checkpoints latest <mission-id>", "workflow checkpoints latest $RUN", says=r"@1\b"),
    Line("fleet checkpoints prune <mission-id>", "workflow checkpoints prune $RUN", says="nothing to remove"),
    Line(
        "fleet checkpoints prune <mission-id> --older-than 30",
        "workflow checkpoints prune $RUN --older-than 30",
        says="nothing to remove",
    ),
    Line(
        "fleet checkpoints prune <mission-id> --keep 10",
        "for i in 1 2 3; do workflow checkpoints create $RUN; done; workflow checkpoints prune $RUN --keep 2",
        says="removed 2 snapshots",
        asks=True,
    ),
    Line("fleet checkpoints prune <mission-id> --force", "workflow checkpoints prune $RUN --force"),
    Line("fleet resume --mission <mission-id>", "workflow resume --mission $RUN", state="fixed", says="publish"),
    Line("fleet resume --mission <mission-id>", "workflow resume --mission $RUN", state="fixed", asks=True),
    Line("fleet resume --checkpoint <checkpoint-id>", "workflow resume --checkpoint $RUN@1", state="fixed"),
    Line(
        "fleet resume --checkpoint <checkpoint-id> --dry-run",
        "workflow resume --checkpoint $RUN@1 --dry-run",
        says="02 test",
    ),
    Line("fleet resume --mission <mission-id> --dry-run", "workflow resume --mission $RUN --dry-run", says="02 test"),
    Line(
        "fleet resume --checkpoint <checkpoint-id> --force",
        "workflow resume --checkpoint $RUN@1 --force",
        state="fixed",
    ),
    Line("fleet checkpoints show <id> --json", "workflow checkpoints show $RUN@1 --json", says='"trigger": "error"'),
    Line("fleet resume --checkpoint <id> --dry-run", "workflow resume --checkpoint $RUN@1 --dry-run", says="02 test"),
    Line(
        "fleet checkpoints show <id> --json | jq .recovery_context",
        "workflow checkpoints show $RUN@1 --json | jq .recovery_context",
        says='"tasks_to_resume"',
    ),
]

SPECULAR = [
    Line(
        "specular build --plan plan.json --policy .specular/policy.yaml",
        "workflow run --plan plan.json --policy policy.yaml",
        state="fresh, fixed",
        says="publish",
    ),
    Line("specular build --resume", "workflow run --resume", state="fixed", says="publish"),
    Line(
        "specular build --resume build-2024-01-15T10-30-45", "workflow run --resume $RUN", state="fixed", says="publish"
    ),
    Line("specular checkpoint list", "workflow checkpoint list", says="failed"),
    Line("specular checkpoint show build-2024-01-15T10-30-45", "workflow checkpoint show $RUN", says="failed"),
    Line("specular checkpoint clean --older-than 7d", "workflow checkpoint clean --older-than 7d", "old", asks=True),
    Line("specular checkpoint clean --failed", "workflow checkpoint clean --failed", asks=True),
    Line("specular checkpoint delete build-2024-01-15T10-30-45", "workflow checkpoint delete $RUN", asks=True),
    Line("specular checkpoint prune", "workflow checkpoint prune", asks=True),
    Line(
        "specular build --plan plan.json --checkpoint-interval 5m",
        "workflow run --plan plan.json --checkpoint-interval 5m",
        state="fresh, fixed",
    ),
    Line(
        "specular build --plan plan.json --checkpoint-every 5",
        "workflow run --plan plan.json --checkpoint-every 2 && ls .checkpoints/*/snapshots",
        state="fresh, fixed",
        says="0001_auto.json",
    ),
    Line(
        "specular checkpoint validate build-2024-01-15T10-30-45",
        "workflow checkpoint validate $RUN",
        says=r"Metadata valid[\s\S]*State file valid[\s\S]*Progress tracking valid[\s\S]*"
        r"All output files present[\s\S]*Hashes match",
    ),
    Line("specular build --resume --validate", "workflow run --resume --validate", state="fixed"),
    Line("specular build --resume --from-task task-10", "workflow run --resume --from-task build", state="fixed"),
    Line("specular build --resume --skip-failed", "workflow run --resume --skip-failed", code=1, says="publish"),
    Line("specular build --resume --retry-failed", "workflow run --resume --retry-failed", state="fixed"),
    Line(
        "export SPECULAR_CHECKPOINT_ENABLED=false",
        "export CHECKPOINT_ENABLED=false; workflow run --plan plan.json && ! test -e .checkpoints",
        state="fresh, fixed",
    ),
    Line(
        "export SPECULAR_CHECKPOINT_DIR=/tmp/checkpoints",
        'export CHECKPOINT_DIR="$PWD/elsewhere"; workflow run --plan plan.json && ls elsewhere',
        state="fresh, fixed",
        says="workflow_",
    ),
    Line(
        "export SPECULAR_CHECKPOINT_INTERVAL=10",
        "export WORKFLOW_CHECKPOINT_INTERVAL=10; workflow run --plan plan.json && workflow doctor",
        state="fresh, fixed",
        says="WORKFLOW_CHECKPOINT_INTERVAL",
    ),
    Line("specular build --plan plan.json", "workflow run --plan plan.json", state="fresh", code=1),
    Line("specular checkpoint show --last", "workflow checkpoint show --last", says="failed"),
    Line(
        "specular build --resume --policy .specular/policy.yaml",
        "workflow run --resume --policy policy.yaml",
        state="fixed",
    ),
    Line(
        "specular build --resume --policy .specular/policy.yaml --revalidate",
        "workflow run --resume --policy policy.yaml --revalidate",
        state="fixed",
    ),
    Line("du -sh .specular/checkpoints/", "du -sh .checkpoints/", says=r"\d"),
    Line("specular checkpoint compress --all", "workflow checkpoint compress --all && ls .checkpoints", says=r"\.tar"),
    Line(
        "specular checkpoint show --last | jq '.plan_hash'",
        "workflow checkpoint show --last --json | jq '.plan_hash'",
        says="blake3:",
    ),
    Line("specular build --plan plan.json --force", "workflow run --plan plan.json --force", state="fixed"),
    Line(
        "0 2 * * * cd /path/to/project && specular checkpoint clean --older-than 7d",
        'cd "$PWD" && workflow checkpoint clean --older-than 7d --yes',
        state="old",
        says="1 run",
    ),
    Line(
        "specular build --resume --validate || specular build --plan plan.json",
        "rm out/app; workflow run --resume --validate || workflow run --plan plan.json",
        state="fixed",
        says="publish",
    ),
    Line(
        "SIZE=$(du -sm .specular/checkpoints/ | cut -f1)",
        "SIZE=$(du -sm .checkpoints/ | cut -f1); if [ $SIZE -ge 1 ]; then\n"
        "workflow checkpoint clean --older-than 3d --yes; fi",
        state="old",
        says="1 run",
    ),
    Line(
        "specular checkpoint list [--status <status>] [--format json|table]",
        "workflow checkpoint list --status failed --format json | jq length && workflow checkpoint list --format table",
        says="failed",
    ),
    Line(
        "specular checkpoint show <run-id> [--format json]",
        "workflow checkpoint show $RUN --format json | jq .tasks",
        says='"02"',
    ),
    Line(
        "specular checkpoint clean [--older-than <duration>] [--failed]",
        "workflow checkpoint clean --older-than 1w --failed --yes",
        state="old",
    ),
    Line("specular checkpoint prune [--force]", "workflow checkpoint prune --force && ! ls -d .checkpoints/workflow_*"),
    Line(
        "specular checkpoint compress <run-id>",
        "workflow checkpoint compress $RUN && ls .checkpoints/$RUN.tar.gz",
        state="done",
        says=r"\.tar\.gz",
    ),
    Line(
        "specular checkpoint export <run-id> --out checkpoint.tar.gz",
        "workflow checkpoint export $RUN --out checkpoint.tar.gz && ls checkpoint.tar.gz",
        says="checkpoint.tar.gz",
    ),
    Line(
        "specular checkpoint import checkpoint.tar.gz",
        "workflow checkpoint export $RUN --out checkpoint.tar.gz && workflow checkpoint delete $RUN --yes && "
        "workflow checkpoint import checkpoint.tar.gz && workflow status $RUN",
        says="failed",
    ),
    Line("--resume-last               # Resume most recent", "workflow run --resume-last", state="fixed"),
    Line(
        'if specular build --resume 2>&1 | tee build.log; then echo "Build succeeded"',
        "for attempt in 1 2 3; do if workflow run --resume; then echo succeeded; break; fi; touch fixed; done",
        says="succeeded",
    ),
    Line(
        "watch -n 5 'specular checkpoint show --last --format json | jq \"{ status, completed: .completed_tasks, "
        "total: .total_tasks, progress: (.completed_tasks / .total_tasks * 100 | round) }\"'",
        'workflow checkpoint show --last --format json | jq "{ status, completed: .completed_tasks, '
        'total: .total_tasks, progress: (.completed_tasks / .total_tasks * 100 | round) }"',
        says=r'"progress": 50',
    ),
    Line(
        'if [ -d ".specular/checkpoints" ]; then specular build --resume; else specular build --plan plan.json; fi',
        'if [ -d ".checkpoints" ]; then workflow run --resume; else workflow run --plan plan.json; fi',
        state="fixed",
    ),
]

AI_WORKFLOW = [
    Line("./execute_tests_docs_workflow.sh", "workflow run plan.json", state="fresh, fixed"),
    Line("./execute_tests_docs_workflow.sh --resume", "workflow --resume", state="fixed"),
    Line("./execute_tests_docs_workflow.sh --resume workflow_20251218_121530", "workflow --resume $RUN", state="fixed"),
    Line("./execute_tests_docs_workflow.sh --checkpoint-status", "workflow --checkpoint-status", says="failed"),
    Line("ls -la .checkpoints/", "ls -la .checkpoints/", says="workflow_"),
    Line(
        "rm -rf .checkpoints/workflow_*",
        "rm -rf .checkpoints/workflow_* && workflow --resume plan.json",
        state="fixed",
        says="starting a new run",
    ),
    Line(
        'find .checkpoints/ -name "workflow_*" -mtime +7 -exec rm -rf {} \\;',
        'find .checkpoints/ -name "workflow_*" -mtime +7 -prune -exec rm -rf {} \\; ; workflow checkpoint list',
        state="old",
        says="there are no runs",
    ),
    Line(
        'CHECKPOINT_DIR=".checkpoints"; CHECKPOINT_RETENTION_DAYS=7; CHECKPOINT_ENABLED=true',
        "export CHECKPOINT_DIR=.checkpoints CHECKPOINT_RETENTION_DAYS=7 CHECKPOINT_ENABLED=true; "
        "workflow run plan.json && ls .checkpoints",
        state="fresh, fixed",
        says="workflow_",
    ),
    Line("ls .checkpoints/workflow_*/", "ls .checkpoints/workflow_*/", says="step_00.complete"),
    Line(
        "cat .checkpoints/workflow_*/checkpoint.json",
        "cat .checkpoints/workflow_*/checkpoint.json | jq .status",
        says="failed",
    ),
    Line(
        "rm -rf .checkpoints/workflow_YYYYMMDD_HHMMSS",
        "rm -rf .checkpoints/$RUN; workflow run plan.json",
        state="fixed",
    ),
    Line(
        "find .checkpoints/ -mtime +7 -delete",
        "find .checkpoints/ -mtime +7 -delete; ! ls -d .checkpoints/$RUN && workflow run plan.json",
        "old, fixed",
        says="publish",
    ),
    Line("du -sh .checkpoints/", "du -sh .checkpoints/", says=r"\d"),
    Line("./execute_tests_docs_workflow.sh --parallel", "workflow --parallel --plan plan.json", state="fresh, fixed"),
]

RALPH = [
    # Its checkpoints in git come with work-tree checkpoints. Where the same is had from the snapshots of a run, that
    # form stands here.
    Line(
        'git log --oneline | grep "Ralph checkpoint"',
        "workflow checkpoint list $RUN | grep error",
        says="@1",
    ),
    Line("git checkout <commit-hash>", "workflow resume $RUN@1", state="fixed", says="publish"),
    *(Line(**row) for row in LOOP_LINES),
    Line(
        "python ralph_orchestrator.py --checkpoint-interval 5",
        "workflow run plan.json --checkpoint-interval 2 && ls .checkpoints/*/snapshots",
        state="fresh, fixed",
        says="0001_auto.json",
    ),
    Line("python ralph_orchestrator.py --no-git", "workflow run plan.json --no-git", state="fresh, fixed"),
    Line("python ralph_orchestrator.py --no-archive", "workflow run plan.json --no-archive", state="fresh, fixed"),
    Line(
        "python ralph_orchestrator.py --checkpoint-interval 20 --no-archive",
        "workflow run plan.json --checkpoint-interval 20 --no-archive",
        state="fresh, fixed",
    ),
    Line("python ralph_orchestrator.py --verbose", "workflow run plan.json --verbose", state="fresh, fixed"),
    Line("python ralph_orchestrator.py --prompt PROMPT.md", "workflow run --plan plan.json", state="fresh, fixed"),
    Line(
        "find .agent/prompts -mtime +7 -delete",
        "ls .checkpoints/*/snapshots/*.json | wc -l; find .checkpoints/*/snapshots -mtime +7 -delete; "
        "ls .checkpoints/*/snapshots/*.json | wc -l; workflow checkpoint list $RUN && workflow checkpoint list",
        state="old, failed",
        says=r"^2\n1\n[\s\S]*@1\b[\s\S]*completed",
    ),
    Line(
        'find .agent/metrics -name "*.json" -mtime +7 -delete',
        "ls .checkpoints/*/snapshots/*.json | wc -l; "
        'find .checkpoints/*/snapshots -name "*.json" -mtime +7 -delete; '
        "ls .checkpoints/*/snapshots/*.json | wc -l; workflow checkpoint list $RUN && workflow checkpoint list",
        state="old, failed",
        says=r"^2\n1\n[\s\S]*@1\b[\s\S]*completed",
    ),
    Line(
        "ls -t .agent/prompts/*.md | tail -n +101 | xargs rm -f",
        "for i in 1 2 3; do workflow checkpoint create $RUN; done; "
        "ls -t .checkpoints/*/snapshots/*.json | tail -n +3 | xargs rm -f; "
        "ls .checkpoints/*/snapshots/*.json | wc -l; workflow checkpoint list $RUN",
        says=r"\n2\n[\s\S]*@4\b",
    ),
    Line(
        "tar -czf ralph_checkpoints_$(date +%Y%m%d).tar.gz .agent/",
        "tar -czf checkpoints_$(date +%Y%m%d).tar.gz .checkpoints/ && rm -rf .checkpoints && "
        "tar -xzf checkpoints_*.tar.gz && workflow --resume",
        state="fixed",
        says="publish",
    ),
    Line(
        "rsync -av .agent/ user@backup-server:/backups/ralph/",
        'mkdir backup && cp -a .checkpoints/. backup/ && workflow --resume --checkpoint-dir "$PWD/backup" plan.json',
        state="fixed",
    ),
    Line("du -sh .agent/", "du -sh .checkpoints/", says=r"\d"),
    Line("watch -n 60 'du -sh .agent/*'", "du -sh .checkpoints/*", says="workflow_"),
    Line(
        "python ralph_orchestrator.py & PID=$!; sleep 30; kill $PID; python ralph_orchestrator.py",
        "touch slow; workflow run plan.json & PID=$!; while ! ls started >/dev/null 2>&1; do sleep 0.1; done; "
        "kill $PID; wait $PID; rm slow; workflow --resume",
        state="fresh, fixed",
        says="publish",
    ),
    Line(
        "MAX_CHECKPOINTS=50; COUNT=$(ls .agent/prompts/*.md 2>/dev/null | wc -l)",
        "MAX_CHECKPOINTS=50; COUNT=$(ls .checkpoints/*/snapshots/*.json 2>/dev/null | wc -l); "
        "[ $COUNT -le $MAX_CHECKPOINTS ] && echo count=$COUNT",
        says="count=1",
    ),
    Line(
        "ls -t .agent/prompts/*.md | tail -n +$(($MAX_CHECKPOINTS+1)) | xargs rm",
        "for i in 1 2 3; do workflow checkpoint create $RUN; done; MAX_CHECKPOINTS=2; "
        "ls -t .checkpoints/*/snapshots/*.json | tail -n +$(($MAX_CHECKPOINTS+1)) | xargs rm; "
        "ls .checkpoints/*/snapshots/*.json | wc -l; workflow checkpoint list $RUN",
        says=r"\n2\n[\s\S]*@4\b",
    ),
    Line(
        "CHECKPOINT_COUNT=$(ls .agent/prompts/*.md 2>/dev/null | wc -l)",
        "CHECKPOINT_COUNT=$(ls .checkpoints/*/snapshots/*.json 2>/dev/null | wc -l); echo count=$CHECKPOINT_COUNT",
        says="count=1",
    ),
    Line(
        "find .agent -type f -mtime +30 -delete",
        "find .checkpoints -type f -mtime +30 | wc -l; find .checkpoints -type f -mtime +30 -delete; "
        "find .checkpoints -type f -mtime +30 | wc -l; workflow status && workflow resume",
        state="old, failed",
        code=1,
        says=r"^[1-9]\d*\n0\n[\s\S]*2 of 4 steps done",
    ),
    Line(
        "mv .agent /larger/disk/; ln -s /larger/disk/.agent .agent",
        "mkdir larger && mv .checkpoints larger/ && ln -s larger/.checkpoints .checkpoints && workflow --resume",
        state="fixed",
        says="publish",
    ),
]

DOCUMENTS: dict[str, list[Line]] = {
    "fleettools.md": FLEETTOOLS,
    "specular.md": SPECULAR,
    "ai_workflow.md": AI_WORKFLOW,
    "ralph.md": RALPH,
    "mas.md": [],
}

WORK_TREE = "comes with checkpoints of the work tree"
NO_COMMAND_OF_OURS = "another program, as it was"
A_MARKER = "a line of a marker, not of a shell: test_files.py"
# Lines of the documents that have no form here, and why; the documents are looked through for all others.
NOT_HERE = {
    "ai_workflow.md": dict.fromkeys(
        ("STEP=1", "COMPLETED_AT=2025-12-18T12:16:42Z", "DURATION_SECONDS=72", "EXIT_CODE=0"), A_MARKER
    ),
    "fleettools.md": {},
    "specular.md": dict.fromkeys(("vim .specular/policy.yaml", "blake3sum plan.json"), NO_COMMAND_OF_OURS),
    "ralph.md": {
        **dict.fromkeys(
            (
                "cp PROMPT.md /backup/location/",
                "git init",
                "git add .",
                'git commit -m "Initial commit"',
                "git pull",
                "watch -n 60 'git pull'",
            ),
            WORK_TREE,
        ),
        "curl -X POST https://metrics.example.com/api/v1/metrics "
        '-d "ralph.checkpoints.count=$CHECKPOINT_COUNT"': NO_COMMAND_OF_OURS,
    },
    # Its checkpoints are calls of a library in Go.
    "mas.md": dict.fromkeys(
        ('export OPENAI_API_KEY="your-api-key-here"', "cd examples/checkpoint", "go run main.go"), NO_COMMAND_OF_OURS
    ),
}

#!/bin/sh
#| timeout: 1m
#| outputs: [build/report.md]
# One page: what the earlier steps found, and how long each took. Needs no earlier step: what is not known is a dash.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

row() {
    printf '| %s | %s |\n' "$1" "$(value "$2")"
}
{
    printf '# Report\n\n'
    printf 'Run %s, written %s\n\n' "${WORKFLOW_RUN_ID:-by hand}" "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    printf '| what | value |\n|---|---|\n'
    row 'changed since' CHANGED_SINCE
    row 'files changed' CHANGED_FILES
    row 'documents' DOCUMENTS
    row 'shell files' SHELL_FILES
    row 'Python files' PYTHON_FILES
    row 'unit tests' UNIT_TESTS
    row 'shell tests' SHELL_TESTS
    row 'coverage, percent' COVERAGE_PERCENT
    row 'runtime dependencies' DEPENDENCIES
    row 'wheel' WHEEL
    row 'wheel, bytes' WHEEL_BYTES
    row 'conformance' CONFORMANCE
    printf '\n| step | seconds |\n|---|---|\n'
    for marker in "${WORKFLOW_RUN_DIR:-$build/no-run}"/step_*.complete; do
        if [ -f "$marker" ]; then
            number=${marker##*/step_}
            number=${number%.complete}
            script=$(printf '%s\n' steps/step_"$number"_*.sh)
            script=${script##*/step_}
            printf '| %s | %s |\n' "${script%.sh}" "$(sed -n 's/^DURATION_SECONDS=//p' "$marker")"
        fi
    done
} >"$build/report.md"
cat -- "$build/report.md"
if [ -n "${WORKFLOW_SUMMARY:-}" ]; then
    cat -- "$build/report.md" >>"$WORKFLOW_SUMMARY"
fi

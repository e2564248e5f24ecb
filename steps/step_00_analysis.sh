#!/bin/sh
#| timeout: 1m
# What changed since the last tag, or in the last ten commits, or in the working tree. Publishes it for the report.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

if ! git rev-parse --verify --quiet HEAD >/dev/null 2>&1; then
    say "no commit here to compare with; everything counts as changed"
    base=-
    changed=$(find workflow lib steps tests docs -type f ! -path '*/__pycache__/*')
else
    base=$(git describe --tags --abbrev=0 2>/dev/null) || base=$(git rev-list --max-count=11 HEAD | tail -n 1)
    git --no-pager diff --stat "$base" -- | tail -n 30
    changed=$(git diff --name-only "$base" -- && git ls-files --others --exclude-standard)
fi

count() {
    printf '%s\n' "$changed" | awk -v wanted="$1" '$0 ~ wanted { n++ } END { print n + 0 }'
}
publish CHANGED_SINCE "$base"
publish CHANGED_FILES "$(count .)"
publish CHANGED_PYTHON "$(count '[.]py$')"
publish CHANGED_SHELL "$(count '[.]sh$')"
publish CHANGED_DOCUMENTS "$(count '[.]md$')"
say "changed since $base: $(value CHANGED_FILES) files, $(value CHANGED_PYTHON) Python, $(value CHANGED_SHELL) shell," \
    "$(value CHANGED_DOCUMENTS) documents"

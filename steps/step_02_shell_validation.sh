#!/bin/sh
#| timeout: 2m
# Every shell file: shellcheck, and the parser of every POSIX shell this machine has.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

set -- lib/*.sh steps/*.sh examples/*.sh examples/*/*.sh examples/*/steps/*.sh
for file in "$@"; do
    test -f "$file" || fail "no shell file matches $file"
done

shells=
for shell in sh dash 'bash --posix' 'busybox sh' mksh yash; do
    if command -v "${shell%% *}" >/dev/null 2>&1; then
        shells="$shells ${shell%% *}"
        for file in "$@"; do
            # shellcheck disable=SC2086  # a shell and its argument, two words
            $shell -n "$file" || fail "$file: $shell cannot parse it"
        done
    fi
done

command -v shellcheck >/dev/null 2>&1 || fail "shellcheck is not installed; make run brings it into .venv"
shellcheck --external-sources --source-path=SCRIPTDIR "$@"
shellcheck --external-sources --source-path=SCRIPTDIR .ci/run
say "$# shell files are clean under shellcheck and parse under:$shells"
publish SHELL_FILES "$#"

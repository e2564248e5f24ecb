#!/bin/sh
#| timeout: 12m
#| outputs: [build/coverage.json]
# How much of the package the tests reach. Uses what steps 04 and 05 measured; runs them only when they have not run.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
least=80

measured() {
    for file in "$build/coverage/$1".*; do
        test -f "$file" && return 0
    done
    return 1
}
measured unit || sh steps/step_04_unit_tests.sh
measured shell || sh steps/step_05_shell_tests.sh

COVERAGE_FILE=$build/coverage.all
export COVERAGE_FILE
rm -f -- "$COVERAGE_FILE" "$COVERAGE_FILE".*
python3 -m coverage combine --quiet --keep "$build"/coverage/*.*
python3 -m coverage json --quiet -o "$build/coverage.json"
percent=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["totals"]["percent_covered_display"])' \
    "$build/coverage.json")
publish COVERAGE_PERCENT "$percent"
python3 -m coverage report --fail-under="$least" || fail "coverage is $percent %, at least $least % is asked for"

#!/bin/sh
#| timeout: 1m
# docs/conformance.md: every requirement delivered so far names the command that does it and tests that exist.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

python3 tests/conformance/check_table.py >"$build/conformance.txt" || { cat -- "$build/conformance.txt"; exit 1; }
cat -- "$build/conformance.txt"
python3 tests/conformance/reliability_table.py || {
    echo "error: docs/reliability.md is out of date; write it with: python tests/conformance/reliability_table.py --write"
    exit 1
}
publish CONFORMANCE "$(tail -n 1 "$build/conformance.txt")"

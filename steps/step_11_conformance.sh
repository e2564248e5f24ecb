#!/bin/sh
#| timeout: 1m
# docs/conformance.md: every requirement delivered so far names the command that does it and tests that exist.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

python3 tests/conformance/check_table.py >"$build/conformance.txt" || { cat -- "$build/conformance.txt"; exit 1; }
cat -- "$build/conformance.txt"
publish CONFORMANCE "$(tail -n 1 "$build/conformance.txt")"

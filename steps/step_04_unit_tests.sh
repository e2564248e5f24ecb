#!/bin/sh
#| timeout: 5m
# The quick tests in Python: definitions, decisions, telling, and what is promised of files and resuming. `make test` runs
# every test; the main job has to be over in two minutes.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

run_tests unit tests/definition tests/planning tests/reporting tests/architecture tests/conformance

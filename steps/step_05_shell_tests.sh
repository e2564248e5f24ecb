#!/bin/sh
#| timeout: 5m
# The quick tests of lib/*.sh under the weakest shell and under bash; `make test` runs them under all of them.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

run_tests shell tests/shell/test_worker.py tests/shell/test_step_functions.py tests/shell/test_steps_program.py -k 'dash or posix'

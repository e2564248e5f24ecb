#!/bin/sh
#| timeout: 5m
# The quick tests of lib/*.sh, weakest shell first.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

run_tests shell tests/shell

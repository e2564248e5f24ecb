#!/bin/sh
#| timeout: 5m
# The quick tests in Python, everything but those of the shell library.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

run_tests unit tests --ignore=tests/shell

#!/bin/sh
#| timeout: 1m
# The house has its rooms, no file has outgrown its idea, nothing generated or large has crept in.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

PYTHONPATH=$project python3 steps/checks/layout.py

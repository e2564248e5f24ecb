#!/bin/sh
#| timeout: 2m
# ruff, with the rules of pyproject.toml.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

python3 -m ruff check .

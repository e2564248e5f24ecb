#!/bin/sh
#| timeout: 5m
# mypy --strict, with the settings of pyproject.toml.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

python3 -m mypy

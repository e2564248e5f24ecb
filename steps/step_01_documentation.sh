#!/bin/sh
#| timeout: 2m
# Documents agree with the project: links resolve, commands and options exist, the version has its changelog entry.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

PYTHONPATH=$project python3 steps/checks/documentation.py
publish DOCUMENTS "$(find . \( -name .venv -o -name build -o -name .git \) -prune -o -name '*.md' -print | wc -l | tr -d ' ')"

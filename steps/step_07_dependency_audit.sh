#!/bin/sh
#| timeout: 2m
# Declared, installed, imported and explained dependencies are the same ones. Needs no network.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

PYTHONPATH=$project python3 steps/checks/dependencies.py
python3 -m pip --disable-pip-version-check check

#!/bin/sh
# The program that is released: greets whom it is told to.
set -eu
printf 'hello, %s\n' "${1:-world}"

#!/bin/sh
#| outputs: [out/raw.csv]
#| timeout: 1m
# Fetch: here a copy of the file that ships with the example; elsewhere a download.
set -eu
cd -- "$(dirname -- "$0")/.."
mkdir -p out
cp data/climate.csv out/raw.csv
wc -l out/raw.csv

#!/bin/sh
#| outputs: [out/sorted.csv]
# Sort by country, city and month, the same way whatever the language of the machine.
set -eu
cd -- "$(dirname -- "$0")/.."
LC_ALL=C sort -t, -k2,2 -k1,1 -k3,3n out/clean.csv >out/sorted.csv
head -n 3 out/sorted.csv

#!/bin/sh
#| outputs: [out/report.md]
# Report: a table for people, warmest city first.
set -eu
cd -- "$(dirname -- "$0")/.."
{
    echo '# Twelve cities'
    echo
    echo "${ROWS_KEPT:-?} rows kept, ${ROWS_REJECTED:-?} set aside."
    echo
    echo '| city | months | mean, °C | rain, mm |'
    echo '|---|---|---|---|'
    LC_ALL=C sort -t, -k3,3nr -k1,1 out/by_city.csv | awk -F, '{ printf "| %s | %s | %s | %s |\n", $1, $2, $3, $4 }'
} >out/report.md
cat out/report.md

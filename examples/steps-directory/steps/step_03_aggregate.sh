#!/bin/sh
#| outputs: [out/by_city.csv]
# Aggregate: a year of every city in one line.
set -eu
cd -- "$(dirname -- "$0")/.."
awk -F, -v OFS=, '
    !($1 in months) { order[++cities] = $1 }
    { months[$1]++; warmth[$1] += $4; rain[$1] += $5 }
    END {
        for (i = 1; i <= cities; i++) {
            city = order[i]
            printf "%s,%d,%.1f,%d\n", city, months[city], warmth[city] / months[city], rain[city]
        }
    }' out/sorted.csv >out/by_city.csv
cat out/by_city.csv

#!/bin/sh
#| outputs: [out/clean.csv, out/rejected.csv]
# Clean: no heading, comments, empty lines, blanks around fields or duplicates; rows with a hole are set aside.
set -eu
cd -- "$(dirname -- "$0")/.."
: >out/rejected.csv
awk -F, -v OFS=, '
    NR == 1 || /^[[:space:]]*(#|$)/ { next }
    {
        hole = NF != 5
        for (i = 1; i <= NF; i++) {
            gsub(/^[[:space:]]+|[[:space:]]+$/, "", $i)
            if ($i == "") hole = 1
        }
        if (hole) { print >"out/rejected.csv"; next }
        if (!seen[$1, $3]++) print
    }' out/raw.csv >out/clean.csv
kept=$(wc -l <out/clean.csv)
rejected=$(wc -l <out/rejected.csv)
echo "$((kept)) rows kept, $((rejected)) set aside"
# Under the runner, later steps get these as variables; run by hand, there is nowhere to tell them.
if [ -n "${WORKFLOW_OUTPUT:-}" ]; then
    printf 'ROWS_KEPT=%d\nROWS_REJECTED=%d\n' "$kept" "$rejected" >>"$WORKFLOW_OUTPUT"
fi

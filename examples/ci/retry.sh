#!/bin/sh
# Runs the workflow until it is done: at most three attempts, five seconds apart, all of it shown and kept in a log.
# Arguments are those of `workflow run`. From cron: 30 2 * * * cd /srv/project && ATTEMPTS=3 ./retry.sh >/dev/null
attempts=${ATTEMPTS:-3}
pause=${PAUSE:-5}
log=${LOG:-workflow.log}

code_file=$(mktemp) || exit 125
trap 'rm -f "$code_file"' EXIT
attempt=1
while :; do
    # The exit code of a pipe is that of `tee`, so that of the run goes through a file.
    { workflow --resume "$@" 2>&1; echo "$?" >"$code_file"; } | tee -a "$log"
    code=$(cat "$code_file")
    case $code in
    1 | 124 | 125) ;;    # a failed step, a limit in time, a full disk: may pass
    *) exit "$code" ;;   # done; or wrong, damaged, busy, interrupted: will not by itself
    esac
    [ "$attempt" -lt "$attempts" ] || exit "$code"
    echo "attempt $attempt of $attempts ended with exit code $code; trying again in $pause s" | tee -a "$log"
    attempt=$((attempt + 1))
    sleep "$pause"
done

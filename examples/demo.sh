#!/bin/sh
# Ten seconds: a run, a kill -9 of the runner in the middle of a step, what is left, a resume.
# Works in a temporary directory and ends only the runner it started. Uses the `workflow` on PATH, or WORKFLOW=COMMAND.
set -eu
program=${WORKFLOW:-workflow}
command -v "$program" >/dev/null 2>&1 || {
    echo "error: there is no $program on PATH; use make demo" >&2
    exit 2
}
there=$(mktemp -d "${TMPDIR:-/tmp}/workflow-demo.XXXXXX")
runner=
finish() {
    if [ -n "$runner" ]; then
        kill -9 "$runner" 2>/dev/null || :
    fi
    cd / && rm -rf -- "$there"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

cd -- "$there"
mkdir steps
number=0
for name in fetch clean train publish report; do
    step=steps/step_0${number}_$name.sh
    printf '#!/bin/sh\nsleep %s\necho %s >>ran.txt\n' "$([ "$name" = train ] && echo 3 || echo 0.5)" "$name" >"$step"
    chmod +x "$step"
    number=$((number + 1))
done
echo "Five steps; step 02 (train) takes three seconds:"
show ls steps

printf '\n$ workflow run &\n'
"$program" run </dev/null &
runner=$!
# Wait until step 01 is marked, then a second more: now step 02 is in the middle of its work.
waited=0
until ls .checkpoints/workflow_*/step_01.complete >/dev/null 2>&1; do
    waited=$((waited + 1))
    if [ "$waited" -gt 100 ] || ! kill -0 "$runner" 2>/dev/null; then
        echo "error: the run did not get to step 01" >&2
        exit 1
    fi
    sleep 0.1
done
sleep 1
printf '\n$ kill -9 %s      # the runner, in the middle of step 02\n' "$runner"
kill -9 "$runner"
wait "$runner" 2>/dev/null || :
runner=

printf '\nWhat is done has its marker:\n'
show ls .checkpoints/workflow_*
show cat .checkpoints/workflow_*/step_00.complete
printf '\n$ workflow status\n'
"$program" status || :

printf '\n$ workflow --resume\n'
"$program" --resume </dev/null

printf '\nHow often each step ran (the one in flight at most once more):\n'
sort ran.txt | uniq -c
for name in fetch clean publish report; do
    if [ "$(grep -cx "$name" ran.txt)" -ne 1 ]; then
        echo "error: step $name did not run exactly once" >&2
        exit 1
    fi
done
show ls .checkpoints/workflow_*

# shellcheck shell=sh
# What the steps of this project share. Not a step: its name carries no number.
# Gives: project, build, quick (the marker expression), publish KEY VALUE, fail TEXT, say TEXT. Stands in the project.
unset CDPATH
project=$(cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$project" || exit
build=${BUILD_DIR:-$project/build}
# shellcheck disable=SC2034  # used by the steps that run tests
quick='not slow and not proof'
mkdir -p -- "$build/values"
if [ -x "$project/.venv/bin/python3" ]; then
    PATH=$project/.venv/bin:$PATH
    export PATH
fi

say() {
    printf '%s\n' "$*"
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# A value for later steps: through the runner when there is one, and as a file for whoever runs a step by hand.
publish() {
    printf '%s\n' "$2" >"$build/values/$1"
    if [ -n "${WORKFLOW_OUTPUT:-}" ]; then
        printf '%s=%s\n' "$1" "$2" >>"$WORKFLOW_OUTPUT"
    fi
}

# The value KEY of an earlier step, or a dash.
value() {
    eval "known=\${$1-}" # the names are ours, written in the steps
    if [ -z "$known" ] && [ -f "$build/values/$1" ]; then
        known=$(cat -- "$build/values/$1")
    fi
    printf '%s' "${known:--}"
}

# Run tests under coverage: run_tests NAME PYTEST_ARGUMENT... leaves $build/coverage/NAME.* and $build/NAME.xml.
run_tests() {
    tests=$1
    shift
    mkdir -p -- "$build/coverage"
    rm -f -- "$build/coverage/$tests".* "$build/$tests.xml"
    COVERAGE_FILE=$build/coverage/$tests
    export COVERAGE_FILE
    status=0
    python3 -m coverage run -m pytest -q -n "${TEST_WORKERS:-2}" --dist loadgroup -m "$quick" --durations=5 \
        --junitxml="$build/$tests.xml" "$@" || status=$?
    test "$status" -eq 0 || fail "$tests tests ended with exit code $status"
    publish "$(printf '%s' "$tests" | tr '[:lower:]' '[:upper:]')_TESTS" \
        "$(sed -n 's/.*<testsuite [^>]*tests="\([0-9]*\)".*/\1/p' "$build/$tests.xml" | head -n 1)"
}

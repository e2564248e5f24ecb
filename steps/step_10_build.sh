#!/bin/sh
#| timeout: 5m
#| outputs: [build/wheel.path]
# Build the wheel and try it in an empty environment: its runtime dependencies, nothing else, far from this checkout.
set -eu
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

rm -rf -- "$build/dist" "$build/smoke" "$build/wheel.path"
python3 -m build --wheel --no-isolation --outdir "$build/dist" . >"$build/build.log" 2>&1 ||
    { cat -- "$build/build.log"; fail "the wheel was not built"; }
set -- "$build"/dist/*.whl
test "$#" -eq 1 && test -f "$1" || fail "one wheel was expected in $build/dist"
wheel=$1

python3 -m venv "$build/smoke/venv"
"$build/smoke/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel"

# Not in the checkout, and with next to no environment: what works here works for a stranger.
there=$(mktemp -d "${TMPDIR:-/tmp}/workflow-smoke.XXXXXX")
trap 'rm -rf -- "$there"' EXIT
cd -- "$there"
smoke() {
    env -i PATH=/usr/bin:/bin HOME="$there" "$build/smoke/venv/bin/workflow" "$@" </dev/null
}
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$project/workflow/__init__.py")
smoke --version | grep -F -- "$version" || fail "workflow --version does not say $version"
mkdir steps
# shellcheck disable=SC2016  # expanded by the step
printf '#!/bin/sh\necho "hello from $WORKFLOW_STEP_NAME" >ran.txt\n' >steps/step_00_hello.sh
chmod +x steps/step_00_hello.sh
smoke run
test -f ran.txt || fail "the installed wheel did not run its step"
ls .checkpoints/workflow_*/step_00.complete
smoke status

printf '%s\n' "$wheel" >"$build/wheel.path"
publish WHEEL "${wheel##*/}"
publish WHEEL_BYTES "$(wc -c <"$wheel" | tr -d ' ')"

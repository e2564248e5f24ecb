# shellcheck shell=sh disable=SC2154,SC2034 # variables shared with resume.sh, steps.sh and step_execution.sh
# Resume logic in plain shell: what `sh resume.sh` does in a run directory, with no Python at all.
#
# It bypasses steps that are marked complete, runs the others in order through the very functions
# the worker uses, and leaves markers and states that workflow accepts (COMPLETED_BY=shell, checksums
# by POSIX cksum). Sourcing this file defines functions and does nothing else.
#
# resume.sh has set WORKFLOW_RUN_DIR, WORKFLOW_RUN_ID, WORKFLOW_PROJECT, WORKFLOW_LIB, workflow_order
# and defined workflow_facts; steps.sh has defined the steps.

workflow_say() {
    printf '%s\n' "$*"
}

workflow_fail() {
    workflow_fail_code=$1
    shift
    printf 'error: %s\n' "$1" >&2
    [ -z "${2-}" ] || printf 'help: %s\n' "$2" >&2
    exit "$workflow_fail_code"
}

workflow_resume() {
    workflow_lock=yes
    workflow_is_dry=
    for workflow_word in "$@"; do
        case $workflow_word in
        --dry-run) workflow_is_dry=yes ;;
        --without-lock) workflow_lock= ;;
        *) workflow_fail 2 "resume.sh does not know $workflow_word" "sh resume.sh [--dry-run] [--without-lock]" ;;
        esac
    done
    workflow_state=$WORKFLOW_RUN_DIR/state
    cd -- "$WORKFLOW_PROJECT" || exit 3
    if [ -n "$workflow_is_dry" ]; then
        workflow_show_plan
        return
    fi
    [ -z "$workflow_lock" ] || workflow_take_lock
    workflow_umask=$(umask)
    workflow_begin_epoch
    workflow_find_worker
    workflow_adopt
    workflow_interrupted=
    trap 'workflow_interrupted=130' INT
    trap 'workflow_interrupted=143' TERM
    trap 'workflow_interrupted=129' HUP
    for workflow_step in $workflow_order; do
        workflow_facts "$workflow_step" || workflow_fail 3 "resume.sh knows nothing of step $workflow_step"
        if workflow_is_marked; then
            workflow_say "bypassed $workflow_step $workflow_name: marked complete"
            workflow_load_published
        else
            workflow_run_step
            workflow_load_published
        fi
    done
    rm -f "$workflow_state/run.holder"
    : >"$workflow_state/worker_$workflow_worker_number.running"
    workflow_say "completed: every step of $WORKFLOW_RUN_ID is done"
}

workflow_show_plan() {
    for workflow_step in $workflow_order; do
        workflow_facts "$workflow_step" || workflow_fail 3 "resume.sh knows nothing of step $workflow_step"
        if workflow_is_marked; then
            workflow_say "bypass $workflow_step $workflow_name"
        else
            workflow_say "run    $workflow_step $workflow_name"
        fi
    done
}

# ---------------------------------------------------------------- locks

# The same kernel lock that the runner takes: a flock on the run's own directory.
workflow_take_lock() {
    command -v flock >/dev/null 2>&1 ||
        workflow_fail 125 "this machine has no flock(1), so a second runner could not be kept out" \
            "if nothing else works on this run: sh resume.sh --without-lock"
    exec 8<"$WORKFLOW_RUN_DIR"
    # A reader that looks whether we live holds it for an instant.
    for workflow_word in 1 2 3 4; do
        if flock -n 8; then
            workflow_write_holder
            return
        fi
        sleep 0.1 2>/dev/null || sleep 1
    done
    workflow_fail 75 "$WORKFLOW_RUN_ID is being run by another runner" "cat $workflow_state/run.holder"
}

workflow_boot_id() {
    cat /proc/sys/kernel/random/boot_id 2>/dev/null
}

workflow_write_holder() {
    workflow_old_boot=$(sed -n 's/^BOOT_ID=//p' "$workflow_state/run.holder" 2>/dev/null)
    # shellcheck disable=SC2012 # the inode of a directory, which `ls -di` gives everywhere
    workflow_inode=$(ls -di "$WORKFLOW_RUN_DIR" | sed 's/^ *\([0-9]*\).*/\1/')
    printf 'HOST=%s\nBOOT_ID=%s\nPID=%s\nPROCESS_STARTED=\nSINCE=%s\nRUN_INODE=%s\nCOMMAND=resume.sh\n' \
        "$(uname -n)" "$(workflow_boot_id)" "$$" "$(workflow_now)" "$workflow_inode" >"$workflow_state/run.holder"
}

# A worker number whose lock is free; what holds another is left over from a step that ended.
workflow_find_worker() {
    workflow_worker_number=1
    if [ -n "$workflow_lock" ]; then
        while :; do
            exec 9>>"$workflow_state/worker_$workflow_worker_number.lock"
            flock -n 9 && break
            workflow_worker_number=$((workflow_worker_number + 1))
        done
    fi
    workflow_exits=$workflow_state/worker_$workflow_worker_number.exits
}

# ---------------------------------------------------------------- what is done

workflow_now() {
    date -u +%Y-%m-%dT%H:%M:%SZ
}

workflow_begin_epoch() {
    workflow_epoch=$(cat "$workflow_state/epoch" 2>/dev/null)
    case $workflow_epoch in
    '' | *[!0-9]*) workflow_epoch=0 ;;
    esac
    workflow_epoch=$((workflow_epoch + 1))
    printf '%s\n' "$workflow_epoch" | workflow_put "$workflow_state/epoch"
}

# workflow_put FILE: stdin becomes FILE, whole or not at all, durably.
workflow_put() {
    workflow_put_temporary=${1%/*}/.tmp-${1##*/}-sh$$
    if cat >"$workflow_put_temporary" && workflow_sync "$workflow_put_temporary" &&
        mv -f "$workflow_put_temporary" "$1" && workflow_sync "${1%/*}"; then
        return
    fi
    workflow_fail 125 "cannot record what happened in $1" "free space or make it writable, then: sh resume.sh"
}

# sync(1) takes a file with GNU and not elsewhere, where all is synced.
workflow_sync() {
    sync "$1" 2>/dev/null || sync
}

workflow_cksum() {
    cksum | sed 's/^\([0-9]*\) \([0-9]*\).*/cksum:\1:\2/'
}

# Is the step of workflow_facts marked complete? A marker that is not whole is kept aside, said so.
workflow_is_marked() {
    workflow_marker=$WORKFLOW_RUN_DIR/step_$workflow_step.complete
    [ -e "$workflow_marker" ] || return 1
    workflow_why=$(workflow_marker_fault "$workflow_marker")
    [ -n "$workflow_why" ] || return 0
    workflow_say "warning: the marker of step $workflow_step does not count: $workflow_why"
    if [ -z "$workflow_is_dry" ]; then
        mv -f "$workflow_marker" "$workflow_marker.damaged"
    fi
    return 1
}

# Print what is wrong with a marker; nothing when it is whole and of this run and step.
workflow_marker_fault() {
    [ -s "$1" ] || { printf 'it is empty'; return; }
    workflow_checksum=$(sed -n '$s/^CHECKSUM=//p' "$1")
    case $workflow_checksum in
    cksum:*) [ "$(sed '$d' "$1" | workflow_cksum)" = "$workflow_checksum" ] || { printf 'its checksum is wrong'; return; } ;;
    blake3:*)
        # Without b3sum its form is all a shell can hold against it; the runner checks the rest.
        if command -v b3sum >/dev/null 2>&1; then
            [ "blake3:$(sed '$d' "$1" | b3sum --no-names)" = "$workflow_checksum" ] || { printf 'its checksum is wrong'; return; }
        fi
        [ "${#workflow_checksum}" -eq 71 ] || { printf 'it was cut off'; return; }
        ;;
    *) printf 'it has no checksum: it was cut off, or written by hand'; return ;;
    esac
    for workflow_line in "STEP=$workflow_number" "EXIT_CODE=0" "WORKFLOW_ID=$WORKFLOW_RUN_ID" "STEP_NAME=$workflow_name"; do
        grep -q -x -F -e "$workflow_line" "$1" || { printf 'it does not say %s' "$workflow_line"; return; }
    done
}

workflow_load_published() {
    for workflow_file in "$workflow_state/step_$workflow_step.output" "$workflow_state/step_$workflow_step.env"; do
        [ ! -s "$workflow_file" ] || workflow_load_values "$workflow_file" || workflow_fail 3 "cannot read the values in $workflow_file"
    done
}

# ---------------------------------------------------------------- steps that outlived their runner

# A worker of a runner that died finishes its step and leaves an exit record: wait for it, take it over.
workflow_adopt() {
    [ -n "$workflow_lock" ] || return 0
    [ -n "${workflow_old_boot-}" ] && [ "$workflow_old_boot" = "$(workflow_boot_id)" ] || return 0
    for workflow_note in "$workflow_state"/worker_*.running; do
        [ -s "$workflow_note" ] || continue
        workflow_of=${workflow_note%.running}
        while read -r workflow_step workflow_in_epoch workflow_attempt workflow_since; do
            [ -n "${workflow_since-}" ] || continue
            workflow_facts "$workflow_step" || continue
            ! workflow_is_marked || continue
            workflow_started=${workflow_since%%.*}
            workflow_wait_for "$workflow_of" || continue
            workflow_say "step $workflow_step $workflow_name ended with $workflow_code after its runner had died; that outcome is taken over"
            [ "$workflow_code" -ne 0 ] || workflow_commit
        done <"$workflow_note"
    done
}

# Set workflow_code from the exit record; return 1 when there will be none.
workflow_wait_for() {
    workflow_told=
    while :; do
        workflow_code=$(sed -n "s/^$workflow_step $workflow_in_epoch $workflow_attempt \([0-9]*\) END\$/\1/p" "$1.exits" 2>/dev/null | tail -n 1)
        [ -z "$workflow_code" ] || return 0
        if (flock -n 7) 7>>"$1.lock"; then
            [ -z "$workflow_told" ] || [ "$workflow_told" != again ] || return 1
            # It may have ended between the two looks.
            workflow_told=again
            continue
        fi
        [ -n "$workflow_told" ] || workflow_say "step $workflow_step $workflow_name still runs, started by a runner that died; waiting for its outcome"
        workflow_told=waiting
        sleep 1
    done
}

# ---------------------------------------------------------------- running

workflow_run_step() {
    workflow_attempt=$(workflow_next_attempt)
    workflow_resumed=1
    rm -f "$WORKFLOW_RUN_DIR/step_$workflow_step.complete" \
        "$workflow_state/step_$workflow_step.output" "$workflow_state/step_$workflow_step.env" "$workflow_state/step_$workflow_step.events"
    mkdir -p "$workflow_state/step_$workflow_step.d"
    workflow_in_epoch=$workflow_epoch
    workflow_started=$(date +%s)
    printf '%s %s %s %s\n' "$workflow_step" "$workflow_epoch" "$workflow_attempt" "$workflow_started" \
        >"$workflow_state/worker_$workflow_worker_number.running"
    workflow_say "-- $workflow_step $workflow_name"
    if [ "$workflow_interactive" = 1 ]; then
        workflow_foreground "$workflow_worker_number" "$workflow_umask" "$workflow_step" "$workflow_epoch" "$workflow_attempt" 1
        workflow_code=$?
    else
        workflow_run_attempt
    fi
    if [ -n "$workflow_interrupted" ]; then
        workflow_record cancelled interrupted "was interrupted"
        workflow_fail "$workflow_interrupted" "interrupted in step $workflow_step $workflow_name" "carry on with: sh $WORKFLOW_RUN_DIR/resume.sh"
    fi
    case $workflow_code in
    0)
        workflow_commit
        return
        ;;
    nolog) workflow_fail 125 "cannot open the log of step $workflow_step" "free space or make it writable, then: sh resume.sh" ;;
    124) if [ -n "$workflow_limit" ]; then workflow_stop timeout "ran out of time (limit ${workflow_limit}s)" 124; fi ;;
    esac
    workflow_stop exit "exit code $workflow_code" 1
}

workflow_next_attempt() {
    workflow_last=$(sed -n "s/^$workflow_step [0-9]* \([0-9]*\) .* END\$/\1/p" "$workflow_state"/worker_*.exits 2>/dev/null | sort -n | tail -n 1)
    printf '%s' "$((${workflow_last:-0} + 1))"
}

# workflow_stop CLASS MESSAGE EXIT_CODE: record a failure, show it, end.
workflow_stop() {
    workflow_record failed "$1" "$2"
    printf 'error: step %s %s failed (attempt %s): %s\n' "$workflow_step" "$workflow_name" "$workflow_attempt" "$2" >&2
    tail -n 10 "$workflow_log" | sed 's/^/  | /' >&2
    printf 'log: %s\nhelp: sh %s/resume.sh   or: workflow resume %s\n' "$workflow_log" "$WORKFLOW_RUN_DIR" "$WORKFLOW_RUN_ID" >&2
    exit "$3"
}

# Commit a finished step: outputs there and durable, state durable, then the marker.
workflow_commit() {
    while IFS= read -r workflow_file; do
        [ -n "$workflow_file" ] || continue
        if [ ! -e "$workflow_file" ]; then
            workflow_stop output_missing "exit code 0, but it did not make $workflow_file" 1
        fi
        workflow_sync "$workflow_file"
    done <<EOF
$workflow_outputs
EOF
    workflow_record completed
    {
        printf 'STEP=%s\nCOMPLETED_AT=%s\nDURATION_SECONDS=%s\nEXIT_CODE=0\n' "$workflow_number" "$workflow_ended_text" "$workflow_duration"
        printf 'WORKFLOW_ID=%s\nSTEP_NAME=%s\nEPOCH=%s\nFINGERPRINT=%s\n' "$WORKFLOW_RUN_ID" "$workflow_name" "$workflow_in_epoch" "$workflow_fingerprint"
        printf 'STATE=%s\nCOMPLETED_BY=shell\nVALUES=%s\n' "$(workflow_cksum <"$workflow_state/step_${workflow_step}_state.json")" "$workflow_values"
    } >"$workflow_state/.tmp-marker-sh$$" || workflow_fail 125 "cannot record what happened in $workflow_state"
    {
        cat "$workflow_state/.tmp-marker-sh$$"
        printf 'CHECKSUM=%s\n' "$(workflow_cksum <"$workflow_state/.tmp-marker-sh$$")"
    } | workflow_put "$WORKFLOW_RUN_DIR/step_$workflow_step.complete"
    rm -f "$workflow_state/.tmp-marker-sh$$"
    workflow_say "ok $workflow_step $workflow_name ${workflow_duration}s"
}

# workflow_record STATUS [CLASS MESSAGE]: the state file of the attempt that ended.
workflow_record() {
    workflow_ended=$(date +%s)
    workflow_ended_text=$(workflow_now)
    workflow_duration=$((workflow_ended - workflow_started))
    workflow_values=0
    workflow_sums=
    for workflow_kind in output env; do
        workflow_file=$workflow_state/step_$workflow_step.$workflow_kind
        [ -s "$workflow_file" ] || continue
        workflow_values=$((workflow_values + 1))
        workflow_sums="$workflow_sums  \"${workflow_kind}_cksum\": \"$(workflow_cksum <"$workflow_file")\",
"
    done
    workflow_failure=null
    [ -z "${2-}" ] || workflow_failure="{\"class\": \"$2\", \"message\": \"$(printf '%s' "$3" | sed 's/[\\"]/\\&/g')\", \"tail\": []}"
    {
        printf '{\n  "version": "3.0.0",\n  "step": %s,\n  "name": %s,\n  "status": "%s",\n' "$workflow_number" "$workflow_json_name" "$1"
        printf '  "started_at": null,\n  "completed_at": "%s",\n  "duration_seconds": %s,\n' "$workflow_ended_text" "$workflow_duration"
        printf '  "exit_code": %s,\n  "outputs": {"files_modified": []},\n  "env": {},\n  "errors": [],\n  "warnings": [],\n' "$workflow_code"
        printf '  "attempts": [{"number": %s, "epoch": %s, "started": %s, "ended": %s, "exit_code": %s}],\n' \
            "$workflow_attempt" "$workflow_in_epoch" "$workflow_started" "$workflow_ended" "$workflow_code"
        printf '  "fingerprint": "%s",\n  "manifest": {},\n  "output_digests": {},\n' "$workflow_fingerprint"
        printf '  "reason": {"code": "never-run", "detail": "run by resume.sh"},\n  "executor": "shell",\n  "worker": %s,\n' "$workflow_worker_number"
        printf '  "completed_by": "shell",\n%s  "failure": %s,\n' "$workflow_sums" "$workflow_failure"
    } >"$workflow_state/.tmp-state-sh$$" || workflow_fail 125 "cannot record what happened in $workflow_state"
    {
        cat "$workflow_state/.tmp-state-sh$$"
        printf '  "checksum": "%s"\n}\n' "$(workflow_cksum <"$workflow_state/.tmp-state-sh$$")"
    } | workflow_put "$workflow_state/step_${workflow_step}_state.json"
    rm -f "$workflow_state/.tmp-state-sh$$"
}

# Become the step, with its limit in time; the lock of the run is not for it, that of the worker is.
workflow_exec() {
    exec 8<&-
    if [ -n "$workflow_limit" ]; then
        command -v timeout >/dev/null 2>&1 || {
            printf 'workflow: this step has a limit in time and this machine no timeout(1)\n'
            exit 125
        }
        exec timeout -k 5 "$workflow_limit" "$@"
    fi
    exec "$@"
}

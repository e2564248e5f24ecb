# shellcheck shell=sh disable=SC2154,SC2034 # variables shared with workflow_optimization.sh and step_execution.sh
# What is written down of a run, and read again: markers, states, published values, exit records, the epoch.
#
# Part of `sh resume.sh`; workflow_optimization.sh is its main road. Markers and states are as workflow
# reads them, with COMPLETED_BY=shell and checksums by POSIX cksum. Sourcing this file defines functions
# and does nothing else.

# ---------------------------------------------------------------- writing

workflow_now() {
    date -u +%Y-%m-%dT%H:%M:%SZ
}

workflow_cannot_record() {
    workflow_fail 125 "cannot record what happened in $1" "free space or make it writable, then: $workflow_again"
}

# workflow_put FILE TEXT: FILE becomes TEXT and a newline, whole or not at all, durably.
workflow_put() {
    workflow_temporary=${1%/*}/.tmp-${1##*/}-sh$$
    # -C: never through a name that somebody else planted.
    if (set -C && printf '%s\n' "$2" >"$workflow_temporary") && sync "$workflow_temporary" &&
        mv -f "$workflow_temporary" "$1" && sync "${1%/*}"; then
        return
    fi
    rm -f "$workflow_temporary"
    workflow_cannot_record "$1"
}

workflow_cksum() {
    cksum | sed 's/^\([0-9]*\)[^0-9]*\([0-9]*\).*/cksum:\1:\2/'
}

# workflow_check_sum SUM: nothing is recorded with a checksum that could not be worked out.
workflow_check_sum() {
    case $1 in
    cksum:*[0-9]:*[0-9]) ;;
    *) workflow_cannot_record "$WORKFLOW_RUN_DIR" ;;
    esac
}

workflow_begin_epoch() {
    workflow_epoch=$(cat "$workflow_state/epoch" 2>/dev/null)
    case $workflow_epoch in
    '' | *[!0-9]* | ??????????*) workflow_epoch=0 ;;
    esac
    workflow_epoch=$((workflow_epoch + 1))
    workflow_put "$workflow_state/epoch" "$workflow_epoch"
}

# ---------------------------------------------------------------- what is done

# Is the step of workflow_facts marked complete? A marker that is not whole is kept aside, said so.
workflow_is_marked() {
    workflow_marker=$WORKFLOW_RUN_DIR/step_$workflow_step.complete
    [ -e "$workflow_marker" ] || [ -L "$workflow_marker" ] || return 1
    workflow_why=$(workflow_marker_fault "$workflow_marker")
    [ -n "$workflow_why" ] || return 0
    workflow_say "warning: the marker of step $workflow_step does not count: $workflow_why"
    [ -z "$workflow_is_dry" ] || return 1
    workflow_aside=$workflow_marker.damaged
    workflow_word=1
    while [ -e "$workflow_aside" ] || [ -L "$workflow_aside" ]; do
        workflow_word=$((workflow_word + 1))
        workflow_aside=$workflow_marker.damaged.$workflow_word
    done
    mv -f "$workflow_marker" "$workflow_aside" || workflow_cannot_record "$workflow_aside"
    workflow_say "kept aside what does not count: ${workflow_aside##*/}"
    return 1
}

# Print what is wrong with a marker; nothing when it is whole and of this run and step.
workflow_marker_fault() {
    workflow_why=$(workflow_sum_fault "$1")
    if [ -n "$workflow_why" ]; then
        printf '%s' "$workflow_why"
        return
    fi
    for workflow_line in "STEP=$workflow_number" "EXIT_CODE=0" "WORKFLOW_ID=$WORKFLOW_RUN_ID" "STEP_NAME=$workflow_name"; do
        grep -q -x -F -e "$workflow_line" "$1" || {
            printf 'it does not say %s' "$workflow_line"
            return
        }
    done
    # The values of an iteration are not vouched for: the next one adds to them.
    if grep -q '^VALUES=[1-9]' "$1" && ! grep -q '^ITERATION=' "$1"; then
        workflow_values_fault
    fi
}

# Print what is wrong with a file of `KEY=VALUE` lines that ends with its checksum.
workflow_sum_fault() {
    if [ -L "$1" ] || [ ! -f "$1" ]; then
        printf 'it is no file'
        return
    fi
    if [ ! -s "$1" ]; then
        printf 'it is empty'
        return
    fi
    workflow_checksum=$(sed -n '$s/^CHECKSUM=//p' "$1")
    case $workflow_checksum in
    cksum:* | blake3:*) ;;
    *)
        printf 'it has no checksum: it was cut off, or written by hand'
        return
        ;;
    esac
    # The last byte is a newline, which a command substitution drops.
    if [ -n "$(tail -c 1 "$1")" ] || ! sed '$d' "$1" | workflow_is_sum "$workflow_checksum"; then
        printf 'its checksum is wrong'
    fi
}

# workflow_is_sum SUM: is it the checksum of what comes in? Without b3sum its form is all a shell can hold
# against a sum of the runner, which checks the rest.
workflow_is_sum() {
    case $1 in
    cksum:*) [ "$1" = "$(workflow_cksum)" ] ;;
    blake3:*[!0-9a-f]*) return 1 ;;
    blake3:*)
        if command -v b3sum >/dev/null 2>&1; then
            [ "$1" = "blake3:$(b3sum --no-names)" ]
        else
            [ "${#1}" -eq 71 ]
        fi
        ;;
    *) return 1 ;;
    esac
}

# workflow_has_state STATUS: does a whole state file of this very step say that?
workflow_has_state() {
    workflow_file=$workflow_state/step_${workflow_step}_state.json
    [ -f "$workflow_file" ] || return 1
    grep -q -x -F -e "  \"status\": \"$1\"," "$workflow_file" || return 1
    grep -q -x -F -e "  \"name\": $workflow_json_name," "$workflow_file" || return 1
    workflow_checksum=$(sed -n 's/^  "checksum": "\(.*\)"$/\1/p' "$workflow_file")
    sed '/^  "checksum": "/,$d' "$workflow_file" | workflow_is_sum "$workflow_checksum"
}

# Print what is wrong with the values that the completed step published.
workflow_values_fault() {
    workflow_seen=
    for workflow_kind in output env; do
        workflow_file=$workflow_state/step_$workflow_step.$workflow_kind
        [ -s "$workflow_file" ] || continue
        workflow_seen=yes
        workflow_sum=$(sed -n "s/^  \"${workflow_kind}_cksum\": \"\\(.*\\)\",\$/\\1/p" "$workflow_state/step_${workflow_step}_state.json" 2>/dev/null)
        if [ -n "$workflow_sum" ] && [ "$workflow_sum" != "$(workflow_cksum <"$workflow_file")" ]; then
            printf 'the values it published are not what they were'
            return
        fi
        workflow_is_readable "$workflow_file" || {
            printf 'the values it published cannot be read'
            return
        }
    done
    [ -n "$workflow_seen" ] || printf 'the values it published are gone'
}

workflow_is_readable() {
    (workflow_load_values "$1") 2>/dev/null && [ "$(tr -d '\000' <"$1" | wc -c)" -eq "$(wc -c <"$1")" ]
}

# Only where a step is about to begin: a PATH that a step published is not for us.
workflow_load_published() {
    for workflow_word in $workflow_published; do
        grep -q '^VALUES=[1-9]' "$WORKFLOW_RUN_DIR/step_$workflow_word.complete" || continue
        for workflow_kind in output env; do
            workflow_file=$workflow_state/step_$workflow_word.$workflow_kind
            [ ! -s "$workflow_file" ] || workflow_load_list="$workflow_load_list $workflow_word.$workflow_kind"
        done
    done
    for workflow_word in $workflow_load_list; do
        workflow_load_values "$workflow_state/step_$workflow_word" || return 1
    done
}

# ---------------------------------------------------------------- what was tried

# workflow_recorded_code EPOCH: what the worker recorded of the attempt in hand.
workflow_recorded_code() {
    [ ! -f "$workflow_worker.exits" ] ||
        sed -n "s/^$workflow_step $1 $workflow_attempt \\([0-9]*\\) END\$/\\1/p" "$workflow_worker.exits" | tail -n 1
}

# The last attempt that left a trace, 0 when there is none.
workflow_last_attempt() {
    {
        echo 0
        sed -n "s/^$workflow_step [0-9]* \\([0-9]*\\) [0-9]* END\$/\\1/p" "$workflow_state"/worker_*.exits
        sed -n 's/^  "attempts": .*"number": \([0-9]*\).*/\1/p' "$workflow_state/step_${workflow_step}_state.json"
    } 2>/dev/null | sort -n | tail -n 1
}

# ---------------------------------------------------------------- what became of it

# Commit a finished step: its outputs are durable, the state becomes so, then the marker.
workflow_commit() {
    workflow_record completed
    workflow_mark "$WORKFLOW_RUN_DIR/step_$workflow_step.complete" "$workflow_state_sum"
    workflow_say "ok $workflow_step $workflow_name ${workflow_duration}s"
}

# Commit one iteration of a step that is repeated. The step has no state of its own until it has ended.
workflow_commit_iteration() {
    workflow_count_values
    workflow_mark "$(workflow_iteration_file "$workflow_iteration")" "$(workflow_cksum </dev/null)" "ITERATION=$workflow_iteration"
    workflow_say "ok $workflow_step $workflow_name, iteration $workflow_iteration ${workflow_duration}s"
}

# workflow_mark FILE STATE_SUM [LINE]
workflow_mark() {
    workflow_body=$(
        printf 'STEP=%s\nCOMPLETED_AT=%s\nDURATION_SECONDS=%s\nEXIT_CODE=0\n' "$workflow_number" "$workflow_ended_at" "$workflow_duration"
        printf 'WORKFLOW_ID=%s\nSTEP_NAME=%s\nEPOCH=%s\nFINGERPRINT=%s\n' "$WORKFLOW_RUN_ID" "$workflow_name" "$workflow_in_epoch" "$workflow_fingerprint"
        printf 'STATE=%s\nCOMPLETED_BY=shell\nVALUES=%s\n' "$2" "$workflow_values"
        [ -z "${3-}" ] || printf '%s\n' "$3"
    )
    workflow_sum=$(printf '%s\n' "$workflow_body" | workflow_cksum)
    workflow_check_sum "$workflow_sum"
    workflow_put "$1" "${workflow_body}${workflow_newline}CHECKSUM=$workflow_sum"
}

# The loop has ended. Its last attempt may have been another pass's.
workflow_end_loop() {
    (
        trap '' INT TERM HUP
        workflow_close_times
        workflow_commit
    ) || exit
}

# workflow_record_unrun STATUS [CLASS MESSAGE [REASON_CODE REASON]]: a state that no attempt decided.
workflow_record_unrun() {
    (
        trap '' INT TERM HUP
        workflow_close_times
        workflow_record "$@"
    ) || exit
}

workflow_close_times() {
    workflow_in_epoch=$workflow_epoch
    workflow_ended=$(date +%s)
    workflow_ended_at=$(workflow_now)
    workflow_duration=0
    [ -z "$workflow_has_tried" ] || workflow_duration=$((workflow_ended - workflow_started))
    [ "$workflow_duration" -ge 0 ] || workflow_duration=0
}

# Set workflow_values and, as lines for the state, workflow_sums: what the step published.
workflow_count_values() {
    workflow_values=0
    workflow_sums=
    for workflow_kind in output env; do
        workflow_file=$workflow_state/step_$workflow_step.$workflow_kind
        [ -s "$workflow_file" ] || continue
        workflow_values=$((workflow_values + 1))
        workflow_sum=$(workflow_cksum <"$workflow_file")
        workflow_check_sum "$workflow_sum"
        workflow_sums="$workflow_sums  \"${workflow_kind}_cksum\": \"$workflow_sum\",$workflow_newline"
    done
}

# workflow_record STATUS [CLASS MESSAGE [REASON_CODE REASON]]: the state file of the step; sets workflow_state_sum.
workflow_record() {
    workflow_count_values
    workflow_detail=null
    if [ -n "${2-}" ]; then
        # JSON of ASCII: a file's name may hold any byte.
        workflow_detail=$(printf '%s' "$3" | LC_ALL=C tr -c '\040-\176' '?' | sed 's/[\\"]/\\&/g')
        workflow_detail="{\"class\": \"$2\", \"message\": \"$workflow_detail\", \"tail\": []}"
    fi
    workflow_attempts=
    workflow_last_code=null
    if [ -n "$workflow_has_tried" ]; then
        workflow_last_code=$workflow_code
        workflow_attempts=$(printf '{"number": %s, "epoch": %s, "started": %s, "ended": %s, "exit_code": %s, "log_offset": %s}' \
            "$workflow_attempt" "$workflow_in_epoch" "$workflow_started" "$workflow_ended" "$workflow_code" "$((${workflow_offset:-0}))")
    fi
    workflow_body=$(
        printf '{\n  "version": "3.0.0",\n  "step": %s,\n  "name": %s,\n  "status": "%s",\n' "$workflow_number" "$workflow_json_name" "$1"
        printf '  "started_at": null,\n  "completed_at": "%s",\n  "duration_seconds": %s,\n' "$workflow_ended_at" "$workflow_duration"
        printf '  "exit_code": %s,\n  "outputs": {"files_modified": []},\n  "env": {},\n  "errors": [],\n  "warnings": [],\n' "$workflow_last_code"
        printf '  "attempts": [%s],\n' "$workflow_attempts"
        printf '  "fingerprint": "%s",\n  "manifest": {},\n  "output_digests": {},\n' "$workflow_fingerprint"
        printf '  "reason": {"code": "%s", "detail": "%s"},\n  "executor": "shell",\n  "worker": %s,\n' \
            "${4:-never-run}" "${5:-run by resume.sh}" "$workflow_worker_number"
        printf '  "completed_by": "shell",\n%s  "failure": %s,\n' "$workflow_sums" "$workflow_detail"
        workflow_print_rules "$1"
    )
    workflow_sum=$(printf '%s\n' "$workflow_body" | workflow_cksum)
    workflow_check_sum "$workflow_sum"
    workflow_body="$workflow_body$workflow_newline  \"checksum\": \"$workflow_sum\"$workflow_newline}"
    workflow_state_sum=$(printf '%s\n' "$workflow_body" | workflow_cksum)
    workflow_put "$workflow_state/step_${workflow_step}_state.json" "$workflow_body"
}

# The lines of a state that only steps with such rules have.
workflow_print_rules() {
    if [ "$1" = waiting ]; then
        workflow_next=$(($(date +%s) + workflow_wait_s))
        # POSIX has no way from seconds to a date: it is for people, `next_attempt` is what counts.
        workflow_next_at=$(date -u -d "@$workflow_next" '+"%Y-%m-%dT%H:%M:%SZ"' 2>/dev/null) || workflow_next_at=null
        printf '  "retry": {"used": %s, "next_attempt_at": %s, "next_attempt": %s},\n' \
            "$((workflow_used + 1))" "$workflow_next_at" "$workflow_next"
    fi
    case $workflow_iteration in
    '' | 0) ;;
    *) printf '  "iterations": %s,\n' "$workflow_iteration" ;;
    esac
    if [ "$1.$workflow_is_tolerated" = failed.1 ]; then
        printf '  "tolerated": true,\n'
    fi
}

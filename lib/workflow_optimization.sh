# shellcheck shell=sh disable=SC2154,SC2034 # variables shared with resume.sh, steps.sh and the other files here
# The main road of a resume in plain shell: what `sh resume.sh` does in a run directory, with no Python at all.
#
# It bypasses steps that are marked complete, runs the others in order through the very functions
# the worker uses (step_execution.sh), and leaves markers and states that workflow accepts (step_records.sh),
# alone in the run (run_locks.sh). Sourcing this file defines functions and does nothing else.
#
# resume.sh has set WORKFLOW_RUN_DIR, WORKFLOW_RUN_ID, WORKFLOW_PROJECT, WORKFLOW_LIB, workflow_order
# and defined workflow_facts and workflow_has_outputs; steps.sh has defined the steps.

workflow_say() {
    printf '%s\n' "$*"
}

# workflow_fail EXIT_CODE MESSAGE [HELP]
workflow_fail() {
    printf 'error: %s\n' "$2" >&2
    [ -z "${3-}" ] || printf 'help: %s\n' "$3" >&2
    exit "$1"
}

workflow_resume() {
    workflow_lock=yes workflow_is_dry=
    for workflow_word in "$@"; do
        case $workflow_word in
        --dry-run) workflow_is_dry=yes ;;
        --without-lock) workflow_lock= ;;
        *) workflow_fail 2 "resume.sh does not know $workflow_word" "sh resume.sh [--dry-run] [--without-lock]" ;;
        esac
    done
    workflow_state=$WORKFLOW_RUN_DIR/state
    workflow_again="sh $(workflow_quote "$WORKFLOW_RUN_DIR/resume.sh")"
    cd -- "$WORKFLOW_PROJECT" || workflow_fail 3 "cannot enter the project $WORKFLOW_PROJECT"
    if [ -n "$workflow_is_dry" ]; then
        workflow_show_plan
        return
    fi
    workflow_find_tools
    workflow_umask=$(umask)
    umask go-w
    [ -z "$workflow_lock" ] || workflow_take_lock
    workflow_interrupted=
    workflow_attendant=
    trap 'workflow_interrupt 130' INT
    trap 'workflow_interrupt 143' TERM
    trap 'workflow_interrupt 129' HUP
    # What an earlier crash left half written.
    rm -f "$WORKFLOW_RUN_DIR"/.tmp-* "$workflow_state"/.tmp-*
    [ -z "$workflow_lock" ] || workflow_adopt
    workflow_write_holder
    workflow_begin_epoch
    workflow_find_worker
    workflow_published=
    for workflow_step in $workflow_order; do
        workflow_leave_if_interrupted
        workflow_facts "$workflow_step" || workflow_fail 3 "resume.sh knows nothing of step $workflow_step"
        if workflow_is_marked; then
            workflow_say "bypassed $workflow_step $workflow_name: marked complete"
        else
            workflow_run_step
        fi
        # In order of the steps: of a name published twice the later one counts.
        workflow_published="$workflow_published $workflow_step"
    done
    rm -f "$workflow_state/run.holder"
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

# By path, as a step may have a PATH of its own. Without setsid(1) a step shares our process group, and
# what it started may outlive an interrupt.
workflow_find_tools() {
    for workflow_word in cksum sync sed grep; do
        command -v "$workflow_word" >/dev/null 2>&1 || workflow_fail 125 "this machine has no $workflow_word(1)"
    done
    workflow_setsid=$(command -v setsid) || workflow_setsid=
    workflow_timeout=$(command -v timeout) || workflow_timeout=
    # A shell starts what runs beside it with INT ignored; a step is to have it as usual, where env(1) can do that.
    workflow_env=$(command -v env) && "$workflow_env" --default-signal=INT,QUIT true 2>/dev/null || workflow_env=
}

# Print TEXT as one word for a shell.
workflow_quote() {
    printf '%s\n' "$1" | sed "s/'/'\\\\''/g; 1s/^/'/; \$s/\$/'/"
}

# ---------------------------------------------------------------- interrupts

workflow_interrupt() {
    workflow_interrupted=$1
    workflow_is_cut=yes
    [ -z "$workflow_attendant" ] || kill -s TERM "$workflow_attendant" 2>/dev/null
}

workflow_leave_if_interrupted() {
    [ -z "$workflow_interrupted" ] || workflow_fail "$workflow_interrupted" "interrupted" "carry on with: $workflow_again"
}

# Wait for a child to its end and set workflow_code. A trapped signal cuts `wait` short, with a status
# that shells do not agree on; once the child is collected, another `wait` says 127.
workflow_wait() {
    workflow_is_cut=
    wait "$1"
    workflow_code=$?
    while [ -n "$workflow_is_cut" ]; do
        workflow_is_cut=
        wait "$1"
        workflow_second=$?
        [ "$workflow_second" -eq 127 ] || workflow_code=$workflow_second
    done
}

# ---------------------------------------------------------------- running

workflow_run_step() {
    if [ "$workflow_interactive" = 1 ] && ! { [ -t 0 ] && (: </dev/tty) 2>/dev/null; }; then
        workflow_fail 2 "step $workflow_step $workflow_name is interactive and there is no terminal" \
            "in a terminal: $workflow_again   or mark it by hand: workflow mark $WORKFLOW_RUN_ID $workflow_step --done"
    fi
    if [ -n "$workflow_limit" ] && [ "$workflow_interactive" != 1 ] && [ -z "$workflow_timeout" ]; then
        workflow_fail 125 "step $workflow_step $workflow_name has a limit in time and this machine no timeout(1)"
    fi
    workflow_attempt=$(($(workflow_last_attempt) + 1))
    workflow_in_epoch=$workflow_epoch
    workflow_resumed=1
    workflow_log=$WORKFLOW_RUN_DIR/logs/step_$workflow_step.log
    rm -f "$workflow_state/step_$workflow_step.output" "$workflow_state/step_$workflow_step.env" \
        "$workflow_state/step_$workflow_step.events"
    if ! mkdir -p "$workflow_state/step_$workflow_step.d" || ! true >>"$workflow_log" || ! true >>"$workflow_exits"; then
        workflow_cannot_record "$WORKFLOW_RUN_DIR"
    fi
    workflow_offset=$(wc -c <"$workflow_log")
    workflow_started=$(date +%s)
    printf '%s %s %s %s\n' "$workflow_step" "$workflow_epoch" "$workflow_attempt" "$workflow_started" \
        >"$workflow_worker.running" || workflow_cannot_record "$workflow_worker.running"
    workflow_say "-- $workflow_step $workflow_name"
    if [ "$workflow_interactive" = 1 ]; then
        (
            exec 8<&-
            workflow_load_list=
            workflow_load_published || exit 125
            workflow_foreground "$workflow_worker_number" "$workflow_umask" "$workflow_step" "$workflow_epoch" "$workflow_attempt" 1
        )
        workflow_code=$?
        # Ctrl-C was for the step alone, if it made something of it.
        [ "$workflow_code" -ne 0 ] || workflow_interrupted=
    else
        (workflow_attend) &
        workflow_attendant=$!
        # A signal that came before we knew whom to tell.
        [ -z "$workflow_interrupted" ] || workflow_interrupt "$workflow_interrupted"
        workflow_wait "$workflow_attendant"
        workflow_attendant=
    fi
    if [ -z "$(workflow_recorded_code "$workflow_epoch")" ]; then
        workflow_fail 1 "the shell that watched step $workflow_step $workflow_name was killed, or could not write its exit record" \
            "carry on with: $workflow_again"
    fi
    # A Ctrl-C at the terminal reaches every process of ours: it must not tear what is being recorded.
    (
        trap '' INT TERM HUP
        workflow_settle
    ) || exit
}

# Beside resume.sh, and longer than it if that is killed: wait for the step, leave its exit record.
workflow_attend() {
    exec 8<&-
    workflow_child=
    workflow_is_ending=
    workflow_killer=
    trap workflow_end_step TERM HUP
    # Told by resume.sh with TERM. Most shells ignore INT in what they start beside them, mksh does not.
    trap 'workflow_is_cut=yes' INT
    (
        workflow_load_list=
        workflow_load_published || exit 125
        workflow_become_step
    ) &
    workflow_child=$!
    [ -z "$workflow_is_ending" ] || workflow_end_step
    workflow_wait "$workflow_child"
    [ -z "$workflow_killer" ] || kill -s KILL "$workflow_killer" 2>/dev/null
    # Nothing of a step that did not end well may live on beside its next attempt.
    [ "$workflow_code" -eq 0 ] || workflow_signal_group KILL
    workflow_record_exit
    exit "$workflow_code"
}

workflow_end_step() {
    workflow_is_ending=yes
    workflow_is_cut=yes
    [ -n "$workflow_child" ] || return 0
    workflow_signal_group TERM || kill -s TERM "$workflow_child" 2>/dev/null
    [ -z "$workflow_killer" ] || return 0
    (
        exec 9>&-
        sleep 5
        workflow_signal_group KILL || kill -s KILL "$workflow_child"
    ) >/dev/null 2>&1 &
    workflow_killer=$!
}

# dash wants the `--`, busybox does not know it.
workflow_signal_group() {
    kill -s "$1" -- "-$workflow_child" 2>/dev/null || kill -s "$1" "-$workflow_child" 2>/dev/null
}

# Become the step: in a session of its own, with its limit in time, holding the lock of the worker.
workflow_exec() {
    if [ "$workflow_interactive" != 1 ]; then
        [ -z "$workflow_limit" ] || set -- "$workflow_timeout" -k 5 "$workflow_limit" "$@"
        if [ -n "$workflow_setsid" ]; then
            set -- "$workflow_setsid" "$@"
            [ -z "$workflow_env" ] || set -- "$workflow_env" --default-signal=INT,QUIT "$@"
        fi
    fi
    exec "$@" 9>&9
}

# ---------------------------------------------------------------- what became of it

# Commit the attempt that ended, or record why it is no completion and leave.
workflow_settle() {
    workflow_judge
    if [ -z "$workflow_failure" ]; then
        workflow_commit
        true >"$workflow_worker.running"
        return 0
    fi
    workflow_record "$workflow_status" "$workflow_failure" "$workflow_message"
    true >"$workflow_worker.running"
    rm -f "$workflow_state/run.holder"
    printf 'error: step %s %s failed (attempt %s): %s\n' \
        "$workflow_step" "$workflow_name" "$workflow_attempt" "$workflow_message" >&2
    tail -c "+$((workflow_offset + 1))" "$workflow_log" | tail -n 10 | sed 's/^/  | /' >&2
    printf 'log: %s\nhelp: %s   or: workflow resume %s\n' "$workflow_log" "$workflow_again" "$WORKFLOW_RUN_ID" >&2
    exit "$workflow_exit_code"
}

# Set workflow_failure (its class, empty when the step did what it promised) and what goes with it.
workflow_judge() {
    workflow_ended=$(date +%s)
    workflow_ended_at=$(workflow_now)
    workflow_duration=$((workflow_ended - workflow_started))
    [ "$workflow_duration" -ge 0 ] || workflow_duration=0
    workflow_failure=
    workflow_message=
    workflow_status=failed
    workflow_exit_code=1
    if [ -n "$workflow_interrupted" ]; then
        workflow_failure=interrupted workflow_message="was interrupted"
        workflow_status=cancelled workflow_exit_code=$workflow_interrupted
    elif workflow_is_timed_out; then
        workflow_failure=timeout workflow_message="ran out of time (limit ${workflow_limit}s)" workflow_exit_code=124
    elif [ "$workflow_code" -ne 0 ]; then
        workflow_failure=exit workflow_message="exit code $workflow_code"
    elif ! workflow_has_outputs "$workflow_step"; then
        workflow_failure=output_missing workflow_message="exit code 0, but it did not make $workflow_missing"
    else
        for workflow_kind in output env; do
            workflow_file=$workflow_state/step_$workflow_step.$workflow_kind
            if [ -s "$workflow_file" ] && ! workflow_is_readable "$workflow_file"; then
                workflow_failure=output_malformed
                workflow_message="exit code 0, but what it published cannot be read: $workflow_file"
            fi
        done
    fi
}

# timeout(1) says 124, and 137 when it had to kill; a step may say so itself, before its time is up.
workflow_is_timed_out() {
    [ -n "$workflow_limit" ] && [ "$workflow_duration" -ge "$workflow_limit" ] || return 1
    [ "$workflow_code" -eq 124 ] || [ "$workflow_code" -eq 137 ]
}

# workflow_have FILE...: are the declared outputs there, and durable? Names the first one missing.
workflow_have() {
    for workflow_missing in "$@"; do
        [ -e "$workflow_missing" ] || [ -L "$workflow_missing" ] || return 1
    done
    for workflow_file in "$@"; do
        case $workflow_file in
        -*) workflow_file=./$workflow_file ;;
        esac
        if [ -f "$workflow_file" ] || [ -d "$workflow_file" ]; then
            sync "$workflow_file" || workflow_cannot_record "$workflow_file"
        fi
    done
}

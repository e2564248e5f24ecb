# shellcheck shell=sh disable=SC2154,SC2034 # variables shared with resume.sh, steps.sh and the other files here
# The main road of a resume in plain shell: what `sh resume.sh` does in a run directory, with no Python at all.
#
# It bypasses steps that are marked complete, runs the others in order, as far as their rules let it
# (step_rules.sh), through the very functions the worker uses (step_execution.sh), and leaves markers and
# states that workflow accepts (step_records.sh), alone in the run (run_locks.sh). Sourcing this file
# defines functions and does nothing else.
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

# Leave with MESSAGE because of the step in hand; after a failure with the code of that. Arguments as workflow_fail.
workflow_stop() {
    rm -f "$workflow_state/run.holder"
    workflow_tell_blocked
    workflow_word=$1
    shift
    workflow_fail "${workflow_root_code:-$workflow_word}" "$@"
}

workflow_resume() {
    workflow_lock=yes workflow_is_dry='' workflow_answers=''
    while [ "$#" -gt 0 ]; do
        case $1 in
        --dry-run) workflow_is_dry=yes ;;
        --without-lock) workflow_lock='' ;;
        --approve | --reject)
            workflow_is_number "${2-}" || workflow_fail 2 "$1 wants the number of a step" "sh resume.sh $1 05"
            workflow_answers="$workflow_answers $1 $2"
            shift
            ;;
        *) workflow_fail 2 "resume.sh does not know $1" "sh resume.sh [--dry-run] [--without-lock] [--approve STEP] [--reject STEP]" ;;
        esac
        shift
    done
    workflow_state=$WORKFLOW_RUN_DIR/state
    workflow_again="sh $(workflow_quote "$WORKFLOW_RUN_DIR/resume.sh")"
    cd -- "$WORKFLOW_PROJECT" || workflow_fail 3 "cannot enter the project $WORKFLOW_PROJECT"
    # That of a step of another run which has started us.
    unset WORKFLOW_ITERATION
    if [ -n "$workflow_is_dry" ]; then
        [ -z "$workflow_answers" ] || workflow_fail 2 '--dry-run records no answer' 'leave --dry-run out, or the answer'
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
    workflow_take_answers
    [ -z "$workflow_lock" ] || workflow_adopt
    workflow_write_holder
    workflow_begin_epoch
    # Whoever carries a run on takes back the word that nobody will.
    rm -f "$WORKFLOW_RUN_DIR/abandoned"
    # A cache of what steps did when they last succeeded. We note nothing in it, so what it says may be wrong after us.
    rm -f "$WORKFLOW_RUN_DIR"/../cache/successes-*
    workflow_find_worker
    workflow_walk
    workflow_conclude
}

workflow_take_answers() {
    workflow_kind=
    for workflow_answer in $workflow_answers; do
        case $workflow_kind in
        --approve) workflow_answer_for approved "$workflow_answer" ;;
        --reject) workflow_answer_for rejected "$workflow_answer" ;;
        esac
        workflow_kind=$workflow_answer
    done
}

workflow_walk() {
    workflow_published='' workflow_last_published=0 workflow_skipped='' workflow_tolerated='' workflow_blocked=''
    # The first step that failed, and the exit code for that: nothing starts after it but what runs at the end.
    workflow_root='' workflow_root_code='' workflow_code=0
    # Numbers: of the steps whose turn came in this pass, and of those that failed or could not run for it.
    workflow_taken='' workflow_bad=''
    for workflow_step in $workflow_order; do
        workflow_leave_if_interrupted
        workflow_know "$workflow_step" || workflow_fail 3 "resume.sh knows nothing of step $workflow_step"
        workflow_take_turn
    done
    workflow_leave_if_interrupted
}

workflow_tell_blocked() {
    [ -z "${workflow_blocked-}" ] || workflow_say "blocked, as step $workflow_root failed:$workflow_blocked"
}

workflow_conclude() {
    rm -f "$workflow_state/run.holder"
    workflow_tell_blocked
    if [ -n "$workflow_root" ]; then
        printf 'help: %s   or: workflow resume %s\n' "$workflow_again" "$WORKFLOW_RUN_ID" >&2
        exit "$workflow_root_code"
    fi
    [ -z "$workflow_skipped" ] || workflow_say "skipped:$workflow_skipped"
    [ -z "$workflow_tolerated" ] || workflow_say "failed, as they may:$workflow_tolerated"
    workflow_say "completed: every step of $WORKFLOW_RUN_ID is done"
}

workflow_show_plan() {
    workflow_taken='' workflow_skipped='' workflow_tolerated=''
    for workflow_step in $workflow_order; do
        workflow_know "$workflow_step" || workflow_fail 3 "resume.sh knows nothing of step $workflow_step"
        workflow_title="$workflow_step $workflow_name"
        if workflow_is_at_the_end && workflow_comes_after "$workflow_taken"; then
            workflow_plan_run
        elif workflow_is_marked; then
            workflow_say "bypass $workflow_title"
        elif ! workflow_is_left; then
            workflow_plan_run
        fi
    done
}

workflow_plan_run() {
    workflow_taken="$workflow_taken $workflow_number"
    case $workflow_condition in
    failure) workflow_title="$workflow_title, if something before it fails" ;;
    test) workflow_title="$workflow_title, if its test says so" ;;
    esac
    [ -z "$workflow_asks" ] || workflow_title="$workflow_title, when a person approves: $workflow_approval"
    workflow_say "run    $workflow_title"
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

# All attempts of the step; sets workflow_verdict: 0 when it is committed, else how it failed.
workflow_run_step() {
    if [ -n "$workflow_is_repeated" ]; then
        workflow_loop
    else
        workflow_try_until_settled
    fi
}

workflow_try_until_settled() {
    workflow_try
    while [ "$workflow_verdict" -eq 75 ]; do
        workflow_leave_if_interrupted
        workflow_find_wait
        workflow_used=$((workflow_used + 1))
        workflow_wait_for_retry
        workflow_try
    done
}

# Where the attempt, or the test, in hand is to be logged.
workflow_open_log() {
    workflow_attempt=$(($(workflow_last_attempt) + 1))
    workflow_in_epoch=$workflow_epoch
    workflow_resumed=1
    workflow_log=$WORKFLOW_RUN_DIR/logs/step_$workflow_step.log
    true >>"$workflow_log" || workflow_cannot_record "$workflow_log"
    # What a runner gave it at its time. From us a step gets all that was published before.
    rm -f "$workflow_state/step_$workflow_step.values"
}

# One attempt, to its record; sets workflow_verdict: 0 it is committed, 75 it is to be tried again, else how it failed.
workflow_try() {
    workflow_open_log
    case $workflow_iteration in
    '' | 1) rm -f "$workflow_state/step_$workflow_step.output" "$workflow_state/step_$workflow_step.env" "$workflow_state/step_$workflow_step.events" ;;
    esac
    if ! mkdir -p "$workflow_state/step_$workflow_step.d" || ! true >>"$workflow_exits"; then
        workflow_cannot_record "$WORKFLOW_RUN_DIR"
    fi
    workflow_offset=$(wc -c <"$workflow_log")
    workflow_started=$(date +%s)
    printf '%s\n' "$workflow_step $workflow_epoch $workflow_attempt $workflow_started${workflow_iteration:+ $workflow_iteration}" \
        >"$workflow_worker.running" || workflow_cannot_record "$workflow_worker.running"
    workflow_say "-- $workflow_step $workflow_name${workflow_iteration:+, iteration $workflow_iteration}"
    if [ "$workflow_interactive" = 1 ]; then
        workflow_watch_interactive
    else
        workflow_watch step
    fi
    if [ -z "$(workflow_recorded_code "$workflow_epoch")" ]; then
        workflow_fail 1 "the shell that watched step $workflow_step $workflow_name was killed, or could not write its exit record" \
            "carry on with: $workflow_again"
    fi
    workflow_has_tried=yes
    # A Ctrl-C at the terminal reaches every process of ours: it must not tear what is being recorded.
    (
        trap '' INT TERM HUP
        workflow_settle
    )
    workflow_verdict=$?
    case $workflow_verdict in
    0 | 1 | 75 | 124) ;;
    *) exit "$workflow_verdict" ;;
    esac
}

workflow_watch_interactive() {
    (
        exec 8<&-
        workflow_load_list=
        workflow_load_published || exit 125
        workflow_foreground "$workflow_worker_number" "$workflow_umask" "$workflow_step" "$workflow_epoch" "$workflow_attempt" 1 "$workflow_iteration"
    )
    workflow_code=$?
    # Ctrl-C was for the step alone, if it made something of it.
    [ "$workflow_code" -ne 0 ] || workflow_interrupted=
}

# workflow_watch step|if|until: run it beside us; sets workflow_code.
workflow_watch() {
    (workflow_attend "$1") &
    workflow_attendant=$!
    # A signal that came before we knew whom to tell.
    [ -z "$workflow_interrupted" ] || workflow_interrupt "$workflow_interrupted"
    workflow_wait "$workflow_attendant"
    workflow_attendant=
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
    # The terminal is for the step, not for its tests.
    [ "$1" = step ] || workflow_interactive=0
    (
        workflow_load_list=
        workflow_load_published || exit 125
        if [ "$1" = step ]; then
            workflow_become_step
        else
            workflow_become_test "$1"
        fi
    ) &
    workflow_child=$!
    [ -z "$workflow_is_ending" ] || workflow_end_step
    workflow_wait "$workflow_child"
    [ -z "$workflow_killer" ] || kill -s KILL "$workflow_killer" 2>/dev/null
    # Nothing of a step that did not end well may live on beside its next attempt.
    [ "$workflow_code" -eq 0 ] || workflow_signal_group KILL
    if [ "$1" = step ]; then
        workflow_record_exit "$workflow_code"
    else
        workflow_normalise_code "$workflow_code"
    fi
    exit "$workflow_code"
}

workflow_end_step() {
    workflow_is_ending=yes
    workflow_is_cut=yes
    [ -n "$workflow_child" ] || return 0
    workflow_signal_group TERM || kill -s TERM "$workflow_child" 2>/dev/null
    [ -z "$workflow_killer" ] || return 0
    (
        exec 7>&- 9>&-
        sleep 5
        workflow_signal_group KILL || kill -s KILL "$workflow_child"
    ) >/dev/null 2>&1 &
    workflow_killer=$!
}

# dash wants the `--`, busybox does not know it.
workflow_signal_group() {
    kill -s "$1" -- "-$workflow_child" 2>/dev/null || kill -s "$1" "-$workflow_child" 2>/dev/null
}

# Become the step: in a session of its own, with its limit in time, holding the lock of the worker, and its own if it
# has one.
workflow_exec() {
    if [ "$workflow_interactive" != 1 ]; then
        [ -z "$workflow_limit" ] || set -- "$workflow_timeout" -k 5 "$workflow_limit" "$@"
        if [ -n "$workflow_setsid" ]; then
            set -- "$workflow_setsid" "$@"
            [ -z "$workflow_env" ] || set -- "$workflow_env" --default-signal=INT,QUIT "$@"
        fi
    fi
    if [ -n "$workflow_mutex" ]; then
        exec "$@" 7>&7 9>&9
    fi
    exec "$@" 9>&9
}

# ---------------------------------------------------------------- what became of it

# In a process of its own: commit the attempt that ended, or record why it is no completion. Exit status as workflow_try
# says; 125 and above: leave.
workflow_settle() {
    workflow_judge
    if [ -z "$workflow_failure" ]; then
        if [ -n "$workflow_iteration" ]; then
            workflow_commit_iteration
        else
            workflow_commit
        fi
        true >"$workflow_worker.running"
        return 0
    fi
    if workflow_is_tried_again; then
        workflow_find_wait
        workflow_record waiting "$workflow_failure" "$workflow_message"
        true >"$workflow_worker.running"
        workflow_say "failed $workflow_step $workflow_name (attempt $workflow_attempt): $workflow_message; trying again in ${workflow_wait_s}s"
        exit 75
    fi
    workflow_record "$workflow_status" "$workflow_failure" "$workflow_message"
    true >"$workflow_worker.running"
    if [ "$workflow_status.$workflow_is_tolerated" = failed.1 ]; then
        workflow_say "failed $workflow_step $workflow_name (attempt $workflow_attempt): $workflow_message (continue_on_error)"
        exit "$workflow_exit_code"
    fi
    printf 'error: step %s %s failed (attempt %s): %s\n' \
        "$workflow_step" "$workflow_name" "$workflow_attempt" "$workflow_message" >&2
    tail -c "+$((workflow_offset + 1))" "$workflow_log" | tail -n 10 | sed 's/^/  | /' >&2
    printf 'log: %s\n' "$workflow_log" >&2
    if [ "$workflow_status" = cancelled ]; then
        rm -f "$workflow_state/run.holder"
        printf 'help: %s   or: workflow resume %s\n' "$workflow_again" "$WORKFLOW_RUN_ID" >&2
    fi
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
    elif [ "$workflow_code" -gt 128 ] && [ "$workflow_code" -lt 193 ]; then
        workflow_failure=signal workflow_message="killed by signal $((workflow_code - 128)) (exit code $workflow_code)"
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

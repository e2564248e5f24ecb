# shellcheck shell=sh disable=SC2154,SC2034 # variables shared with workflow_optimization.sh and the other files here
# Whether a step may run, and how often: conditions, approvals, named locks, retries, iterations.
#
# Part of `sh resume.sh`; workflow_optimization.sh is its main road. The rules are those of the runner
# (docs/design/scheduling.md), one step at a time. Sourcing this file defines functions and does nothing else.

# workflow_know STEP: set what resume.sh says of a step. It says only what most steps do not have.
workflow_know() {
    workflow_condition='' workflow_is_tolerated='' workflow_asks='' workflow_approval='' workflow_mutex=''
    workflow_retries=0 workflow_waits='' workflow_on_exit=''
    workflow_is_repeated='' workflow_has_until='' workflow_most=''
    workflow_needs='all' workflow_block=''
    workflow_iteration='' workflow_has_tried='' workflow_used=0
    workflow_facts "$1"
}

# Run the step of workflow_facts if its turn has come and it is not over yet; note what became of it.
workflow_take_turn() {
    workflow_verdict=0
    ! workflow_is_over || return 0
    workflow_taken="$workflow_taken $workflow_number"
    if [ "$workflow_condition" = failure ] && ! workflow_comes_after "$workflow_bad"; then
        workflow_skip "nothing before it failed"
        return
    fi
    if [ -n "$workflow_root" ] && ! workflow_is_at_the_end; then
        workflow_blocked="$workflow_blocked $workflow_step"
        workflow_bad="$workflow_bad $workflow_number"
        return
    fi
    workflow_refuse_impossible
    workflow_take_mutex
    if workflow_is_approved && workflow_is_wanted; then
        workflow_recall_retries
        workflow_run_step
        [ "$workflow_verdict" -ne 0 ] || workflow_publish_later
    fi
    workflow_give_mutex_back
    [ "$workflow_verdict" -eq 0 ] || workflow_note_failure
}

workflow_is_at_the_end() {
    case $workflow_condition in
    always | failure) return 0 ;;
    *) return 1 ;;
    esac
}

# workflow_comes_after NUMBERS: does the step, which runs at the end, wait for one of these?
workflow_comes_after() {
    for workflow_word in $1; do
        case $workflow_needs in
        all) [ "$workflow_word" -ge "${workflow_block:-$workflow_number}" ] || return 0 ;;
        *" $workflow_word "*) return 0 ;;
        esac
    done
    return 1
}

# Is it over: marked complete, skipped, or failed as it may? What runs at the end belongs to the end of each pass:
# what it did after the last one says nothing about this one.
workflow_is_over() {
    if workflow_is_at_the_end && workflow_comes_after "$workflow_taken"; then
        workflow_begin_anew
        return 1
    fi
    if workflow_is_marked; then
        workflow_say "bypassed $workflow_step $workflow_name: marked complete"
        workflow_publish_later
        return 0
    fi
    workflow_is_left
}

# A step that is to run again loses its marker first; a loop, before that, its iterations, the last one first: those
# that are left without a marker would pass for the rounds of a loop that was killed.
workflow_begin_anew() {
    workflow_marker=$WORKFLOW_RUN_DIR/step_$workflow_step.complete
    [ -e "$workflow_marker" ] || return 0
    workflow_count_iterations
    if [ "$workflow_iteration" -gt 0 ]; then
        while [ "$workflow_iteration" -gt 0 ]; do
            rm -f "$(workflow_iteration_file "$workflow_iteration")" || workflow_cannot_record "$workflow_state"
            workflow_iteration=$((workflow_iteration - 1))
        done
        sync "$workflow_state" || workflow_cannot_record "$workflow_state"
    fi
    workflow_iteration=''
    if ! rm -f "$workflow_marker" || ! sync "$WORKFLOW_RUN_DIR"; then
        workflow_cannot_record "$workflow_marker"
    fi
}

# By number, whatever the order they ran in: of a name published twice the larger number counts.
workflow_publish_later() {
    workflow_published="$workflow_published $workflow_step"
    if [ "$workflow_number" -lt "$workflow_last_published" ]; then
        # shellcheck disable=SC2086 # a word each
        workflow_published=$(printf '%s\n' $workflow_published | sort -n)
    else
        workflow_last_published=$workflow_number
    fi
}

workflow_note_failure() {
    if [ -n "$workflow_is_tolerated" ]; then
        workflow_tolerated="$workflow_tolerated $workflow_step"
        return
    fi
    workflow_bad="$workflow_bad $workflow_number"
    if [ -z "$workflow_root" ]; then
        workflow_root=$workflow_step workflow_root_code=$workflow_verdict
    fi
}

# Is it over without a marker? What decided that a step is skipped stands; a condition that changed is asked.
workflow_is_left() {
    if [ -n "$workflow_condition" ] && workflow_has_state skipped &&
        grep -q -x -F -e "  \"fingerprint\": \"$workflow_fingerprint\"," "$workflow_file"; then
        workflow_say "left as it is: $workflow_step $workflow_name: skipped"
        workflow_skipped="$workflow_skipped $workflow_step"
    elif [ -n "$workflow_is_tolerated" ] && workflow_has_state failed; then
        workflow_say "left as it is: $workflow_step $workflow_name: failed, as it may (continue_on_error)"
        workflow_tolerated="$workflow_tolerated $workflow_step"
    else
        return 1
    fi
}

workflow_skip() {
    workflow_record_unrun skipped '' '' condition-false "$1"
    workflow_say "skipped $workflow_step $workflow_name: $1"
    workflow_skipped="$workflow_skipped $workflow_step"
}

# workflow_refuse CLASS MESSAGE: the step failed without an attempt that failed.
workflow_refuse() {
    workflow_record_unrun failed "$1" "$2"
    workflow_verdict=1
    workflow_say_failure "$2"
}

workflow_say_failure() {
    if [ -n "$workflow_is_tolerated" ]; then
        workflow_say "failed $workflow_step $workflow_name: $1 (continue_on_error)"
    else
        printf 'error: step %s %s failed: %s\n' "$workflow_step" "$workflow_name" "$1" >&2
    fi
}

# What this machine or this moment cannot do: said before anything of the step is touched.
workflow_refuse_impossible() {
    if [ "$workflow_interactive" = 1 ] && ! { [ -t 0 ] && (: </dev/tty) 2>/dev/null; }; then
        workflow_stop 2 "step $workflow_step $workflow_name is interactive and there is no terminal" \
            "in a terminal: $workflow_again   or mark it by hand: workflow mark $WORKFLOW_RUN_ID $workflow_step --done"
    fi
    if [ -n "$workflow_limit" ] && [ "$workflow_interactive" != 1 ] && [ -z "$workflow_timeout" ]; then
        workflow_stop 125 "step $workflow_step $workflow_name has a limit in time and this machine no timeout(1)"
    fi
    case $workflow_mutex in
    '') ;;
    */*)
        command -v flock >/dev/null 2>&1 ||
            workflow_stop 1 "step $workflow_step $workflow_name wants the lock ${workflow_mutex##*/} and this machine has no flock(1)" \
                "install it (util-linux, busybox), or: workflow resume $WORKFLOW_RUN_ID"
        ;;
    *)
        workflow_stop 1 "step $workflow_step $workflow_name wants the lock $workflow_mutex, and resume.sh was not told where that is" \
            "workflow resume $WORKFLOW_RUN_ID"
        ;;
    esac
}

# ---------------------------------------------------------------- conditions

# workflow_ask if|until: ask a test of the step; sets workflow_answer to its exit code.
workflow_ask() {
    [ -n "$workflow_has_tried" ] || workflow_open_log
    workflow_answer=$workflow_code
    workflow_watch "$1"
    # The code in hand is that of the attempt: it is what is recorded.
    workflow_word=$workflow_code
    workflow_code=$workflow_answer
    workflow_answer=$workflow_word
    workflow_leave_if_interrupted
}

# What its `if` says. Otherwise it is skipped, or has failed.
workflow_is_wanted() {
    [ "$workflow_condition" = test ] || return 0
    workflow_ask if
    case $workflow_answer in
    0) return 0 ;;
    1) workflow_skip "its \`if\` says no" ;;
    *) workflow_refuse condition "its \`if\` ended with exit code $workflow_answer: 0 means yes, 1 no, anything else is an error" ;;
    esac
    return 1
}

# ---------------------------------------------------------------- approvals

# What a person answered. Without an answer this is as far as we go: nobody here may give it unasked.
workflow_is_approved() {
    [ -n "$workflow_asks" ] || return 0
    workflow_file=$workflow_state/step_$workflow_step.approval
    workflow_why='nobody has answered'
    [ ! -e "$workflow_file" ] || workflow_why=$(workflow_answer_fault "$workflow_file")
    if [ -n "$workflow_why" ]; then
        workflow_give_mutex_back
        workflow_stop 4 "step $workflow_step $workflow_name waits for approval ($workflow_why): $workflow_approval" \
            "workflow approve $WORKFLOW_RUN_ID $workflow_step   or, without Python: $workflow_again --approve $workflow_step (or --reject $workflow_step)"
    fi
    ! grep -q '^ANSWER=approved$' "$workflow_file" || return 0
    workflow_refuse rejected "$(sed -n 's/^BY=//p' "$workflow_file") rejected it ($(sed -n 's/^AT=//p' "$workflow_file"))"
    printf 'help: to say yes after all: %s --approve %s\n' "$workflow_again" "$workflow_step" >&2
    return 1
}

# Print why a file is no whole answer to what this step asks now; the first reason is enough.
workflow_answer_fault() {
    workflow_fault=$(workflow_sum_fault "$1")
    if [ -n "$workflow_fault" ]; then
        printf '%s' "$workflow_fault"
        return
    fi
    for workflow_line in "STEP=$workflow_number" "NAME=$workflow_name" "TEXT=$workflow_asks"; do
        if ! grep -q -x -F -e "$workflow_line" "$1"; then
            printf 'the answer is to another question'
            return
        fi
    done
    grep -q -x -e 'ANSWER=approved' -e 'ANSWER=rejected' "$1" || printf 'it says neither approved nor rejected'
}

# workflow_answer_for approved|rejected STEP: what `--approve` and `--reject` do.
workflow_answer_for() {
    for workflow_step in $workflow_order; do
        workflow_know "$workflow_step" || continue
        [ "$2" = "$workflow_step" ] || [ "$2" = "$workflow_number" ] || continue
        [ -n "$workflow_asks" ] || workflow_fail 2 "step $workflow_step $workflow_name asks for no approval"
        if [ "$1" = rejected ] && workflow_is_marked; then
            workflow_fail 2 "step $workflow_step $workflow_name is complete: it cannot be rejected any more" \
                "to run it again: workflow mark $WORKFLOW_RUN_ID $workflow_step --pending"
        fi
        workflow_body="STEP=$workflow_number${workflow_newline}NAME=$workflow_name${workflow_newline}TEXT=$workflow_asks"
        workflow_body="$workflow_body${workflow_newline}ANSWER=$1${workflow_newline}BY=$(workflow_user)${workflow_newline}AT=$(workflow_now)"
        workflow_sum=$(printf '%s\n' "$workflow_body" | workflow_cksum)
        workflow_check_sum "$workflow_sum"
        workflow_put "$workflow_state/step_$workflow_step.approval" "$workflow_body${workflow_newline}CHECKSUM=$workflow_sum"
        workflow_say "$1: $workflow_step $workflow_name: $workflow_approval"
        return
    done
    workflow_fail 2 "there is no step $2"
}

workflow_user() {
    id -un 2>/dev/null | LC_ALL=C tr -c 'A-Za-z0-9_.@+\n-' _
}

# ---------------------------------------------------------------- named locks

# Descriptor 7 is the lock of this name on this machine, which the step inherits: it is held for as long as
# the step lives, also when we are killed.
workflow_take_mutex() {
    [ -n "$workflow_mutex" ] || return 0
    workflow_is_told=
    while :; do
        workflow_leave_if_interrupted
        if ! (umask 077 && mkdir -p "${workflow_mutex%/*}" && true >>"$workflow_mutex"); then
            workflow_cannot_record "$workflow_mutex"
        fi
        exec 7>>"$workflow_mutex"
        if flock -n 1 >&7; then
            # Whoever opens it by its name must find it locked: it may have been removed between our open and our lock.
            flock -n 1 >>"$workflow_mutex" || break
        elif [ -z "$workflow_is_told" ]; then
            workflow_say "step $workflow_step $workflow_name waits for the lock ${workflow_mutex##*/}"
            workflow_is_told=yes
        fi
        exec 7>&-
        workflow_pause 1
    done
    # Beside it, for people. That it cannot be written is no reason to stop.
    printf 'STEP=%s%%20%s\nRUN=%s\nPID=%s\nSINCE=%s\n' "$workflow_step" "$workflow_name" "$WORKFLOW_RUN_ID" "$$" "$(workflow_now)" \
        2>/dev/null >"${workflow_mutex%.lock}.holder" || true
}

# On the shared description, so that a daemon which the step left behind does not keep it.
workflow_give_mutex_back() {
    [ -n "$workflow_mutex" ] || return 0
    flock -u 1 >&7
    exec 7>&-
}

# ---------------------------------------------------------------- retries

# A step that waits between two attempts goes on with its wait, and with the retries that are left.
workflow_recall_retries() {
    [ "$workflow_retries" -gt 0 ] && workflow_has_state waiting || return 0
    workflow_line=$(grep '^  "retry": ' "$workflow_state/step_${workflow_step}_state.json")
    workflow_used=$(printf '%s\n' "$workflow_line" | sed -n 's/.*"used": \([0-9]\{1,9\}\)[,}].*/\1/p')
    workflow_used=$((${workflow_used:-0}))
    workflow_next=$(printf '%s\n' "$workflow_line" | sed -n 's/.*"next_attempt": \([0-9]\{1,12\}\)[.,}].*/\1/p')
    workflow_wait_s=$((${workflow_next:-0} - $(date +%s)))
    workflow_find_longest
    # A clock that was set back must not make the wait longer than it was.
    [ "$workflow_wait_s" -le "$workflow_longest" ] || workflow_wait_s=$workflow_longest
    [ "$workflow_wait_s" -le 0 ] || workflow_say "step $workflow_step $workflow_name is tried again in ${workflow_wait_s}s"
    workflow_wait_for_retry
}

workflow_find_longest() {
    workflow_longest=0
    for workflow_word in $workflow_waits; do
        [ "$workflow_word" -le "$workflow_longest" ] || workflow_longest=$workflow_word
    done
}

# Is this failure followed by another attempt?
workflow_is_tried_again() {
    [ "$workflow_used" -lt "$workflow_retries" ] && workflow_is_covered
}

# Set workflow_wait_s, the wait before the next attempt: the last one of the list holds for all that come after it.
workflow_find_wait() {
    workflow_left=$workflow_used
    # By another name, as yash keeps the variable of a loop to the function.
    for workflow_word in $workflow_waits; do
        workflow_wait_s=$workflow_word
        [ "$workflow_left" -gt 0 ] || break
        workflow_left=$((workflow_left - 1))
    done
}

# A shell cannot tell that memory or space ran out: then it is a signal, or an exit.
workflow_is_covered() {
    case $workflow_failure in
    interrupted) return 1 ;;
    esac
    [ -n "$workflow_on_exit" ] || return 0
    case " $workflow_on_exit " in
    *" $workflow_failure "*) return 0 ;;
    *" $workflow_code "*) [ "$workflow_failure" = exit ] || [ "$workflow_failure" = signal ] ;;
    *) return 1 ;;
    esac
}

# Nobody is kept waiting meanwhile: the lock is free.
workflow_wait_for_retry() {
    [ "$workflow_wait_s" -gt 0 ] || return 0
    workflow_give_mutex_back
    workflow_pause "$workflow_wait_s"
    workflow_take_mutex
}

# A sleep that an interrupt ends.
workflow_pause() {
    (exec sleep "$1" 7>&- 8<&- 9>&-) &
    workflow_attendant=$!
    [ -z "$workflow_interrupted" ] || workflow_interrupt "$workflow_interrupted"
    workflow_answer=$workflow_code
    workflow_wait "$workflow_attendant"
    workflow_code=$workflow_answer
    workflow_attendant=
    workflow_leave_if_interrupted
}

# ---------------------------------------------------------------- iterations

# Go on after the last iteration with a whole marker. Its test is asked first: we may have been killed between the two.
workflow_loop() {
    workflow_count_iterations
    while [ "$workflow_iteration" -eq 0 ] || workflow_goes_round; do
        workflow_iteration=$((workflow_iteration + 1))
        workflow_try_until_settled
        [ "$workflow_verdict" -eq 0 ] || return 0
    done
    [ "$workflow_verdict" -ne 0 ] || workflow_end_loop
}

# Is there to be another iteration? If not, workflow_verdict says whether the loop has ended well.
workflow_goes_round() {
    if [ -n "$workflow_has_until" ]; then
        workflow_ask until
        case $workflow_answer in
        0) return 1 ;;
        1) ;;
        *)
            workflow_refuse condition "its \`until\` ended with exit code $workflow_answer: 0 means yes, 1 no, anything else is an error"
            return 1
            ;;
        esac
    fi
    [ -n "$workflow_most" ] && [ "$workflow_iteration" -ge "$workflow_most" ] || return 0
    [ -z "$workflow_has_until" ] ||
        workflow_refuse repeat "\`until\` did not hold after $workflow_iteration iterations, which is its limit"
    return 1
}

workflow_iteration_file() {
    printf '%s/step_%s.iteration_%02d.complete' "$workflow_state" "$workflow_step" "$1"
}

# Set workflow_iteration to how many iterations, from the first on, have a whole marker. The number alone says
# nothing: another step may have had it before.
workflow_count_iterations() {
    workflow_iteration=0
    while workflow_file=$(workflow_iteration_file "$((workflow_iteration + 1))") && [ -e "$workflow_file" ] &&
        [ -z "$(workflow_marker_fault "$workflow_file")" ] &&
        grep -q -x -F -e "STEP_NAME=$workflow_name" "$workflow_file" &&
        grep -q -x -F -e "ITERATION=$((workflow_iteration + 1))" "$workflow_file"; do
        workflow_iteration=$((workflow_iteration + 1))
    done
}

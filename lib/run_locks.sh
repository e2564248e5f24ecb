# shellcheck shell=sh disable=SC2154,SC2034 # variables shared with workflow_optimization.sh and step_records.sh
# Who has the run in hand: its lock, the note that says who holds it, and steps that outlived their runner.
#
# Part of `sh resume.sh`; workflow_optimization.sh is its main road. Sourcing this file defines functions
# and does nothing else.
#
# Descriptor 8 is the lock of the run, held by resume.sh alone. Descriptor 9 is the lock of the worker,
# held by whoever belongs to a step. Each is named again where a program is to have it (`flock 0 <&8`):
# ksh and mksh close what `exec` opened when they start a program.

# ---------------------------------------------------------------- locks

# The same kernel lock that the runner takes: a flock on the run's own directory.
workflow_take_lock() {
    command -v flock >/dev/null 2>&1 ||
        workflow_fail 125 "this machine has no flock(1), so a second runner could not be kept out" \
            "if nothing else works on this run: $workflow_again --without-lock"
    exec 8<"$WORKFLOW_RUN_DIR"
    # A reader that looks whether we live holds it for an instant.
    for workflow_word in 1 2 3 4; do
        if flock -n 0 <&8; then
            workflow_refuse_foreign_holder
            return
        fi
        sleep 0.1 2>/dev/null || sleep 1
    done
    workflow_fail 75 "$WORKFLOW_RUN_ID is being run by $(workflow_holder)" "wait for it, or: workflow status $WORKFLOW_RUN_ID"
}

# workflow_held KEY: what the note beside the lock says.
workflow_held() {
    [ ! -f "$workflow_state/run.holder" ] || sed -n "s/^$1=//p" "$workflow_state/run.holder"
}

workflow_holder() {
    printf 'process %s on %s since %s (%s)' \
        "$(workflow_held PID)" "$(workflow_held HOST)" "$(workflow_held SINCE)" "$(workflow_held COMMAND)"
}

# Some network file systems keep flock to each machine. A copy of the run has another inode, a
# container of this machine the same boot: both carry on.
workflow_refuse_foreign_holder() {
    if [ -f "$workflow_state/run.holder" ] && [ "$(workflow_held RUN_INODE)" = "$(workflow_inode)" ] &&
        [ "$(workflow_held HOST)" != "$(uname -n)" ] && [ "$(workflow_held BOOT_ID)" != "$(workflow_boot_id)" ]; then
        workflow_fail 75 "$WORKFLOW_RUN_ID was last held on another machine by $(workflow_holder), and may still be" \
            "if that runner is gone for certain: rm $(workflow_quote "$workflow_state/run.holder")"
    fi
}

workflow_boot_id() {
    cat /proc/sys/kernel/random/boot_id 2>/dev/null
}

workflow_inode() {
    # shellcheck disable=SC2012 # the inode of a directory, which `ls -di` gives everywhere
    (cd -- "$WORKFLOW_RUN_DIR" && ls -di .) | sed 's/[^0-9]//g'
}

workflow_write_holder() {
    printf 'HOST=%s\nBOOT_ID=%s\nPID=%s\nPROCESS_STARTED=\nSINCE=%s\nRUN_INODE=%s\nCOMMAND=resume.sh\n' "$(uname -n)" \
        "$(workflow_boot_id)" "$$" "$(workflow_now)" "$(workflow_inode)" >"$workflow_state/run.holder" ||
        workflow_cannot_record "$workflow_state/run.holder"
}

# A worker number whose lock is free; what holds another was left behind by a step that ended.
workflow_find_worker() {
    workflow_worker_number=1
    while :; do
        workflow_worker=$workflow_state/worker_$workflow_worker_number
        # Tried first, as an `exec` that fails ends the shell without a word.
        true >>"$workflow_worker.lock" || workflow_cannot_record "$workflow_worker.lock"
        exec 9>>"$workflow_worker.lock"
        [ -n "$workflow_lock" ] || break
        ! flock -n 1 >&9 || break
        workflow_worker_number=$((workflow_worker_number + 1))
        [ "$workflow_worker_number" -lt 1000 ] || workflow_fail 125 "no lock of a worker can be taken in $workflow_state"
    done
    workflow_exits=$workflow_worker.exits
}

# ---------------------------------------------------------------- steps that outlived their runner

# A worker of a runner that died finishes its step and leaves an exit record: wait for it, take it over.
# Not when the machine was started anew since: an exit record may have outlived the outputs it vouches for.
workflow_adopt() {
    workflow_same_boot=
    if [ -f "$workflow_state/run.holder" ] && [ "$(workflow_held BOOT_ID)" = "$(workflow_boot_id)" ]; then
        workflow_same_boot=yes
    fi
    for workflow_note in "$workflow_state"/worker_*.running; do
        [ -s "$workflow_note" ] || continue
        while [ -n "$workflow_same_boot" ] && read -r workflow_step workflow_in_epoch workflow_attempt workflow_since workflow_round; do
            [ -n "${workflow_since-}" ] || continue
            workflow_know "$workflow_step" || continue
            ! workflow_is_marked || continue
            workflow_started=${workflow_since%%.*}
            workflow_worker=${workflow_note%.running}
            workflow_wait_for_orphan || continue
            workflow_say "step $workflow_step $workflow_name ended with $workflow_code after its runner had died; that outcome is taken over"
            workflow_worker_number=${workflow_worker##*_}
            workflow_iteration=$workflow_round
            workflow_has_tried=yes
            # Failed is what it is without a marker too, and it runs again.
            (
                trap '' INT TERM HUP
                workflow_judge
                if [ -n "$workflow_failure" ]; then
                    exit 0
                fi
                if [ -n "$workflow_iteration" ]; then
                    workflow_commit_iteration
                else
                    workflow_commit
                fi
            ) || exit
        done <"$workflow_note"
        true >"$workflow_note" || workflow_cannot_record "$workflow_note"
    done
}

# Set workflow_code from the exit record; return 1 when there will be none.
workflow_wait_for_orphan() {
    workflow_looks=0
    workflow_is_told=
    while :; do
        workflow_code=$(workflow_recorded_code "$workflow_in_epoch")
        [ -z "$workflow_code" ] || return 0
        workflow_leave_if_interrupted
        if workflow_is_orphan_alive; then
            workflow_looks=0
            [ -n "$workflow_is_told" ] ||
                workflow_say "step $workflow_step $workflow_name still runs, started by a runner that died; waiting for its outcome"
            workflow_is_told=yes
        else
            # Twice, as it may have ended, or may not have become its program yet, between two looks.
            workflow_looks=$((workflow_looks + 1))
            [ "$workflow_looks" -lt 2 ] || return 1
        fi
        sleep 1 8<&-
    done
}

# Its worker's lock is held, and not only by something that an earlier step left behind.
workflow_is_orphan_alive() {
    [ -f "$workflow_worker.lock" ] || return 1
    ! flock -n 1 >>"$workflow_worker.lock" || return 1
    [ -d /proc/self ] || return 0
    for workflow_file in /proc/[0-9]*/environ; do
        if grep -q -F -e "WORKFLOW_STEP=$workflow_step" "$workflow_file" 2>/dev/null &&
            grep -q -F -e "WORKFLOW_RUN_ID=$WORKFLOW_RUN_ID" "$workflow_file" 2>/dev/null; then
            return 0
        fi
    done
    return 1
}

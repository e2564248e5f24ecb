# shellcheck shell=sh
# The worker that runs steps, and the functions a step may call. POSIX sh; sourcing this file
# defines functions and does nothing else.
#
# A step that wants the functions says:   . "$WORKFLOW_LIB/step_execution.sh"
# The runner starts a worker with:        sh -c '. "$0"; workflow_worker' LIB/step_execution.sh
#
# Names: step_* is for steps, workflow_* is ours. A step may source this under `set -eu`, with any IFS
# and any PATH, in sh, bash, ksh, mksh, zsh or yash: nothing here splits words, and the few programs
# it needs are looked for where the system keeps its own.

workflow_newline='
'

# ---------------------------------------------------------------- for steps

# step_output KEY VALUE: publish a value; later steps see it as an environment variable.
step_output() {
    workflow_is_inside step_output "${WORKFLOW_OUTPUT-}" || return 2
    workflow_publish step_output "$WORKFLOW_OUTPUT" "$@"
}

# step_env KEY VALUE: put a variable into the environment of later steps.
step_env() {
    workflow_is_inside step_env "${WORKFLOW_ENV-}" || return 2
    workflow_publish step_env "$WORKFLOW_ENV" "$@"
}

# step_warning TEXT: shown in the summary and kept in the step state; the step goes on.
step_warning() {
    workflow_is_inside step_warning "${WORKFLOW_EVENTS-}" || return 2
    workflow_join "$@"
    workflow_event warning "$workflow_joined" || return
    printf 'warning: %s\n' "$workflow_joined"
}

# step_error TEXT: kept in the step state; it does not end the step.
step_error() {
    workflow_is_inside step_error "${WORKFLOW_EVENTS-}" || return 2
    workflow_join "$@"
    workflow_event error "$workflow_joined" || return
    printf 'error: %s\n' "$workflow_joined" >&2
}

# step_progress DONE TOTAL: shown in the live line.
step_progress() {
    if [ "$#" -ne 2 ] || ! workflow_is_number "$1" || ! workflow_is_number "$2"; then
        printf 'step_progress: wants two whole numbers: step_progress DONE TOTAL\n' >&2
        return 2
    fi
    workflow_is_inside step_progress "${WORKFLOW_EVENTS-}" || return 2
    workflow_event progress "$1 $2"
}

# step_save KEY VALUE, step_load KEY: keep a value across attempts and resumes of this very step.
# step_load returns 1 when nothing was saved.
step_save() {
    workflow_is_inside step_save "${WORKFLOW_STATE-}" || return 2
    workflow_check_key "${1-}" step_save || return 2
    # Written beside and renamed, so that a kill leaves the old value or the new one.
    printf '%s' "${2-}" >"$WORKFLOW_STATE/$1.saving" &&
        workflow_system mv -f "$WORKFLOW_STATE/$1.saving" "$WORKFLOW_STATE/$1.saved"
}

step_load() {
    workflow_is_inside step_load "${WORKFLOW_STATE-}" || return 2
    workflow_check_key "${1-}" step_load || return 2
    [ -f "$WORKFLOW_STATE/$1.saved" ] || return 1
    workflow_system cat "$WORKFLOW_STATE/$1.saved"
}

# step_once NAME COMMAND...: run COMMAND unless it succeeded under NAME before in this run.
step_once() {
    workflow_is_inside step_once "${WORKFLOW_RUN_DIR-}" || return 2
    workflow_check_key "${1-}" step_once || return 2
    if [ "$#" -lt 2 ]; then
        printf 'step_once: wants a name and a command: step_once NAME COMMAND...\n' >&2
        return 2
    fi
    if [ -e "$WORKFLOW_RUN_DIR/state/once_$1" ]; then
        return 0
    fi
    # No `&&` or `if` around the command: it would take the effect of `set -e` away inside it.
    workflow_without_first "$@"
    workflow_once_code=$?
    [ "$workflow_once_code" -eq 0 ] || return "$workflow_once_code"
    true >"$WORKFLOW_RUN_DIR/state/once_$1"
}

# step_checkpoint [NAME]: ask for a snapshot of the run; it is made in a moment, the step does not wait for it.
step_checkpoint() {
    workflow_is_inside step_checkpoint "${WORKFLOW_EVENTS-}" || return 2
    workflow_join "$@"
    workflow_event checkpoint "$workflow_joined"
}

# step_mask VALUE: not in this version; a secret that is not masked must not be printed.
step_mask() {
    printf 'step_mask: masking is not available in this version of workflow; do not print the value\n' >&2
    return 2
}

# ---------------------------------------------------------------- behind them

# workflow_is_inside FUNCTION VALUE: the runner set it for a step. Not `${NAME:?}`: some shells carry on after that.
workflow_is_inside() {
    [ -n "$2" ] || {
        printf '%s: works inside a step only\n' "$1" >&2
        return 1
    }
}

# workflow_publish FUNCTION FILE KEY VALUE
workflow_publish() {
    if [ "$#" -gt 4 ]; then
        printf '%s: wants one value, in quotes: %s KEY "VALUE"\n' "$1" "$1" >&2
        return 2
    fi
    workflow_check_key "${3-}" "$1" || return 2
    if workflow_is_reserved "$3"; then
        printf '%s: the name %s is reserved\n' "$1" "$3" >&2
        return 2
    fi
    case ${4-} in
    *"$workflow_newline"*)
        workflow_end=END
        while workflow_has_line "$4" "$workflow_end"; do
            workflow_end=${workflow_end}_
        done
        printf '%s<<%s\n%s\n%s\n' "$3" "$workflow_end" "$4" "$workflow_end" >>"$2"
        ;;
    *)
        printf '%s=%s\n' "$3" "${4-}" >>"$2"
        ;;
    esac
}

# workflow_has_line TEXT LINE
workflow_has_line() {
    case $workflow_newline$1$workflow_newline in
    *"$workflow_newline$2$workflow_newline"*) return 0 ;;
    *) return 1 ;;
    esac
}

# workflow_check_key KEY FUNCTION. Letters one by one: a range means something else in some locales.
workflow_check_key() {
    case $1 in
    '' | [0123456789]* | *[!ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_]*)
        printf '%s: "%s" is no name: letters, digits and _ only, no digit first\n' "$2" "$1" >&2
        return 1
        ;;
    esac
}

# Names that are ours, or that a shell does not let one export.
workflow_is_reserved() {
    case $1 in
    WORKFLOW_* | workflow_* | files_modified) return 0 ;;
    _ | IFS | LINENO | OPTIND | PPID | UID | EUID | GID | EGID | BASHOPTS | SHELLOPTS) return 0 ;;
    *) return 1 ;;
    esac
}

workflow_is_number() {
    case $1 in
    '' | *[!0123456789]*) return 1 ;;
    esac
}

# Set workflow_joined to the arguments with blanks between, whatever IFS is.
workflow_join() {
    workflow_joined=${1-}
    [ "$#" -eq 0 ] || shift
    for workflow_word in "$@"; do
        workflow_joined="$workflow_joined $workflow_word"
    done
}

workflow_without_first() {
    shift
    "$@"
}

# workflow_system PROGRAM ARGUMENT...: found where the system keeps it, whatever the step did to PATH;
# where the system does not say (command -p finds nothing), in PATH.
workflow_system() {
    if command -p true 2>/dev/null; then
        command -p "$@"
    else
        command "$@"
    fi
}

# One event a line: KIND TEXT, newlines in TEXT folded to blanks.
workflow_event() {
    workflow_event_text=$2
    while :; do
        case $workflow_event_text in
        *"$workflow_newline"*)
            workflow_event_text="${workflow_event_text%%"$workflow_newline"*} ${workflow_event_text#*"$workflow_newline"}"
            ;;
        *) break ;;
        esac
    done
    printf '%s %s\n' "$1" "$workflow_event_text" >>"$WORKFLOW_EVENTS"
}

# workflow_load_values FILE: export what a file of `KEY=value` and `KEY<<END` ... `END` says.
# Read as data, line by line: nothing in it is evaluated. Returns 1 at the first line it cannot read.
# LC_ALL=C: in a locale of many bytes a character that was cut off takes the newline behind it along (bash).
workflow_load_values() {
    while LC_ALL=C IFS= read -r workflow_line || [ -n "$workflow_line" ]; do
        workflow_key=${workflow_line%%[!ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_]*}
        workflow_rest=${workflow_line#"$workflow_key"}
        case $workflow_key in
        '' | [0123456789]*) return 1 ;;
        esac
        ! workflow_is_reserved "$workflow_key" || return 1
        case $workflow_rest in
        '='*) workflow_value=${workflow_rest#=} ;;
        '<<'?*)
            workflow_end=${workflow_rest#'<<'}
            workflow_value=
            workflow_glue=
            while :; do
                # The last line of a file may lack its newline: it still counts.
                LC_ALL=C IFS= read -r workflow_line || [ "$workflow_line" = "$workflow_end" ] || return 1
                [ "$workflow_line" != "$workflow_end" ] || break
                workflow_value=$workflow_value$workflow_glue$workflow_line
                workflow_glue=$workflow_newline
            done
            ;;
        *) return 1 ;;
        esac
        # One string of an environment ends at 128 KiB; a longer one would make every later exec fail.
        [ "${#workflow_value}" -le 120000 ] || return 1
        # `export NAME=value` with a name from a variable: the value is not looked at again.
        export "$workflow_key=$workflow_value" || return 1
    done <"$1"
}

# ---------------------------------------------------------------- for steps.sh

# workflow_text SCRIPT: put the text of a step where an interpreter can read it, line numbers true.
# A file and not an argument: one argument ends at 128 KiB. printf is built in, so no limit holds.
workflow_text() {
    workflow_script=$WORKFLOW_RUN_DIR/state/step_$WORKFLOW_STEP.script
    # Half a text could run to a good end: on a full disk nothing of it may run (`|| return` in steps.sh).
    printf '%s\n' "$1" >"$workflow_script" || {
        printf 'workflow: cannot write the text of this step to %s\n' "$workflow_script"
        return 126
    }
}

# workflow_enter DIRECTORY: relative to the project. The whole path, so that neither CDPATH nor `cd -` is meant.
workflow_enter() {
    case $1 in
    /*) workflow_directory=$1 ;;
    *) workflow_directory=$WORKFLOW_PROJECT/$1 ;;
    esac
    cd -- "$workflow_directory" || {
        printf 'workflow: cannot enter the working directory of this step: %s\n' "$1"
        exit 126
    }
}

# ---------------------------------------------------------------- the worker

# Wants in the environment: WORKFLOW_RUN_DIR, WORKFLOW_PROJECT, WORKFLOW_LIB, WORKFLOW_RUN_ID; and as
# arguments its number, the umask of the user and ours. Reads commands on stdin, answers on stdout:
#   run|plain STEP EPOCH ATTEMPT RESUMED [ITERATION]  ->  STEP EPOCH ATTEMPT EXIT_CODE
#   if STEP EPOCH ATTEMPT RESUMED                     ->  if STEP EPOCH ATTEMPT EXIT_CODE
#   until STEP EPOCH ATTEMPT RESUMED ITERATION        ->  until STEP EPOCH ATTEMPT EXIT_CODE
#   values FILE                                       ->  nothing; loads published values for the steps to come
# Ends when stdin ends, after the step in hand: a runner that died leaves a step that finishes
# and an exit record. Descriptor 9 is the worker's lock, which its steps inherit.
workflow_worker() {
    workflow_exits=$WORKFLOW_RUN_DIR/state/worker_$1.exits
    workflow_umask=$2
    umask "$3"
    cd -- "$WORKFLOW_PROJECT" || return 1
    # shellcheck source=/dev/null
    . "$WORKFLOW_RUN_DIR/steps.sh" || return 1
    # That of a step of another run which has started this one.
    unset WORKFLOW_ITERATION
    # A signal to the whole group ends the step and leaves us to record that.
    workflow_signalled=
    trap 'workflow_signalled=1' TERM INT HUP
    while :; do
        if ! IFS=' ' read -r workflow_word workflow_step workflow_epoch workflow_attempt workflow_resumed workflow_iteration; then
            # A signal that comes between two steps ends the read, not the work.
            [ -n "$workflow_signalled" ] || break
            workflow_signalled=
            continue
        fi
        case $workflow_word in
        run | plain)
            workflow_run_attempt "$workflow_word"
            printf '%s %s %s %s\n' "$workflow_step" "$workflow_epoch" "$workflow_attempt" "$workflow_code"
            ;;
        if | until)
            workflow_run_test "$workflow_word"
            printf '%s %s %s %s %s\n' "$workflow_word" "$workflow_step" "$workflow_epoch" "$workflow_attempt" "$workflow_code"
            ;;
        values) workflow_load_values "$WORKFLOW_RUN_DIR/state/$workflow_step" ;;
        esac
    done
}

# workflow_run_attempt HOW: run one attempt; sets workflow_code, and appends the exit record the moment
# the step ended. A `plain` step has no environment and no directory of its own: it is started as the
# simple command it is, which shells do without copying themselves (dash: vfork), however many steps
# they know. Any other gets a process of its own first.
workflow_run_attempt() {
    if [ "$1" = plain ]; then
        workflow_log=$WORKFLOW_RUN_DIR/logs/step_$workflow_step.log
        workflow_code=nolog
        {
            workflow_code=
            workflow_prepare
            workflow_begin_log
            "workflow_step_$workflow_step"
        } </dev/null >>"$workflow_log" 2>&1 || workflow_code=${workflow_code:-$?}
        # Where the log could not be opened, nothing in the braces was run.
        [ "$workflow_code" = nolog ] || workflow_record_exit "${workflow_code:-0}"
    elif workflow_find_log; then
        (workflow_become_step)
        workflow_record_exit $?
    fi
}

# workflow_run_test if|until: ask a test of the step; sets workflow_code. No attempt, so no exit record.
workflow_run_test() {
    workflow_find_log || return 0
    (workflow_become_test "$1")
    workflow_normalise_code $?
}

workflow_find_log() {
    workflow_log=$WORKFLOW_RUN_DIR/logs/step_$workflow_step.log
    workflow_code=nolog
    true >>"$workflow_log"
}

# In a process of its own, which is the step from here on.
workflow_become_step() {
    workflow_become_apart
    workflow_begin_log
    workflow_load_own "$workflow_files.values"
    "workflow_step_$workflow_step"
}

# Likewise, for a test: `until` sees what the iteration before it has just published.
workflow_become_test() {
    workflow_become_apart
    workflow_load_own "$workflow_files.values"
    if [ "$1" = until ]; then
        workflow_load_own "$workflow_files.output"
        workflow_load_own "$workflow_files.env"
    fi
    "workflow_${1}_$workflow_step"
}

workflow_become_apart() {
    trap - TERM INT HUP
    exec </dev/null >>"$workflow_log" 2>&1
    umask "$workflow_umask"
    workflow_is_apart=yes
    workflow_prepare
    [ -z "${workflow_iteration-}" ] || export WORKFLOW_ITERATION="$workflow_iteration"
}

# workflow_load_own FILE: values of this step alone, if it has any. A step with half of them must not run.
workflow_load_own() {
    [ -f "$1" ] || return 0
    workflow_load_values "$1" || {
        printf 'workflow: cannot read the values for this step: %s\n' "$1"
        exit 126
    }
}

workflow_record_exit() { # CODE; sets workflow_code, too
    workflow_normalise_code "$1"
    printf '%s %s %s %s END\n' "$workflow_step" "$workflow_epoch" "$workflow_attempt" "$workflow_code" >>"$workflow_exits"
}

# workflow_normalise_code CODE: ksh says 256+n and yash 384+n for signal n; the record says 128+n.
workflow_normalise_code() {
    workflow_code=$1
    [ "$workflow_code" -lt 384 ] || workflow_code=$((workflow_code - 128))
    [ "$workflow_code" -lt 256 ] || workflow_code=$((workflow_code - 128))
}

# The environment of one attempt; what is the same for every step is exported once by who starts us.
workflow_prepare() {
    workflow_files=$WORKFLOW_RUN_DIR/state/step_$workflow_step
    export WORKFLOW_STEP="$workflow_step" \
        WORKFLOW_ATTEMPT="$workflow_attempt" \
        WORKFLOW_RESUMED="$workflow_resumed" \
        WORKFLOW_IDEMPOTENCY_KEY="$WORKFLOW_RUN_ID.step_$workflow_step" \
        WORKFLOW_OUTPUT="$workflow_files.output" \
        WORKFLOW_ENV="$workflow_files.env" \
        WORKFLOW_SUMMARY="$workflow_files.summary.md" \
        WORKFLOW_EVENTS="$workflow_files.events" \
        WORKFLOW_STATE="$workflow_files.d"
}

# Attempts are told apart in the log.
workflow_begin_log() {
    if [ -s "$workflow_log" ]; then
        printf -- '--- attempt %s (epoch %s) ---\n' "$workflow_attempt" "$workflow_epoch"
    fi
}

# Run the program of the step, or become it where we are a process of its own already (it is
# set); workflow_optimization.sh has its own, with a session and a limit in time.
workflow_exec() {
    if [ -n "${workflow_is_apart-}" ]; then
        exec "$@"
    fi
    "$@"
}

# workflow_foreground WORKER UMASK STEP EPOCH ATTEMPT RESUMED [ITERATION]: one interactive step, with the
# terminal as it stands; its log says only that.
workflow_foreground() {
    workflow_exits=$WORKFLOW_RUN_DIR/state/worker_$1.exits
    workflow_umask=$2
    workflow_step=$3 workflow_epoch=$4 workflow_attempt=$5 workflow_resumed=$6 workflow_iteration=${7-}
    workflow_log=$WORKFLOW_RUN_DIR/logs/step_$workflow_step.log
    cd -- "$WORKFLOW_PROJECT" || return 1
    # shellcheck source=/dev/null
    . "$WORKFLOW_RUN_DIR/steps.sh" || return 1
    trap : TERM INT HUP
    (
        trap - TERM INT HUP
        workflow_prepare
        workflow_begin_log >>"$workflow_log"
        printf 'interactive: what it said went to the terminal\n' >>"$workflow_log"
        umask "$workflow_umask"
        unset WORKFLOW_ITERATION
        [ -z "$workflow_iteration" ] || export WORKFLOW_ITERATION="$workflow_iteration"
        workflow_load_own "$workflow_files.values"
        "workflow_step_$workflow_step"
    )
    workflow_record_exit $?
    return "$workflow_code"
}

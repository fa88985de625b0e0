#!/bin/sh
# A program whose every start, end and overlap can be counted afterwards.
#
#   witness.sh JOURNAL LINES SECONDS SALT [TRAIT]...
#
# It holds a lock of its own beside the journal, and writes `overlap` when another start holds it; it appends
# `start`, `term` and `end` to the journal, and prints LINES lines, SECONDS apart. Traits:
#   straggler   leaves a child in a session of its own, with an empty environment, deaf to TERM, that keeps the lock
#   deaf        ignores TERM
#   checkpoint  goes on from the line that it reached before, kept in ADIT_CHECKPOINT_DIR
#   device      locks, instead of one lock, one for each device that it was given
#   exit=N      its status
journal=$1 lines=$2 seconds=$3 salt=$4
shift 4
straggler= deaf= checkpoint= device= status=0
for trait in "$@"; do
  case $trait in
    straggler) straggler=1 ;;
    deaf) deaf=1 ;;
    checkpoint) checkpoint=$ADIT_CHECKPOINT_DIR/line ;;
    device) device=1 ;;
    exit=*) status=${trait#exit=} ;;
  esac
done

# A shell says on it that a child of it was ended.
exec 2>>"$journal.errors"

note() { echo "$1 $$ ${2-}" >>"$journal"; }

take() {
  flock -n "$1" || note overlap "$2"
}

if [ -n "$device" ]; then
  fd=5
  for id in $(echo "$CUDA_VISIBLE_DEVICES" | tr , ' '); do
    eval "exec $fd>>'$journal.device.$id.lock'"
    take "$fd" "$id"
    fd=$((fd + 1))
  done
else
  exec 9>>"$journal.lock"
  take 9 program
fi

if [ -n "$deaf" ]; then
  trap '' TERM
else
  trap 'note term; exit 143' TERM
fi
note start "${CUDA_VISIBLE_DEVICES-}"
[ -z "$straggler" ] || env -i /usr/bin/setsid /bin/sh -c 'trap "" TERM HUP INT; sleep 60; :' "$journal" &

line=0
[ -z "$checkpoint" ] || [ ! -s "$checkpoint" ] || line=$(cat "$checkpoint")
while [ "$line" -lt "$lines" ]; do
  line=$((line + 1))
  printf 'line %d \303\274 \033[1m%s\033[0m\n' "$line" "$salt"
  [ -z "$checkpoint" ] || { echo "$line" >"$checkpoint.new" && mv "$checkpoint.new" "$checkpoint"; }
  sleep "$seconds"
done
printf 'done'
[ -z "${ADIT_OUTPUTS_FILE-}" ] || printf '{"lines":%d}' "$line" >"$ADIT_OUTPUTS_FILE"
[ -z "${ADIT_OUTPUT_DIR-}" ] || echo "$salt" >"$ADIT_OUTPUT_DIR/artifact"
note end
exit "$status"

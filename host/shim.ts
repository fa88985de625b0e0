/**
 * The shim: takes the program's lock, waits for the word, runs the program, and writes its status over the blanks
 * of exit.json. Its first argument is flock(1); a fork of this small shell is cheaper than one of the host.
 *
 * Its files are open before the program's first instruction, so nothing that the program does to the folder
 * changes where the status goes:
 *   3  the word: a line comes, or the host has died and the shim ends without a program
 *   4  the file of the program's lock, which everything that inherits it holds
 *   5  exit.json, which the program does not get
 *   6… locks of the leased devices
 * The traps keep the shim alive through the signals that end or warn the group; a caught signal is as it was
 * in the program, which an ignored one would not be.
 * The log is what the program wrote: "Killed" and the like, which the shell says itself, go nowhere.
 */
export const SHIM = `trap : TERM HUP INT QUIT USR1 USR2 ALRM
"$1" -n 4 || exit 125
shift
IFS= read -r word <&3 || exit 125
exec 3<&- 2>/dev/null
(exec "$@" 2>&1 5>&-)
code=$?
printf '{"code":%d}' "$code" >&5`;

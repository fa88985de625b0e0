/**
 * The shim. It waits for the word, runs the program, and writes its status over the blanks of exit.json.
 * The trap keeps it alive through the TERM that ends the group; the program gets the signal undisturbed.
 */
export const SHIM = `dir=$1; shift
trap : TERM HUP INT
IFS= read -r word <&3 || exit 125
exec 3<&-
"$@"
code=$?
printf '{"code":%d}' "$code" 1<>"$dir/exit.json"`;

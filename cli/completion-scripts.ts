/**
 * What makes a shell ask `adit complete -- WORDS`: it prints a candidate a line, with a tab and what it means, and at last
 * `:0` where files stand there too, `:4` where none do. Nothing of a half-written line is evaluated.
 */
export const COMPLETION_SCRIPTS = {
  bash: `# Completion of adit in bash: source <(adit completion bash)
_adit() {
  local line files=4 current="\${COMP_WORDS[COMP_CWORD]}"
  [[ $current == = ]] && current=
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :*) files=\${line#:} ;;
      *) COMPREPLY+=("\${line%%$'\\t'*}") ;;
    esac
  done < <(adit complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if [[ $files == 0 ]]; then
    compopt -o filenames 2>/dev/null
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
  fi
}
complete -F _adit adit
`,
  zsh: `#compdef adit
# Completion of adit in zsh, behind compinit: source <(adit completion zsh)
_adit() {
  local line files=4
  local -a described
  for line in "\${(@f)$(adit complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      :*) files=\${line#:} ;;
      *) described+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}") ;;
    esac
  done
  (( $#described )) && _describe adit described
  [[ $files == 0 ]] && _files
}
compdef _adit adit
`,
  fish: `# Completion of adit in fish: adit completion fish > ~/.config/fish/completions/adit.fish
function __adit_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (adit complete -- $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case ':0'
                __fish_complete_path "$current"
            case ':*'
            case '*'
                echo $line
        end
    end
end
complete -c adit -f -a '(__adit_complete)'
`,
} as const;

export type Shell = keyof typeof COMPLETION_SCRIPTS;

export const SHELLS = Object.keys(COMPLETION_SCRIPTS) as Shell[];

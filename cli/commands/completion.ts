import { Argument, type Command } from 'commander';
import { COMPLETION_SCRIPTS, SHELLS, type Shell } from '../completion-scripts.js';
import { printJson } from '../output.js';

export function registerCompletion(program: Command): void {
  program
    .command('completion')
    .description('Print a script that completes commands, options, step types and runs in a shell.')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .option('--json', 'print { shell, script }')
    .addHelpText(
      'after',
      '\nExamples:\n  $ source <(adit completion bash)          in ~/.bashrc\n  $ source <(adit completion zsh)           in ~/.zshrc, behind compinit\n  $ adit completion fish > ~/.config/fish/completions/adit.fish',
    )
    .action((shell: Shell, options: { json?: boolean }) => {
      const script = COMPLETION_SCRIPTS[shell];
      if (options.json === true) printJson({ shell, script });
      else process.stdout.write(script);
    });
}

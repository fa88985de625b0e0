/** The command `adit`, as cli/adit.js starts it. */
import { runCommandLine } from './command-line.js';
import { EXIT } from './failure.js';

// A reader that stops early (`adit list | head`) is not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.done);
  throw error;
});

const exitCode = await runCommandLine(process.argv.slice(2));
// Idle connections and timers must not keep a finished command alive; what is printed goes out first.
process.stdout.write('', () => process.exit(exitCode));

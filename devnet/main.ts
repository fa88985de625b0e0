/** The program behind `adit devnet`. */
import { runDevnetCommand } from './command.js';

process.stdout.on('error', () => undefined);
// Before anything starts: whoever reads the ready line may end us at once, and then all must be closed too.
let times = 0;
const asked = new Promise<void>((resolve) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      times += 1;
      // Whoever asks again does not want to wait.
      if (times > 2) process.exit(130);
      resolve();
    });
  }
});
const result = await runDevnetCommand(process.argv.slice(2), process.env, {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});
if (typeof result === 'number') {
  process.exitCode = result;
} else {
  await asked;
  await result.close();
  process.exit(0);
}

/** The devnet's validator, a process of its own. See `--help`. */
import { mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { createCoordinatorClient } from './coordinator-client.js';
import { runCycle, runLoop, type Validator } from './loop.js';
import { openHotkey } from './signing.js';

const USAGE = `Usage: node dist/devnet/validator/main.js --coordinator URL --hotkey FILE --home DIR [options]

Takes validator jobs from a coordinator and replays them. Runs the tasks' commands without a sandbox.

  --coordinator URL    base address of the coordinator
  --hotkey FILE        plain Bittensor hotkey file of the validator
  --home DIR           where checkouts are made and removed
  --ca FILE            certificates (PEM) to trust for artifacts, besides the usual ones
  --interval SECONDS   pause between two scans (default 1)
  --once               one cycle, then exit: 0 when it succeeded, 1 when not
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      coordinator: { type: 'string' },
      hotkey: { type: 'string' },
      home: { type: 'string' },
      ca: { type: 'string' },
      interval: { type: 'string', default: '1' },
      once: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const { coordinator, hotkey, home } = values;
  const intervalMs = Number(values.interval) * 1_000;
  if (!coordinator || !hotkey || !home || !Number.isFinite(intervalMs) || intervalMs < 0) {
    process.stderr.write(USAGE);
    return 2;
  }
  const ending = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => ending.abort(new Error(`ended by ${signal}`)));
  }
  const folder = path.join(path.resolve(home), 'replays');
  // What is there was left by a validator that was killed.
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const signer = await openHotkey(hotkey);
  const report = (line: string): void => {
    process.stdout.write(`${new Date().toISOString()} validator ${line}\n`);
  };
  const validator: Validator = {
    client: createCoordinatorClient(coordinator, signer),
    replaySettings: {
      folder,
      ca: values.ca === undefined ? undefined : await readFile(values.ca, 'utf8'),
      signal: ending.signal,
    },
    report,
  };
  report(`ready: hotkey ${signer.address}, coordinator ${coordinator}`);
  if (values.once) {
    await runCycle(validator);
  } else {
    await runLoop(validator, intervalMs);
  }
  return 0;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`validator: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  },
);

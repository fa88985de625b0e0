#!/usr/bin/env node
// The command `adit`, in plain JavaScript that any Node runs: it says what is missing before it loads the build.
import { existsSync } from 'node:fs';

const REQUIRED = [20, 19];

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const main = new URL('../dist/cli/main.js', import.meta.url);

if (major < REQUIRED[0] || (major === REQUIRED[0] && minor < REQUIRED[1])) {
  fail(
    'NODE_TOO_OLD',
    `Adit needs Node ${REQUIRED.join('.')} or newer; this is Node ${process.versions.node}.`,
    'Install a newer Node, then run the command again.',
  );
} else if (!existsSync(main)) {
  fail(
    'NOT_BUILT',
    'Adit is not built: dist/ is missing. Were install scripts skipped (npm ci --ignore-scripts)?',
    'Run `npm run build` in the checkout, or `npm ci` with scripts allowed.',
  );
} else {
  await import(main.href);
}

/** @param {string} code @param {string} message @param {string} hint */
function fail(code, message, hint) {
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ error: { code, message, hint } })}\n`);
  } else {
    process.stderr.write(`error: ${message}\n${hint}\n`);
  }
  process.exitCode = 2;
}

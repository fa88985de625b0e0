import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { findProgram } from './child-process.js';
import { CliFailure } from './failure.js';
import { forwardSignals } from './foreground.js';
import { reachHosts } from './hosts.js';
import { note, print } from './output.js';
import { readSettings } from './session.js';
import { deviceLines, hostHead, hostToJson } from './host-words.js';

/**
 * `adit host`: the process host of the settings' state folder, in place of this command; returns its exit code.
 * Throws CliFailure HOST_RUNNING when one is there.
 */
export async function runHost(flags: {
  readonly idleExit?: number;
  readonly containment?: string;
  readonly gpus?: string;
  readonly json?: boolean;
}): Promise<number> {
  const settings = await readSettings();
  const { stateDir } = settings;
  const running = await findOwn(stateDir);
  if (running !== null) {
    throw new CliFailure(
      'HOST_RUNNING',
      `A process host already runs for ${stateDir} (process ${running.pid}, build ${running.build}).`,
      {
        hint: `One is enough. To replace it: kill ${running.pid}, then start this one; its programs go on meanwhile.`,
      },
    );
  }
  const gpus =
    flags.gpus ?? (settings.gpus === null ? undefined : settings.gpus.join(',') || 'none');
  const args = [
    '--state-dir',
    stateDir,
    ...(flags.idleExit === undefined ? [] : ['--idle-exit', String(flags.idleExit)]),
    ...(flags.containment === undefined ? [] : ['--containment', flags.containment]),
    ...(gpus === undefined ? [] : ['--gpus', gpus]),
  ];
  const child = spawn(process.execPath, [findProgram('host/main.js'), ...args], {
    stdio: ['inherit', 'pipe', 'inherit'],
  });
  const release = forwardSignals(child);
  createInterface({ input: child.stdout }).once('line', () => {
    void tellReady(stateDir, flags.json === true || !process.stdout.isTTY);
  });
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) =>
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
      );
    });
  } finally {
    release();
  }
}

async function tellReady(stateDir: string, json: boolean): Promise<void> {
  const reached = await reachHosts(stateDir);
  try {
    const own = reached.hosts.find((host) => host.stateDir === stateDir);
    if (own === undefined) note('The process host is ready, but does not answer.');
    else if (json) print(JSON.stringify({ ready: true, ...hostToJson(own) }));
    else {
      // What it can promise it has said itself, to stderr.
      print(hostHead(own));
      for (const line of deviceLines(own)) print(line);
      print('Its programs go on when it ends. Ctrl-C ends it.');
    }
  } finally {
    reached.close();
  }
}

async function findOwn(stateDir: string): Promise<{ pid: number; build: string } | null> {
  const reached = await reachHosts(stateDir);
  reached.close();
  return reached.hosts.find((host) => host.stateDir === stateDir)?.info ?? null;
}

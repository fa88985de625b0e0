/**
 * Keeps the validator running as a process of its own, as on the real network it is somebody else's
 * machine: it is started again when it dies, and its being stopped is told, not hidden.
 *
 *   stopped ──start──► running ──dies──► waiting ──delay──► running
 *      ▲                  │                 │
 *      └───────stop───────┴───────stop──────┘
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const FIRST_DELAY_MS = 1_000;
const MOST_DELAY_MS = 30_000;
/** One that ran this long was healthy: its death starts the delays from the beginning. */
const HEALTHY_MS = 60_000;
const END_GRACE_MS = 10_000;
const WATCH_MS = 1_000;

/**
 * Loaded before the program: its standard input ends when the devnet does, however that comes about,
 * and a validator without its devnet would ask a dead coordinator for ever.
 */
const END_WITH_PARENT = `data:text/javascript,${encodeURIComponent(
  "process.stdin.on('end', () => process.kill(process.pid, 'SIGTERM')).resume().unref();",
)}`;

export interface ValidatorProcess {
  start(): void;
  /** Ends it and everything it started; it stays ended until `start`. */
  stop(): Promise<void>;
  status(): { running: boolean; pid: number | null };
}

export function createValidatorProcess(parts: {
  /** The compiled program. */
  entry: string;
  args: readonly string[];
  /** Its log and the record of its process lie here. */
  folder: string;
  report: (line: string) => void;
}): ValidatorProcess {
  const { entry, report } = parts;
  const pidFile = path.join(parts.folder, 'validator.pid');
  const logFile = path.join(parts.folder, 'validator.log');
  let child: ChildProcess | null = null;
  let wanted = false;
  let delayMs = FIRST_DELAY_MS;
  let restart: NodeJS.Timeout | null = null;
  let watch: NodeJS.Timeout | null = null;
  endLeftOver(pidFile, entry);

  const launch = (): void => {
    const log = openSync(logFile, 'a', 0o600);
    const started = spawn(process.execPath, ['--import', END_WITH_PARENT, entry, ...parts.args], {
      stdio: ['pipe', log, log],
      detached: true,
    });
    closeSync(log);
    child = started;
    const startedAt = Date.now();
    if (started.pid !== undefined) writeFileSync(pidFile, `${started.pid}\n`);
    started.on('error', (error) => {
      report(`the validator cannot be started: ${error.message}`);
    });
    started.stdin?.on('error', () => started.stdin?.destroy());
    started.on('close', (code, signal) => {
      child = null;
      rmSync(pidFile, { force: true });
      if (!wanted) return;
      if (Date.now() - startedAt > HEALTHY_MS) delayMs = FIRST_DELAY_MS;
      report(
        `the validator ended (${signal ?? `exit ${code ?? '?'}`}); submissions wait. Log: ${logFile}`,
      );
      restart = setTimeout(launch, delayMs);
      delayMs = Math.min(delayMs * 2, MOST_DELAY_MS);
    });
  };
  const watchForStop = (): NodeJS.Timeout => {
    let wasStopped = false;
    const timer = setInterval(() => {
      const stopped = child?.pid !== undefined && isStopped(child.pid);
      if (stopped && !wasStopped)
        report('the validator is stopped by a signal; submissions wait until it goes on');
      if (!stopped && wasStopped) report('the validator goes on');
      wasStopped = stopped;
    }, WATCH_MS);
    timer.unref();
    return timer;
  };

  return {
    start: () => {
      if (wanted) return;
      wanted = true;
      delayMs = FIRST_DELAY_MS;
      watch = watchForStop();
      launch();
    },
    stop: async () => {
      wanted = false;
      if (restart !== null) clearTimeout(restart);
      if (watch !== null) clearInterval(watch);
      const running = child;
      if (running?.pid === undefined) return;
      const closed = once(running, 'close');
      signalGroup(running.pid, 'SIGTERM');
      // One that was stopped by a signal hears nothing until it goes on.
      signalGroup(running.pid, 'SIGCONT');
      const grace = setTimeout(() => {
        if (running.pid !== undefined) signalGroup(running.pid, 'SIGKILL');
      }, END_GRACE_MS);
      await closed;
      clearTimeout(grace);
    },
    status: () => ({ running: child !== null, pid: child?.pid ?? null }),
  };
}

/** Ends the validator of a devnet that was killed before it could: two of them would take the same jobs. */
function endLeftOver(pidFile: string, entry: string): void {
  if (!existsSync(pidFile)) return;
  const pid = Number.parseInt(readFileSync(pidFile, 'utf8'), 10);
  const commandLine = `/proc/${pid}/cmdline`;
  if (pid > 1 && existsSync(commandLine)) {
    const args = readFileSync(commandLine, 'utf8').split('\0');
    // The number may belong to another process by now.
    if (args.includes(entry) && args.includes(path.dirname(pidFile))) signalGroup(pid, 'SIGKILL');
  }
  rmSync(pidFile, { force: true });
}

function isStopped(pid: number): boolean {
  try {
    return /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    // No such file: another system, or a process that just ended.
    return false;
  }
}

/** The group, not the process alone: a replay runs commands of its own. */
function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'ESRCH') throw error;
  }
}

/**
 * Ends programs whose run is over without their having been told: the run was terminated, it timed out, or the
 * server lost it. Asked at start, every minute, and when a step is told that it is known no longer, for each run that
 * the host lists, of the server that knows it.
 *
 * Only that very server's word counts: a program of another server or namespace is left alone, and an error of the
 * connection says nothing about a run.
 */
import type { Processes } from '../adapters/processes/processes.js';
import { errorMessage } from '../core/error.js';
import type { EndReason, HostProgramSpec } from '../core/host-protocol.js';

export interface RunWatchOptions {
  readonly processes: Pick<Processes, 'list' | 'endRun'>;
  readonly server: NonNullable<HostProgramSpec['server']>;
  /** What the server says of a run; throws when it cannot be asked. */
  readonly describeRun: (runId: string) => Promise<'open' | 'closed' | 'unknown'>;
  /** What an operator should know, a line each. */
  readonly onRemark: (text: string) => void;
  readonly everyMs?: number;
}

const EVERY_MS = 60_000;

const REASONS = { closed: 'runClosed', unknown: 'runUnknown' } as const satisfies Record<
  string,
  EndReason
>;

/** Watches until it is stopped. The first look is made at once; `look` makes another. */
export function watchRuns(options: RunWatchOptions): {
  readonly look: () => void;
  readonly stop: () => void;
} {
  // One run whose program cannot be ended, or whose host is silent, must not keep the others from being looked at.
  const underWay = new Set<string>();
  const look = (): void => void endClosedRuns(options, underWay);
  const timer = setInterval(look, options.everyMs ?? EVERY_MS);
  timer.unref();
  look();
  return { look, stop: () => clearInterval(timer) };
}

/**
 * One look at every run but those `underWay` from an earlier one. Never throws: what could not be asked or ended is
 * looked at again next time.
 */
export async function endClosedRuns(
  options: RunWatchOptions,
  underWay: Set<string> = new Set(),
): Promise<void> {
  const { processes, server, onRemark } = options;
  try {
    const programs = await processes.list();
    const ours = programs.filter(
      (program) =>
        program.server?.address === server.address && program.server.namespace === server.namespace,
    );
    const runIds = [...new Set(ours.map((program) => program.runId))];
    const looks = runIds
      .filter((runId) => !underWay.has(runId))
      .map(async (runId) => {
        underWay.add(runId);
        try {
          await endIfClosed(runId, options);
        } finally {
          underWay.delete(runId);
        }
      });
    const failed = (await Promise.allSettled(looks)).filter((one) => one.status === 'rejected');
    for (const message of new Set(failed.map(({ reason }) => errorMessage(reason)))) {
      onRemark(`A run of this machine's programs could not be looked up or ended: ${message}`);
    }
  } catch (error) {
    onRemark(`The programs of this machine could not be listed: ${errorMessage(error)}`);
  }
}

async function endIfClosed(
  runId: string,
  { processes, server, describeRun, onRemark }: RunWatchOptions,
): Promise<void> {
  const standing = await describeRun(runId);
  if (standing === 'open') return;
  const ended = await processes.endRun(runId, REASONS[standing]);
  if (ended === 0) return;
  onRemark(
    `Ended ${ended === 1 ? 'a program' : `${ended} programs`} of the run ${runId}, which ${standing === 'closed' ? 'is over' : `${server.address} does not know`}.`,
  );
}

/** Plays one schedule: a fresh network, one run, its faults placed by events, and what is known afterwards. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { ServerChoice } from '../../adapters/temporal-server/choose-server.js';
import { connectTo } from '../../adapters/temporal-server/connect.js';
import { errorMessage } from '../../core/error.js';
import type { Network, Plan } from '../../core/plan.js';
import type { RunState } from '../../core/run-state.js';
import type { RunView } from '../../core/run-view.js';
import { boundaryText, type TraceEvent } from '../../rehearse/boundary.js';
import type { RunEnd, RunFacts } from '../../rehearse/facts.js';
import { FAULTS, lasts } from '../../rehearse/fault.js';
import type { Violation } from '../../rehearse/invariants.js';
import type { Placement, Schedule } from '../../rehearse/schedule.js';
import type { RehearsedRun } from '../../testing/rehearsal-rules.js';
import { isLostServer } from '../failure.js';
import { findPackage } from '../../adapters/package/find-package.js';
import { roundLockOf } from '../round-lock.js';
import { describeRun, readRunFromServer, toRunStatus } from '../run-record.js';
import { createSession, type Session } from '../session.js';
import { networkOf, startRun } from '../start-run.js';
import { readBase, type Base } from './base.js';
import { collectFacts } from './collect-facts.js';
import { toRehearsedRun } from './rehearsed-run.js';
import { tellsOf, toDevnetFault } from './devnet-faults.js';
import { traceOf, type JournalLine } from './journals.js';
import { placeFault } from './place-fault.js';
import type { Lane, SitePool } from './site-pool.js';
import type { Site } from './site.js';

const LOOK_EVERY_MS = 20;
/** The server is asked less often than the journals are read. */
const ASK_EVERY_MS = 250;
/** A run of which nothing is heard for so long may wait for a person: only then its worker is asked for its steps. */
const QUIET_MS = 2_000;
/** A step that waits for a person may be taken up again by a worker that is just starting. */
const PARKED_FOR_MS = 5_000;

export interface PlayOptions {
  readonly sites: SitePool;
  readonly server: ServerChoice;
  readonly restartServer: () => Promise<void>;
  /** The plan for the network of this run, with the patience of a rehearsal. */
  readonly bind: (network: Network) => Plan;
  /** Steps that are not played: what they would have given. */
  readonly state: RunState | null;
  /** Those of the author's own rules that the run has broken. */
  readonly checkRules: (run: RehearsedRun) => readonly Violation[];
  /** Longest time for the run, in milliseconds. */
  readonly limitMs: number;
  readonly signal: AbortSignal;
}

export interface Played {
  readonly facts: RunFacts;
  /** Those of the author's own rules that it has broken. */
  readonly broken: readonly Violation[];
  /** Placements whose fault has happened, by the word of the other side. */
  readonly fired: readonly Placement[];
  readonly trace: readonly TraceEvent[];
  /** The part of the trace that was not played, but taken from a run before. */
  readonly prefix: readonly TraceEvent[];
  /** Why the run has not ended; null when it has. */
  readonly openBecause: string | null;
  readonly tookMs: number;
}

/** From its first step to its end. */
export async function playSchedule(schedule: Schedule, options: PlayOptions): Promise<Played> {
  return options.sites.with(async (lane) => playOn(lane, schedule, null, options));
}

/**
 * From right before its first effect, with what a run without a fault on the same site has left; such a run comes first
 * where there was none. From its first step where nothing comes before the first effect.
 */
export async function playFromEffects(schedule: Schedule, options: PlayOptions): Promise<Played> {
  return options.sites.with(async (lane) => {
    if (lane.base === null) {
      const { isFit } = await playOn(lane, [], null, options);
      if (!isFit)
        throw new Error('the run without a fault, which is to be gone on from, has failed');
    }
    return playOn(lane, schedule, lane.base, options);
  });
}

async function playOn(
  lane: Lane,
  schedule: Schedule,
  base: Base | null,
  options: PlayOptions,
): Promise<{ readonly result: Played; readonly isFit: boolean }> {
  const beganMs = performance.now();
  const { site } = lane;
  if (lane.isWorkerSpent) await site.restart('worker');
  lane.isWorkerSpent = schedule.some(({ fault }) => lasts(fault));
  await site.begin({
    stops: schedule.flatMap(({ boundary }) =>
      boundary.kind === 'record' ? [boundaryText(boundary)] : [],
    ),
    laggingLists: schedule.some(({ fault }) => fault === 'lagging_lists'),
    before: base?.lines ?? [],
  });
  const session: Session = {
    ...(await createSession(await connectTo(options.server), options.server)),
    settings: site.settings,
  };
  try {
    const play = new Play(schedule, { site, base }, session, options);
    const played = await play.run();
    const { facts, fired, openBecause } = played;
    const isFit = openBecause === null && facts.left === 0 && fired.length === schedule.length;
    if (isFit && schedule.length === 0 && base === null) lane.base = await play.readBase();
    return { result: { ...played, tookMs: performance.now() - beganMs }, isFit };
  } finally {
    await session.close();
  }
}

/** How the run stands: still open, or over. */
interface Ended {
  readonly view: RunView | null;
  readonly end: RunEnd;
}

class Play {
  readonly #site: Site;
  readonly #session: Session;
  readonly #options: PlayOptions;
  readonly #base: Base | null;
  readonly #lines: JournalLine[];
  readonly #fired: Placement[] = [];
  readonly #runIds: string[] = [];
  #plan: Plan | null = null;
  #heardAtMs = Date.now();
  #waiting: Placement[];
  #parkedSince: { readonly path: string; readonly atMs: number } | null = null;

  constructor(
    schedule: Schedule,
    { site, base }: { readonly site: Site; readonly base: Base | null },
    session: Session,
    options: PlayOptions,
  ) {
    this.#waiting = [...schedule];
    this.#site = site;
    this.#base = base;
    this.#lines = [...(base?.lines ?? [])];
    this.#session = session;
    this.#options = options;
  }

  async run(): Promise<Omit<Played, 'tookMs'>> {
    const site = this.#site;
    await this.#askDevnet();
    const network = await networkOf(site.settings);
    const plan = this.#options.bind(network);
    this.#plan = plan;
    const lockId = roundLockOf(plan, site.settings);
    const state = this.#base?.state ?? this.#options.state;
    const { runId } = await startRun(this.#session, plan, () => {}, {
      ...(state === null ? {} : { state }),
      ...(lockId === null ? {} : { lockId }),
    });
    this.#runIds.push(runId);
    let ended = await this.#follow(runId);
    let last = runId;
    if (typeof ended !== 'string' && this.#has('cancel_and_retry')) {
      last = await this.#retry(runId);
      this.#runIds.push(last);
      ended = await this.#follow(last);
    }
    const over = typeof ended === 'string' ? null : ended;
    await this.#settle();
    const view = over === null ? await this.#view(last) : over.view;
    const facts = await collectFacts(site, {
      roundId: runId,
      runIds: this.#runIds,
      baseId: this.#base?.runId ?? null,
      end: over?.end ?? null,
      view,
      hotkey: network.hotkey,
    });
    const faults = this.#fired.map(({ fault }) => fault);
    return {
      facts,
      broken: this.#options.checkRules(
        toRehearsedRun(facts, view, { inputs: plan.inputs, faults }),
      ),
      fired: this.#fired,
      trace: traceOf(this.#lines),
      prefix: traceOf(this.#base?.lines ?? []),
      openBecause: typeof ended === 'string' ? ended : null,
    };
  }

  /** After a run without a fault: what others can go on from. */
  async readBase(): Promise<Base | null> {
    const [runId] = this.#runIds;
    if (runId === undefined || this.#plan === null) return null;
    return readBase(this.#session, runId, this.#plan, this.#lines);
  }

  /** The end of a run; or why it is not waited for any longer. */
  async #follow(runId: string): Promise<Ended | string> {
    const untilMs = Date.now() + this.#options.limitMs;
    for (let askedMs = 0; Date.now() < untilMs;) {
      this.#options.signal.throwIfAborted();
      await this.#placeWhatIsDue(runId);
      if (Date.now() - askedMs >= ASK_EVERY_MS) {
        askedMs = Date.now();
        const found = await this.#ask(runId);
        if (found !== null) return found;
      }
      await sleep(LOOK_EVERY_MS);
    }
    return `it had not ended after ${this.#options.limitMs / 1_000} s`;
  }

  async #ask(runId: string): Promise<Ended | string | null> {
    try {
      const description = await describeRun(this.#session, runId);
      if (description === null) return null;
      const status = toRunStatus(description.status.name);
      if (status === 'running')
        return Date.now() - this.#heardAtMs < QUIET_MS ? null : await this.#askForParked(runId);
      const view = await this.#view(runId);
      const ended = view?.status ?? status;
      return {
        view,
        end: {
          status: ended === 'running' ? 'cancelled' : ended,
          code: view?.error?.code ?? null,
        },
      };
    } catch (error) {
      // Its server may be away because that is the fault.
      if (isLostServer(error)) return null;
      throw error;
    }
  }

  async #askForParked(runId: string): Promise<string | null> {
    const view = await this.#view(runId);
    const parked = view?.steps.find(({ status }) => status === 'parked');
    if (parked === undefined) {
      this.#parkedSince = null;
      return null;
    }
    if (this.#parkedSince?.path !== parked.path)
      this.#parkedSince = { path: parked.path, atMs: Date.now() };
    if (Date.now() - this.#parkedSince.atMs < PARKED_FOR_MS) return null;
    const why = parked.error === undefined ? '' : ` (${parked.error.code})`;
    return `it waits for a person at ${parked.path}${why}`;
  }

  async #view(runId: string): Promise<RunView | null> {
    return (
      (await readRunFromServer(this.#session, runId, [this.#site.settings.stateDir]))?.view ?? null
    );
  }

  async #placeWhatIsDue(runId: string): Promise<void> {
    const lines = this.#site.readJournals();
    this.#lines.push(...lines);
    if (lines.length > 0) this.#heardAtMs = Date.now();
    for (const line of lines) {
      const due = this.#waiting.find((placement) => tellsOf(line, placement));
      if (due === undefined) continue;
      this.#waiting = this.#waiting.filter((one) => one !== due);
      this.#fired.push(due);
      if (FAULTS[due.fault].by === 'devnet') continue;
      await placeFault(due.fault, line, {
        site: this.#site,
        session: this.#session,
        restartServer: this.#options.restartServer,
        runId,
      });
      // What it was asked for is forgotten with it.
      if (due.fault === 'restart_coordinator') await this.#askDevnet();
    }
  }

  async #askDevnet(): Promise<void> {
    for (const placement of this.#waiting) {
      const { boundary } = placement;
      const seen = this.#lines.filter(
        (line) =>
          boundary.kind !== 'record' &&
          line.event === 'request' &&
          line.service === boundary.service &&
          line.route === boundary.route,
      ).length;
      const fault = toDevnetFault(placement, seen);
      if (fault !== null) await this.#site.admin('POST', 'faults', fault);
    }
  }

  /** What is still on its way at the devnet arrives now: it counts. */
  async #settle(): Promise<void> {
    await this.#site.admin('DELETE', 'faults');
    this.#lines.push(...this.#site.readJournals());
  }

  #has(fault: Placement['fault']): boolean {
    return this.#fired.some((one) => one.fault === fault);
  }

  /** As an operator does it; the id of the new run. */
  async #retry(runId: string): Promise<string> {
    const args = [
      path.join(findPackage().root, 'cli', 'adit.js'),
      'retry',
      runId,
      '--detach',
      '--json',
    ];
    try {
      const { stdout } = await promisify(execFile)(process.execPath, args, {
        env: this.#site.env,
        cwd: this.#site.settings.stateDir,
        signal: this.#options.signal,
      });
      return (JSON.parse(stdout) as { runId: string }).runId;
    } catch (error) {
      throw new Error(
        `adit retry ${runId}: ${errorMessage(error)} ${String((error as { stdout?: unknown }).stdout ?? '')}`,
        { cause: error },
      );
    }
  }
}

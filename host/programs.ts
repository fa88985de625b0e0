/** All programs of a host: those that live, and whatever an earlier host left when it died. */
import { readdir, unlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorMessage } from '../core/error.js';
import type {
  EndReason,
  HostMethods,
  ProgramListing,
  ProgramPlace,
} from '../core/host-protocol.js';
import { programFiles } from './program-files.js';
import { forgetIndex, isEntry, readIndex } from './program-index.js';
import { readEnding, readOwner, toProgramEnd } from './program-records.js';
import { StepPrograms, type Caller, type StepContext } from './step-programs.js';

type Params<M extends keyof HostMethods> = HostMethods[M]['params'];

export interface Programs {
  run(params: Params<'run'>, caller: Caller): Promise<HostMethods['run']['result']>;
  end(params: Params<'end'>): Promise<HostMethods['end']['result']>;
  endRun(params: Params<'endRun'>): Promise<HostMethods['endRun']['result']>;
  extend(params: Params<'extend'>): Promise<HostMethods['extend']['result']>;
  list(): readonly ProgramListing[];
  /** True when nothing lives, waits or is under way. */
  isIdle(): boolean;
  /** Goes through the index of live starts; once, before anything is served. */
  takeOver(): Promise<void>;
  endAll(reason: EndReason): Promise<void>;
  /** Lets go of every program: they live on. Resolves when no decision is under way any more. */
  detach(): Promise<void>;
}

const TICK_MS = 1_000;
/** How long a host that stops waits for decisions under way. */
const SETTLE_MS = 3_000;

export function createPrograms(context: StepContext): Programs {
  const steps = new Map<string, StepPrograms>();
  let ticker: NodeJS.Timeout | null = null;

  function stepOf(place: Pick<ProgramPlace, 'runId' | 'stepPath'>): StepPrograms {
    const key = JSON.stringify([place.runId, place.stepPath]);
    const known = steps.get(key);
    if (known !== undefined) return known;
    const step = new StepPrograms(context, place);
    steps.set(key, step);
    startTicking();
    return step;
  }

  /** One clock for all; none when there is nothing to look at. */
  function startTicking(): void {
    ticker ??= setInterval(tick, TICK_MS);
    ticker.unref();
  }

  function tick(): void {
    const nowMs = Date.now();
    for (const [key, step] of steps) {
      if (step.isIdle) steps.delete(key);
      for (const program of step.programs) {
        program.tick(nowMs).catch((error: unknown) => {
          context.onRemark(`A program could not be looked at: ${errorMessage(error)}`);
        });
      }
    }
    if (steps.size > 0 || ticker === null) return;
    clearInterval(ticker);
    ticker = null;
  }

  async function takeOverOne(file: string): Promise<void> {
    const entry = readIndex(file);
    if (entry === null) {
      // Half-written when the power went; nothing was started before it was whole.
      await unlink(file).catch(() => {});
      return;
    }
    const { root } = programFiles(context.stateDir, entry);
    const owner = readOwner(root);
    // The word was never given, so nothing ran; or the end is on the disk already.
    const isOver =
      owner === null ||
      owner.marker !== entry.marker ||
      toProgramEnd(readEnding(root, entry.marker)) !== null;
    if (isOver) forgetIndex(context.shims.index, entry.marker);
    else await stepOf(entry).takeOver(entry.start, owner);
  }

  return {
    run: (params, caller) => stepOf(params.place).run(params, caller),
    end: async ({ token, reason, ...step }) => ({ ended: await stepOf(step).end(token, reason) }),

    async endRun({ runId, stepPath, reason }) {
      const meant = [...steps.values()].filter((step) =>
        step
          .listings()
          .some((one) => one.runId === runId && (stepPath ?? one.stepPath) === one.stepPath),
      );
      const ended = await Promise.all(meant.map((step) => step.endNow(reason)));
      return { ended: ended.reduce((sum, count) => sum + count, 0) };
    },

    extend: async ({ byMs, ...step }) => ({ endsAtMs: await stepOf(step).extend(byMs) }),
    list: () => [...steps.values()].flatMap((step) => step.listings()),
    isIdle: () => [...steps.values()].every((step) => step.isIdle),

    async takeOver() {
      const names = await readdir(context.shims.index);
      for (const name of names.filter(isEntry)) {
        const file = path.join(context.shims.index, name);
        await takeOverOne(file).catch((error: unknown) => {
          context.onRemark(`${file} could not be taken over: ${errorMessage(error)}`);
        });
      }
      const kept = new Set((await readdir(context.shims.index)).filter(isEntry));
      for (const name of names.filter((one) => !isEntry(one))) {
        if (kept.has(name.replace(/\.lock$/, '.json'))) continue;
        await unlink(path.join(context.shims.index, name)).catch(() => {});
      }
    },

    async endAll(reason) {
      await Promise.all([...steps.values()].map((step) => step.endNow(reason)));
    },

    async detach() {
      const settled = Promise.all([...steps.values()].map((step) => step.settled()));
      // An end that takes its grace is gone on with by the next host.
      await Promise.race([settled, sleep(SETTLE_MS, undefined, { ref: false })]);
      for (const step of steps.values()) for (const program of step.programs) program.detach();
      if (ticker !== null) clearInterval(ticker);
      ticker = null;
    },
  };
}

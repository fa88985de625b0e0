/**
 * The programs of one step, over all its starts.
 *
 *   absent ──► waiting for a device ──► alive (program.ts) ──► ended: on the disk only
 *
 * Invariants:
 * 1. Never more than one program of a step is alive: a start first ends whatever lives of the others.
 * 2. The newest token rules, also after this host has died; an older one changes nothing.
 * 3. Decisions are made one at a time, in the order in which they were asked for; waiting for a device or for the
 *    end of a program holds up none.
 */
import { mkdirSync } from 'node:fs';
import {
  PROGRAM_RECORD_VERSION,
  type EndReason,
  type HostMethods,
  type HostProgramSpec,
  type ProgramEnd,
  type ProgramEvent,
  type ProgramListing,
  type ProgramPlace,
  type ProgramToken,
} from '../core/host-protocol.js';
import { beginProgram, limitUsedUp, type BeginContext } from './begin-program.js';
import type { DeviceLease, DeviceQueue } from './device-queue.js';
import { look } from './process-table.js';
import { ranBefore } from './program-clock.js';
import { programFiles, startsOf, stepFolder } from './program-files.js';
import {
  describeSpec,
  isSameProgram,
  readEnding,
  readExtension,
  readOwner,
  readSpec,
  readToken,
  toProgramEnd,
  UNKNOWN_SPEC,
  writeExtension,
  writeToken,
  type OwnerRecord,
  type SpecRecord,
} from './program-records.js';
import { forgetIndex, lockFileOf } from './program-index.js';
import { followProgram, type Program } from './program.js';
import { toStartError } from './start-error.js';
import { nothingLives, outOfReach, takenOver, tooNew } from './program-refusals.js';
import type { StartedProgram } from './start-program.js';

/** What all steps of a host share. */
export interface StepContext extends BeginContext {
  readonly queue: DeviceQueue;
  readonly onRemark: (text: string) => void;
}

/** Who asked: its connection, or its request alone, may go away. */
export interface Caller {
  readonly signal: AbortSignal;
  readonly onEvent: (event: ProgramEvent) => void;
}

type RunParams = HostMethods['run']['params'];
type RunResult = HostMethods['run']['result'];

interface Follower {
  readonly program: Program;
  readonly token: ProgramToken;
  readonly onEvent: (event: ProgramEvent) => void;
  readonly reject: (error: Error) => void;
}

interface Waiting {
  readonly place: ProgramPlace;
  readonly server: HostProgramSpec['server'];
  /** Aborted with a StepError when another attempt took over, with an EndReason when somebody ended it. */
  readonly controller: AbortController;
  reason: string;
}

/** A start whose decision is made: what the caller waits for, outside of the step's turn. */
interface Pending {
  readonly reply: () => Promise<RunResult>;
}

export class StepPrograms {
  readonly #context: StepContext;
  readonly #step: Pick<ProgramPlace, 'runId' | 'stepPath'>;
  readonly #folder: string;
  readonly #programs: Program[] = [];
  readonly #followers = new Set<Follower>();
  #waiting: Waiting | null = null;
  #token: ProgramToken | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #turns = 0;

  constructor(context: StepContext, step: Pick<ProgramPlace, 'runId' | 'stepPath'>) {
    this.#context = context;
    this.#step = { runId: step.runId, stepPath: step.stepPath };
    this.#folder = stepFolder(context.stateDir, step);
  }

  /** Programs that live; those that are ending count. */
  get programs(): readonly Program[] {
    return this.#programs;
  }

  /** True when nothing of the step is held in memory that the disk does not have. */
  get isIdle(): boolean {
    return this.#programs.length === 0 && this.#waiting === null && this.#turns === 0;
  }

  /** Resolves when the decisions under way are made. */
  async settled(): Promise<void> {
    await this.#turn;
  }

  async run(params: RunParams, caller: Caller): Promise<RunResult> {
    const pending = await this.#inTurn(() => this.#decide(params, caller));
    return pending.reply();
  }

  async #decide(params: RunParams, caller: Caller): Promise<Pending> {
    const { place, token, spec, mayStart } = params;
    caller.signal.throwIfAborted();
    this.#admit(token);
    this.#yieldTo(token);
    const described = describeSpec(spec, spec.cwd ?? this.#files(place.start).workDir);
    const found = await this.#find(place.start, described);
    if (found !== null && 'cause' in found) return replyWith({ end: found, adopted: true });
    if (found !== null) return this.#following(found, { token, caller, adopted: true });
    if (!mayStart) return replyWith({ absent: true });
    await this.#endOthers(place.start, caller);
    const usedUp = limitUsedUp(this.#folder, place.start, described);
    if (usedUp !== null) return replyWith({ end: usedUp, adopted: false });
    if ((spec.gpus ?? 0) > 0) return this.#waitForDevices(params, described, caller);
    const program = await this.#start(params, described, { ids: [], locks: [] });
    return this.#following(program, { token, caller, adopted: false });
  }

  /** Ends every start of the step; how many there were, one that only waits counted. */
  async end(token: ProgramToken, reason: EndReason): Promise<number> {
    return this.#inTurn(async () => {
      this.#admit(token);
      return this.#endAll(reason);
    });
  }

  /** The same, for people and for workers that know the run to be closed. */
  async endNow(reason: EndReason): Promise<number> {
    return this.#inTurn(() => this.#endAll(reason));
  }

  async #endAll(reason: EndReason): Promise<number> {
    const waited = this.#waiting === null ? 0 : 1;
    this.#waiting?.controller.abort(reason);
    this.#waiting = null;
    await this.#findUnindexed();
    return waited + (await this.#endLiving(() => true, reason));
  }

  /** Moves the limit; null: there is none. Throws STEP_PATH_UNKNOWN when nothing of the step lives. */
  async extend(byMs: number): Promise<number | null> {
    return this.#inTurn(async () => {
      // What is being ended has no limit to move any more.
      const isMoved = this.listings().some(({ state }) => state !== 'ending');
      if (!isMoved) throw nothingLives(this.#step);
      const extendedMs = readExtension(this.#folder) + byMs;
      await writeExtension(this.#folder, extendedMs);
      const ends = this.#programs.map((program) => program.extend(extendedMs));
      return ends.at(-1) ?? null;
    });
  }

  listings(): ProgramListing[] {
    const listings = this.#programs.map((program) => program.listing());
    if (this.#waiting === null) return listings;
    const { place, server, reason } = this.#waiting;
    const waiting: ProgramListing = {
      ...place,
      state: 'waiting',
      files: this.#files(place.start),
      server,
      startedAtMs: null,
      endsAtMs: null,
      pid: null,
      devices: [],
      waitingFor: reason,
      status: {},
    };
    return [...listings, waiting];
  }

  /** Follows a start that an earlier host, or a worker of version 1, left. */
  async takeOver(start: number, owner: OwnerRecord, limitsFrom?: SpecRecord): Promise<Program> {
    const root = this.#files(start).root;
    const recorded = readSpec(root) ?? limitsFrom;
    const spec = owner.version < 2 && limitsFrom !== undefined ? limitsFrom : recorded;
    return this.#add(start, { owner }, spec ?? describeSpec(UNKNOWN_SPEC, root));
  }

  /** One at a time; an operation that fails does not hold up the next. */
  async #inTurn<T>(action: () => Promise<T>): Promise<T> {
    this.#turns += 1;
    const turn = this.#turn.then(action);
    this.#turn = turn.catch(() => {}).finally(() => (this.#turns -= 1));
    return turn;
  }

  #files(start: number) {
    return programFiles(this.#context.stateDir, { ...this.#step, start });
  }

  #admit(token: ProgramToken): void {
    this.#token ??= this.#readNewestToken();
    if (token < this.#token) throw takenOver();
    if (token === this.#token) return;
    this.#token = token;
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      writeToken(this.#folder, token);
    } catch (error) {
      // A full disk must not keep a program from being followed or ended; the token rules until this host ends.
      this.#remark(`its token could not be written: ${toStartError(error).message}`);
    }
  }

  #readNewestToken(): ProgramToken {
    const recorded = readToken(this.#folder);
    if (recorded > 0) return recorded;
    const owners = startsOf(this.#folder).map((start) => readOwner(this.#files(start).root));
    return Math.max(0, ...owners.map((owner) => owner?.token ?? 0));
  }

  /** Whoever follows or waits with an older token, or waits at all, makes way. */
  #yieldTo(token: ProgramToken): void {
    for (const follower of this.#followers) {
      if (follower.token < token) follower.reject(takenOver());
    }
    this.#waiting?.controller.abort(takenOver());
    this.#waiting = null;
  }

  /** The program of a start, or how it ended; null when it never began, or was another program. */
  async #find(start: number, described: SpecRecord): Promise<Program | ProgramEnd | null> {
    // Followed whatever the spec says now: the start's number names it, and a new build of the worker may spell
    // its environment otherwise.
    const living = this.#programs.find((program) => program.place.start === start);
    if (living !== undefined) return living;
    const { root } = this.#files(start);
    const owner = readOwner(root);
    if (owner === null) return null;
    const spec = readSpec(root);
    if (Math.max(owner.version, spec?.version ?? 0) > PROGRAM_RECORD_VERSION) throw tooNew(root);
    const isSame = spec !== null && isSameProgram(spec, described);
    const ending = readEnding(root, owner.marker);
    const end = toProgramEnd(ending);
    if (end !== null) return isSame ? end : null;
    const program = await this.takeOver(start, owner, described);
    // Version 1 had no word for why it ended a program, and began it again.
    const wasEnded = owner.version < 2 && ending !== null;
    if (isSame && !wasEnded) return program;
    await program.end('requested', 'superseded');
    return null;
  }

  async #endOthers(start: number, { onEvent }: Caller): Promise<void> {
    await this.#findUnindexed();
    const [other] = this.#programs;
    if (other !== undefined) {
      onEvent({ kind: 'waiting', reason: `start ${other.place.start}, which is being ended` });
    }
    await this.#endLiving((program) => program.place.start !== start, 'superseded');
  }

  async #endLiving(isMeant: (program: Program) => boolean, reason: EndReason): Promise<number> {
    const meant = this.#programs.filter(isMeant);
    const elsewhere = meant.find((program) => program.isElsewhere());
    if (elsewhere !== undefined) throw outOfReach(elsewhere.place);
    await Promise.all(meant.map((program) => program.end('requested', reason)));
    return meant.length;
  }

  /** Workers of version 1 kept no index of what they started, and a person may have removed that of a host. */
  async #findUnindexed(): Promise<void> {
    for (const start of startsOf(this.#folder)) {
      if (this.#programs.some((program) => program.place.start === start)) continue;
      const { root } = this.#files(start);
      const owner = readOwner(root);
      if (owner === null || toProgramEnd(readEnding(root, owner.marker)) !== null) continue;
      if ((await look(owner.leader)) !== 'gone') await this.takeOver(start, owner);
    }
  }

  #waitForDevices(params: RunParams, described: SpecRecord, caller: Caller): Pending {
    const { place, token, spec } = params;
    const controller = new AbortController();
    const waiting: Waiting = {
      place: { ...this.#step, start: place.start },
      server: spec.server,
      controller,
      reason: 'a device',
    };
    this.#waiting = waiting;
    const holder = `run ${place.runId}, step ${place.stepPath}`;
    const begin = async (lease: DeviceLease): Promise<Pending> => {
      // Somebody may have cut in between the lease and this turn.
      controller.signal.throwIfAborted();
      caller.signal.throwIfAborted();
      this.#waiting = null;
      const usedUp = limitUsedUp(this.#folder, place.start, described);
      if (usedUp !== null) return replyWith({ end: usedUp, adopted: false });
      const program = await this.#start(params, described, lease);
      return this.#following(program, { token, caller, adopted: false });
    };
    const reply = async (): Promise<RunResult> => {
      let lease: DeviceLease | null = null;
      try {
        lease = await this.#context.queue.lease(spec.gpus ?? 0, {
          holder,
          signal: AbortSignal.any([caller.signal, controller.signal]),
          onWaiting(reason) {
            waiting.reason = reason;
            caller.onEvent({ kind: 'waiting', reason });
          },
        });
        const leased = lease;
        const pending = await this.#inTurn(() => begin(leased));
        await closeAll(lease);
        lease = null;
        return await pending.reply();
      } catch (error) {
        if (typeof error !== 'string') throw error;
        const nowMs = Date.now();
        const times = { startedAtMs: nowMs, endedAtMs: nowMs };
        const end = { cause: 'requested' as const, reason: error as EndReason, ...times };
        return { end: { ...end, metrics: {} }, adopted: false };
      } finally {
        if (lease !== null) await closeAll(lease);
        if (this.#waiting === waiting) this.#waiting = null;
      }
    };
    return { reply };
  }

  async #start(params: RunParams, spec: SpecRecord, devices: DeviceLease): Promise<Program> {
    const { start } = params.place;
    const started = await beginProgram(this.#context, {
      place: { ...this.#step, start },
      files: this.#files(start),
      folder: this.#folder,
      spec,
      env: params.spec.env,
      token: params.token,
      devices,
    });
    return this.#add(start, started, spec);
  }

  async #add(
    start: number,
    started: Pick<StartedProgram, 'owner'> & Partial<StartedProgram>,
    spec: SpecRecord,
  ): Promise<Program> {
    const { shims, spareShim, queue, onRemark } = this.#context;
    const { owner, child } = started;
    const place = { ...this.#step, start };
    const program: Program = await followProgram({
      place,
      files: this.#files(start),
      spec,
      owner,
      ranBeforeMs: ranBefore(this.#folder, start),
      extendedMs: readExtension(this.#folder),
      ...(child === undefined ? {} : { child }),
      lockFile: lockFileOf(shims.index, owner.marker),
      onEvent: (event) => this.#tell(owner.marker, event),
      onRemark,
      onEnded: () => {
        forgetIndex(shims.index, owner.marker);
        const at = this.#programs.findIndex((one) => one.owner.marker === owner.marker);
        if (at !== -1) this.#programs.splice(at, 1);
        queue.nudge();
        // After the reply: whoever waits for this end comes first.
        setImmediate(() => spareShim.refill());
      },
    });
    this.#programs.push(program);
    return program;
  }

  #tell(marker: string, event: ProgramEvent): void {
    for (const follower of this.#followers) {
      if (follower.program.owner.marker === marker) follower.onEvent(event);
    }
  }

  #following(
    program: Program,
    { token, caller, adopted }: { token: ProgramToken; caller: Caller; adopted: boolean },
  ): Pending {
    const ended = new Promise<ProgramEnd>((resolve, reject) => {
      const { signal, onEvent } = caller;
      const leave = (): void => {
        this.#followers.delete(follower);
        signal.removeEventListener('abort', onAbort);
      };
      const onAbort = (): void => follower.reject(signal.reason as Error);
      const follower: Follower = {
        program,
        token,
        onEvent,
        reject(error) {
          leave();
          reject(error);
        },
      };
      this.#followers.add(follower);
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
      else onEvent(program.event());
      void program.ended.then((end) => {
        leave();
        resolve(end);
      });
    });
    // Rejected perhaps before anybody waits for it.
    ended.catch(() => {});
    return { reply: async () => ({ end: await ended, adopted }) };
  }

  #remark(text: string): void {
    this.#context.onRemark(`${this.#step.runId} ${this.#step.stepPath}: ${text}`);
  }
}

function replyWith(result: RunResult): Pending {
  return { reply: async () => result };
}

async function closeAll({ locks }: DeviceLease): Promise<void> {
  await Promise.all(locks.map((lock) => lock.close()));
}

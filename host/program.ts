/**
 * One program that lives, or did when this host last looked: followed, kept within its limits, ended.
 *
 *   running ──► ending ──► ended
 *      │           ▲ TERM, grace, KILL for its tree: a limit, a rule, a request, its removed folder
 *      └───────────┴──► ended: by itself; what it left behind is ended first
 *
 * Invariants:
 * 1. Why the host ends a program is on the disk before the first signal, so a host that dies goes on with it.
 * 2. A status that the shim wrote before that is the program's own end.
 * 3. `ended` resolves when nothing of its tree is left, and its record is on the disk.
 */
import type { ChildProcess } from 'node:child_process';
import { utimesSync, watch, type FSWatcher } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { errorMessage } from '../core/error.js';
import type {
  EndReason,
  ProgramCause,
  ProgramEnd,
  ProgramEvent,
  ProgramFiles,
  ProgramListing,
  ProgramPlace,
} from '../core/host-protocol.js';
import { isLocked } from './lock.js';
import { readOomKills } from './out-of-memory.js';
import { limitOutput } from './output-limit.js';
import { look } from './process-table.js';
import { lastSignOfLife, readClock, type ProgramClock } from './program-clock.js';
import { toEnd } from './program-end.js';
import {
  readEnding,
  readExit,
  readProgress,
  writeEnding,
  writeProgress,
  type EndingRecord,
  type OwnerRecord,
  type SpecRecord,
} from './program-records.js';
import { hasWritten, inodeOf, sizesOf, withoutTimes } from './program-signs.js';
import { endTree, signalTree } from './program-tree.js';
import { createProgramWatcher, type ProgramLook } from './program-watch.js';

export interface ProgramRequest {
  readonly place: ProgramPlace;
  readonly files: ProgramFiles;
  readonly spec: SpecRecord;
  readonly owner: OwnerRecord;
  /** Run time of the earlier starts. */
  readonly ranBeforeMs: number;
  readonly extendedMs: number;
  /** Absent: it was started by an earlier host, or by a worker. */
  readonly child?: ChildProcess;
  /** The program's lock; only that tells about one in another pid namespace. */
  readonly lockFile: string;
  readonly onEvent: (event: ProgramEvent) => void;
  readonly onRemark: (text: string) => void;
  /** Called when it has ended, before `ended` resolves. */
  readonly onEnded: () => void;
}

export interface Program {
  readonly place: ProgramPlace;
  readonly owner: OwnerRecord;
  readonly ended: Promise<ProgramEnd>;
  /** True when it runs in another pid namespace, out of reach for signals from here. */
  isElsewhere(): boolean;
  /** Ends it unless it is ending, and resolves when it has ended, for whichever reason that came. */
  end(cause: ProgramCause, reason?: EndReason): Promise<ProgramEnd>;
  /** Sets the extension of its limit; returns when it will be ended, null for never. */
  extend(extendedMs: number): number | null;
  /** Looks at it: about once a second. */
  tick(nowMs: number): Promise<void>;
  /** What followers are told now. */
  event(): ProgramEvent;
  listing(): ProgramListing;
  /** Lets go of it: it lives on, and is not followed any more. */
  detach(): void;
}

const LONGEST_TIMER_MS = 3_600_000;
/** Of a longer time the system makes none at all. */
const MOST_TIMER_MS = 2 ** 31 - 1;
const SIGN_OF_LIFE_EVERY_MS = 10_000;
const SILENCE_EVERY_LOOKS = 5;
const FINISH_AGAIN_MS = 1_000;
/** As the shell tells that KILL ended it. */
const KILLED = 128 + constants.signals.SIGKILL;
/** Only a power cut loses what is not synced: a shorter program is then run again, which costs less than all the syncs. */
const WORTH_A_SYNC_MS = 10_000;
/** What a program left behind, when it ended by itself, is given so long. */
const LEFT_BEHIND_GRACE_MS = 2_000;

/** Follows a program that was just started, or one that an earlier host left, alive or not. */
export async function followProgram(request: ProgramRequest): Promise<Program> {
  const { place, files, spec, owner, child, onRemark } = request;
  const { root } = files;
  const progress = readProgress(root, owner.marker);
  const watcher = createProgramWatcher(
    files,
    spec.watch,
    progress?.snapshot ?? null,
    owner.startedAtMs,
  );
  const inode = inodeOf(root);
  let state: 'running' | 'ending' | 'ended' | 'detached' = 'running';
  let isElsewhere = false;
  let intent: EndingRecord | null = null;
  let extendedMs = request.extendedMs;
  let warnedFor = progress?.warnedFor ?? null;
  let seen: ProgramLook = { status: {}, metrics: progress?.metrics ?? {} };
  let oomKills = owner.oomKills;
  let timer: NodeJS.Timeout | null = null;
  let exitWatcher: FSWatcher | null = null;
  let toldEvent = '';
  let savedProgress = '';
  let looksUnsaved = 0;
  let lookedAt = '';
  let aliveNotedAtMs = Date.now();
  let trouble: string | undefined;
  let remarked = false;
  let ticking = false;
  let resolveEnded: (end: ProgramEnd) => void = () => {};
  const ended = new Promise<ProgramEnd>((resolve) => {
    resolveEnded = resolve;
  });

  const clock = (): ProgramClock =>
    readClock(spec.limits, {
      startedAtMs: owner.startedAtMs,
      ranBeforeMs: request.ranBeforeMs,
      extendedMs,
    });

  function remarkOnce(text: string): void {
    if (!remarked) onRemark(`${place.runId} ${place.stepPath}: ${text}`);
    remarked = true;
  }

  function schedule(): void {
    // The timer of an end that is decided is another one.
    if (state !== 'running' || isElsewhere || intent !== null) return;
    if (timer !== null) clearTimeout(timer);
    timer = null;
    const { endsAtMs, warnsAtMs } = clock();
    if (endsAtMs === null) return;
    const nextAtMs = warnsAtMs !== null && warnedFor !== endsAtMs ? warnsAtMs : endsAtMs;
    const waitMs = Math.min(Math.max(0, nextAtMs - Date.now()), LONGEST_TIMER_MS);
    timer = setTimeout(onTime, waitMs);
    timer.unref();
  }

  function onTime(): void {
    if (state !== 'running') return;
    const { endsAtMs, warnsAtMs, cause } = clock();
    const nowMs = Date.now();
    if (endsAtMs !== null && nowMs >= endsAtMs) {
      void end(cause);
      return;
    }
    if (warnsAtMs !== null && nowMs >= warnsAtMs && warnedFor !== endsAtMs) {
      warnedFor = endsAtMs;
      void warnUntilTaken(endsAtMs);
    }
    schedule();
  }

  /** A program that does not handle the warning yet gets it at a later look. */
  async function warnUntilTaken(endsAtMs: number | null): Promise<void> {
    if ((await warn()) === 0 && warnedFor === endsAtMs) warnedFor = null;
  }

  /** How many processes took the warning: only those that handle it get it. */
  async function warn(): Promise<number> {
    const { warning } = spec.limits;
    if (warning === undefined) return 0;
    try {
      return await signalTree(owner, warning.signal as NodeJS.Signals);
    } catch (error) {
      remarkOnce(`the warning could not be sent: ${errorMessage(error)}`);
      return 0;
    }
  }

  /** By a rule of the step: what handles the warning first gets the time that it was promised. */
  async function endByRule(cause: 'rule' | 'stalled'): Promise<void> {
    await noteIntent(cause);
    const warned = await warn();
    if (warned === 0) {
      await end(cause);
      return;
    }
    const limitMs = (clock().endsAtMs ?? Infinity) - Date.now();
    const waitMs = Math.min(spec.limits.warning?.beforeMs ?? 0, limitMs, MOST_TIMER_MS);
    if (timer !== null) clearTimeout(timer);
    timer = setTimeout(() => void end(cause), Math.max(0, waitMs));
    timer.unref();
  }

  async function noteIntent(cause: ProgramCause, reason?: EndReason): Promise<void> {
    if (intent !== null || readExit(root) !== null) return;
    const note = {
      marker: owner.marker,
      cause,
      ...(reason === undefined ? {} : { reason }),
      decidedAtMs: Date.now(),
    };
    intent = { version: spec.version, ...note };
    // What cannot be noted must not keep the program alive.
    await writeEnding(root, note).catch((error: unknown) =>
      remarkOnce(`its end could not be noted: ${errorMessage(error)}`),
    );
  }

  async function end(cause: ProgramCause, reason?: EndReason): Promise<ProgramEnd> {
    if (state !== 'running') return ended;
    state = 'ending';
    await noteIntent(cause, reason);
    finishSurely();
    return ended;
  }

  /** It has ended by itself, or is gone. */
  function onGone(): void {
    if (state !== 'running') return;
    state = 'ending';
    finishSurely();
  }

  /** Whatever a program did to its files, its end is settled, and does not end the host. */
  function finishSurely(): void {
    finish().catch((error: unknown) => {
      remarkOnce(`its end could not be settled yet: ${errorMessage(error)}`);
      setTimeout(finishSurely, FINISH_AGAIN_MS).unref();
    });
  }

  async function finish(): Promise<void> {
    if (timer !== null) clearTimeout(timer);
    tell();
    const mostMs = intent === null ? LEFT_BEHIND_GRACE_MS : Infinity;
    const graceMs = Math.min(mostMs, spec.limits.graceMs);
    // Never given up: as long as something of it is left, it has not ended.
    while (!isElsewhere && !isDetached()) {
      try {
        await endTree(owner, graceMs);
        break;
      } catch (error) {
        trouble = errorMessage(error);
        remarkOnce(trouble);
        tell();
      }
    }
    if (isDetached()) return;
    stopWatching();
    if (hasWritten(files)) await takeLook(Date.now());
    const exit = readExit(root);
    const outcome = toEnd({
      exit,
      intent,
      owner,
      metrics: seen.metrics,
      oomGrew: exit?.code === KILLED && readOomKills() > oomKills,
      lastAliveAtMs: child === undefined ? lastSignOfLife(root) : null,
    });
    await settle(outcome);
    state = 'ended';
    request.onEnded();
    resolveEnded(outcome);
  }

  const isDetached = (): boolean => state === 'detached';

  async function settle(outcome: ProgramEnd): Promise<void> {
    // It repeats what the shim wrote, so this one file on the disk is enough before it is reported.
    const sync = outcome.endedAtMs - outcome.startedAtMs >= WORTH_A_SYNC_MS;
    await writeEnding(root, { marker: owner.marker, ...outcome }, { sync }).catch(
      (error: unknown) => remarkOnce(`how it ended could not be written: ${errorMessage(error)}`),
    );
  }

  async function takeLook(nowMs: number): Promise<void> {
    try {
      seen = await watcher.look(nowMs);
      const remark = await limitOutput(files.log, spec.limits.outputBytes);
      if (remark !== null) remarkOnce(remark);
      save();
    } catch (error) {
      remarkOnce(`it could not be watched: ${errorMessage(error)}`);
    }
  }

  function save(): void {
    const now = {
      marker: owner.marker,
      metrics: seen.metrics,
      snapshot: watcher.snapshot(),
      warnedFor,
    };
    const text = JSON.stringify({ ...now, snapshot: withoutTimes(now.snapshot) });
    const isFirst = savedProgress === '';
    if (text === savedProgress && !isSilenceDue()) return;
    savedProgress = text;
    // At first there is nothing that a later host could not find out.
    if (!isFirst || Object.keys(seen.metrics).length > 0) writeProgress(root, now);
  }

  /** How long it has been silent is noted now and then, or a host that is started often would never see a stall. */
  function isSilenceDue(): boolean {
    if (spec.watch?.stalledAfterMs === undefined) return false;
    looksUnsaved = (looksUnsaved + 1) % SILENCE_EVERY_LOOKS;
    return looksUnsaved === 0;
  }

  function event(): ProgramEvent {
    if (isElsewhere) return { kind: 'waiting', reason: ELSEWHERE };
    const warning = trouble ?? seen.warning;
    return {
      kind: 'running',
      startedAtMs: owner.startedAtMs,
      ranMs: request.ranBeforeMs + Math.max(0, Date.now() - owner.startedAtMs),
      endsAtMs: clock().endsAtMs,
      devices: owner.devices,
      status: seen.status,
      ...(warning === undefined ? {} : { warning }),
    };
  }

  function tell(): void {
    const now = event();
    const { ranMs: _always, ...rest } = { ranMs: 0, ...now };
    const text = JSON.stringify(rest);
    if (text === toldEvent) return;
    toldEvent = text;
    request.onEvent(now);
  }

  function stopWatching(): void {
    exitWatcher?.close();
    exitWatcher = null;
    child?.removeListener('exit', onGone);
  }

  async function begin(): Promise<void> {
    if (child !== undefined) {
      if (child.exitCode !== null || child.signalCode !== null) onGone();
      else child.once('exit', onGone);
      schedule();
      return;
    }
    intent = readEnding(root, owner.marker);
    const found = await look(owner.leader);
    isElsewhere = found === 'elsewhere';
    watchExit();
    // A container that is gone took its programs along: that is known at once, not at the first look.
    const isGone = found === 'gone' || (isElsewhere && !(await isLocked(request.lockFile)));
    if (isGone) onGone();
    else if (intent !== null && !isElsewhere) resumeEnd(intent);
    else schedule();
  }

  /** An earlier host died between its note and the end. */
  function resumeEnd({ cause, reason }: EndingRecord): void {
    void end(cause, reason);
  }

  function watchExit(): void {
    try {
      exitWatcher = watch(path.join(root, 'exit.json'), { persistent: false }, () => {
        if (!isElsewhere && readExit(root) !== null) onGone();
      });
      exitWatcher.on('error', () => {});
    } catch {
      // The folder is gone, or the system has no watches left: `tick` finds out.
    }
  }

  async function tick(nowMs: number): Promise<void> {
    if (state !== 'running') return;
    if (isElsewhere) {
      // Also when the shim has written its status: others of the tree may hold the lock.
      if (!(await isLocked(request.lockFile))) onGone();
      return;
    }
    if (inode !== inodeOf(root)) {
      onRemark(`${place.runId} ${place.stepPath}: its folder was removed, so the program is ended`);
      await end('lost');
      return;
    }
    if (child === undefined && (await look(owner.leader)) === 'gone') {
      onGone();
      return;
    }
    noteAlive(nowMs);
    // Silence is a matter of looks; everything else, of new text.
    const written = sizesOf(files);
    if (written !== lookedAt || spec.watch?.stalledAfterMs !== undefined) {
      lookedAt = written;
      await takeLook(nowMs);
    }
    if (state !== 'running') return;
    if (seen.verdict !== undefined && intent === null) await endByRule(seen.verdict);
    tell();
    // The clock may have been set, or the machine have slept.
    if (intent === null) onTime();
  }

  function noteAlive(nowMs: number): void {
    if (nowMs - aliveNotedAtMs < SIGN_OF_LIFE_EVERY_MS) return;
    aliveNotedAtMs = nowMs;
    oomKills = readOomKills();
    try {
      utimesSync(path.join(root, 'owner.json'), nowMs / 1_000, nowMs / 1_000);
    } catch (error) {
      remarkOnce(`that it lives could not be noted: ${errorMessage(error)}`);
    }
  }

  await begin();
  return {
    place,
    owner,
    ended,
    isElsewhere: () => isElsewhere && state === 'running',
    end,
    event,
    extend(extension) {
      extendedMs = extension;
      schedule();
      tell();
      return clock().endsAtMs;
    },
    async tick(nowMs) {
      // A disk that hangs must not pile up looks.
      if (ticking) return;
      ticking = true;
      try {
        await tick(nowMs);
      } finally {
        ticking = false;
      }
    },
    listing: () => ({
      ...place,
      state: state === 'running' && intent === null ? 'running' : 'ending',
      files,
      server: spec.server,
      startedAtMs: owner.startedAtMs,
      endsAtMs: clock().endsAtMs,
      pid: owner.leader.pid,
      devices: owner.devices,
      ...(isElsewhere ? { waitingFor: ELSEWHERE } : {}),
      status: seen.status,
    }),
    detach() {
      if (state !== 'ended') state = 'detached';
      if (timer !== null) clearTimeout(timer);
      stopWatching();
    },
  };
}

const ELSEWHERE =
  'the program runs in another pid namespace of this machine, perhaps a container: only its own host can end it';

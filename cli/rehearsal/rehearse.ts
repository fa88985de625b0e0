/** `adit rehearse FILE`: the crash sweep of a pipeline, on a local network of its own. */
import type { Settings } from '../../adapters/settings/settings.js';
import { formatDuration } from '../../core/duration.js';
import { boundariesOf, type Boundary } from '../../rehearse/boundary.js';
import { checkInvariants } from '../../rehearse/invariants.js';
import { hasSameBoundaries, isBehind } from '../../rehearse/prefix.js';
import { checkOutcome } from '../../rehearse/right-outcomes.js';
import {
  fullSchedules,
  pairSchedules,
  quickSchedules,
  readSchedule,
  scheduleText,
  type Schedule,
} from '../../rehearse/schedule.js';
import { StepNames } from '../../testing/step-names.js';
import type { RehearseOptions } from '../commands/rehearse.js';
import { CliFailure, EXIT, type ExitCode } from '../failure.js';
import { listenForInterruption } from '../interruption.js';
import { loadPipeline, type LoadedPipeline } from '../load-plan.js';
import { clean, note, print, printJson } from '../output.js';
import { ownName } from '../own-name.js';
import { readSettings } from '../session.js';
import { settleAll } from '../settle-all.js';
import { playFromEffects, playSchedule, type Played, type PlayOptions } from './play.js';
import { readRehearsalFile, rehearsalFileOf } from './rehearsal-file.js';
import { writeSkeleton } from './skeleton.js';
import { printFound, printFoundJson } from './report.js';
import { openStage, type Stage } from './stage.js';
import { killsServer, sweep, type Judged } from './sweep.js';

/** Returns 0 when every outcome was right, 1 when one was not or could not be had, 2 for what cannot be rehearsed. */
export async function rehearse(file: string, options: RehearseOptions): Promise<ExitCode> {
  const beganMs = performance.now();
  const replay = options.replay === undefined ? null : readReplay(options.replay);
  const loaded = await loadPipeline(file);
  const rehearsalFile = rehearsalFileOf(file);
  const rehearsal = await readRehearsalFile(rehearsalFile, loaded);
  if (rehearsal === null) {
    writeSkeletonOrSay(rehearsalFile, loaded);
    throw new CliFailure(
      'REHEARSAL_FILE_MISSING',
      `There was no ${clean(rehearsalFile)}; one is written now. Nothing was played.`,
      { hint: 'Look at its inputs, then give the same command again.', exitCode: EXIT.usage },
    );
  }
  const settings = await readSettings();
  refuseRealNetwork(settings);
  const interruption = listenForInterruption(() => 'The rehearsal is left; nothing of it stays.');
  const { signal } = interruption;
  try {
    const { cacheDir } = settings;
    const open = (): Promise<Stage> =>
      openStage({ cacheDir, env: process.env, onProgress: note, signal });
    const stage = await open();
    const stages = [stage];
    try {
      const playing = stage.for(loaded, rehearsal);
      note('playing it once without a fault');
      const without = await playSchedule([], playing);
      refuseBadStart(without, file);
      const boundaries = boundariesOf(without.trace);
      const schedules = replay ?? schedulesFor(boundaries, trialsOf(loaded), options);
      note(
        `it took ${formatDuration(without.tookMs)}, and has ${boundaries.length} boundaries; ${schedules.length} runs follow`,
      );
      if (options.list === true) {
        const texts = schedules.map(scheduleText);
        if (options.json === true) printJson(texts);
        else print(texts.join('\n'));
        return EXIT.done;
      }
      // Of a few alone everything is played; so it is of all, where they are to be sure of everything.
      const shortened =
        replay === null && options.full !== true ? await shorten(without, playing) : null;
      const isShort = (schedule: Schedule): boolean =>
        shortened !== null && isBehind(schedule, shortened.prefix);
      const isShared = options.jobs > 1 && !schedules.every(killsServer);
      /** Whoever kills the server does so beside the others: it has one of its own. */
      const stageOf = async (schedule: Schedule): Promise<Stage> => {
        if (!isShared || !killsServer(schedule)) return stage;
        return (stages[1] ??= await open());
      };
      const { judged, failures } = await sweep(schedules, {
        without: (schedule) => (shortened !== null && isShort(schedule) ? shortened : without),
        play: async (schedule) => {
          const on = (await stageOf(schedule)).for(loaded, rehearsal);
          return isShort(schedule) ? playFromEffects(schedule, on) : playSchedule(schedule, on);
        },
        jobs: options.jobs,
        onJudged: showProgress,
        signal,
      });
      const tookMs = performance.now() - beganMs;
      const found = { file, seed: options.seed, boundaries, judged, failures, tookMs };
      if (options.json === true) printFoundJson(found);
      else printFound(found);
      const isBad = judged.some(({ verdict }) => verdict === 'wrong' || verdict === 'broken');
      // Of one schedule alone it is the question whether it happened.
      const isMissed = replay !== null && judged.some(({ verdict }) => verdict === 'missed');
      return isBad || isMissed ? EXIT.failed : EXIT.done;
    } finally {
      await settleAll(stages.map((one) => one.close()));
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    interruption.dispose();
  }
}

/** Steps that put a file only to see whether its place takes one. */
function trialsOf({ pipeline }: LoadedPipeline): ReadonlySet<string> {
  const steps = new StepNames(pipeline.steps).all;
  return new Set(
    steps.flatMap(({ path, step }) =>
      step?.kind === 'step' && step.uses === 'round.preflight' ? [path] : [],
    ),
  );
}

function writeSkeletonOrSay(file: string, { pipeline }: LoadedPipeline): void {
  try {
    writeSkeleton(file, pipeline);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new CliFailure('FILE_UNWRITABLE', `${clean(file)} cannot be written: ${code}.`, {
      hint: 'A rehearsal needs it beside the pipeline: copy the pipeline to where you may write, or remove what is in the way.',
    });
  }
}

function readReplay(text: string): Schedule[] {
  const read = readSchedule(text);
  if ('schedule' in read) return [read.schedule];
  throw new CliFailure('USAGE', `--replay: ${clean(read.problem)}.`, {
    hint: '`--list` prints schedules that can be played.',
    exitCode: EXIT.usage,
  });
}

function schedulesFor(
  boundaries: readonly Boundary[],
  trials: ReadonlySet<string>,
  options: RehearseOptions,
): Schedule[] {
  if (options.full !== true) return quickSchedules(boundaries, trials);
  return [...fullSchedules(boundaries), ...pairSchedules(boundaries, options.pairs, options.seed)];
}

/**
 * A run that begins right before its first effect; null where such a run is not the same as one that begins at its
 * first step, or no shorter.
 */
async function shorten(without: Played, playing: PlayOptions): Promise<Played | null> {
  const short = await playFromEffects([], playing);
  const isSame =
    hasSameBoundaries(short.trace, without.trace) &&
    [...checkInvariants(short.facts), ...short.broken].length === 0 &&
    checkOutcome(short.facts, without.facts, []).length === 0;
  return isSame && short.prefix.length > 0 ? short : null;
}

function showProgress(judged: Judged, done: number, total: number): void {
  const { schedule, verdict, tookMs } = judged;
  note(`[${done}/${total}] ${verdict}  ${scheduleText(schedule)}  ${formatDuration(tookMs)}`);
}

/** A rehearsal uses none of them; that they are there says that this shell is meant for the real network. */
function refuseRealNetwork({ hotkeyFile, coordinatorUrl, configFile }: Settings): void {
  const real = [
    ...(hotkeyFile === null ? [] : ['a hotkey (ADIT_HOTKEY_FILE)']),
    ...(coordinatorUrl === null || isLoopback(coordinatorUrl)
      ? []
      : [`the coordinator ${coordinatorUrl} (ADIT_COORDINATOR_URL)`]),
  ];
  if (real.length === 0) return;
  throw new CliFailure(
    'REHEARSAL_REFUSED',
    `The settings name ${real.join(' and ')}; nothing was played.`,
    {
      hint: `A rehearsal makes a network and a key of its own. Unset the variables${configFile === null ? '' : `, or run it where there is no ${configFile}`}: for instance \`env -u ADIT_HOTKEY_FILE -u ADIT_COORDINATOR_URL ${ownName()} rehearse FILE\`.`,
      exitCode: EXIT.usage,
    },
  );
}

/** What is no address is none of this machine. */
function isLoopback(url: string): boolean {
  return URL.canParse(url) && ['127.0.0.1', 'localhost', '[::1]'].includes(new URL(url).hostname);
}

/** Without a fault it must keep the rules, or nothing can be told of one with a fault. */
function refuseBadStart({ facts, broken, openBecause }: Played, file: string): void {
  const violations = [...checkInvariants(facts), ...broken];
  if (violations.length === 0) return;
  const told =
    openBecause === null
      ? violations.map(({ rule, message }) => `${rule}: ${message}`)
      : [openBecause];
  throw new CliFailure(
    'REHEARSAL_START_WRONG',
    `${clean(file)} is wrong even without a fault: ${told.map((text) => clean(text)).join(' ')}`,
    {
      hint: 'Look at the inputs of its rehearsal file; steps that cannot be played here get what they give under `steps`.',
    },
  );
}

/**
 * The evidence folder of a run: what a person, or `adit show` without a server, reads afterwards.
 *
 *   <state>/runs/<runId>/
 *     plan.json               the Plan, written before the run starts
 *     run.json                how the run ended, with the state of every step
 *     parts/<step path>.json  how a sub-pipeline ended, by the step that called it
 *     steps.jsonl             each step's tries: input digest, outputs, error, times; the last line of a path counts
 *     steps/<step path>.json  the same, of builds that wrote a file for each step
 *     bundle.chain            the chain of the run's bundle, written at its end (adapters/bundle)
 *   <state>/effects/          the audit of effects: `effect-files.ts`
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { JsonObject } from '../../core/json.js';
import { rootOf } from '../bundle/chain.js';
import { createEffectFiles, type EffectFiles } from './effect-files.js';
import { readHold, type EffectHold } from './effect-hold.js';
import { keepJson, listFolder, openToRead, readJson, writeJson, writeText } from './json-file.js';
import {
  appendRecord,
  mergeRecords,
  readRecords,
  readSingleRecords,
  type StepRecord,
} from './step-journal.js';

export interface Evidence extends EffectFiles {
  /** Folder of one run. */
  directory(runId: string): string;
  writePlan(runId: string, plan: object): Promise<void>;
  writeRun(runId: string, record: object): Promise<void>;
  writePart(runId: string, stepPath: string, record: object): Promise<void>;
  /** Appends what is known of a try of a step. Throws as Node does. */
  writeStep(runId: string, record: StepRecord): void;
  /** The recorded end of a run; null when there is none. */
  readRun(runId: string): Promise<JsonObject | null>;
  /** The recorded end of a sub-pipeline; null when there is none. */
  readPart(runId: string, stepPath: string): Promise<JsonObject | null>;
  readPlan(runId: string): Promise<JsonObject | null>;
  /** The record of each step's last try, in no particular order; empty when there is none. */
  readSteps(runId: string): Promise<JsonObject[]>;
  writeChain(runId: string, text: string): Promise<void>;
  /** The root of the run's bundle, without a look at the rest of its chain; null when there is none. */
  readBundleRoot(runId: string): Promise<string | null>;
  /** The chain of the run's bundle; null when there is none. */
  readChain(runId: string): Promise<Buffer | null>;
  /** Ids of the runs that have a folder here, in no particular order. */
  listRuns(): Promise<string[]>;
  /** The hold on all effects of this state folder; null when nothing is held. */
  readHold(): Promise<EffectHold | null>;
}

export function createEvidence(stateDir: string): Evidence {
  const directory = (runId: string): string => path.join(stateDir, 'runs', fileName(runId));
  const stepsFile = (runId: string): string => path.join(directory(runId), 'steps.jsonl');
  const partFile = (runId: string, stepPath: string): string =>
    path.join(directory(runId), 'parts', `${fileName(stepPath)}.json`);
  const chainFile = (runId: string): string => path.join(directory(runId), 'bundle.chain');
  return {
    directory,
    // Whoever started the run on this machine has written it.
    writePlan: (runId, plan) => keepJson(path.join(directory(runId), 'plan.json'), plan),
    writeRun: (runId, record) => writeJson(path.join(directory(runId), 'run.json'), record),
    writePart: (runId, stepPath, record) => writeJson(partFile(runId, stepPath), record),
    // The history has the same: not worth the time that a sync takes.
    writeStep: (runId, record) => appendRecord(stepsFile(runId), record),
    readRun: (runId) => readJson(path.join(directory(runId), 'run.json')),
    readPart: (runId, stepPath) => readJson(partFile(runId, stepPath)),
    readPlan: (runId) => readJson(path.join(directory(runId), 'plan.json')),
    async readSteps(runId) {
      const single = await readSingleRecords(path.join(directory(runId), 'steps'));
      return mergeRecords(single, await readRecords(stepsFile(runId)));
    },
    writeChain: (runId, text) => writeText(chainFile(runId), text),
    async readBundleRoot(runId) {
      const tail = await readTail(chainFile(runId), TAIL_BYTES);
      if (tail === null) return null;
      const isCut = tail.length === TAIL_BYTES && tail.lastIndexOf('\n', tail.length - 2) < 0;
      return rootOf(isCut ? await readFile(chainFile(runId)) : tail);
    },
    async readChain(runId) {
      try {
        return await readFile(chainFile(runId));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw error;
      }
    },
    listRuns: () => listFolder(path.join(stateDir, 'runs')),
    readHold: () => readHold(stateDir),
    ...createEffectFiles(path.join(stateDir, 'effects'), fileName),
  };
}

/** The last line of nearly every chain is shorter. */
const TAIL_BYTES = 16 * 1024;

/** The end of a file, at most so many bytes; null when there is no file. */
async function readTail(file: string, mostBytes: number): Promise<Buffer | null> {
  const handle = await openToRead(file);
  if (handle === null) return null;
  try {
    const { size } = await handle.stat();
    const bytes = Buffer.alloc(Math.min(size, mostBytes));
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, size - bytes.length);
    return bytes.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** A run id or step path as one file name: no separator, nothing hidden, readable, never too long. */
function fileName(text: string): string {
  const name = text
    .replace(/[^A-Za-z0-9._#[\]~-]/g, (char) => (char === '/' ? '@' : '_'))
    .replace(/^\.+/, '_');
  if (name.length <= 160) return name;
  return `${name.slice(0, 120)}~${createHash('sha256').update(text).digest('hex').slice(0, 32)}`;
}

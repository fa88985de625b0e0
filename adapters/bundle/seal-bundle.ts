/**
 * Writes the chain of a run's bundle into its evidence folder, when the run has ended.
 *
 * Invariants:
 * 1. It copies no file: the chain names each by its digest, and the store has the bytes.
 * 2. The same records make the same chain: no time and no chance goes into it, so a second try changes nothing.
 * 3. What this machine does not have is named all the same, and missing later on.
 * 4. Every record is masked before it is digested.
 */
import { open } from 'node:fs/promises';
import { arch, platform } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import type { FileRef } from '../../compiler/values.js';
import { measureJson } from '../../core/json-bounds.js';
import type { Json, JsonObject } from '../../core/json.js';
import type { Plan } from '../../core/plan.js';
import type { RunView } from '../../core/run-view.js';
import type { Evidence } from '../evidence/evidence.js';
import { readRecordedStarts, readStartRecord } from '../processes/recorded-starts.js';
import type { Store } from '../store/store.js';
import {
  MAX_CHAIN_VALUES,
  MAX_LINE_BYTES,
  writeChain,
  type BundleFile,
  type BundleRecord,
  type RecordKind,
} from './chain.js';
import { maskJson, withTokenForms, type Mask } from './masked-json.js';
import { addNamedFiles, type NamedFiles } from './named-files.js';

/** Outputs beyond this are left to the evidence folder; each step is still named. */
const MAX_RECORDS_BYTES = 48 * 1024 * 1024;
/** Room beside the records for the files, and beside a record for its name. */
const MAX_RECORDS_VALUES = MAX_CHAIN_VALUES / 2;
const MAX_RECORD_BYTES = MAX_LINE_BYTES / 2;
/** A file that names others is read up to this size. */
const MAX_LIST_BYTES = 16 * 1024 * 1024;
/** How much of the output of a program that failed is kept: its end. */
const LOG_TAIL_BYTES = 256 * 1024;

export interface Bundles {
  /** Writes the chain of a run that has ended, and returns its root. The same end makes the same root. */
  seal(end: { readonly view: RunView; readonly plan: Plan }): Promise<{ readonly root: string }>;
}

export interface BundleOptions {
  readonly stateDir: string;
  readonly store: Store;
  readonly evidence: Evidence;
  /** Masks secrets in a text. */
  readonly mask: Mask;
  /** Version of Adit. */
  readonly build: string;
}

export function createBundles(options: BundleOptions): Bundles {
  const { evidence } = options;
  const mask = withTokenForms(options.mask);
  return {
    async seal({ view, plan }) {
      const machine = { os: platform(), arch: arch() };
      const environment = { adit: options.build, node: process.versions.node, machine };
      const [effects, { parts, steps }, programs] = await Promise.all([
        sortedEffects(evidence, view.roundId),
        readPartsAndSteps(evidence, view),
        readPrograms(options, view, mask),
      ]);
      const records = await toRecords(
        [
          recordOf('environment', 'environment', environment),
          recordOf('plan', 'plan', plan),
          recordOf('run', 'run', view),
          ...effects.map((effect) => recordOf('effect', effect.stepPath, effect)),
          ...parts.map(([name, part]) => recordOf('part', name, part)),
          ...steps.map((step) => recordOf('step', String(step['path']), step)),
          ...programs.map(({ name, value }) => recordOf('program', name, value)),
        ],
        mask,
      );
      const files = await namedFiles(records, options.store);
      const { runId, roundId, pipeline, status } = view;
      const { text, root } = writeChain({ runId, roundId, pipeline, status }, [
        ...records,
        ...files,
      ]);
      await evidence.writeChain(runId, text);
      return { root };
    },
  };
}

function recordOf(record: RecordKind, name: string, value: object): BundleRecord {
  return { record, name, value: value as JsonObject };
}

/** So much at once: a run of thousands of steps must not hold up the others of its worker. */
const BATCH = { records: 100, bytes: 1024 * 1024 };

/** A record, and its value as text. */
interface WrittenRecord extends BundleRecord {
  readonly text: string;
}

/** Masked; what is too much for one bundle is named and left out. */
async function toRecords(raw: readonly BundleRecord[], mask: Mask): Promise<BundleRecord[]> {
  const records: BundleRecord[] = [];
  let sizeBytes = 0;
  let values = 0;
  for (const batch of batchesOf(raw)) {
    if (records.length > 0) await setImmediate();
    for (const { record, name, value, text } of maskRecords(batch, mask)) {
      const utf8 = Buffer.from(text);
      const bytes = utf8.length;
      const within = values + measureJson(utf8).values;
      const fits =
        bytes <= MAX_RECORD_BYTES &&
        sizeBytes + bytes <= MAX_RECORDS_BYTES &&
        within <= MAX_RECORDS_VALUES;
      if (fits) {
        sizeBytes += bytes;
        values = within;
      }
      const kept = fits ? value : { leftOut: 'the bundle is full', sizeBytes: bytes };
      records.push({ record, name, value: kept });
    }
  }
  return records;
}

function* batchesOf(raw: readonly BundleRecord[]): Generator<readonly WrittenRecord[]> {
  let batch: WrittenRecord[] = [];
  let size = 0;
  for (const record of raw) {
    const text = JSON.stringify(record.value);
    batch.push({ ...record, text });
    size += text.length;
    if (batch.length < BATCH.records && size < BATCH.bytes) continue;
    yield batch;
    batch = [];
    size = 0;
  }
  if (batch.length > 0) yield batch;
}

/** One look at all of them, since a mask reads its secrets anew each time; and one at each where there is a secret. */
function maskRecords(batch: readonly WrittenRecord[], mask: Mask): readonly WrittenRecord[] {
  const texts = batch.map(({ name, value }): Json => [name, value]);
  if (maskJson(texts, mask) === texts) return batch;
  return batch.map(({ record, name, value, text }) => {
    const masked = maskJson(value, mask);
    return {
      record,
      name: mask(name),
      value: masked,
      text: masked === value ? text : JSON.stringify(masked),
    };
  });
}

async function sortedEffects(evidence: Evidence, roundId: string) {
  const effects = await evidence.readEffects(roundId);
  // The builds before kept no path with what was meant; those are in no order of their own.
  return effects
    .filter(({ stepPath }) => stepPath !== '')
    .sort((a, b) => compare(a.stepPath, b.stepPath));
}

async function readPartsAndSteps(evidence: Evidence, view: RunView) {
  const parts = await readParts(evidence, view);
  return { parts, steps: await readSteps(evidence, view, parts) };
}

/** The views of the parts that the run's own view, or that of a part, names. */
async function readParts(evidence: Evidence, view: RunView): Promise<[string, JsonObject][]> {
  const found: [string, JsonObject][] = [];
  const wanted = partsOf(view.steps);
  for (let name = wanted.shift(); name !== undefined; name = wanted.shift()) {
    const part = await evidence.readPart(view.runId, name).catch(() => null);
    if (part === null) continue;
    found.push([name, part]);
    wanted.push(...partsOf(stepsIn(part)));
  }
  return found.sort(([a], [b]) => compare(a, b));
}

/** The steps of a part's recorded view. */
function stepsIn({ steps }: JsonObject): RunView['steps'] {
  return Array.isArray(steps) ? (steps as unknown as RunView['steps']) : [];
}

function partsOf(steps: RunView['steps']): string[] {
  return steps
    .filter(({ part, uses }) => part === true || uses === 'pipeline')
    .map(({ path }) => path);
}

/**
 * The last record of each step: this run's own, else, where it was taken over from an earlier run of the round, that
 * run's, which says so. What an earlier run did and this one has not taken over is no part of it.
 */
async function readSteps(
  evidence: Evidence,
  view: RunView,
  parts: readonly (readonly [string, JsonObject])[],
): Promise<JsonObject[]> {
  const steps = new Map<string, JsonObject>();
  const statusOf = new Map(
    [view.steps, ...parts.map(([, part]) => stepsIn(part))].flatMap((listed) =>
      listed.map(({ path, status }) => [path, status] as const),
    ),
  );
  for (const runId of [...(await earlierRuns(evidence, view)), view.runId]) {
    for (const step of await evidence.readSteps(runId)) {
      const stepPath = step['path'];
      if (typeof stepPath !== 'string') continue;
      const isOwn = runId === view.runId;
      if (isOwn) steps.set(stepPath, step);
      else if (step['status'] === 'succeeded' && isTakenOver(stepPath, statusOf))
        steps.set(stepPath, { ...step, ofRun: runId });
    }
  }
  return [...steps.values()].sort((a, b) => compare(String(a['path']), String(b['path'])));
}

/** True when a step has succeeded by the view, or is not listed in a block that has begun. */
function isTakenOver(stepPath: string, statusOf: ReadonlyMap<string, string>): boolean {
  const own = statusOf.get(stepPath);
  if (own !== undefined) return own === 'succeeded';
  for (let at = blockEnd(stepPath); at > 0; at = blockEnd(stepPath.slice(0, at))) {
    const status = statusOf.get(stepPath.slice(0, at));
    if (status !== undefined) return status !== 'pending' && status !== 'skipped';
  }
  return false;
}

/** Where the path of the block around a step ends. */
function blockEnd(stepPath: string): number {
  return Math.max(stepPath.lastIndexOf('/'), stepPath.lastIndexOf('#'));
}

/** The runs of the round before this one that left something here, the oldest first. */
async function earlierRuns(evidence: Evidence, view: RunView): Promise<string[]> {
  if (view.roundId === view.runId) return [];
  const names = (await evidence.listRuns()).filter(
    (name) =>
      name === view.roundId ||
      (name.startsWith(`${view.pipeline}-`) && name > view.roundId && name !== view.runId),
  );
  const found: string[] = [];
  for (const name of names.sort()) {
    // The first one may have been terminated, and have recorded no end.
    if (name === view.roundId) {
      found.push(name);
      continue;
    }
    const ended = await evidence.readRun(name).catch(() => null);
    if (ended?.['roundId'] === view.roundId && ended['runId'] === name) found.push(name);
  }
  return found;
}

async function readPrograms(
  { stateDir, store }: BundleOptions,
  view: RunView,
  mask: Mask,
): Promise<{ readonly name: string; readonly value: JsonObject }[]> {
  const paths = view.steps.map(({ path }) => path);
  const programs: { name: string; value: JsonObject }[] = [];
  for (const start of await readRecordedStarts(stateDir, view.runId, paths)) {
    const record = readStartRecord(start);
    const code = (record['exit'] as { code?: Json } | null)?.code;
    // What ended well gave its output to its step.
    const log = code === 0 ? null : await keepTail(start.log, store, mask);
    programs.push({
      name: `${start.stepPath}, start ${start.start}`,
      value: { ...record, ...(log === null ? {} : { logTail: { ...log } }) },
    });
  }
  return programs;
}

async function keepTail(file: string, store: Store, mask: Mask): Promise<FileRef | null> {
  const handle = await open(file, 'r').catch(() => null);
  if (handle === null) return null;
  try {
    const { size } = await handle.stat();
    const bytes = Buffer.alloc(Math.min(size, LOG_TAIL_BYTES));
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, size - bytes.length);
    return await store.putBytes(mask(bytes.subarray(0, bytesRead).toString('utf8')));
  } finally {
    await handle.close();
  }
}

/** The files that records name, and those that these name in turn. */
async function namedFiles(records: readonly BundleRecord[], store: Store): Promise<BundleFile[]> {
  const found: NamedFiles = {
    files: new Map(),
    digests: new Set(),
    hinted: new Set(),
  };
  for (const { value } of records) addNamedFiles(value, found);
  // One that names another adds to them meanwhile.
  for (const sha256 of found.hinted) {
    const ref = await store.find(sha256);
    const list = ref === null ? null : await readList(ref, store);
    if (list !== null) addNamedFiles(list, found);
  }
  for (const sha256 of [...found.hinted, ...found.digests]) {
    const ref = found.files.has(sha256) ? null : await store.find(sha256);
    if (ref === null) continue;
    found.files.set(sha256, { file: sha256, sizeBytes: ref.sizeBytes, role: 'evidence' });
  }
  return [...found.files.values()];
}

/** Null for what is not there, or is no JSON. */
async function readList(ref: FileRef, store: Store): Promise<Json | null> {
  if (ref.sizeBytes > MAX_LIST_BYTES) return null;
  try {
    return JSON.parse((await store.read(ref)).toString('utf8')) as Json;
  } catch {
    return null;
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

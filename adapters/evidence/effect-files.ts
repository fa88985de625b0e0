/**
 * The audit of effects on the disk (design section 6).
 *
 *   <state>/effects/<roundId>/<digest of the step path>.json          the EffectRecord
 *                             <digest of the step path>.try-<n>.json  its n-th try, as it was when the request was sent
 *
 * A try is a file of its own that is made, never replaced: of two workers that act for one effect only one gets the
 * n-th, and no later write of the record by a worker that has been overtaken can lose one.
 */
import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import {
  EFFECT_RECORD_VERSION,
  type EffectRecord,
  type EffectTry,
} from '../../core/effect-record.js';
import { isJsonObject, type JsonObject } from '../../core/json.js';
import { createJson, readJson, writeJson } from './json-file.js';

export interface EffectFiles {
  /**
   * What is known of the effect of a step in a round, all tries included; null when it never came that far. The
   * intent of a build before this one is a record with an empty `sentSha256` and `unseenUntil`: possibly sent.
   */
  readEffect(roundId: string, stepPath: string): Promise<EffectRecord | null>;
  /** Durable when it returns. */
  writeEffect(record: EffectRecord): Promise<void>;
  /**
   * Records the n-th try, counted from 1, before its request is sent; durable when it returns. False when the
   * n-th is taken: somebody else acts for the same effect.
   */
  addEffectTry(
    place: Pick<EffectRecord, 'roundId' | 'stepPath'>,
    n: number,
    made: EffectTry,
  ): Promise<boolean>;
  /** The effects of a round, in no particular order; empty when there is none. */
  readEffects(roundId: string): Promise<EffectRecord[]>;
  /** Those of all rounds that were changed at or after a time, in milliseconds since the epoch. */
  readEffectsSince(sinceMs: number): Promise<EffectRecord[]>;
  /** What was kept of a disclaimer that was shown here; null when it was not. */
  readDisclaimer(name: string): Promise<JsonObject | null>;
  writeDisclaimer(name: string, shown: object): Promise<void>;
}

/** `fileName` makes one file name of a round id. */
export function createEffectFiles(folder: string, fileName: (text: string) => string): EffectFiles {
  const base = (roundId: string, stepPath: string): string =>
    path.join(
      folder,
      fileName(roundId),
      createHash('sha256').update(stepPath).digest('hex').slice(0, 32),
    );
  const disclaimerFile = (name: string): string => `${base('disclaimers', name)}.json`;

  return {
    readEffect: (roundId, stepPath) => readRecord(base(roundId, stepPath), { roundId, stepPath }),
    writeEffect: (record) => writeJson(`${base(record.roundId, record.stepPath)}.json`, record),
    addEffectTry: ({ roundId, stepPath }, n, made) =>
      createJson(`${base(roundId, stepPath)}.try-${n}.json`, made),
    readEffects: (roundId) => readFolder(path.join(folder, fileName(roundId)), roundId),
    async readEffectsSince(sinceMs) {
      const rounds = (await list(folder)).filter((name) => name !== 'disclaimers');
      const found = await Promise.all(
        rounds.map(async (name) => {
          const round = path.join(folder, name);
          const entry = await stat(round);
          // Each file of a round is made by a new name in its folder.
          const isRecent = entry.isDirectory() && entry.mtimeMs >= sinceMs;
          return isRecent ? readFolder(round, name) : [];
        }),
      );
      return found.flat();
    },
    readDisclaimer: (name) => readJson(disclaimerFile(name)),
    writeDisclaimer: (name, shown) => writeJson(disclaimerFile(name), shown),
  };
}

async function readFolder(folder: string, roundId: string): Promise<EffectRecord[]> {
  const bases = (await list(folder))
    .filter((name) => /^[0-9a-f]{32}\.json$/.test(name))
    .map((name) => path.join(folder, name.slice(0, -'.json'.length)));
  const records = await Promise.all(
    bases.map((base) => readRecord(base, { roundId, stepPath: '' })),
  );
  return records.filter((record) => record !== null);
}

async function readRecord(
  base: string,
  place: { readonly roundId: string; readonly stepPath: string },
): Promise<EffectRecord | null> {
  const content = await readJson(`${base}.json`);
  if (content === null) return null;
  if (!isEffectRecord(content)) return fromIntent(content, place);
  const tries = [...content.tries];
  for (let made = await readTry(base, tries.length + 1); made !== null;) {
    tries.push(made);
    made = await readTry(base, tries.length + 1);
  }
  return { ...content, tries };
}

async function readTry(base: string, n: number): Promise<EffectTry | null> {
  const content = await readJson(`${base}.try-${n}.json`);
  return content !== null && isTry(content) ? content : null;
}

function isTry(content: object): content is EffectTry {
  return 'sentAt' in content && typeof content.sentAt === 'string';
}

function isEffectRecord(content: object): content is EffectRecord {
  return (
    'version' in content &&
    content.version === EFFECT_RECORD_VERSION &&
    'tries' in content &&
    Array.isArray(content.tries)
  );
}

/** The build before kept only what was meant, and when. */
function fromIntent(
  { recordedAt, ...intent }: JsonObject,
  place: { readonly roundId: string; readonly stepPath: string },
): EffectRecord {
  const at = typeof recordedAt === 'string' ? recordedAt : new Date(0).toISOString();
  return {
    version: EFFECT_RECORD_VERSION,
    ...place,
    what: typeof intent['what'] === 'string' ? intent['what'] : '',
    hotkey: '',
    intent: isJsonObject(intent) ? intent : {},
    sentSha256: '',
    recordedAt: at,
    unseenUntil: at,
    tries: [],
    probes: [],
    alarms: [],
  };
}

async function list(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

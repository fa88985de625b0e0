import path from 'node:path';
import { createEvidence } from '../adapters/evidence/evidence.js';
import { createFolderStore } from '../adapters/store/store.js';
import { fileRefSchema, type FileRef } from '../compiler/values.js';
import { isJsonObject, type JsonObject } from '../core/json.js';
import type { RunWatch } from './run-watch.js';

/** The output of a step's program as its step put it into the store. */
export interface StoredLog {
  readonly stepPath: string;
  /** Where it lies here. */
  readonly file: string;
}

/** The outputs that a run's steps name as their `log` and that a store here has, in the order in which the steps ended. */
export async function storedLogs(
  roots: readonly string[],
  runId: string,
  run: RunWatch,
): Promise<StoredLog[]> {
  const outputs = new Map<string, JsonObject>(await run.outputs());
  const endedAt = new Map<string, string>();
  for (const root of roots) {
    for (const record of await createEvidence(root)
      .readSteps(runId)
      .catch(() => [])) {
      const { path: stepPath, outputs: recorded, endedAt: at } = record;
      if (typeof stepPath !== 'string') continue;
      endedAt.set(stepPath, String(at ?? ''));
      if (isJsonObject(recorded)) outputs.set(stepPath, recorded);
    }
  }
  const logs: StoredLog[] = [];
  for (const [stepPath, { log, measurement }] of outputs) {
    const ref =
      toFileRef(log) ?? (isJsonObject(measurement) ? toFileRef(measurement['log']) : null);
    if (ref === null) continue;
    const file = await locate(roots, ref);
    if (file !== null) logs.push({ stepPath, file });
  }
  const timeOf = ({ stepPath }: StoredLog): string => endedAt.get(stepPath) ?? '';
  return logs.sort((a, b) => (timeOf(a) < timeOf(b) ? -1 : timeOf(a) > timeOf(b) ? 1 : 0));
}

function toFileRef(value: unknown): FileRef | null {
  const parsed = fileRefSchema.safeParse(value);
  return parsed.success ? parsed.data : null;
}

async function locate(roots: readonly string[], ref: FileRef): Promise<string | null> {
  for (const root of roots) {
    const file = await createFolderStore(path.join(root, 'store'))
      .locate(ref)
      .catch(() => null);
    if (file !== null) return file;
  }
  return null;
}

import { createEvidence } from '../adapters/evidence/evidence.js';
import { isJsonObject, type JsonObject } from '../core/json.js';
import type { RunView } from '../core/run-view.js';
import { clean } from './output.js';

/** A word about each step that has ended, by path: what it measured or made. */
export type StepWords = ReadonlyMap<string, string>;

/**
 * Reads what a view does not tell, the outputs of single steps, from the evidence on this machine; where
 * the worker writes it elsewhere there are no words. Reads only after a step that has some has ended.
 */
export function createStepWords(
  stateDir: string,
  runId: string,
): (view: RunView | null) => Promise<StepWords> {
  const evidence = createEvidence(stateDir);
  const words = new Map<string, string>();
  const seen = new Set<string>();
  return async (view) => {
    const ended = (view?.steps ?? []).filter(
      ({ path, status, uses }) =>
        status === 'succeeded' && WORDS[uses] !== undefined && !seen.has(path),
    );
    if (ended.length === 0) return words;
    const records = await evidence.readSteps(runId).catch(() => []);
    for (const { path, uses } of ended) {
      seen.add(path);
      const outputs = records.find((record) => record['path'] === path)?.['outputs'];
      const text = isJsonObject(outputs) ? WORDS[uses]?.(outputs) : undefined;
      if (text !== undefined) words.set(path, clean(text, 160));
    }
    return words;
  };
}

const WORDS: { readonly [stepType: string]: (outputs: JsonObject) => string | undefined } = {
  'candidate.train': ({ metrics }) =>
    isJsonObject(metrics) && metrics['loss'] !== undefined
      ? `loss ${number(metrics['loss'])}`
      : undefined,
  'task.benchmark': ({ measurement }) =>
    isJsonObject(measurement)
      ? `${String(measurement['metric'])} ${number(measurement['value'])}`
      : undefined,
  'candidate.select': ({ candidate, gain, gain_unit: unit }) => {
    const recipe = isJsonObject(candidate) ? candidate['recipe'] : null;
    return `${isJsonObject(recipe) ? `${String(recipe['name'])}, ` : ''}gain ${number(gain)} ${String(unit)}`;
  },
  'gate.evidence': () => 'PASS',
  'coordinator.claim': ({ claim }) =>
    isJsonObject(claim) ? `claim ${String(claim['id'])}` : undefined,
  'coordinator.submit': ({ submission }) =>
    isJsonObject(submission) ? `submission ${String(submission['id'])}` : undefined,
  'rewards.proof': ({ proof }) => (isJsonObject(proof) ? String(proof['result']) : undefined),
};

/** Five significant digits are what a person compares. */
function number(value: unknown): string {
  return typeof value === 'number' ? String(Number(value.toPrecision(5))) : String(value);
}

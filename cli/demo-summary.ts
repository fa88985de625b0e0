import { formatDuration } from '../core/duration.js';
import { isJsonObject, type Json, type JsonObject } from '../core/json.js';
import { clean, cleanLines, paint, print } from './output.js';
import { paintStatus } from './print-run.js';
import type { RunRecord } from './run-record.js';

/** What the demo proved, as `adit demo --json` prints it. */
export interface DemoProof {
  readonly verified: boolean;
  readonly result: string | null;
  readonly profile: string | null;
  readonly rootSource: string | null;
  /** The stored claim package with its verification, on this machine. */
  readonly file: string | null;
}

/** The proof of a run's outputs; not verified when there is none. `locate` finds a stored file. */
export async function readProof(
  { view }: RunRecord,
  locate: (file: JsonObject) => Promise<string | null>,
): Promise<DemoProof> {
  const proof = view.outputs['proof'];
  if (!isJsonObject(proof))
    return { verified: false, result: null, profile: null, rootSource: null, file: null };
  const { result, profile, rootSource, file } = proof;
  return {
    verified: view.status === 'succeeded' && result === 'verified',
    result: textOrNull(result),
    profile: textOrNull(profile),
    rootSource: textOrNull(rootSource),
    file: isJsonObject(file) ? await locate(file) : null,
  };
}

export interface DemoSummary {
  readonly record: RunRecord;
  readonly proof: DemoProof;
  /** The Temporal UI's page of the run; null without a UI. */
  readonly ui: string | null;
  readonly historyEvents: number | null;
  /** The recipe that was chosen, when it is known. */
  readonly recipe: string | null;
}

/** The end of the demo for a person. */
export function printDemoSummary({ record, proof, ui, historyEvents, recipe }: DemoSummary): void {
  const { view, evidence } = record;
  const {
    baseline,
    candidate,
    gain,
    gain_unit: unit,
    claim,
    submission,
    acceptance,
    proof: reward,
  } = view.outputs;
  const rows: [string, string][] = [];
  if (isJsonObject(baseline)) rows.push(['baseline', measured(baseline)]);
  if (isJsonObject(candidate)) {
    rows.push(['candidate', `${measured(candidate)}${recipe === null ? '' : `  (${recipe})`}`]);
  }
  if (typeof gain === 'number') rows.push(['gain', `${shortNumber(gain)} ${String(unit)}`]);
  if (isJsonObject(claim)) rows.push(['claim', String(claim['id'])]);
  if (isJsonObject(submission)) rows.push(['submission', String(submission['id'])]);
  if (isJsonObject(acceptance)) {
    rows.push([
      'acceptance',
      `${String(acceptance['status'])}${observed(acceptance['observedMetrics'])}`,
    ]);
  }
  if (isJsonObject(reward)) {
    const verdict = `${String(reward['result'])}${proof.profile === null ? '' : ` with profile ${proof.profile}`}`;
    rows.push(
      ['proof', verdict],
      ['  epoch', String(reward['epoch'])],
      ['  amount', `${String(reward['amount'])} base units of SN94 alpha, cumulative`],
      ['  recipient', String(reward['recipient'])],
      ['  root', String(reward['root'])],
      ['  root from', sourceOfRoot(reward)],
    );
    if (proof.file !== null) rows.push(['  file', proof.file]);
  }
  if (ui !== null) rows.push(['Temporal UI', ui]);
  rows.push(['evidence', evidence]);

  print();
  print(
    `${paint.bold(clean(view.runId))}  ${paintStatus(view.status)}${timeOf(record)}${historyEvents === null ? '' : `, ${historyEvents} history events`}`,
  );
  if (view.error !== undefined) {
    print(
      `${clean(view.error.code)}${view.error.step === undefined ? '' : ` at ${clean(view.error.step)}`}: ${cleanLines(view.error.message)}`,
    );
    if (view.error.hint !== undefined) print(cleanLines(view.error.hint));
  }
  for (const [name, value] of rows) print(`  ${name.padEnd(12)} ${clean(value)}`);
  if (proof.verified) print(paint.green('The reward proof is verified.'));
  else if (view.status === 'succeeded')
    print(paint.red('The run succeeded, but the reward proof is not verified.'));
}

function sourceOfRoot(reward: { readonly [key: string]: unknown }): string {
  const source = String(reward['rootSource']);
  const said =
    reward['comparedWithChain'] === true || source.includes('not compared with the chain');
  return said ? source : `${source}, not compared with the chain`;
}

function timeOf({ view }: RunRecord): string {
  const starts = view.steps.flatMap(({ startedAt }) =>
    startedAt === undefined ? [] : [Date.parse(startedAt)],
  );
  const ends = view.steps.flatMap(({ endedAt }) =>
    endedAt === undefined ? [] : [Date.parse(endedAt)],
  );
  if (starts.length === 0 || ends.length === 0) return '';
  return ` in ${formatDuration(Math.max(...ends) - Math.min(...starts))}`;
}

function measured(measurement: { readonly [key: string]: unknown }): string {
  return `${String(measurement['metric'])} ${shortNumber(measurement['value'])}`;
}

function observed(metrics: unknown): string {
  if (!isJsonObject(metrics)) return '';
  const words = Object.entries(metrics)
    .slice(0, 4)
    .map(([name, value]) => `${name} ${shortNumber(value)}`);
  return words.length === 0 ? '' : `; the validator measured ${words.join(', ')}`;
}

function shortNumber(value: unknown): string {
  return typeof value === 'number' ? String(Number(value.toPrecision(6))) : String(value);
}

function textOrNull(value: Json | undefined): string | null {
  return typeof value === 'string' ? value : null;
}

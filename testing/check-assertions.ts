/** How a run went, as assertions see it. */
import { evaluate, ExpressionError } from '../core/evaluate.js';
import type { Scope as Values } from '../core/expression.js';
import type { Json, JsonObject } from '../core/json.js';
import type { RunResult, StepState } from '../core/run-state.js';
import { explain } from './expression-text.js';
import { isInside } from '../core/plan-paths.js';
import { matches } from './step-names.js';
import type { Assertion, TestCase, TestFailure, TestFile } from './test-file.js';

/** What happened on the way to the end of a run. */
export interface Course {
  /** The steps by path, in the order in which they began. */
  readonly steps: ReadonlyMap<string, StepState>;
  /** Paths in the order of the starts. */
  readonly order: readonly string[];
  /** What approvals have shown, by path. */
  readonly shown: ReadonlyMap<string, JsonObject>;
  /** Simulated time, in milliseconds. */
  readonly tookMs: number;
}

/** The assertions that do not hold, with what their parts are. */
export function checkAssertions(
  file: TestFile,
  test: TestCase,
  result: RunResult,
  run: Course,
): TestFailure[] {
  const facts = factsOf(file, test, result, run);
  return test.assertions.flatMap((assertion): TestFailure[] => {
    const falsehood = falsehoodOf(assertion, facts);
    if (falsehood === null) return [];
    const { range, text } = assertion;
    const { message, details } = falsehood;
    return [{ kind: 'assertion', message, details: [...details, ...endOf(result, text)], range }];
  });
}

/** Why an assertion does not hold of these facts, with what its parts are; null when it does. */
export function falsehoodOf(
  assertion: Assertion,
  facts: Values,
): { readonly message: string; readonly details: readonly string[] } | null {
  const values = withLookups(assertion, facts);
  const { expr, text } = assertion;
  let message = `it is not so that ${oneLine(text)}`;
  try {
    if (evaluate(expr, values) === true) return null;
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    message = `it cannot be told whether ${oneLine(text)}: ${error.message}`;
  }
  return { message, details: explain(expr, values) };
}

function oneLine(text: string): string {
  return text.trim().replace(/\s+/g, ' ');
}

/** How the run ended explains most assertions that fail. */
function endOf({ status, error }: RunResult, text: string): string[] {
  if (/\bstatus\b|\berror\b/.test(text) && error === undefined) return [];
  if (error === undefined) return status === 'succeeded' ? [] : [`the run was ${status}`];
  const at = error.step === undefined ? '' : ` at ${error.step}`;
  return [`the run ended as ${status}${at}: ${error.code}: ${error.message}`];
}

const ABSENT: { readonly [map: string]: Json } = { ran: false, starts: 0, states: 'pending' };

/** What was never reached is told too: it did not run. */
function withLookups({ lookups }: Assertion, facts: Values): Values {
  if (lookups.length === 0) return facts;
  const maps: { [name: string]: JsonObject } = {};
  for (const { map, key } of lookups) {
    const before = facts[map] as JsonObject;
    if (Object.hasOwn(before, key)) continue;
    maps[map] = { ...(maps[map] ?? before), [key]: ABSENT[map] ?? null };
  }
  return { ...facts, ...maps };
}

function factsOf(
  { names }: TestFile,
  { plan }: TestCase,
  { status, error, outputs }: RunResult,
  { steps: states, order, shown, tookMs }: Course,
): Values {
  // Maps, since an id may be a word that every object knows.
  const steps = new Map<string, Json>();
  const ran = new Map<string, boolean>();
  const stateOf = new Map<string, string>();
  const starts = new Map<string, number>();
  for (const path of order) starts.set(path, (starts.get(path) ?? 0) + 1);
  for (const [path, state] of states) {
    ran.set(path, hasBegun(path, state, starts, names));
    stateOf.set(path, state.status);
  }
  const shownBy = new Map<string, JsonObject>();
  for (const named of names.all) {
    const { path, step, turns, calls } = named;
    // An id means a step of the file itself before one of a file that it calls.
    if (step?.id === undefined || names.find(step.id)?.named !== named) continue;
    const isOne = turns.length === 0;
    const mine = isOne ? [path] : [...states.keys()].filter((one) => matches(path, one));
    const sum = mine.reduce((so, one) => so + (starts.get(one) ?? 0), 0);
    ran.set(
      step.id,
      mine.some((one) => ran.get(one) === true),
    );
    starts.set(step.id, sum);
    if (!isOne) continue;
    const seen = shown.get(path);
    if (seen !== undefined && calls === 0) shownBy.set(step.id, seen);
    stateOf.set(step.id, stateOf.get(path) ?? 'pending');
    const own = states.get(path)?.outputs;
    if (own !== undefined && calls === 0) steps.set(step.id, { ...own });
  }
  return {
    inputs: { ...plan.inputs },
    run: { id: 'test', round: 'test', pipeline: plan.pipeline },
    steps: Object.fromEntries(steps),
    status,
    error: {
      code: error?.code ?? '',
      message: error?.message ?? '',
      step: error?.step ?? '',
      hint: error?.hint ?? '',
    },
    outputs: { ...outputs },
    ran: Object.fromEntries(ran),
    starts: Object.fromEntries(starts),
    states: Object.fromEntries(stateOf),
    order: [...order],
    shown: Object.fromEntries(shownBy),
    seconds: Math.floor(tookMs / 1_000),
  };
}

/** Of a step: a start of it. What else was cancelled in the moment of its beginning has done nothing. */
function hasBegun(
  path: string,
  { status, startedAt, endedAt }: StepState,
  starts: ReadonlyMap<string, number>,
  names: TestFile['names'],
): boolean {
  if (names.at(path)?.step?.kind === 'step') return starts.has(path);
  if (status === 'skipped' || status === 'pending') return false;
  if (status !== 'cancelled' || startedAt !== endedAt) return true;
  return [...starts.keys()].some((inner) => isInside(inner, path));
}

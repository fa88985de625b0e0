/** How a run went, as assertions see it. */
import { evaluate, ExpressionError } from '../core/evaluate.js';
import type { Scope as Values } from '../core/expression.js';
import type { Json, JsonObject } from '../core/json.js';
import type { RunResult, StepState } from '../core/run-state.js';
import { explain } from './expression-text.js';
import { matches } from './step-names.js';
import type { Assertion, TestCase, TestFailure, TestFile } from './test-file.js';

/** What happened on the way to the end of a run. */
export interface Course {
  /** The steps by path, in the order in which they began. */
  readonly steps: ReadonlyMap<string, StepState>;
  /** Paths in the order of the starts. */
  readonly order: readonly string[];
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
    const values = withLookups(assertion, facts);
    const { expr, range, text } = assertion;
    let message = `it is not so that ${oneLine(text)}`;
    try {
      if (evaluate(expr, values) === true) return [];
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      message = `it cannot be told whether ${oneLine(text)}: ${error.message}`;
    }
    const details = [...explain(expr, values), ...endOf(result, text)];
    return [{ kind: 'assertion', message, details, range }];
  });
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
  { steps: states, order, tookMs }: Course,
): Values {
  const steps: JsonObject = {};
  const ran: JsonObject = {};
  const stateOf: JsonObject = {};
  const starts: JsonObject = {};
  for (const path of order) starts[path] = Number(starts[path] ?? 0) + 1;
  for (const [path, state] of states) {
    ran[path] = hasRun(state);
    stateOf[path] = state.status;
  }
  for (const { path, step, turns } of names.all) {
    if (step?.id === undefined) continue;
    const mine =
      turns.length === 0 ? [path] : [...states.keys()].filter((one) => matches(path, one));
    ran[step.id] = mine.some((one) => ran[one] === true);
    starts[step.id] = mine.reduce((sum, one) => sum + Number(starts[one] ?? 0), 0);
    if (turns.length > 0) continue;
    stateOf[step.id] = stateOf[path] ?? 'pending';
    const own = states.get(path)?.outputs;
    if (own !== undefined) steps[step.id] = { ...own };
  }
  return {
    inputs: { ...plan.inputs },
    run: { id: 'test', round: 'test', pipeline: plan.pipeline },
    steps,
    status,
    error: {
      code: error?.code ?? '',
      message: error?.message ?? '',
      step: error?.step ?? '',
      hint: error?.hint ?? '',
    },
    outputs: { ...outputs },
    ran,
    starts,
    states: stateOf,
    order: [...order],
    seconds: Math.floor(tookMs / 1_000),
  };
}

function hasRun({ status }: StepState): boolean {
  return status !== 'skipped' && status !== 'pending';
}

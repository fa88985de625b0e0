/**
 * What certainly exists, by brute force: a small pipeline reads one output at one place, and every outcome of it is run.
 * What is accepted is there in all of them; of what is refused nearly all is missing in one.
 */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { interpret } from '../core/interpreter.js';
import type { Plan } from '../core/plan.js';
import type { Powers, StepRequest } from '../core/powers.js';
import { PipelineDraw } from '../test/support/draw.js';
import { bindPipeline } from './bind.js';
import { compilePipeline } from './compile.js';
import type { StepSignature } from './step-signature.js';

const make: StepSignature = {
  name: 'make.value',
  summary: 'Makes a value.',
  input: z.object({ seen: z.string().optional() }),
  output: z.object({ v: z.string() }),
  defaults: { timeout: '1h', retry: { attempts: 1 } },
  errors: [],
  example: '',
};

type Yaml = { [key: string]: unknown };

const MISSING = 'it is not there';
const INPUTS = ['b0', 'b1'];

class ReaderDraw extends PipelineDraw {
  /** How many readers there are so far. */
  readers = 0;
}

/** The pipeline, with `read` for what its one reader reads of a step before it; null when it has no reader. */
function generate(numbers: readonly number[], read: (path: string) => string): string | null {
  const draw = new ReaderDraw(numbers);
  const steps = block(draw, 2, 3, read);
  const reader = draw.readers === 0 && draw.ids > 0 ? readerOf(draw, read) : null;
  if (draw.readers === 0 && reader === null) return null;
  return JSON.stringify({
    pipeline: 'generated',
    inputs: Object.fromEntries(INPUTS.map((name) => [name, { type: 'bool' }])),
    steps: reader === null ? steps : [...steps, reader],
  });
}

function block(
  draw: ReaderDraw,
  depth: number,
  most: number,
  read: (path: string) => string,
): Yaml[] {
  return Array.from({ length: 1 + draw.below(most) }, () => step(draw, depth, read));
}

function readerOf(draw: ReaderDraw, read: (path: string) => string): Yaml {
  draw.readers += 1;
  const seen = read(`steps.s${draw.below(draw.ids)}.v`);
  return { uses: 'make.value', with: { seen: `\${{ ${guarded(draw, seen)} }}` } };
}

/** What is read, as it stands or behind a condition inside of the expression. */
function guarded(draw: ReaderDraw, seen: string): string {
  const input = (): string => `inputs.b${draw.below(2)}`;
  const some = (): string => `has(steps.s${draw.below(draw.ids)})`;
  const asked = draw.below(2) === 0 ? input() : some();
  switch (draw.below(12)) {
    case 0:
      return `${asked} ? ${seen} : ""`;
    case 1:
      return `!${asked} ? "" : ${seen}`;
    case 2:
      return `${asked} && ${some()} ? ${seen} : ""`;
    case 3:
      return `(${asked} || ${some()}) ? ${seen} : ""`;
    case 4:
      return `(${asked} == true ? ${some()} : false) ? ${seen} : ""`;
    case 5:
      return `[1].exists(x, x == 1 && ${asked} && ${seen} == "${MISSING}") ? "${MISSING}" : ""`;
    case 6:
      return `${asked} && ${seen} == "${MISSING}" ? "${MISSING}" : ""`;
    case 7:
      return `!${asked} || ${seen} != "${MISSING}" ? "" : "${MISSING}"`;
    default:
      return seen;
  }
}

function step(draw: ReaderDraw, depth: number, read: (path: string) => string): Yaml {
  const condition = (): string => {
    const asked =
      draw.ids > 0 && draw.below(6) === 0
        ? `has(steps.s${draw.below(draw.ids)})`
        : `inputs.b${draw.below(2)}`;
    return `${draw.below(2) === 0 ? '!' : ''}${asked}`;
  };
  const guard: Yaml = draw.below(4) === 0 ? { if: condition() } : {};
  const inner = (): Yaml[] => block(draw, depth - 1, 2, read);
  switch (depth === 0 ? 0 : draw.below(10)) {
    case 4:
      return {
        if: condition(),
        then: inner(),
        ...(draw.below(2) === 0 ? { else: inner() } : {}),
      };
    case 5:
      return { ...guard, try: inner(), finally: inner() };
    case 6:
      return {
        ...guard,
        try: inner(),
        catch: [
          {
            ...(draw.below(2) === 0 ? {} : { errors: ['PROGRAM_FAILED'] }),
            steps: inner(),
          },
        ],
        ...(draw.below(3) === 0 ? { finally: inner() } : {}),
      };
    case 7: {
      const branches: Yaml[] = [];
      for (let left = 1 + draw.below(3); left > 0; left -= 1) {
        const ids = branches.flatMap(({ id }) => (typeof id === 'string' ? [id] : []));
        const needs = ids.filter(() => draw.below(2) === 0);
        branches.push({
          ...step(draw, depth - 1, read),
          ...(needs.length === 0 ? {} : { needs }),
        });
      }
      const fail = draw.below(2) === 0 ? 'fast' : 'wait';
      return { ...guard, parallel: branches, fail, limit: 1 + draw.below(2) };
    }
    case 8: {
      const until = draw.below(2) === 0 ? { until: condition() } : {};
      return { ...guard, repeat: { limit: 1 + draw.below(2), ...until }, steps: inner() };
    }
    case 9:
      return { ...guard, stop: { reason: 'Enough.' } };
    default:
      // Late enough for something to be there, and only once.
      if (draw.ids > 0 && draw.readers === 0 && draw.below(4) === 0) return readerOf(draw, read);
      return { ...guard, uses: 'make.value', id: `s${draw.ids++}` };
  }
}

/** The plan for some inputs; null when the pipeline does not check. */
function compile(text: string): ((inputs: readonly boolean[]) => Plan) | null {
  const { pipeline, source } = compilePipeline(text, 'generated.yaml', [make]);
  if (pipeline === null) return null;
  return (inputs) => {
    const { plan } = bindPipeline(pipeline, {
      inputs: new Map(inputs.map((input, at) => [`b${at}`, { value: input }] as const)),
      network: { coordinator: '', hotkey: '' },
      sourceSha256: '',
      source,
    });
    if (plan === null) throw new Error(text);
    return plan;
  };
}

/** Most steps of one run that may end either way: every further one ends well. */
const MAX_CHOICES = 7;

/** Runs the plan once for every way in which its steps can end; true when a reader ever found nothing. */
async function everMissing(plan: Plan): Promise<boolean> {
  let isMissing = false;
  const open: boolean[][] = [[]];
  for (let script = open.pop(); script !== undefined; script = open.pop()) {
    const choices: boolean[] = [...script];
    let at = 0;
    const runStep = ({ input }: StepRequest): ReturnType<Powers['runStep']> => {
      if (input['seen'] === MISSING) isMissing = true;
      if (at >= choices.length && at < MAX_CHOICES) {
        open.push([...choices, false]);
        choices.push(true);
      }
      const isGood = choices[at] ?? true;
      at += 1;
      return Promise.resolve(
        isGood
          ? { kind: 'succeeded', outputs: { v: 'v' } }
          : {
              kind: 'failed',
              error: { code: 'PROGRAM_FAILED', message: 'no' },
              retryable: false,
            },
      );
    };
    const powers: Powers = {
      runStep,
      decide: () => Promise.resolve(null),
      approve: () => Promise.resolve(),
      sleep: () => Promise.resolve(),
      now: () => 0,
      random: () => 0,
      isCancellation: () => false,
      shielded: (body) => body(),
      scoped: (body) => body(() => {}),
      changed: () => {},
    };
    await interpret(plan, { steps: {} }, { runId: 'r', roundId: 'r' }, powers);
    if (isMissing) return true;
  }
  return false;
}

it('accepts only what is there in every outcome, and refuses little else', async () => {
  const count = { accepted: 0, refused: 0 };
  const timid: string[] = [];
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(1_000_000), { minLength: 30, maxLength: 60 }),
      async (numbers) => {
        const text = generate(numbers, (path) => path);
        // The same with a guard checks always, and tells at run time.
        const told = generate(numbers, (path) => `(has(${path}) ? ${path} : "${MISSING}")`);
        if (text === null || told === null) return;
        const { diagnostics: all } = compilePipeline(text, 'generated.yaml', [make]);
        const diagnostics = all.filter(({ severity }) => severity === 'error');
        // Where the name is not in scope at all the guard is no help either.
        if (diagnostics.some(({ code }) => code !== 'STEP_UNCERTAIN')) return;
        const bind = compile(told);
        if (bind === null) throw new Error(told);
        const isAccepted = diagnostics.length === 0;
        let isMissing = false;
        for (const inputs of [
          [false, false],
          [false, true],
          [true, false],
          [true, true],
        ]) {
          isMissing ||= await everMissing(bind(inputs));
        }
        if (isAccepted) {
          count.accepted += 1;
          expect({ text, isMissing }).toEqual({ text, isMissing: false });
        } else {
          count.refused += 1;
          if (!isMissing) timid.push(text);
        }
      },
    ),
    { numRuns: 1_500, endOnFailure: true },
  );
  // Too few of either would prove nothing.
  expect(count.accepted).toBeGreaterThan(150);
  expect(count.refused).toBeGreaterThan(150);
  expect(timid.length / count.refused, timid[0]).toBeLessThanOrEqual(0.1);
});

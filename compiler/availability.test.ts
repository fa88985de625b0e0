/**
 * What certainly exists, by brute force: a small pipeline reads one output at one place, and every outcome of it is run.
 * What is accepted is there in all of them; of what is refused nearly all is missing in one. Files that it calls and
 * people whom it asks end in all their ways as well. `ADIT_SOUNDNESS_RUNS` looks longer.
 */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { interpret } from '../core/interpreter.js';
import type { OpenApproval } from '../core/open-approval.js';
import type { Plan } from '../core/plan.js';
import type { Powers, StepRequest } from '../core/powers.js';
import { PipelineDraw } from '../test/support/draw.js';
import { filesInMemory } from '../test/support/files-in-memory.js';
import { bindPipeline } from './bind.js';
import { compilePipeline, type Compiled } from './compile.js';
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

const RUNS = Number(process.env['ADIT_SOUNDNESS_RUNS'] ?? 1_000);

class ReaderDraw extends PipelineDraw {
  readonly files = new Map<string, string>();
  /** How many readers there are so far, in all files. */
  readers = 0;
  /** Steps of the file at hand whose output `maybe` a person may leave out. */
  approvals: string[] = [];
}

interface Generated {
  readonly text: string;
  readonly files: ReadonlyMap<string, string>;
}

/** The pipeline, with `read` for what its one reader reads of a step before it; null when it has no reader. */
function generate(numbers: readonly number[], read: (path: string) => string): Generated | null {
  const draw = new ReaderDraw(numbers);
  const steps = block(draw, 2, 3, read);
  const reader = draw.readers === 0 && draw.ids > 0 ? readerOf(draw, read) : null;
  if (draw.readers === 0 && reader === null) return null;
  const text = JSON.stringify({
    pipeline: 'generated',
    inputs: Object.fromEntries(INPUTS.map((name) => [name, { type: 'bool' }])),
    steps: reader === null ? steps : [...steps, reader],
  });
  return { text, files: draw.files };
}

/** A call of a file that is drawn for it; its output is one that was certainly given, or made of what may not be. */
function call(draw: ReaderDraw, depth: number, read: (path: string) => string): Yaml {
  const { ids, approvals } = draw;
  Object.assign(draw, { ids: 0, approvals: [] });
  const steps = block(draw, depth, 2, read);
  const of = draw.below(Math.max(1, draw.ids));
  const v = draw.ids === 0 ? '"v"' : `has(steps.s${of}.v) ? steps.s${of}.v : "v"`;
  const name = `f${draw.files.size}.yaml`;
  draw.files.set(
    name,
    JSON.stringify({
      pipeline: 'called',
      inputs: Object.fromEntries(INPUTS.map((input) => [input, { type: 'bool' }])),
      steps,
      outputs: { v: `\${{ ${v} }}` },
    }),
  );
  Object.assign(draw, { ids, approvals });
  const given = Object.fromEntries(INPUTS.map((input) => [input, `\${{ inputs.${input} }}`]));
  return { pipeline: `./${name}`, with: given };
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
  const id = `s${draw.below(draw.ids)}`;
  const output = draw.approvals.includes(id) && draw.below(4) === 0 ? 'maybe' : 'v';
  const seen = read(`steps.${id}.${output}`);
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
  switch (depth === 0 ? draw.of([0, 0, 0, 0, 0, 0, 10]) : draw.below(12)) {
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
    case 10: {
      const id = `s${draw.ids++}`;
      draw.approvals.push(id);
      const fields = { v: { type: 'string' }, maybe: { type: 'string', required: false } };
      return { id, ...guard, approve: { summary: 'Right?', fields, expires: '1h' } };
    }
    case 11: {
      const called = call(draw, depth - 1, read);
      return { id: `s${draw.ids++}`, ...guard, ...called };
    }
    default:
      // Late enough for something to be there, and only once.
      if (draw.ids > 0 && draw.readers === 0 && draw.below(4) === 0) return readerOf(draw, read);
      return { ...guard, uses: 'make.value', id: `s${draw.ids++}` };
  }
}

function check({ text, files }: Generated): Compiled {
  return compilePipeline(text, 'generated.yaml', [make], filesInMemory(files));
}

/** The plan for some inputs; null when the pipeline does not check. */
function compile(generated: Generated): ((inputs: readonly boolean[]) => Plan) | null {
  const { pipeline, source } = check(generated);
  if (pipeline === null) return null;
  return (inputs) => {
    const { plan } = bindPipeline(pipeline, {
      inputs: new Map(inputs.map((input, at) => [`b${at}`, { value: input }] as const)),
      network: { coordinator: '', hotkey: '' },
      sourceSha256: '',
      source,
    });
    if (plan === null) throw new Error(generated.text);
    return plan;
  };
}

/** Most steps of one run that may end in more than one way: every further one ends well. */
const MAX_CHOICES = 6;

const BOTH = ['well', 'badly'] as const;
/** How an approval ends: given, with what may be left out or without it, or not. */
const ANSWERS = ['well', 'sparely', 'badly', 'late'] as const;
type End = (typeof BOTH)[number] | (typeof ANSWERS)[number];

/** Runs the plan once for every way in which its steps can end; true when a reader ever found nothing. */
async function everMissing(plan: Plan): Promise<boolean> {
  let isMissing = false;
  const open: End[][] = [[]];
  for (let script = open.pop(); script !== undefined; script = open.pop()) {
    const choices: End[] = [...script];
    let at = 0;
    const endOf = (ways: readonly End[]): End => {
      if (at >= choices.length && at < MAX_CHOICES) {
        for (const way of ways.slice(1)) open.push([...choices, way]);
        choices.push('well');
      }
      at += 1;
      return choices[at - 1] ?? 'well';
    };
    const runStep = ({ input }: StepRequest): ReturnType<Powers['runStep']> => {
      if (input['seen'] === MISSING) isMissing = true;
      return Promise.resolve(
        endOf(BOTH) === 'well'
          ? { kind: 'succeeded', outputs: { v: 'v' } }
          : {
              kind: 'failed',
              error: { code: 'PROGRAM_FAILED', message: 'no' },
              retryable: false,
            },
      );
    };
    const approve = (approval: OpenApproval): Promise<void> => {
      const end = endOf(ANSWERS);
      const { digest } = approval.state;
      const maybe = end === 'well' ? { maybe: 'm' } : {};
      if (end === 'badly') approval.take({ action: 'reject', digest, by: 'a' }, 'now');
      else if (end !== 'late')
        approval.take({ action: 'approve', digest, by: 'a', fields: { v: 'v', ...maybe } }, 'now');
      return Promise.resolve();
    };
    const powers: Powers = {
      runStep,
      decide: () => Promise.resolve(null),
      approve,
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
  const count = { accepted: 0, refused: 0, calling: 0, asking: 0, timid: 0 };
  const timid: string[] = [];
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(1_000_000), { minLength: 30, maxLength: 60 }),
      async (numbers) => {
        const generated = generate(numbers, (path) => path);
        // The same with a guard checks always, and tells at run time.
        const told = generate(numbers, (path) => `(has(${path}) ? ${path} : "${MISSING}")`);
        if (generated === null || told === null) return;
        const diagnostics = check(generated).diagnostics.filter(
          ({ severity }) => severity === 'error',
        );
        // Where the name is not in scope at all the guard is no help either.
        if (diagnostics.some(({ code }) => !/^(?:STEP|MEMBER)_UNCERTAIN$/.test(code))) return;
        const text = [generated.text, ...generated.files.values()].join('\n');
        const bind = compile(told);
        if (bind === null) throw new Error(text);
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
        if (generated.files.size > 0) count.calling += 1;
        if (text.includes('"approve"')) count.asking += 1;
        if (isAccepted) {
          count.accepted += 1;
          expect({ text, isMissing }).toEqual({ text, isMissing: false });
        } else {
          count.refused += 1;
          if (!isMissing) timid.push(text);
        }
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
  count.timid = timid.length / count.refused;
  if (process.env['ADIT_SOUNDNESS_RUNS'] !== undefined)
    process.stdout.write(`${JSON.stringify({ ...count, examples: timid.slice(0, 5) }, null, 1)}\n`);
  // Too few of either would prove nothing.
  for (const share of [count.accepted, count.refused]) expect(share).toBeGreaterThan(RUNS / 10);
  for (const share of [count.calling, count.asking]) expect(share).toBeGreaterThan(RUNS / 20);
  // At most one in ten, as far as so many plans that are drawn at random can tell.
  const drawn = 4 * Math.sqrt((0.1 * 0.9) / count.refused);
  expect(count.timid, timid[0]).toBeLessThanOrEqual(0.1 + drawn);
});

/**
 * An accepted pipeline never reads what is not there: generated pipelines, with files that they call and people whom
 * they ask, are checked, and those that check are run by the interpreter with all kinds of outcomes. A run may fail as
 * its steps do, but never with EXPRESSION_FAILED, nor because a called file was given what it does not take.
 * `ADIT_SOUNDNESS_RUNS` looks longer.
 */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { interpret } from '../core/interpreter.js';
import type { Powers } from '../core/powers.js';
import type { Json } from '../core/json.js';
import type { Plan } from '../core/plan.js';
import type { StepState } from '../core/run-state.js';
import { Draw, PipelineDraw } from '../test/support/draw.js';
import { filesInMemory } from '../test/support/files-in-memory.js';
import { bindPipeline } from './bind.js';
import { compilePipeline } from './compile.js';
import type { StepSignature } from './step-signature.js';

const make: StepSignature = {
  name: 'make.value',
  summary: 'Makes a value.',
  input: z.object({ from: z.string().optional(), must: z.string() }),
  output: z.object({ v: z.string(), maybe: z.string().optional() }),
  defaults: { timeout: '1h', retry: { attempts: 1 } },
  errors: [],
  example: '',
};

type Yaml = { [key: string]: unknown };

const RUNS = Number(process.env['ADIT_SOUNDNESS_RUNS'] ?? 2_000);

interface Generated {
  readonly text: string;
  /** Those that it calls, and that these call. */
  readonly files: ReadonlyMap<string, string>;
}

/** What is drawn of the file at hand, and the files that are drawn beside it. */
class FileDraw extends PipelineDraw {
  readonly files = new Map<string, string>();
  /** Steps of the file that call another one: they have the output `n`, which may be null. */
  calls: string[] = [];
  isCalled = false;
  fileCount = 0;
}

function pipeline(numbers: readonly number[]): Generated {
  const draw = new FileDraw(numbers);
  return { text: file(draw, 2, 4), files: draw.files };
}

const BOOLS = ['b0', 'b1', 'b2'];

/** The text of one file; those that it calls are kept beside. */
function file(draw: FileDraw, depth: number, most: number): string {
  const steps = block(draw, depth, most);
  const inputs: Yaml = Object.fromEntries(BOOLS.map((name) => [name, { type: 'bool' }]));
  if (draw.isCalled) {
    inputs['a'] = { type: 'string' };
    inputs['o'] = { type: 'string', required: false };
    inputs['d'] = { type: 'string', default: 'd' };
  }
  // JSON is YAML.
  return JSON.stringify({
    pipeline: 'generated',
    inputs,
    steps,
    outputs: {
      v: `\${{ ${value(draw)} }}`,
      maybe: `\${{ ${value(draw)} }}`,
      ...(draw.isCalled ? { n: `\${{ ${optional(draw)} }}` } : {}),
    },
  });
}

function call(draw: FileDraw, depth: number): Yaml {
  const given: Yaml = Object.fromEntries(BOOLS.map((name) => [name, `\${{ inputs.${name} }}`]));
  given['a'] = `\${{ ${value(draw)} }}`;
  for (const name of ['o', 'd']) if (draw.below(2) === 0) given[name] = `\${{ ${optional(draw)} }}`;
  const { ids, calls, isCalled } = draw;
  Object.assign(draw, { ids: 0, calls: [], isCalled: true });
  const name = `f${draw.fileCount++}.yaml`;
  draw.files.set(name, file(draw, depth, 3));
  Object.assign(draw, { ids, calls, isCalled });
  return { pipeline: `./${name}`, with: given };
}

function block(draw: FileDraw, depth: number, most: number): Yaml[] {
  return Array.from({ length: 1 + draw.below(most) }, () => step(draw, depth));
}

function step(draw: FileDraw, depth: number): Yaml {
  const guard: Yaml = draw.below(3) === 0 ? { if: condition(draw) } : {};
  const kind = depth === 0 ? draw.of([0, 0, 0, 0, 0, 0, 0, 12, 13]) : draw.below(16);
  switch (kind) {
    case 5:
      return {
        if: condition(draw),
        then: block(draw, depth - 1, 2),
        ...(draw.below(2) === 0 ? { else: block(draw, depth - 1, 2) } : {}),
      };
    case 6:
      return { ...guard, try: block(draw, depth - 1, 2), finally: block(draw, depth - 1, 2) };
    case 9: {
      const clauses = Array.from({ length: 1 + draw.below(2) }, (_none, at) => ({
        ...(at > 0 || draw.below(2) === 0 ? {} : { errors: ['PROGRAM_FAILED'] }),
        as: `e${draw.ids++}`,
        steps: block(draw, depth - 1, 2),
      })).slice(0, draw.below(2) + 1);
      const [first, ...others] = clauses;
      return {
        ...guard,
        try: block(draw, depth - 1, 2),
        // Behind one that takes everything there can be no other.
        catch: first?.errors === undefined ? [first] : [first, ...others],
        ...(draw.below(2) === 0 ? { finally: block(draw, depth - 1, 2) } : {}),
      };
    }
    case 10: {
      const named: string[] = [];
      const branches = Array.from({ length: 1 + draw.below(3) }, () => {
        const needs = named.filter(() => draw.below(2) === 0);
        const made = step(draw, depth - 1);
        // Only now: a branch does not need itself.
        if (typeof made['id'] === 'string') named.push(made['id']);
        return { ...made, ...(needs.length === 0 ? {} : { needs }) };
      });
      return {
        ...guard,
        parallel: branches,
        fail: draw.of(['fast', 'wait']),
        limit: 1 + draw.below(2),
      };
    }
    case 11: {
      const id = `s${draw.ids++}`;
      const steps = block(draw, depth - 1, 2);
      return {
        id,
        ...guard,
        repeat: {
          limit: 1 + draw.below(2),
          ...(draw.below(2) === 0 ? { until: condition(draw) } : {}),
        },
        collect: value(draw),
        steps,
      };
    }
    case 12:
      return { ...guard, wait: '1s' };
    case 7: {
      const id = `s${draw.ids++}`;
      const steps = block(draw, depth - 1, 2);
      return {
        id,
        ...guard,
        foreach: '["a", "b"]',
        fail: draw.of(['fast', 'wait']),
        collect: value(draw),
        steps,
      };
    }
    case 8:
      return { ...guard, stop: { reason: `Because \${{ ${value(draw)} }}.` } };
    case 13: {
      const shown = `\${{ ${optional(draw)} }}`;
      const fields = {
        v: { type: 'string' },
        maybe: { type: 'string', required: false },
        n: { type: 'string', default: 'd' },
      };
      const summary = `Is \${{ ${value(draw)} }} right?`;
      return {
        id: `s${draw.ids++}`,
        ...guard,
        approve: { summary, show: { shown }, fields, expires: '1h', quorum: 1 + draw.below(2) },
      };
    }
    case 14: {
      const called = call(draw, depth - 1);
      const id = `s${draw.ids++}`;
      draw.calls.push(id);
      return { id, ...guard, ...called };
    }
    default: {
      const from = draw.below(2) === 0 ? { from: `\${{ ${optional(draw)} }}` } : {};
      const uses = { uses: 'make.value', with: { must: `\${{ ${value(draw)} }}`, ...from } };
      return { ...guard, ...uses, id: `s${draw.ids++}` };
    }
  }
}

const someStep = (draw: FileDraw): string => `steps.s${draw.below(Math.max(1, draw.ids))}`;

function condition(draw: FileDraw): string {
  if (draw.ids === 0) return draw.of(['inputs.b0', '!inputs.b1']);
  const id = someStep(draw);
  return draw.of([
    'inputs.b0',
    '!inputs.b1',
    `has(${id})`,
    `!has(${id})`,
    `has(${id}.maybe)`,
    `has(${id}) && ${id}.v == "a"`,
    `!has(${id}) || ${id}.v == "a"`,
    `has(${id}) || inputs.b2`,
    `!(inputs.b2 || !has(${id}))`,
    `!(has(${id}) && inputs.b2)`,
    `inputs.b0 && !has(${id})`,
    `!has(${id}) || inputs.b1`,
    `has(${id}.maybe) && has(${someStep(draw)}.v) && inputs.b1`,
  ]);
}

function value(draw: FileDraw): string {
  if (draw.isCalled && draw.below(5) === 0)
    return draw.of(['inputs.a', 'inputs.d', '(has(inputs.o) ? inputs.o : "y")']);
  if (draw.ids === 0) return '"x"';
  const id = someStep(draw);
  return draw.of([
    '"x"',
    `${id}.v`,
    `${id}.v`,
    `(has(${id}) ? ${id}.v : "y")`,
    `(has(${id}.maybe) ? ${id}.maybe + ${id}.v : "y")`,
    `(!has(${id}) ? "y" : ${id}.v)`,
    `string(has(${id}) && ${id}.v == "a" && inputs.b0)`,
    `(has(${id}.v) || inputs.b0 ? "z" : "y")`,
    `(inputs.b0 ? ${id}.v : "y")`,
    `(inputs.b0 == false ? "y" : ${id}.v)`,
    `(inputs.b1 || has(${someStep(draw)}) ? ${id}.v : "y")`,
    `(has(${someStep(draw)}) ? ${id}.v : "y")`,
    `((has(${someStep(draw)}) ? inputs.b1 : false) ? ${id}.v : "y")`,
    `(["a"].exists(x, x == ${id}.v && has(${someStep(draw)}.maybe)) ? ${someStep(draw)}.v : "y")`,
    `(${id}.v != "a" && inputs.b1 ? ${someStep(draw)}.v : "y")`,
  ]);
}

function optional(draw: FileDraw): string {
  if (draw.isCalled && draw.below(4) === 0) return 'has(inputs.o) ? inputs.o : null';
  if (draw.ids === 0) return '"x"';
  const [made] = draw.calls;
  if (made !== undefined && draw.below(2) === 0)
    return draw.of([`steps.${made}.n`, `has(steps.${made}.n) ? steps.${made}.n : null`]);
  const id = someStep(draw);
  return draw.of([
    `has(${id}.v) ? ${id}.v : null`,
    `has(${id}.maybe) ? ${id}.maybe : null`,
    value(draw),
  ]);
}

function powers(outcomes: Draw, changed: Powers['changed']): Powers {
  let now = 0;
  return {
    runStep: async () => {
      if (outcomes.below(4) === 0) {
        return {
          kind: 'failed',
          error: { code: 'PROGRAM_FAILED', message: 'no' },
          retryable: false,
        };
      }
      const maybe: { maybe?: Json } = outcomes.below(2) === 0 ? { maybe: 'm' } : {};
      return { kind: 'succeeded', outputs: { v: outcomes.of(['a', 'b']), ...maybe } };
    },
    decide: async () => null,
    approve: async (approval) => {
      const { digest, quorum } = approval.state;
      const end = outcomes.below(6);
      const maybe = outcomes.below(2) === 0 ? { maybe: 'm' } : {};
      const say = (action: 'approve' | 'reject', by: string): void => {
        const fields = action === 'approve' ? { v: 'a', ...maybe } : undefined;
        const answer = { action, digest, by, ...(fields === undefined ? {} : { fields }) };
        expect(approval.problemOf(answer, now)).toBeNull();
        approval.take(answer, 'now');
      };
      // Of two who must approve one says nothing, and it expires.
      const most = end < 2 ? quorum - 1 : quorum;
      for (let person = 0; person < most; person += 1) say('approve', `p${person}`);
      if (end === 1 && !approval.isOver) say('reject', 'r');
    },
    sleep: async () => {},
    now: () => ++now,
    random: () => 0,
    isCancellation: () => false,
    shielded: (body) => body(),
    scoped: (body) => body(() => {}),
    changed,
  };
}

/** The plan for some inputs; null when the pipeline does not check. */
function compile({ text, files }: Generated): ((inputs: readonly boolean[]) => Plan) | null {
  const { pipeline: checked, source } = compilePipeline(
    text,
    'generated.yaml',
    [make],
    filesInMemory(files),
  );
  if (checked === null) return null;
  return (inputs) => {
    const { plan, diagnostics } = bindPipeline(checked, {
      inputs: new Map(inputs.map((input, at) => [`b${at}`, { value: input }] as const)),
      network: { coordinator: '', hotkey: '' },
      sourceSha256: '',
      source,
    });
    if (plan === null) throw new Error(JSON.stringify(diagnostics));
    return plan;
  };
}

it('an accepted pipeline never reads an output that is not there, whatever its steps do', async () => {
  const numbers = fc.array(fc.nat(1_000_000), { minLength: 40, maxLength: 80 });
  const bools = fc.tuple(fc.boolean(), fc.boolean(), fc.boolean());
  const count = { accepted: 0, calling: 0, asking: 0 };
  await fc.assert(
    fc.asyncProperty(
      numbers,
      fc.array(fc.tuple(numbers, bools), { minLength: 8, maxLength: 8 }),
      async (shape, runs) => {
        const generated = pipeline(shape);
        const bind = compile(generated);
        if (bind === null) return;
        const text = [generated.text, ...generated.files.values()].join('\n');
        count.accepted += 1;
        if (generated.files.size > 0) count.calling += 1;
        if (text.includes('"approve"')) count.asking += 1;
        for (const [outcomes, inputs] of runs) {
          const failures = new Set<string>();
          const note = (steps: ReadonlyMap<string, StepState>): void => {
            for (const { error } of steps.values())
              if (error !== undefined) failures.add(`${error.code} ${error.message}`);
          };
          const result = await interpret(
            bind(inputs),
            { steps: {} },
            { runId: 'r', roundId: 'r' },
            powers(new Draw(outcomes), note),
          );
          if (result.error !== undefined)
            failures.add(`${result.error.code} ${result.error.message}`);
          // A failure in `finally` may stand behind another one, so every step is looked at.
          expect(
            [...failures].filter((failure) =>
              /^(?:EXPRESSION_FAILED|PIPELINE_INPUT_INVALID)/.test(failure),
            ),
            text,
          ).toEqual([]);
        }
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
  // Too few accepted pipelines would prove nothing.
  expect(count.accepted).toBeGreaterThan(RUNS / 14);
  expect(count.calling).toBeGreaterThan(RUNS / 100);
  expect(count.asking).toBeGreaterThan(RUNS / 100);
  if (process.env['ADIT_SOUNDNESS_RUNS'] !== undefined)
    process.stdout.write(`${JSON.stringify(count)}\n`);
});

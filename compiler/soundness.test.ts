/**
 * An accepted pipeline never reads what is not there: generated pipelines are checked, and those that check are run by
 * the interpreter with all kinds of outcomes. A run may fail as its steps do, but never with EXPRESSION_FAILED.
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

function pipeline(numbers: readonly number[]): string {
  const draw = new PipelineDraw(numbers);
  const steps = block(draw, 2, 4);
  const inputs = Object.fromEntries(['b0', 'b1', 'b2'].map((name) => [name, { type: 'bool' }]));
  // JSON is YAML.
  return JSON.stringify({
    pipeline: 'generated',
    inputs,
    steps,
    outputs: { o: `\${{ ${value(draw)} }}` },
  });
}

function block(draw: PipelineDraw, depth: number, most: number): Yaml[] {
  return Array.from({ length: 1 + draw.below(most) }, () => step(draw, depth));
}

function step(draw: PipelineDraw, depth: number): Yaml {
  const guard: Yaml = draw.below(3) === 0 ? { if: condition(draw) } : {};
  const kind = depth === 0 ? (draw.below(6) === 0 ? 12 : 0) : draw.below(13);
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
    default: {
      const from = draw.below(2) === 0 ? { from: `\${{ ${optional(draw)} }}` } : {};
      const uses = { uses: 'make.value', with: { must: `\${{ ${value(draw)} }}`, ...from } };
      return { ...guard, ...uses, id: `s${draw.ids++}` };
    }
  }
}

const someStep = (draw: PipelineDraw): string => `steps.s${draw.below(Math.max(1, draw.ids))}`;

function condition(draw: PipelineDraw): string {
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

function value(draw: PipelineDraw): string {
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

function optional(draw: PipelineDraw): string {
  if (draw.ids === 0) return '"x"';
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
    approve: async () => {},
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
function compile(text: string): ((inputs: readonly boolean[]) => Plan) | null {
  const { pipeline: checked, source } = compilePipeline(text, 'generated.yaml', [make]);
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
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(
      numbers,
      fc.array(fc.tuple(numbers, bools), { minLength: 8, maxLength: 8 }),
      async (shape, runs) => {
        const text = pipeline(shape);
        const bind = compile(text);
        if (bind === null) return;
        accepted += 1;
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
            [...failures].filter((failure) => failure.startsWith('EXPRESSION_FAILED')),
            text,
          ).toEqual([]);
        }
      },
    ),
    { numRuns: 2_000, endOnFailure: true },
  );
  // Too few accepted pipelines would prove nothing.
  expect(accepted).toBeGreaterThan(150);
});

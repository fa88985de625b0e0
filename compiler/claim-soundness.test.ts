/**
 * What becomes of claims, by brute force: small pipelines that claim, submit and give back are run in every outcome.
 * Of what is accepted each claim is submitted on or given back in all of them, and is young enough when it is submitted
 * on; of what is refused nearly all have an outcome in which one is not. As the rules do, this leaves out what happens
 * between a claim and the very next step. `ADIT_SOUNDNESS_RUNS` looks longer.
 */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { z } from 'zod';
import type { Plan } from '../core/plan.js';
import { ClaimDraw, claimPipeline } from '../test/support/claim-pipelines.js';
import { everyOutcome, type Began, type Steps } from '../test/support/outcomes.js';
import { bindPipeline } from './bind.js';
import { compilePipeline, type Compiled } from './compile.js';
import type { StepSignature } from './step-signature.js';

const RUNS = Number(process.env['ADIT_SOUNDNESS_RUNS'] ?? 1_000);

const LIFETIME_MS = 45 * 60_000;

const step = (
  name: string,
  input: z.ZodObject,
  output: z.ZodObject,
  submission?: StepSignature['submission'],
): StepSignature => ({
  name,
  summary: name,
  input,
  output,
  defaults: { timeout: '1m', retry: { attempts: 1 } },
  errors: [],
  ...(submission === undefined ? {} : { submission }),
  example: '',
});

const claim = z.string().optional();
const SIGNATURES = [
  step('test.work', z.object({}), z.object({ v: z.string() })),
  step('test.gate', z.object({}), z.object({ verdict: z.string() }), {
    role: 'gate',
    verdict: 'verdict',
    candidate: 'candidate',
    judges: {},
  }),
  step('test.claim', z.object({}), z.object({ claim: z.string() }), {
    role: 'claim',
    claim: 'claim',
    lifetime: '45m',
    lifetimeInput: 'lifetime',
  }),
  step('test.submit', z.object({ claim, verdict: z.string() }), z.object({ v: z.string() }), {
    role: 'submit',
    claim: 'claim',
    verdict: 'verdict',
  }),
  step('test.cancel', z.object({ claim }), z.object({ v: z.string() }), {
    role: 'cancel',
    claim: 'claim',
  }),
];

const STEPS: Steps = {
  endsOf: ({ uses }) => {
    if (uses === 'test.gate') return ['well'];
    return uses === 'test.work' ? ['well', 'fail', 'stop', 'cancel'] : ['well', 'fail', 'stop'];
  },
  outputsOf: ({ uses, path }) => {
    if (uses === 'test.gate') return { verdict: 'pass' };
    return uses === 'test.claim' ? { claim: path } : { v: 'v' };
  },
  isQuick: ({ uses }) => uses === 'test.claim' || uses === 'test.gate',
};

const uses =
  (name: string) =>
  ({ request }: Began): boolean =>
    request.uses === name;

/** A claim was made, and nothing was tried with it. */
function isLeftOpen(began: readonly Began[]): boolean {
  const tried = new Set(
    began.filter((one) => uses('test.submit')(one) || uses('test.cancel')(one)).map(claimOf),
  );
  return began
    .filter(uses('test.claim'))
    .some(({ request, endedMs }) => endedMs !== undefined && !tried.has(request.path));
}

/** A claim had expired when it was submitted on. */
function isTooOld(began: readonly Began[]): boolean {
  const claims = new Map(
    began.filter(uses('test.claim')).map(({ request, endedMs }) => [request.path, endedMs]),
  );
  const used = new Set<unknown>();
  return began.some((one) => {
    const made = claims.get(String(claimOf(one)));
    if (made === undefined || used.has(claimOf(one))) return false;
    if (!uses('test.claim')(one)) used.add(claimOf(one));
    return uses('test.submit')(one) && one.beganMs - made > LIFETIME_MS;
  });
}

const claimOf = ({ request }: Began): unknown => request.input['claim'];

/** One for each value of the input, where it is read. */
function plans({ pipeline, source }: Compiled): Plan[] {
  if (pipeline === null) throw new Error(source.text);
  return (source.text.includes('inputs.b0') ? [true, false] : [true]).map((value) => {
    const { plan } = bindPipeline(pipeline, {
      inputs: new Map([['b0', { value }]]),
      network: { coordinator: '', hotkey: '' },
      sourceSha256: '',
      source,
    });
    if (plan === null) throw new Error(source.text);
    return plan;
  });
}

const check = (text: string, signatures: readonly StepSignature[]): Compiled =>
  compilePipeline(text, 'generated.yaml', signatures);

/** Step types with no part in submissions: what is written with them always checks. */
const FREE = SIGNATURES.map(({ submission: _submission, ...rest }) => rest);

const BOUNDS = { bad: 2, choices: 12, runs: 100 };

const RULES = { CLAIM_LEFT_OPEN: isLeftOpen, CLAIM_TOO_OLD: isTooOld };
type Rule = keyof typeof RULES;
const isRule = (code: string): code is Rule => Object.hasOwn(RULES, code);

/** For each rule an outcome that breaks it, among as many as it takes to know all that are asked for. */
async function find(text: string, asked: readonly Rule[]): Promise<Map<Rule, string>> {
  const found = new Map<Rule, string>();
  for (const plan of plans(check(text, FREE))) {
    await everyOutcome(plan, STEPS, BOUNDS, (began, told) => {
      for (const rule of asked)
        if (!found.has(rule) && RULES[rule](began)) found.set(rule, told.join(', '));
      return found.size === asked.length;
    });
  }
  return found;
}

it('accepts only what leaves no claim open and none too old in any outcome, and refuses little else', async () => {
  const count = { drawn: 0, accepted: 0, CLAIM_LEFT_OPEN: 0, CLAIM_TOO_OLD: 0 };
  const timid: { readonly [rule in Rule]: string[] } = { CLAIM_LEFT_OPEN: [], CLAIM_TOO_OLD: [] };
  const wrong: string[] = [];
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(1_000_000), { minLength: 30, maxLength: 60 }),
      async (numbers) => {
        const text = claimPipeline(new ClaimDraw(numbers));
        if (text === null) return;
        count.drawn += 1;
        const codes = check(text, SIGNATURES).diagnostics.flatMap(({ severity, code }) =>
          severity === 'error' ? [code] : [],
        );
        const broken = [...new Set(codes)].filter(isRule);
        if (!codes.every(isRule)) return;
        if (broken.length === 0) {
          count.accepted += 1;
          for (const [rule, outcome] of await find(text, ['CLAIM_LEFT_OPEN', 'CLAIM_TOO_OLD']))
            wrong.push(`${rule}: ${outcome}\n${text}`);
          return;
        }
        const found = await find(text, broken);
        for (const rule of broken) {
          count[rule] += 1;
          if (!found.has(rule)) timid[rule].push(text);
        }
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
  for (const texts of [wrong, timid.CLAIM_LEFT_OPEN, timid.CLAIM_TOO_OLD])
    texts.sort((a, b) => a.length - b.length);
  if (process.env['ADIT_SOUNDNESS_RUNS'] !== undefined) {
    const shown = Object.entries(timid).map(([rule, texts]) => [
      rule,
      texts.length,
      ...texts.slice(0, 5),
    ]);
    process.stdout.write(`${JSON.stringify({ ...count, wrong, timid: shown }, null, 1)}\n`);
  }
  expect(wrong[0]).toBeUndefined();
  // Too few of either would prove nothing.
  expect(count.accepted).toBeGreaterThan(count.drawn / 5);
  expect(count.CLAIM_LEFT_OPEN).toBeGreaterThan(count.drawn / 10);
  const share = (rule: Rule): number => timid[rule].length / count[rule];
  expect(share('CLAIM_LEFT_OPEN'), timid.CLAIM_LEFT_OPEN[0]).toBeLessThanOrEqual(0.15);
});

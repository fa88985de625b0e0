/** Small pipelines that claim, submit and give back, in all kinds of blocks. */
import { Draw } from './draw.js';

type Yaml = { [key: string]: unknown };

/** Most claims of one pipeline. */
const MOST_CLAIMS = 2;

/** From so many steps on there are no further blocks: their outcomes could not be counted. */
const MOST_STEPS = 7;

export class ClaimDraw extends Draw {
  ids = 0;
  steps = 0;
  readonly claims: string[] = [];
  readonly submits: string[] = [];
  readonly named = new Set<string>();
}

/** The text; null when it makes no claim, or one that nothing names. */
export function claimPipeline(draw: ClaimDraw): string | null {
  const steps = block(draw, 2, 3);
  if (draw.claims.length === 0 || draw.claims.some((id) => !draw.named.has(id))) return null;
  return JSON.stringify({
    pipeline: 'generated',
    inputs: { b0: { type: 'bool' } },
    steps: [{ id: 'gate', uses: 'test.gate' }, ...steps],
  });
}

function block(draw: ClaimDraw, depth: number, most: number): Yaml[] {
  return Array.from({ length: 1 + draw.below(most) }, () => step(draw, depth));
}

function step(draw: ClaimDraw, depth: number): Yaml {
  const inner = (): Yaml[] => block(draw, depth - 1, 2);
  draw.steps += 1;
  const guard: Yaml = draw.below(5) === 0 ? { if: input(draw) } : {};
  switch (draw.below(depth === 0 || draw.steps > MOST_STEPS ? 12 : 20)) {
    case 0:
    case 1:
      return { ...guard, uses: 'test.work', timeout: draw.of(['5m', '20m', '50m']) };
    case 2:
      return draw.of<Yaml>([
        { ...guard, wait: draw.of(['10m', '30m']) },
        { ...guard, approve: { summary: 'Go on?', expires: '1h' } },
        { if: input(draw), stop: { reason: 'Enough.' } },
      ]);
    case 3:
    case 4:
      return draw.claims.length < MOST_CLAIMS ? { ...guard, ...claim(draw) } : end(draw);
    case 12:
      return {
        if: condition(draw),
        then: inner(),
        ...(draw.below(2) === 0 ? { else: inner() } : {}),
      };
    case 13:
      return { ...guard, try: inner(), finally: inner() };
    case 14:
      return {
        ...guard,
        try: inner(),
        catch: [{ ...caught(draw), steps: inner() }],
        ...(draw.below(2) === 0 ? { finally: inner() } : {}),
      };
    case 15:
    case 16:
      if (draw.claims.length >= MOST_CLAIMS) return end(draw);
      return { ...guard, try: [claim(draw), ...inner()], finally: [giveBack(draw)] };
    case 17:
      return { ...guard, ...parallel(draw, depth) };
    case 18:
      return {
        ...guard,
        foreach: '["a", "b"]',
        fail: draw.of(['fast', 'wait']),
        limit: 1 + draw.below(2),
        steps: inner(),
      };
    case 19: {
      const until = draw.below(2) === 0 ? { until: input(draw) } : {};
      const every = draw.below(3) === 0 ? { every: draw.of(['10m', '1h']) } : {};
      return { ...guard, repeat: { limit: 1 + draw.below(2), ...every, ...until }, steps: inner() };
    }
    default:
      return end(draw);
  }
}

function caught(draw: ClaimDraw): Yaml {
  const code = draw.of([null, null, 'PROGRAM_FAILED', 'REPEAT_LIMIT_REACHED']);
  return code === null ? {} : { errors: [code] };
}

function claim(draw: ClaimDraw): Yaml {
  const id = `c${draw.ids++}`;
  draw.claims.push(id);
  return { id, uses: 'test.claim' };
}

/** A submission on a claim, or what gives it back. */
function end(draw: ClaimDraw): Yaml {
  const of = draw.claims[draw.below(Math.max(1, draw.claims.length))];
  if (of === undefined) return { uses: 'test.work', timeout: '5m' };
  draw.named.add(of);
  const path = `steps.${of}.claim`;
  const whereThere = `has(${path}) ? ${path} : null`;
  const given = draw.of([whereThere, whereThere, path, path, `${input(draw)} ? ${path} : null`]);
  const with_ = { claim: `\${{ ${given} }}` };
  const guard: Yaml = draw.below(3) === 0 ? { if: condition(draw) } : {};
  if (draw.below(2) === 0) return { ...guard, uses: 'test.cancel', with: with_ };
  const id = `s${draw.ids++}`;
  draw.submits.push(id);
  return {
    id,
    ...guard,
    uses: 'test.submit',
    with: { ...with_, verdict: '${{ steps.gate.verdict }}' },
  };
}

/** Gives back what was claimed last. */
function giveBack(draw: ClaimDraw): Yaml {
  const of = draw.claims.at(-1) ?? '';
  draw.named.add(of);
  const path = `steps.${of}.claim`;
  return draw.of<Yaml>([
    { uses: 'test.cancel', with: { claim: `\${{ has(${path}) ? ${path} : null }}` } },
    { if: `has(${path})`, uses: 'test.cancel', with: { claim: `\${{ ${path} }}` } },
    end(draw),
  ]);
}

const input = (draw: ClaimDraw): string => draw.of(['inputs.b0', '!inputs.b0']);

function condition(draw: ClaimDraw): string {
  const claimed = draw.claims[draw.below(Math.max(1, draw.claims.length))];
  const submitted = draw.submits[draw.below(Math.max(1, draw.submits.length))];
  const of = [input(draw)];
  if (claimed !== undefined) of.push(`has(steps.${claimed}.claim)`, `!has(steps.${claimed})`);
  if (submitted !== undefined) of.push(`!has(steps.${submitted}.v)`);
  if (claimed !== undefined && submitted !== undefined)
    of.push(`has(steps.${claimed}) && !has(steps.${submitted})`);
  const one = of[draw.below(of.length)] ?? 'inputs.b0';
  // An input beside itself would say nothing, or always the same.
  return one !== of[0] && draw.below(4) === 0
    ? `${one} ${draw.of(['&&', '||'])} ${input(draw)}`
    : one;
}

function parallel(draw: ClaimDraw, depth: number): Yaml {
  const branches: Yaml[] = [];
  for (let left = 2 + draw.below(2); left > 0; left -= 1) {
    const ids = branches.flatMap(({ id }) => (typeof id === 'string' ? [id] : []));
    const needs = ids.filter(() => draw.below(2) === 0);
    const made = step(draw, depth - 1);
    const id = `p${draw.ids++}`;
    branches.push({
      ...made,
      ...(made['id'] === undefined ? { id } : {}),
      ...(needs.length === 0 ? {} : { needs }),
    });
  }
  return { parallel: branches, fail: draw.of(['fast', 'wait']), limit: 1 + draw.below(3) };
}

/** Large pipelines of one shape each, for the time that checking them takes. */

const CHECKED = 'uses: process.run, with: { command: echo }';

/** A pipeline of about `steps` steps. */
export type Shape = (steps: number) => string;

function file(steps: readonly string[]): string {
  return `pipeline: big\ninputs: { deep: { type: bool }, wide: { type: list<int> } }\nsteps:\n${steps.join('\n')}\noutputs: { deep: "\${{ inputs.deep }}", wide: "\${{ size(inputs.wide) }}" }\n`;
}

function many(count: number, make: (at: number) => string): string[] {
  return Array.from({ length: count }, (_, at) => make(at));
}

/** Every shape that a block or an expression can give to a file; what is quadratic in one of them shows at 4,000. */
export const SHAPES: { readonly [name: string]: Shape } = {
  'a chain, each step reads the one before': (steps) =>
    file(
      many(steps, (at) =>
        at === 0
          ? `  - { id: s0, ${CHECKED} }`
          : `  - { id: s${at}, uses: process.run, with: { command: "echo \${{ steps.s${at - 1}.exit_code }}" } }`,
      ),
    ),
  'steps with one `if`, each asks `has(…) ? … : …`': (steps) =>
    file(
      many(steps, (at) =>
        at === 0
          ? `  - { id: s0, if: inputs.deep, ${CHECKED} }`
          : `  - { id: s${at}, if: inputs.deep, uses: process.run, with: { command: "echo \${{ has(steps.s${at - 1}) ? 1 : 0 }}" } }`,
      ),
    ),
  'steps with conditions that differ': (steps) =>
    file(
      many(
        steps,
        (at) =>
          `  - { id: s${at}, if: 'size(inputs.wide) > ${at}', uses: process.run, with: { command: "echo ${at === 0 ? '' : `\${{ has(steps.s${at - 1}) ? steps.s${at - 1}.exit_code + 1 : 0 }}`}" } }`,
      ),
    ),
  '`if` blocks with `else`': (steps) =>
    file(
      many(
        Math.floor(steps / 2),
        (at) =>
          `  - if: inputs.deep\n    then:\n      - { id: a${at}, ${CHECKED} }\n    else:\n      - { id: b${at}, ${CHECKED} }`,
      ),
    ),
  '`try` with a `catch` that stops': (steps) =>
    file(
      many(
        Math.floor(steps / 2),
        (at) =>
          `  - try:\n      - { id: s${at}, ${CHECKED} }\n    catch:\n      - { steps: [{ stop: { reason: "\${{ error.message }}" } }] }`,
      ),
    ),
  '`try` with `catch` and `finally`': (steps) =>
    file(
      many(
        Math.floor(steps / 3),
        (at) =>
          `  - try:\n      - { id: s${at}, ${CHECKED} }\n    catch:\n      - { errors: [PROGRAM_FAILED], as: e${at}, steps: [{ id: c${at}, uses: process.run, with: { command: "echo \${{ e${at}.code }}" } }] }\n    finally:\n      - { id: f${at}, uses: process.run, with: { command: "echo \${{ has(steps.s${at}.exit_code) ? steps.s${at}.exit_code : 0 }}" } }`,
      ),
    ),
  'a `parallel` whose branches need one another': (steps) =>
    file([
      '  - parallel:',
      ...many(steps, (at) =>
        at === 0
          ? `      - { id: s0, ${CHECKED} }`
          : `      - { id: s${at}, needs: [s${at - 1}], uses: process.run, with: { command: "echo \${{ steps.s0.exit_code + steps.s${at - 1}.exit_code }}" } }`,
      ),
    ]),
  'a wide `parallel`': (steps) =>
    file([
      '  - parallel:',
      ...many(steps - 1, (at) => `      - { id: s${at}, ${CHECKED} }`),
      `  - { id: last, uses: process.run, with: { command: "echo \${{ steps.s0.exit_code }}" } }`,
    ]),
  '`foreach` blocks that collect': (steps) =>
    file(
      many(
        Math.floor(steps / 2),
        (at) =>
          `  - id: all${at}\n    foreach: ${at === 0 ? 'inputs.wide' : `steps.all${at - 1}.results`}\n    collect: steps.s${at}.exit_code\n    steps:\n      - { id: s${at}, uses: process.run, with: { command: "echo \${{ item }}" } }`,
      ),
    ),
  '`repeat` blocks': (steps) =>
    file(
      many(
        Math.floor(steps / 2),
        (at) =>
          `  - id: again${at}\n    repeat: { limit: 3, until: steps.s${at}.exit_code == 0 }\n    as: n${at}\n    steps:\n      - { id: s${at}, uses: process.run, with: { command: "echo \${{ n${at} }}" } }`,
      ),
    ),
  'macros over records': (steps) =>
    file(
      many(
        Math.floor(steps / 2),
        (at) =>
          `  - { id: all${at}, foreach: inputs.wide, fail: wait, steps: [{ id: s${at}, ${CHECKED} }] }\n  - { if: "steps.all${at}.failures.exists(f, f.code == 'PROGRAM_FAILED')", ${CHECKED} }`,
      ),
    ),
  'blocks 40 deep': (steps) =>
    file(
      many(Math.floor(steps / 40), (at) =>
        many(
          40,
          (depth) =>
            `${' '.repeat(2 + depth * 2)}- ${depth === 39 ? `{ id: s${at}, uses: process.run, with: { command: "echo \${{ inputs.wide[0] + ${at} }}" } }` : `if: inputs.deep\n${' '.repeat(4 + depth * 2)}then:`}`,
        ).join('\n'),
      ),
    ),
};

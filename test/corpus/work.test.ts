/**
 * The work of checking grows with the size of a file, not with its square: what V8 counts is compared, never a time.
 * Each shape once hung `adit check` within the 1 MiB that a file may have, or could.
 */
import { Session } from 'node:inspector/promises';
import { describe, expect, it } from 'vitest';
import { STEP_TYPES } from '../../activities/registry.js';
import { compilePipeline } from '../../compiler/compile.js';

/** How often the blocks of all functions ran while the text was compiled. */
async function workOf(text: string): Promise<number> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
    compilePipeline(text, 'work.yaml', STEP_TYPES);
    const { result } = await session.post('Profiler.takePreciseCoverage');
    return result
      .flatMap(({ functions }) => functions)
      .flatMap(({ ranges }) => ranges)
      .reduce((sum, { count }) => sum + count, 0);
  } finally {
    session.disconnect();
  }
}

const repeated = (size: number, line: (index: number) => string): string =>
  Array.from({ length: size }, (_, index) => line(index)).join('');

const SHAPES: ReadonlyArray<readonly [string, (size: number) => string]> = [
  ['steps that read each other', (size) => `pipeline: a\nsteps:\n${repeated(size, (at) => `  - { id: s${at}, uses: process.run, with: { command: "\${{ ${at === 0 ? 'run.id' : `steps.s${at - 1}.exit_code`} }}" } }\n`)}`],
  ['aliases', (size) => `pipeline: a\nsteps:\n  - &a { wait: 1s }\n${repeated(size, () => '  - *a\n')}`],
  ['anchors and aliases in turn', (size) => `pipeline: a\nsteps:\n${repeated(size, (at) => `  - &a${at} { wait: 1s }\n  - *a${at}\n`)}`],
  ['inputs', (size) => `pipeline: a\ninputs:\n${repeated(size, (at) => `  i${at}: { type: int, default: 1 }\n`)}steps:\n${repeated(size, (at) => `  - { if: inputs.i${at} + 1 > 2, wait: 1s }\n`)}`],
  ['a key many times', (size) => `pipeline: a\n${repeated(size, () => 'steps: 1\n')}`],
  ['clauses of a catch', (size) => `pipeline: a\nsteps:\n  - try: [{ wait: 1s }]\n    catch:\n${repeated(size, () => '      - { errors: [PROGRAM_FAILED], steps: [{ wait: 1s }] }\n')}`],
  ['branches that need the one before', (size) => `pipeline: a\nsteps:\n  - parallel:\n${repeated(size, (at) => `      - { id: s${at}, needs: [${at === 0 ? '' : `s${at - 1}`}], wait: 1s }\n`)}`],
  ['one id many times', (size) => `pipeline: a\nsteps:\n${repeated(size, () => '  - { id: a, wait: 1s }\n')}`],
  ['values that lack quotes', (size) => `pipeline: a\nsteps:\n${repeated(size, () => '  - uses: process.run a: b\n')}`],
  ['steps that there are not', (size) => `pipeline: a\nsteps:\n${repeated(size, (at) => `  - { id: step${at}, uses: process.run, with: { command: "\${{ steps.other${at}.exit_code }}" } }\n`)}`],
  ['outputs that are read', (size) => `pipeline: a\nsteps:\n  - { id: a, uses: process.run, with: { command: a, outputs: { ${repeated(size, (at) => `o${at}: int, `)} } } }\noutputs:\n${repeated(size, (at) => `  o${at}: \${{ steps.a.outputs.o${at} + 1 }}\n`)}`],
  ['conditions that stop the run', (size) => `pipeline: a\ninputs: { n: { type: int } }\nsteps:\n${repeated(size, (at) => `  - { if: inputs.n == ${at}, stop: { reason: a } }\n`)}`],
  ['branches with conditions that need the one before', (size) => `pipeline: a\ninputs: { n: { type: int } }\nsteps:\n  - parallel:\n${repeated(size, (at) => `      - { id: s${at}, needs: [${at === 0 ? '' : `s${at - 1}`}], if: inputs.n > ${at}, wait: 1s }\n`)}`],
];

/** Each part is looked at behind those before it. */
const nested = (depth: number): string =>
  `pipeline: a\ninputs: { a: { type: bool }, n: { type: int }, o: { type: string, required: false } }\nsteps:\n  - { if: "${repeated(depth, (at) => `(inputs.a || inputs.n == ${at}) && (`)}inputs.o == ''${')'.repeat(depth)}", wait: 1s }\n`;

describe('the work of checking', () => {
  it.each(SHAPES)('grows with the number of %s', async (_name, shape) => {
    // What is made once is made before it is counted.
    await workOf(shape(10));
    const small = await workOf(shape(200));
    const large = await workOf(shape(800));
    expect(large / small).toBeLessThan(6);
  });

  it('does not double with each part of a condition', async () => {
    await workOf(nested(2));
    const small = await workOf(nested(6));
    const large = await workOf(nested(18));
    expect(large / small).toBeLessThan(30);
  });
});

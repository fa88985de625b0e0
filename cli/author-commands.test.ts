/** Commands for those who write pipelines: schema, steps. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { STEP_TYPES } from '../activities/registry.js';
import { describeStep } from '../compiler/reference.js';
import { runCommand } from '../test/support/command.js';
import { findPackage } from '../adapters/package/find-package.js';

describe('adit schema', () => {
  it('prints the schema that is committed', async () => {
    const { exitCode, stdout } = await runCommand('schema');
    expect(exitCode).toBe(0);
    const committed = path.join(findPackage().root, 'schema/pipeline.schema.json');
    expect(stdout).toBe(readFileSync(committed, 'utf8'));
    expect((await runCommand('schema', '--json')).stdout).toBe(stdout);
  });

  it.each(['pipeline', 'test', 'rehearse'])('prints that of --kind %s', async (kind) => {
    const { stdout } = await runCommand('schema', '--kind', kind);
    const committed = path.join(findPackage().root, `schema/${kind}.schema.json`);
    expect(stdout).toBe(readFileSync(committed, 'utf8'));
  });

  it('names the kinds that there are', async () => {
    const { exitCode, stderr } = await runCommand('schema', '--kind', 'tests');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('pipeline, test, rehearse');
  });
});

describe('adit steps', () => {
  it('lists every step type with what it does', async () => {
    const { exitCode, stdout } = await runCommand('steps');
    expect(exitCode).toBe(0);
    for (const { name, summary } of STEP_TYPES)
      expect(stdout).toMatch(new RegExp(`^${name} +${summary.slice(0, 20)}`, 'm'));
  });

  it.each(STEP_TYPES)('tells all about $name', async (signature) => {
    const { stdout } = await runCommand('steps', signature.name);
    const { inputs, outputs, errors, defaults, example } = describeStep(signature);
    for (const field of [...inputs, ...outputs]) {
      expect(stdout).toContain(`  ${field.name} (${field.type}`);
      expect(stdout).toContain(field.summary);
      if (field.default !== undefined)
        expect(stdout).toContain(`default ${JSON.stringify(field.default)}`);
    }
    for (const code of errors) expect(stdout).toMatch(new RegExp(`^  ${code} +\\w`, 'm'));
    expect(stdout).toContain(`timeout ${defaults.timeout}`);
    expect(stdout).toContain(example.split('\n')[0]);
  });

  it('says what becomes of a run that ends with an error', async () => {
    const { stdout } = await runCommand('steps', 'candidate.train');
    expect(stdout).toMatch(/PROGRAM_FAILED +tried again, at last the run fails$/m);
    expect(stdout).toMatch(/PROGRAM_LOST +started again at once, at last the run fails$/m);
    expect((await runCommand('steps', 'gate.evidence')).stdout).toMatch(
      /GATE_NOT_PASSED +the run stops$/m,
    );
  });

  it('gives the same as JSON', async () => {
    const { stdout } = await runCommand('steps', 'process.run', '--json');
    const process = STEP_TYPES.find(({ name }) => name === 'process.run');
    if (process === undefined) throw new Error('There is no step type process.run.');
    expect(JSON.parse(stdout)).toEqual({ steps: [describeStep(process)] });
    const all = JSON.parse((await runCommand('steps', '--json')).stdout) as { steps: unknown[] };
    expect(all.steps).toHaveLength(STEP_TYPES.length);
  });

  it('suggests the step type that was meant, and exits 2', async () => {
    const { exitCode, stderr } = await runCommand('steps', 'coordinator.clam');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('There is no step type coordinator.clam.');
    expect(stderr).toContain('did you mean `coordinator.claim`?');
    const { stdout } = await runCommand('steps', 'nothing', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'STEP_TYPE_UNKNOWN' } });
  });
});

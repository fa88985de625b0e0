/** Commands for those who write pipelines: schema, steps. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../test/support/command.js';
import { findPackage } from './package-root.js';

describe('adit schema', () => {
  it('prints the schema that is committed', async () => {
    const { exitCode, stdout } = await runCommand('schema');
    expect(exitCode).toBe(0);
    const committed = path.join(findPackage().root, 'schema/pipeline.schema.json');
    expect(stdout).toBe(readFileSync(committed, 'utf8'));
    expect((await runCommand('schema', '--json')).stdout).toBe(stdout);
  });
});

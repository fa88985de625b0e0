import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runCommandLine } from './command-line.js';

let folder: string;
let out: string;
let err: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-check-'));
  out = '';
  err = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += String(text);
    return true;
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  await rm(folder, { recursive: true, force: true });
});

async function write(name: string, text: string): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, text);
  return file;
}

const GOOD = 'pipeline: good\nsteps:\n  - { uses: process.run, with: { command: "true" } }\n';
const BAD = 'pipeline: bad\nsteps:\n  - { uses: proces.run, timeout: 5 }\n';

describe('adit check', () => {
  it('says ok and exits 0 for files without mistakes', async () => {
    const file = await write('good.yaml', GOOD);
    expect(await runCommandLine(['check', file])).toBe(0);
    expect(out).toBe(`ok ${file}\n`);
    expect(err).toBe('');
  });

  it('knows the file of a rehearsal, and what is wrong in it', async () => {
    await write('good.yaml', GOOD);
    const file = await write('good.rehearse.yaml', 'limit: 2m\n');
    expect(await runCommandLine(['check', file])).toBe(0);
    expect(out).toBe(`ok ${file}\n`);
    for (const [text, told] of [
      ['input: {}\n', 'good.rehearse.yaml:1:1: error: a rehearsal file has no `input`'],
      ['limit: 2 minutes\n', 'good.rehearse.yaml:1:8: error: `2 minutes` is not a duration'],
      ['a: b: c\n', '[YAML_'],
      ["rules: { a: '1' }\n", 'good.rehearse.yaml:1:14: error: what is expected is true or false'],
    ] as const) {
      await write('good.rehearse.yaml', text);
      expect(await runCommandLine(['check', file])).toBe(2);
      expect(out).toContain(told);
    }
  });

  it('tells what is wrong with the pipeline of a rehearsal file, and where none is', async () => {
    await write('bad.yml', BAD);
    expect(await runCommandLine(['check', await write('bad.rehearse.yaml', 'limit: 2m\n')])).toBe(
      2,
    );
    expect(out).toContain('bad.yml:3:13: error: there is no step type');
    expect(await runCommandLine(['check', await write('none.rehearse.yaml', 'limit: 2m\n')])).toBe(
      2,
    );
    expect(out).toContain(
      `${path.join(folder, 'none.yaml')} cannot be read: there is no such file`,
    );
  });

  it('prints every mistake of every file and exits 2', async () => {
    const good = await write('good.yaml', GOOD);
    const bad = await write('bad.yaml', BAD);
    expect(await runCommandLine(['check', bad, good])).toBe(2);
    expect(out).toBe(
      [
        `${bad}:3:13: error: there is no step type \`proces.run\` [STEP_TYPE_UNKNOWN]`,
        '3 |   - { uses: proces.run, timeout: 5 }',
        '  |             ~~~~~~~~~~',
        '  = did you mean `process.run`?',
        '',
        `${bad}:3:34: error: \`5\` is not a duration [DURATION_INVALID]`,
        '3 |   - { uses: proces.run, timeout: 5 }',
        '  |                                  ~',
        '  = give it a unit: `5s`, `5m` or `5h`',
        '',
        `ok ${good}`,
        '',
      ].join('\n'),
    );
    expect(err).toBe('2 mistakes in 1 file; docs/diagnostics.md explains each code\n');
  });

  it('gives the same as JSON, with 1-based places whose ends are exclusive', async () => {
    const bad = await write('bad.yaml', 'pipeline: bad\nsteps:\n  - { uses: "é😀.x" }\n');
    expect(await runCommandLine(['check', bad, '--json'])).toBe(2);
    const report = JSON.parse(out) as { ok: boolean; diagnostics: object[] };
    expect(report.ok).toBe(false);
    expect(report.diagnostics).toEqual([
      {
        code: 'STEP_TYPE_UNKNOWN',
        severity: 'error',
        message: 'there is no step type `é😀.x`',
        hint: '`adit steps` lists them',
        file: bad,
        line: 3,
        column: 13,
        endLine: 3,
        endColumn: 20,
      },
    ]);
    expect(err).toBe('');
  });

  it('gives { ok: true, diagnostics: [] } for a file without mistakes', async () => {
    expect(await runCommandLine(['check', await write('good.yaml', GOOD), '--json'])).toBe(0);
    expect(JSON.parse(out)).toEqual({ ok: true, diagnostics: [] });
  });

  describe('with warnings alone', () => {
    const UNUSED = GOOD.replace('steps:', 'inputs: { a: { type: int } }\nsteps:');

    it('prints them, says ok and exits 0', async () => {
      const file = await write('unused.yaml', UNUSED);
      expect(await runCommandLine(['check', file])).toBe(0);
      expect(out).toBe(
        [
          `${file}:2:11: warning: nothing reads the input \`a\` [INPUT_UNUSED]`,
          '2 | inputs: { a: { type: int } }',
          '  |           ~',
          '  = remove it, or read it as `inputs.a`',
          '',
          `ok ${file}`,
          '',
        ].join('\n'),
      );
      expect(err).toBe('1 warning in 1 file; docs/diagnostics.md explains each code\n');
    });

    it('exits 2 when they are denied', async () => {
      const file = await write('unused.yaml', UNUSED);
      expect(await runCommandLine(['check', file, '--deny-warnings'])).toBe(2);
      expect(out).not.toContain('ok ');
    });

    it('has their severity as JSON', async () => {
      const file = await write('unused.yaml', UNUSED);
      expect(await runCommandLine(['check', file, '--json'])).toBe(0);
      expect(JSON.parse(out)).toMatchObject({
        ok: true,
        diagnostics: [{ code: 'INPUT_UNUSED', severity: 'warning' }],
      });
    });
  });

  it('refuses a huge file by its size, without reading it', async () => {
    const file = await write('huge.yaml', '');
    await truncate(file, 3 * 1024 * 1024);
    expect(await runCommandLine(['check', file])).toBe(2);
    expect(out).toContain(
      'the file is 3145728 bytes; a pipeline is at most 1048576 bytes (1 MiB) [FILE_TOO_LARGE]',
    );
  });

  it('says that a file is not there, and exits 2', async () => {
    const file = path.join(folder, 'none.yaml');
    expect(await runCommandLine(['check', file, '--json'])).toBe(2);
    expect(JSON.parse(out)).toEqual({
      error: {
        code: 'FILE_UNREADABLE',
        message: `The pipeline file ${file} cannot be read: there is no such file.`,
        hint: 'Correct the path.',
      },
    });
  });
});

describe('files that are not there, beside others', () => {
  it('are all told, after the mistakes of the others', async () => {
    const wrong = await write('wrong.yaml', 'pipeline: X\nsteps: [{ wait: 1s }]\n');
    const none = path.join(folder, 'none.yaml');
    expect(await runCommandLine(['check', none, wrong, folder])).toBe(2);
    expect(out).toContain('`X` is not a name for a pipeline [ID_INVALID]');
    expect(err).toContain(`The pipeline file ${none} cannot be read: there is no such file.`);
    expect(err).toContain(`The pipeline file ${folder} cannot be read: it is a folder.`);
    expect(err).toContain(`Name files in it, such as ${folder}/*.yaml.`);
  });

  it('leave one error as JSON', async () => {
    const good = await write('good.yaml', 'pipeline: x\nsteps: [{ wait: 1s }]\n');
    const none = path.join(folder, 'none.yaml');
    expect(await runCommandLine(['check', good, none, '--json'])).toBe(2);
    expect(JSON.parse(out)).toMatchObject({ error: { code: 'FILE_UNREADABLE' } });
  });
});

describe('adit steps', () => {
  it('lists the step types', async () => {
    expect(await runCommandLine(['steps'])).toBe(0);
    expect(out).toMatch(/^coordinator\.submit +Submits/m);
  });

  it('shows one in full', async () => {
    expect(await runCommandLine(['steps', 'coordinator.cancel_claim'])).toBe(0);
    expect(out).toContain('  claim (Claim, optional)');
    expect(out).toContain('It changes something outside that cannot be taken back.');
    expect(out).toContain('uses: coordinator.cancel_claim');
  });

  it('gives types, defaults and errors as JSON', async () => {
    expect(await runCommandLine(['steps', 'coordinator.discover', '--json'])).toBe(0);
    const { steps } = JSON.parse(out) as { steps: object[] };
    expect(steps).toMatchObject([
      {
        name: 'coordinator.discover',
        inputs: [{ name: 'slug', type: 'string', optional: false }],
        outputs: [{ name: 'task', type: 'Task', optional: false }],
        errors: expect.arrayContaining(['TASK_NOT_LIVE']) as string[],
      },
    ]);
  });

  it('suggests the step type that was meant, and exits 2', async () => {
    expect(await runCommandLine(['steps', 'candidate.trian'])).toBe(2);
    expect(err).toBe(
      'error: There is no step type candidate.trian.\ndid you mean `candidate.train`?\n',
    );
  });
});

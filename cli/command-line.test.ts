import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runCommandLine } from './command-line.js';

let stateDir: string;
let out: string;
let err: string;

beforeEach(async () => {
  stateDir = await mkdtemp(path.join(tmpdir(), 'adit-cli-'));
  vi.stubEnv('ADIT_STATE_DIR', stateDir);
  vi.stubEnv('TEMPORAL_ADDRESS', '');
  vi.stubEnv('TEMPORAL_CONFIG_FILE', path.join(stateDir, 'none.toml'));
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
  vi.unstubAllEnvs();
  process.exitCode = undefined;
  await rm(stateDir, { recursive: true, force: true });
});

describe('the command line', () => {
  it('lists every command in its help, and exits 0', async () => {
    expect(await runCommandLine(['--help'])).toBe(0);
    for (const name of 'demo dev devnet worker check run watch list show cancel doctor steps'.split(
      ' ',
    )) {
      expect(out).toMatch(new RegExp(`^  ${name} `, 'm'));
    }
  });

  it.each(['demo', 'dev', 'worker', 'run', 'watch', 'list', 'show', 'cancel', 'doctor'])(
    'gives `adit %s --help` an example',
    async (name) => {
      expect(await runCommandLine([name, '--help'])).toBe(0);
      expect(out).toContain(`adit ${name}`);
      expect(out).toContain('Example:');
      expect(out).toContain('--json');
    },
  );

  it('says of `adit help x` that there is no such command', async () => {
    expect(await runCommandLine(['help', 'x'])).toBe(2);
    expect(err).toContain("Unknown command 'x'");
  });

  it('suggests the command that was meant, and exits 2', async () => {
    expect(await runCommandLine(['lsit'])).toBe(2);
    expect(err).toBe("error: Unknown command 'lsit'\nDid you mean list?\n");
    expect(out).toBe('');
  });

  it('prints a usage error as JSON when asked to', async () => {
    expect(await runCommandLine(['show', '--json'])).toBe(2);
    expect(JSON.parse(out)).toEqual({
      error: {
        code: 'USAGE',
        message: "Missing required argument 'run'",
        hint: '`adit show --help` shows how it is used.',
      },
    });
    expect(err).toBe('');
  });

  it('refuses an option that the command does not have', async () => {
    expect(await runCommandLine(['list', '--limt', '3'])).toBe(2);
    expect(err).toBe("error: Unknown option '--limt'\nDid you mean --limit?\n");
  });

  it('exits 5 and says the way out when there is no server', async () => {
    expect(await runCommandLine(['cancel', 'some-run', '--json'])).toBe(5);
    expect(JSON.parse(out)).toEqual({
      error: {
        code: 'SERVER_NONE',
        message: expect.stringContaining('There is no Temporal server to talk to'),
        hint: 'Start one with `adit dev`, or name one by --address or TEMPORAL_ADDRESS.',
      },
    });
  });

  it('exits 5, and does not move to another server, when the named one does not answer', async () => {
    expect(await runCommandLine(['watch', 'some-run', '--address', '127.0.0.1:1'])).toBe(5);
    expect(err).toContain('The Temporal server at 127.0.0.1:1 (from --address) does not answer');
  });

  it('exits 2 when a setting cannot be read', async () => {
    vi.stubEnv('ADIT_CONFIG', path.join(stateDir, 'missing.yaml'));
    expect(await runCommandLine(['list'])).toBe(2);
    expect(err).toContain('missing.yaml does not exist');
  });

  it('says that a run is unknown when there is neither a server nor evidence of it', async () => {
    expect(await runCommandLine(['show', 'some-run'])).toBe(1);
    expect(err).toBe(
      'error: There is no run "some-run". No evidence folder has it.\n`adit list` shows the runs; `--address` and ADIT_STATE_DIR say where to look.\n',
    );
  });

  it('lists no runs where there are none, without a server', async () => {
    expect(await runCommandLine(['list', '--json'])).toBe(0);
    expect(JSON.parse(out)).toEqual({ runs: [] });
  });
});

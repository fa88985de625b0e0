import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chooseServer, localServerVariables, serverVariables } from './choose-server.js';
import { identifyProcess, type ProcessIdentity } from './process-identity.js';
import { writeServices, type Services } from './services-file.js';

let stateDir: string;
let env: NodeJS.ProcessEnv;

beforeEach(async () => {
  stateDir = await mkdtemp(path.join(tmpdir(), 'adit-choose-'));
  env = { TEMPORAL_CONFIG_FILE: path.join(stateDir, 'temporal.toml') };
});

afterEach(() => rm(stateDir, { recursive: true, force: true }));

const me = identifyProcess(process.pid) as ProcessIdentity;

function services(kind: 'dev' | 'demo', address: string, process = me): Services {
  return {
    kind,
    startedAt: '2026-11-21T10:00:00.000Z',
    temporal: { address, namespace: 'default', ui: null, process, tuned: true },
    devnet: {
      coordinator: 'http://127.0.0.1:1',
      pool: 'http://127.0.0.1:2',
      artifacts: 'https://127.0.0.1:3',
      process,
    },
    worker: { taskQueue: 'adit', process },
    variables: { ADIT_STATE_DIR: '/state/dev' },
  };
}

describe('choosing the Temporal server of a command', () => {
  it('prefers the flag to the environment, the environment to the profile, the profile to `adit dev`', async () => {
    const profile = '[profile.default]\naddress = "profile:7233"\nnamespace = "research"\n';
    await writeFile(String(env['TEMPORAL_CONFIG_FILE']), profile);
    writeServices(stateDir, services('dev', '127.0.0.1:9'));
    const variables = { ...env, TEMPORAL_ADDRESS: 'variable:7233' };
    const chosen = (flags: { address?: string }, from: NodeJS.ProcessEnv) => {
      const { address, namespace, source } = chooseServer({ flags, env: from, stateDir });
      return { address, namespace, source };
    };
    expect(chosen({ address: 'flag:7233' }, variables)).toEqual({
      address: 'flag:7233',
      namespace: 'research',
      source: 'flag',
    });
    expect(chosen({}, variables)).toEqual({
      address: 'variable:7233',
      namespace: 'research',
      source: 'environment',
    });
    expect(chosen({}, env)).toEqual({
      address: 'profile:7233',
      namespace: 'research',
      source: 'profile',
    });
    await rm(String(env['TEMPORAL_CONFIG_FILE']));
    expect(chosen({}, env)).toEqual({
      address: '127.0.0.1:9',
      namespace: 'default',
      source: 'dev',
    });
  });

  it('takes a kept demo when no `adit dev` runs', () => {
    writeServices(stateDir, services('demo', '127.0.0.1:8'));
    expect(chooseServer({ flags: {}, env, stateDir })).toMatchObject({
      address: '127.0.0.1:8',
      source: 'demo',
    });
  });

  it('does not take a server whose process is gone, also when another process has its number', () => {
    writeServices(stateDir, services('dev', '127.0.0.1:9', { pid: process.pid, birth: 'another' }));
    expect(() => chooseServer({ flags: {}, env, stateDir })).toThrow(
      'There is no Temporal server to talk to: no --address, no TEMPORAL_ADDRESS, no address in a Temporal profile, and no `adit dev` is running.',
    );
  });

  it('refuses a profile that is not there, and a file that is not TOML', async () => {
    const flags = { profile: 'elsewhere' };
    expect(() => chooseServer({ flags, env, stateDir })).toThrow(/elsewhere/);
    await writeFile(String(env['TEMPORAL_CONFIG_FILE']), 'address: yaml\n');
    expect(() => chooseServer({ flags: {}, env, stateDir })).toThrow(
      'The Temporal configuration cannot be read',
    );
  });

  it('keeps credentials meant for another server away from the embedded one', () => {
    const own = {
      PATH: '/bin',
      TEMPORAL_API_KEY: 'secret',
      TEMPORAL_ADDRESS: 'cloud:7233',
      TEMPORAL_PROFILE: 'cloud',
    };
    const local = localServerVariables('127.0.0.1:9', 'default', own);
    expect(local).toMatchObject({
      PATH: '/bin',
      TEMPORAL_ADDRESS: '127.0.0.1:9',
      TEMPORAL_TLS: 'false',
    });
    expect(local).not.toHaveProperty('TEMPORAL_API_KEY');
    expect(local).not.toHaveProperty('TEMPORAL_PROFILE');
    const named = chooseServer({
      flags: {},
      env: { ...env, ...own, TEMPORAL_PROFILE: '' },
      stateDir,
    });
    expect(serverVariables(named, own)).toMatchObject({
      TEMPORAL_API_KEY: 'secret',
      TEMPORAL_ADDRESS: 'cloud:7233',
    });
  });
});

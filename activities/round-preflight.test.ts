import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createArtifactHost } from '../adapters/artifact-host/artifact-host.js';
import { createGit } from '../adapters/git/git.js';
import { createProcesses, type Processes } from '../adapters/processes/processes.js';
import { createPool } from '../adapters/pool/pool.js';
import { loadSettings } from '../adapters/settings/settings.js';
import { replyWith } from '../test/fakes/fake-coordinator.js';
import { startHttpsStorage, type HttpsStorage } from '../test/fakes/https-storage.js';
import { createTestHost, type TestHost } from '../test/fakes/process-host.js';
import { HOTKEY, startRound, type Round } from '../test/support/coordinator-round.js';
import { roundPreflight } from './round-preflight.js';

let storage: HttpsStorage;
let pool: Server;
let epochs: number[];
let round: Round | undefined;
let stateDir: string;
let host: TestHost;
let processes: Processes;
beforeEach(async () => {
  storage = await startHttpsStorage();
  stateDir = await mkdtemp(path.join(tmpdir(), 'adit-preflight-'));
  host = createTestHost(stateDir);
  processes = createProcesses({ stateDir, server: null, startHost: host.startHost });
  epochs = [7, 9, 8];
  pool = createServer((_request, response) => response.end(JSON.stringify({ epochs })));
  await new Promise<void>((resolve) => pool.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  pool.closeAllConnections();
  pool.close();
  await round?.close();
  await storage.close();
  processes.close();
  await host.close();
  await rm(stateDir, { recursive: true, force: true });
});

async function start(change: Record<string, string> = {}): Promise<Round> {
  const environment = {
    ADIT_POOL_URL: `http://127.0.0.1:${(pool.address() as AddressInfo).port}`,
    ADIT_RECIPIENT: HOTKEY,
    ADIT_PUBLISH_URL: storage.url,
    ADIT_PUBLISH_CA_FILE: storage.caFile,
    ADIT_PUBLISH_TOKEN_FILE: storage.tokenFile,
    ADIT_MIN_FREE_BYTES: '1',
    ...change,
  };
  const settings = loadSettings(
    { HOME: '/', ADIT_COORDINATOR_URL: 'http://127.0.0.1:2', ...environment },
    '/',
  );
  round = await startRound(environment, {
    artifactHost: createArtifactHost(settings),
    pool: createPool(settings),
    git: createGit({
      stateDir,
      runCommand: (command, signal) => processes.command(command, signal),
    }),
  });
  return round;
}

const preflight = (started: Round, network?: { coordinator: string; hotkey: string }) => {
  const context = started.context('ready');
  return roundPreflight.run(
    {},
    network === undefined ? context : { ...context, call: { ...context.call, network } },
  );
};

describe('round.preflight', () => {
  it('says what it has checked', async () => {
    const started = await start();
    const { checks, ...outputs } = await preflight(started);
    expect(outputs).toEqual({
      hotkey: HOTKEY,
      coordinator: started.fake.url,
      recipient: HOTKEY,
      newest_epoch: '9',
    });
    expect(checks).toHaveLength(7);
    expect(checks.join('\n')).toMatch(/our clock is within [12] s of its\n/);
    expect(storage.requests.map(({ method }) => method)).toEqual(['PUT', 'GET']);
  });

  it('tells of no epoch when the Pool has none', async () => {
    epochs = [];
    expect(await preflight(await start())).not.toHaveProperty('newest_epoch');
  });

  it('refuses a Pool that does not answer', async () => {
    const started = await start({ ADIT_POOL_URL: 'http://127.0.0.1:1' });
    await expect(preflight(started)).rejects.toMatchObject({ code: 'POOL_UNAVAILABLE' });
  });

  it.each([
    [
      { coordinator: 'https://other.example', hotkey: HOTKEY },
      /^The run was started for the coordinator https:\/\/other\.example; this worker has http:\/\/127/,
    ],
    [
      { coordinator: '', hotkey: '5Other' },
      new RegExp(`^The run was started for the hotkey 5Other; this worker has ${HOTKEY}\\.$`),
    ],
  ])('refuses a worker that is set otherwise: %o', async (network, message) => {
    await expect(preflight(await start(), network)).rejects.toMatchObject({
      code: 'NETWORK_MISMATCH',
      message: expect.stringMatching(message),
    });
  });

  it('names all settings that are missing', async () => {
    const started = await start({ ADIT_POOL_URL: '', ADIT_RECIPIENT: '' });
    await expect(preflight(started)).rejects.toMatchObject({
      code: 'SETTING_MISSING',
      message: 'The worker has no ADIT_POOL_URL, ADIT_RECIPIENT.',
    });
  });

  it('refuses a recipient of another network', async () => {
    const foreign = '15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5';
    await expect(preflight(await start({ ADIT_RECIPIENT: foreign }))).rejects.toMatchObject({
      code: 'SETTING_INVALID',
      message: `The recipient "${foreign}" is not an SS58 address of network prefix 42.`,
    });
  });

  it('refuses a missing hotkey file', async () => {
    const started = await start();
    await rm(started.settings.hotkeyFile ?? '');
    await expect(preflight(started)).rejects.toMatchObject({
      code: 'HOTKEY_MISSING',
      message: `There is no hotkey file at ${started.settings.hotkeyFile ?? ''}.`,
    });
  });

  it('refuses a clock that is far from the coordinator’s', async () => {
    const started = await start();
    started.fake.dateOffsetMs = -120_000;
    await expect(preflight(started)).rejects.toMatchObject({
      code: 'CLOCK_SKEWED',
      message: expect.stringMatching(
        /^Our clock is (119|12[01]) s ahead of the coordinator's; at most 60 s are allowed\.$/,
      ),
    });
  });

  it('refuses a disk that is nearly full', async () => {
    await expect(
      preflight(await start({ ADIT_MIN_FREE_BYTES: String(2 ** 52) })),
    ).rejects.toMatchObject({
      code: 'DISK_LOW',
      message: expect.stringMatching(/ bytes free; at least 4503599627370496 are wanted\.$/),
    });
  });

  it('refuses a coordinator that does not answer as one', async () => {
    const started = await start();
    started.fake.failNext('GET', replyWith(200, '<html>Sign in</html>'));
    await expect(preflight(started)).rejects.toMatchObject({
      code: 'COORDINATOR_REPLY_INVALID',
      message:
        'GET /api/v1/tasks was answered 200 with an HTML page; it begins "<html>Sign in</html>".',
    });
  });

  it('refuses a publish target that cannot be written', async () => {
    const started = await start({ ADIT_PUBLISH_TOKEN_FILE: storage.caFile });
    await expect(preflight(started)).rejects.toMatchObject({
      code: expect.stringMatching(/^(ARTIFACT|SETTING)_/),
    });
  });
});

import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { cryptoWaitReady } from '@polkadot/util-crypto';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { signedMessage } from './auth/signature.js';
import { runDevnetCommand } from './command.js';
import type { Devnet } from './network.js';
import { asAdmin, createSigner, get, type Signer } from './testing/network-client.js';

const run = promisify(execFile);

let home: string;
let open: Devnet[];

beforeAll(async () => {
  await cryptoWaitReady();
});
beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'adit-devnet-'));
  open = [];
});
afterEach(async () => {
  for (const devnet of open) await devnet.close();
  await rm(home, { recursive: true, force: true });
});

/** One command line, what it printed, and how it ended. */
async function command(
  ...argv: string[]
): Promise<{ code: number | null; out: string; err: string; devnet: Devnet | null }> {
  let out = '';
  let err = '';
  const result = await runDevnetCommand(
    argv,
    {},
    { out: (text) => void (out += text), err: (text) => void (err += text) },
  );
  if (typeof result === 'number') return { code: result, out, err, devnet: null };
  open.push(result);
  return { code: null, out, err, devnet: result };
}

async function start(...argv: string[]): Promise<Devnet> {
  const { devnet, out, err } = await command('--home', home, '--no-validator', '--json', ...argv);
  if (devnet === null) throw new Error(`not started: ${out}${err}`);
  return devnet;
}

async function minerOf(devnet: Devnet): Promise<Signer> {
  const key = JSON.parse(await readFile(devnet.addresses.hotkeys.miner, 'utf8')) as {
    secretSeed: string;
  };
  return createSigner(Buffer.from(key.secretSeed.slice(2), 'hex'));
}

async function taskId(devnet: Devnet, slug: string): Promise<string> {
  const { list } = await get(devnet.addresses.coordinator, '/api/v1/tasks');
  return String(list.find((task) => task['slug'] === slug)?.['id']);
}

async function claim(devnet: Devnet, miner: Signer): Promise<string> {
  const id = await taskId(devnet, 'tiny-ternary-frontier');
  const reply = await miner.call(
    devnet.addresses.coordinator,
    'POST',
    `/api/v1/tasks/${id}/claim`,
    {
      claim_description: 'a test',
    },
  );
  expect(reply.status).toBe(200);
  return String(reply.json['id']);
}

const SUBMISSION = {
  base_ref: '0123456789abcdef0123456789abcdef01234567',
  patch: 'diff --git a/x b/x\n',
  summary: 'a test',
  claimed_metrics: { heldout_ppl: 8.25 },
};

/** Claims, submits and has the devnet's own validator key accept: the submission's id. */
async function acceptOne(devnet: Devnet, miner: Signer): Promise<string> {
  const { coordinator } = devnet.addresses;
  const submitted = await miner.call(coordinator, 'POST', '/api/v1/submissions', {
    ...SUBMISSION,
    claim_id: await claim(devnet, miner),
  });
  expect(submitted.status).toBe(200);
  const key = JSON.parse(await readFile(devnet.addresses.hotkeys.validator, 'utf8')) as {
    secretSeed: string;
  };
  const validator = createSigner(Buffer.from(key.secretSeed.slice(2), 'hex'));
  const job = await validator.call(coordinator, 'POST', '/api/v1/validator/jobs/claim');
  expect(job.json['submission_id']).toBe(submitted.json['id']);
  const result = await validator.call(
    coordinator,
    'POST',
    `/api/v1/validator/jobs/${String(job.json['job_id'])}/result`,
    {
      submission_id: submitted.json['id'],
      status: 'accepted',
      observed_metrics: { heldout_ppl: 8 },
    },
  );
  expect(result.status).toBe(200);
  return String(submitted.json['id']);
}

describe('the ready line', () => {
  it('names everything that a client is set up with', async () => {
    const { devnet, out } = await command('--home', home, '--no-validator', '--json');
    const lines = out.trimEnd().split('\n');
    expect(lines).toHaveLength(1);
    const ready = JSON.parse(lines[0] ?? '') as Devnet['addresses'];
    expect(ready).toEqual(devnet?.addresses);
    expect(ready).toMatchObject({
      coordinator: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      artifacts: expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/),
      repository: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/tiny-ternary-frontier\.git$/),
      tasks: ['tiny-ternary-frontier', 'tiny-ternary-frontier-centerless'],
      validatorPid: null,
    });
    for (const secret of [ready.hotkeys.miner, ready.hotkeys.validator, ready.publishTokenFile]) {
      expect((await stat(secret)).mode & 0o777).toBe(0o600);
    }
    expect((await get(ready.coordinator, '/readyz')).status).toBe(204);
  });
});

describe('a network that begins anew', () => {
  it('has forgotten what was done, published and paid, and the clock, but neither keys nor settings', async () => {
    const devnet = await start();
    const { coordinator, pool, adminToken } = devnet.addresses;
    const admin = async (method: string, at: string, body?: object) =>
      asAdmin(coordinator, adminToken, method, `/devnet/${at}`, body);
    const miner = await minerOf(devnet);
    await admin('PUT', 'settings', { listLagSeconds: 0, publishDelaySeconds: null });
    await acceptOne(devnet, miner);
    expect((await admin('POST', 'epochs')).json).toEqual({ epoch: 1 });
    await claim(devnet, miner);
    await fetch(`${coordinator}/effects/paid`, { method: 'POST' });
    await admin('POST', 'clock/advance', { seconds: 3_600 });
    await admin('POST', 'faults', { route: '*', kind: 'status' });
    const artifact = path.join(home, 'artifacts', 'model.zip');
    await writeFile(artifact, 'a model');

    expect((await admin('POST', 'begin-anew')).json).toMatchObject({ clockOffsetSeconds: 0 });

    const json = async (base: string, at: string): Promise<unknown> =>
      (await fetch(`${base}${at}`)).json();
    expect(await json(coordinator, '/api/v1/claims')).toEqual([]);
    expect(await json(coordinator, '/api/v1/submissions')).toEqual([]);
    expect(await json(coordinator, '/effects')).not.toHaveProperty('paid');
    expect(await json(pool, '/claims/epochs')).toMatchObject({ epochs: [] });
    await expect(stat(artifact)).rejects.toThrow('ENOENT');
    expect((await admin('GET', 'settings')).json).toMatchObject({ publishDelaySeconds: null });
    // The same miner takes the same task again.
    await acceptOne(devnet, miner);
    expect((await admin('POST', 'epochs')).json).toEqual({ epoch: 1 });
  });
});

describe('a home', () => {
  it('is refused to a second devnet', async () => {
    await start();
    const second = await command('--home', home, '--no-validator', '--json');
    expect(second.code).toBe(1);
    expect(JSON.parse(second.out)).toEqual({
      error: {
        code: 'DEVNET_HOME_BUSY',
        message: `Another devnet is running on ${home}.`,
        hint: 'Stop it first, or give this one a folder of its own with --home.',
      },
    });
  });

  it('keeps addresses, keys, tasks, claims, clock and settings over a restart', async () => {
    const first = await start('--claim-lifetime', '777');
    const miner = await minerOf(first);
    const claimId = await claim(first, miner);
    expect((await command('advance', '60', '--home', home)).code).toBe(0);
    await first.close();
    const second = await start();
    expect(second.addresses).toEqual(first.addresses);
    const { list } = await get(second.addresses.coordinator, '/api/v1/claims?status=active');
    expect(list.map((each) => each['id'])).toEqual([claimId]);
    const { json } = await asAdmin(
      second.addresses.coordinator,
      second.addresses.adminToken,
      'GET',
      '/devnet/settings',
    );
    expect(json['claimLifetimeSeconds']).toBe(777);
    const status = await asAdmin(
      second.addresses.coordinator,
      second.addresses.adminToken,
      'GET',
      '/devnet/status',
    );
    expect(status.json['clockOffsetSeconds']).toBe(60);
  });

  it('takes other ports when its own are taken meanwhile', async () => {
    const first = await start();
    await first.close();
    const port = Number(new URL(first.addresses.coordinator).port);
    const squatter = createServer().listen(port, '127.0.0.1');
    await once(squatter, 'listening');
    try {
      const second = await start();
      expect(second.addresses.coordinator).not.toBe(first.addresses.coordinator);
      expect(second.addresses.pool).toBe(first.addresses.pool);
      expect((await get(second.addresses.coordinator, '/readyz')).status).toBe(204);
      await second.close();
      const third = await command('--home', home, '--no-validator', '--port', String(port));
      expect(third.code).toBe(1);
      expect(third.err).toContain(`Port ${port} of 127.0.0.1 is in use.`);
    } finally {
      squatter.close();
    }
  });
});

describe('the command line', () => {
  it('answers wrong usage with exit code 2', async () => {
    expect(await command('--port', 'many')).toMatchObject({ code: 2 });
    const bad = await command('--home', home, '--allow-validator', 'nobody', '--json');
    expect(bad.code).toBe(2);
    expect(JSON.parse(bad.out)).toMatchObject({
      error: { message: '"nobody" is not an SS58 address.' },
    });
  });

  it('shows help with an example', async () => {
    const help = await command('--help');
    expect(help.code).toBe(0);
    expect(help.out).toContain('$ adit devnet advance 2701 --home ./network');
  });

  it('says when there is no devnet to advance', async () => {
    const { code, err } = await command('advance', '5', '--home', home);
    expect(code).toBe(1);
    expect(err).toContain(`No devnet is running on ${home}.`);
  });
});

describe('time', () => {
  it('expires a claim when the clock is advanced past its life, while signatures go by the machine’s clock', async () => {
    const devnet = await start();
    const miner = await minerOf(devnet);
    const claimId = await claim(devnet, miner);
    const { out } = await command('advance', '2701', '--home', home, '--json');
    expect(JSON.parse(out)).toMatchObject({ clockOffsetSeconds: 2701 });
    const refused = await miner.call(devnet.addresses.coordinator, 'POST', '/api/v1/submissions', {
      ...SUBMISSION,
      claim_id: claimId,
    });
    expect([refused.status, refused.json['detail']]).toEqual([409, 'claim is expired']);
  });
});

describe('a Python client', () => {
  it('is verified although it sends 1.0 and 1e16 in its own spelling', async () => {
    const devnet = await start();
    const miner = await minerOf(devnet);
    const claimId = await claim(devnet, miner);
    const python = async (code: string, input: object): Promise<string> => {
      const child = run('python3', ['-c', code], { timeout: 30_000 });
      child.child.stdin?.end(JSON.stringify(input));
      return (await child).stdout;
    };
    // Python builds the body from its own floats and hashes its own canonical text, as the public client does.
    const build = `
import hashlib, json, sys
given = json.load(sys.stdin)
body = {**given, "claimed_metrics": {"heldout_ppl": 1.0, "parameter_count": 149312.0, "big": 1e16, "tiny": 1e-07, "exact": 123456789012345678901234567890}}
canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
print(json.dumps({"hash": hashlib.sha256(canonical.encode()).hexdigest(), "canonical": canonical, "wire": json.dumps(body)}))
`;
    const built = JSON.parse(
      await python(build, { ...SUBMISSION, summary: 'naïve — 😀', claim_id: claimId }),
    ) as {
      hash: string;
      canonical: string;
      wire: string;
    };
    expect(built.canonical).toContain('"big":1e+16');
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const message = signedMessage({
      method: 'POST',
      path: '/api/v1/submissions',
      query: '',
      timestamp,
      canonicalBody: Buffer.from(built.canonical),
    });
    expect(Buffer.from(message).toString()).toContain(built.hash);
    const post = `
import json, sys, urllib.request
given = json.load(sys.stdin)
request = urllib.request.Request(given["url"], data=given["wire"].encode(), headers=given["headers"], method="POST")
print(urllib.request.urlopen(request).read().decode())
`;
    const stored = await python(post, {
      url: `${devnet.addresses.coordinator}/api/v1/submissions`,
      wire: built.wire,
      headers: {
        'Content-Type': 'application/json',
        'X-Hotkey': miner.address,
        'X-Timestamp': timestamp,
        'X-Signature': miner.sign(message),
      },
    });
    expect(stored).toContain('"parameter_count":149312.0');
    expect(stored).toContain('"exact":123456789012345678901234567890');
    expect(JSON.parse(stored)).toMatchObject({
      status: 'pending_verification',
      summary: 'naïve — 😀',
    });
  });
});

describe('the Pool', () => {
  it('publishes an epoch after an acceptance, with a cumulative amount for the mapped recipient', async () => {
    const recipient = createSigner().address;
    const devnet = await start('--recipient', recipient);
    const { coordinator, pool, adminToken } = devnet.addresses;
    await asAdmin(coordinator, adminToken, 'PUT', '/devnet/settings', { publishDelaySeconds: 0 });
    const miner = await minerOf(devnet);
    expect((await get(pool, '/claims/epochs')).json).toEqual({ epochs: [], default_epoch: null });
    const none = await get(pool, `/claims/epoch/claim/${miner.address}`);
    expect([none.status, none.json['detail']]).toEqual([404, 'no epoch is published']);

    await acceptOne(devnet, miner);
    await expect
      .poll(async () => (await get(pool, '/claims/epochs')).json['default_epoch'])
      .toBe(1);
    const first = await get(pool, `/claims/epoch/1/claim/${miner.address}`);
    const metadata = await get(pool, '/claims/epoch/1');
    expect(first.json).toMatchObject({
      epoch: 1,
      recipient_coldkey: recipient,
      amount: 500_000_000,
    });
    expect(first.json['root']).toBe(metadata.json['root']);
    expect(metadata.json).toMatchObject({ num_of_leaves: 5, disputed: false });
    expect((await asAdmin(coordinator, adminToken, 'POST', '/devnet/epochs')).json).toEqual({
      epoch: null,
    });

    await acceptOne(devnet, miner);
    await expect
      .poll(async () => (await get(pool, '/claims/epochs')).json['default_epoch'])
      .toBe(2);
    const second = await get(pool, `/claims/epoch/proof/${miner.address}`);
    // The second was no new best: one unit more.
    expect(second.json).toMatchObject({ epoch: 2, amount: 750_000_000 });
    expect((await get(pool, `/claims/epoch/1/claim/${miner.address}`)).json).toEqual(first.json);
  });

  it('pays after a restart what was accepted just before it ended', async () => {
    const first = await start();
    const { coordinator, adminToken } = first.addresses;
    await asAdmin(coordinator, adminToken, 'PUT', '/devnet/settings', {
      publishDelaySeconds: null,
    });
    await acceptOne(first, await minerOf(first));
    await asAdmin(coordinator, adminToken, 'PUT', '/devnet/settings', { publishDelaySeconds: 0 });
    await first.close();
    const second = await start();
    await expect
      .poll(async () => (await get(second.addresses.pool, '/claims/epochs')).json['epochs'])
      .toEqual([1]);
  });

  it('takes a recipient mapping only with the hotkey’s own signature', async () => {
    const { pool } = (await start()).addresses;
    const miner = createSigner();
    const coldkey = createSigner().address;
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const put = async (text: string): Promise<number> => {
      const response = await fetch(`${pool}/api/v1/miners/recipient-coldkey`, {
        method: 'PUT',
        headers: {
          'content-type': 'application/json',
          'x-key': miner.address,
          'x-timestamp': timestamp,
          'x-signature': miner.sign(Buffer.from(text)),
        },
        body: JSON.stringify({ recipient_coldkey: coldkey }),
      });
      return response.status;
    };
    expect(await put(`auth:${timestamp}`)).toBe(401);
    expect(await put(`recipient_coldkey:update:${timestamp}:${coldkey}`)).toBe(200);
    const read = await get(pool, `/api/v1/miners/recipient-coldkey/${miner.address}`);
    expect(read.json).toEqual({ miner_hotkey: miner.address, recipient_coldkey: coldkey });
  });
});

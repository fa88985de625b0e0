import { mkdtemp, rm } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createProofVerifier } from '../adapters/merkle/proof-verifier.js';
import { createPool } from '../adapters/pool/pool.js';
import { loadSettings } from '../adapters/settings/settings.js';
import { createFolderStore, type Store } from '../adapters/store/store.js';
import { rewardProofSchema, type Acceptance, type RewardProof } from '../compiler/values.js';
import { NotYet, StepError } from '../core/error.js';
import type { Adapters } from './adapters.js';
import { rewardsProof } from './rewards-proof.js';
import type { StepContext } from './step-type.js';

interface Probe {
  name: string;
  package: Record<string, string | number | string[]>;
  onchain: { root: string; num_of_leaves: number };
}
const probes = (
  JSON.parse(
    readFileSync(new URL('../test/fixtures/merkle/vectors.json', import.meta.url), 'utf8'),
  ) as { probe: { cases: Probe[] } }
).probe.cases;

function probe(name: string): Probe {
  const found = probes.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no probe ${name}`);
  return found;
}
const SORTED = probe('eight leaves, blake2b, sorted');
const POSITIONAL = probe('eight leaves, blake2b, positional');
const HOTKEY = String(SORTED.package['hotkey']);
const RECIPIENT = String(SORTED.package['recipient_coldkey']);
const OTHER = '5Hfbk2GksseGSKWpw1HEknwhQbbA8X8Xzhw8toXSNvK9TuXW';

const ACCEPTANCE: Acceptance = {
  submissionId: 's1',
  status: 'accepted',
  observedMetrics: { heldout_ppl: 5.1 },
  record: { uri: `store:${'0'.repeat(64)}`, sha256: '0'.repeat(64), sizeBytes: 2 },
};

/** What the Pool answers, by path under /claims; a path that is not here is 404. */
let routes: Map<string, string>;
let server: Server;
let poolUrl: string;
let stateDir: string;
let store: Store;

beforeEach(async () => {
  stateDir = await mkdtemp(path.join(tmpdir(), 'adit-proof-'));
  store = createFolderStore(path.join(stateDir, 'store'));
  routes = new Map();
  server = createServer((request, response) => {
    const text = routes.get((request.url ?? '').replace(/^\/claims/, ''));
    if (text === undefined) response.writeHead(404).end('{"detail":"none"}');
    else response.end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  poolUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(stateDir, { recursive: true, force: true });
});

/** Publishes a package of the fixtures, changed, as epoch 1144. */
function publish(
  from: Probe,
  change: { package?: Record<string, unknown>; record?: Record<string, unknown> } = {},
): void {
  const claim = { ...from.package, ...change.package };
  routes.set('/epochs', '{"epochs":[1143,1144],"default_epoch":1144}');
  routes.set(`/epoch/1144/proof/${claim['hotkey']}`, JSON.stringify(claim));
  routes.set('/epoch/1144', JSON.stringify({ epoch: 1144, ...from.onchain, ...change.record }));
}

async function prove(
  options: {
    env?: Record<string, string>;
    hotkey?: string;
    attempt?: number;
    afterEpoch?: string;
  } = {},
): Promise<RewardProof> {
  const settings = loadSettings(
    { ADIT_POOL_URL: poolUrl, ADIT_RECIPIENT: RECIPIENT, ADIT_STATE_DIR: stateDir, ...options.env },
    stateDir,
  );
  const adapters: Partial<Adapters> = {
    settings,
    store,
    pool: createPool(settings),
    proofVerifier: createProofVerifier(settings),
    wallet: {
      address: () => Promise.resolve(options.hotkey ?? HOTKEY),
      sign: () => Promise.reject(new Error('nothing is signed here')),
      isAddress: () => true,
    },
  };
  const context: StepContext = {
    call: {
      runId: 'run',
      roundId: 'run',
      pipeline: 'test',
      path: 'rewarded',
      start: 1,
      network: { coordinator: '', hotkey: '' },
    },
    firstAttempt: true,
    attempt: options.attempt ?? 1,
    scheduledAtMs: 0,
    deadlineMs: null,
    signal: new AbortController().signal,
    progress: () => undefined,
    adapters: adapters as Adapters,
  };
  const { proof } = await rewardsProof.run(
    {
      acceptance: ACCEPTANCE,
      ...(options.afterEpoch === undefined ? {} : { after_epoch: options.afterEpoch }),
    },
    context,
  );
  return rewardProofSchema.parse(proof);
}

async function waitingOf(promise: Promise<unknown>): Promise<NotYet> {
  const outcome = await promise.catch((error: unknown) => error);
  if (!(outcome instanceof NotYet)) throw new Error(`not waiting but ${String(outcome)}`);
  return outcome;
}

async function failureOf(promise: Promise<unknown>): Promise<StepError> {
  const outcome = await promise.then(
    (value) => value,
    (error: unknown) => error,
  );
  if (!(outcome instanceof StepError))
    throw new Error(`no StepError but ${JSON.stringify(outcome)}`);
  return outcome;
}

/** The evidence that a failure keeps, found by the digest in its hint. */
async function evidenceOf(failure: StepError): Promise<unknown> {
  const sha256 = /store:([0-9a-f]{64})/.exec(failure.hint ?? '')?.[1] ?? '';
  const file = path.join(stateDir, 'store', sha256.slice(0, 2), sha256);
  return JSON.parse(readFileSync(file, 'utf8')) as unknown;
}

test('a package whose proof leads to the root of its epoch is a reward proof', async () => {
  publish(SORTED);
  const proof = await prove();
  expect(proof).toEqual({
    epoch: '1144',
    index: 5,
    hotkey: HOTKEY,
    recipient: RECIPIENT,
    amount: '35000000000',
    root: SORTED.onchain.root,
    rootSource: 'Pool /claims/epoch/1144 member root, not compared with the chain',
    comparedWithChain: false,
    result: 'verified',
    profile: 'ink-cum-sorted-promote or ink-cum-sorted-duplicate',
    file: proof.file,
  });
  const kept: unknown = JSON.parse((await store.read(proof.file)).toString());
  expect(kept).toMatchObject({
    claimAsServed: JSON.stringify(SORTED.package),
    epochAsServed: routes.get('/epoch/1144'),
    leafCount: 8,
    leafCountSource: 'member num_of_leaves of the same record',
    rootsAgree: true,
    comparedWithChain: false,
    verification: { result: 'verified' },
  });
});

test('the root may have another name, and the leaf count may be missing', async () => {
  publish(SORTED, {
    record: {
      root: undefined,
      merkle_root: SORTED.onchain.root.slice(2).toUpperCase(),
      num_of_leaves: undefined,
    },
  });
  const proof = await prove({ env: { ADIT_POOL_ROOT_MEMBER: 'merkle_root' } });
  expect(proof).toMatchObject({
    root: SORTED.onchain.root,
    rootSource: 'Pool /claims/epoch/1144 member merkle_root, not compared with the chain',
    result: 'verified',
  });
});

test('as long as no package is published it waits, longer each time, up to ten minutes', async () => {
  routes.set('/epochs', '{"epochs":[],"default_epoch":null}');
  const waits: number[] = [];
  for (const attempt of [1, 2, 5, 10, 17, 1_000]) {
    const outcome = await waitingOf(prove({ attempt }));
    expect(outcome.code).toBe('PROOF_NOT_PUBLISHED');
    expect(outcome.message).toBe(`The Pool has published no claim package for ${HOTKEY} yet.`);
    waits.push(outcome.afterMs);
  }
  expect(waits).toEqual([1_000, 1_500, 5_063, 38_443, 600_000, 600_000]);
});

test('a proof for another recipient is refused and kept', async () => {
  publish(SORTED);
  const failure = await failureOf(prove({ env: { ADIT_RECIPIENT: OTHER } }));
  expect(failure.code).toBe('PROOF_RECIPIENT_MISMATCH');
  expect(failure.message).toBe(
    `The package of epoch 1144 pays ${RECIPIENT}, not the pinned recipient ${OTHER}.`,
  );
  expect(await evidenceOf(failure)).toMatchObject({ expectedRecipient: OTHER });
});

test('a package that names no recipient does not fall back to the hotkey', async () => {
  publish(SORTED, { package: { recipient_coldkey: undefined } });
  const failure = await failureOf(prove({ env: { ADIT_RECIPIENT: HOTKEY } }));
  expect(failure.code).toBe('PROOF_RECIPIENT_MISMATCH');
  expect(failure.message).toBe(
    `The package of epoch 1144 names no recipient; ${HOTKEY} is pinned.`,
  );
});

test('a package whose root is not that of its epoch is invalid', async () => {
  publish(SORTED, { record: { root: POSITIONAL.onchain.root } });
  const failure = await failureOf(prove());
  expect(failure.code).toBe('PROOF_INVALID');
  expect(failure.message).toBe(
    `The package of epoch 1144 has root ${SORTED.onchain.root}, but the epoch's root is ${POSITIONAL.onchain.root}.`,
  );
  expect(await evidenceOf(failure)).toMatchObject({ rootsAgree: false });
});

test('an epoch whose record has no root gives no proof, although the package has one', async () => {
  publish(SORTED, { record: { root: undefined } });
  const failure = await failureOf(prove());
  expect(failure.code).toBe('PROOF_ROOT_UNAVAILABLE');
  expect(failure.message).toBe(
    "The Pool's record of epoch 1144 has no 32-byte root in member root; it has epoch, num_of_leaves.",
  );
});

test('a leaf beyond the tree is invalid', async () => {
  publish(SORTED, { record: { num_of_leaves: 5 } });
  const failure = await failureOf(prove());
  expect(failure.code).toBe('PROOF_INVALID');
  expect(failure.message).toBe(
    'The package of epoch 1144 claims leaf 5 of a tree of 5, counted from 0.',
  );
});

test('a forged amount fits no encoding, and nothing is taken for verified', async () => {
  publish(SORTED, { package: { amount: '35000000001' } });
  const failure = await failureOf(prove());
  expect(failure.code).toBe('PROOF_PROFILE_UNKNOWN');
  expect(failure.message).toBe(
    'The Merkle proof of epoch 1144 fits none of the 672 known encodings, so it is not verified.',
  );
});

test('once an encoding is known, a forged amount is invalid', async () => {
  publish(SORTED);
  await prove();
  publish(SORTED, { package: { amount: '35000000001' } });
  const failure = await failureOf(prove());
  expect(failure.code).toBe('PROOF_INVALID');
  expect(failure.message).toBe(
    'The Merkle proof of epoch 1144 does not lead to its root under ink-cum-sorted-promote or ink-cum-sorted-duplicate.',
  );
  expect(await evidenceOf(failure)).toMatchObject({ verification: { result: 'invalid' } });
});

test('an encoding from the settings decides alone', async () => {
  publish(POSITIONAL);
  const hotkey = String(POSITIONAL.package['hotkey']);
  const recipient = String(POSITIONAL.package['recipient_coldkey']);
  const env = { ADIT_RECIPIENT: recipient, ADIT_MERKLE_PROFILE: 'ink-cum-sorted-promote' };
  expect((await failureOf(prove({ hotkey, env }))).code).toBe('PROOF_INVALID');
  const right = { ...env, ADIT_MERKLE_PROFILE: 'ink-cum-positional-promote' };
  expect(await prove({ hotkey, env: right })).toMatchObject({
    profile: 'ink-cum-positional-promote',
  });
});

test('a leaf that holds the claim contract verifies once the contract is set', async () => {
  const tagged = probe('five leaves, sha2, tagged, contract prefix');
  publish(tagged);
  const hotkey = String(tagged.package['hotkey']);
  const env = { ADIT_RECIPIENT: String(tagged.package['recipient_coldkey']) };
  expect((await failureOf(prove({ hotkey, env }))).code).toBe('PROOF_PROFILE_UNKNOWN');
  const contract = '5CUo48Vuwidb4pTogCCqAeYyMRUwNieTjeEL8FyYvwmQ9XA5';
  expect(await prove({ hotkey, env: { ...env, ADIT_CLAIM_CONTRACT: contract } })).toMatchObject({
    result: 'verified',
  });
});

test('without a pinned recipient nothing is asked', async () => {
  publish(SORTED);
  const failure = await failureOf(prove({ env: { ADIT_RECIPIENT: '' } }));
  expect(failure.code).toBe('SETTING_MISSING');
  expect(failure.message).toBe('No recipient is pinned.');
});

test('a page in place of the reply, or half of it, is waited out', async () => {
  routes.set('/epochs', '<html>maintenance</html>');
  const waiting = await waitingOf(prove());
  expect(waiting.code).toBe('POOL_UNAVAILABLE');
  expect(waiting.message).toContain('what is not JSON but "<html>maintenance</html>"');
});

test('a Pool that is down is waited for: an outage in days of polling ends no round', async () => {
  const waiting = await waitingOf(prove({ env: { ADIT_POOL_URL: 'http://127.0.0.1:1' } }));
  expect(waiting.code).toBe('POOL_UNAVAILABLE');
  expect(waiting.message).toBe(
    'http://127.0.0.1:1/claims/epochs cannot be reached: the connection is refused (ECONNREFUSED).',
  );
});

test('a package that was published before the round proves nothing about it', async () => {
  publish(SORTED);
  expect((await prove({ afterEpoch: '1143' })).epoch).toBe('1144');
  await expect(prove({ afterEpoch: '1144' })).rejects.toThrowError(
    `The Pool has published no claim package for ${HOTKEY} after epoch 1144 yet.`,
  );
});

import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { StepError } from '../../core/error.js';
import { createPool, type Pool } from './pool.js';

const HOTKEY = '5DofCQDN9jcFtp84hKrbg1M8tupCUwXhym6JU1rnuWUkwn3V';
const RECIPIENT = '5Hfbk2GksseGSKWpw1HEknwhQbbA8X8Xzhw8toXSNvK9TuXW';
const ROOT = `0x${'ab'.repeat(32)}`;

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A Pool that answers each path with a body, or a status; others with 404. `seen` lists the paths. */
async function servePool(
  routes: Record<string, string | number>,
): Promise<{ pool: Pool; seen: string[] }> {
  const seen: string[] = [];
  const url = await serve((request, response) => {
    const path = request.url ?? '';
    seen.push(path);
    const answer = routes[path] ?? 404;
    if (typeof answer === 'number') response.writeHead(answer).end('{"detail":"no"}');
    else response.end(answer);
  });
  return { pool: createPool({ poolUrl: `${url}/`, poolRootMember: 'root' }), seen };
}

function packageText(epoch: number, hotkey = HOTKEY): string {
  return `{"epoch":${epoch},"index":0,"hotkey":"${hotkey}","recipient_coldkey":"${RECIPIENT}","amount":9007199254740993,"proof":[],"root":"${ROOT}"}`;
}

const { signal } = new AbortController();

async function failureOf(promise: Promise<unknown>): Promise<StepError> {
  const outcome = await promise.then(
    (value) => value,
    (error: unknown) => error,
  );
  if (!(outcome instanceof StepError))
    throw new Error(`no StepError but ${JSON.stringify(outcome)}`);
  return outcome;
}

test('the newest epoch that has a package for the hotkey is taken, in whatever order epochs are listed', async () => {
  const { pool, seen } = await servePool({
    '/claims/epochs': '{"epochs":[9,"12",10,11],"default_epoch":null}',
    [`/claims/epoch/11/proof/${HOTKEY}`]: packageText(11),
    [`/claims/epoch/10/proof/${HOTKEY}`]: packageText(10),
  });
  const found = await pool.newestPackage(HOTKEY, signal);
  expect(found?.claim).toMatchObject({
    epoch: '11',
    amount: '9007199254740993',
    recipient: RECIPIENT,
  });
  expect(found?.text).toBe(packageText(11));
  expect(seen).toEqual([
    '/claims/epochs',
    `/claims/epoch/12/proof/${HOTKEY}`,
    `/claims/epoch/11/proof/${HOTKEY}`,
  ]);
});

test('no epoch, or none with this hotkey, is no package', async () => {
  const empty = await servePool({ '/claims/epochs': '{"epochs":[],"default_epoch":null}' });
  expect(await empty.pool.newestPackage(HOTKEY, signal)).toBeNull();
  const others = await servePool({ '/claims/epochs': '{"epochs":[1,2]}' });
  expect(await others.pool.newestPackage(HOTKEY, signal)).toBeNull();
});

test('at most 20 epochs are looked at', async () => {
  const epochs = Array.from({ length: 50 }, (_, index) => index);
  const { pool, seen } = await servePool({ '/claims/epochs': JSON.stringify({ epochs }) });
  await pool.newestPackage(HOTKEY, signal);
  expect(seen).toHaveLength(21);
  expect(seen.at(-1)).toBe(`/claims/epoch/30/proof/${HOTKEY}`);
});

test('a hotkey that is not an address never enters a path', async () => {
  const { pool, seen } = await servePool({ '/claims/epochs': '{"epochs":[1]}' });
  const failure = await failureOf(pool.newestPackage('../../admin', signal));
  expect(failure.message).toBe('../../admin is not an SS58 address with prefix 42.');
  expect(seen).toEqual([]);
});

test.each([
  ['another epoch', packageText(4), 'its package is of epoch 4'],
  ['another hotkey', packageText(3, RECIPIENT), `its package is of hotkey ${RECIPIENT}`],
  [
    'a broken package',
    packageText(3).replace('"proof":[]', '"proof":["0x12"]'),
    'proof[0] is "0x12", not 32 bytes in hex',
  ],
])('a package for %s is refused', async (_what, text, reason) => {
  const { pool } = await servePool({
    '/claims/epochs': '{"epochs":[3]}',
    [`/claims/epoch/3/proof/${HOTKEY}`]: text,
  });
  const failure = await failureOf(pool.newestPackage(HOTKEY, signal));
  expect(failure.code).toBe('POOL_REPLY_INVALID');
  expect(failure.message).toBe(
    `The Pool's reply to /claims/epoch/3/proof/${HOTKEY} cannot be used: ${reason}.`,
  );
});

test.each([
  [
    'a page of a proxy',
    '<html><body>Welcome</body></html>',
    /what is not JSON but "<html><body>Welcome<\/body><\/html>"/,
  ],
  ['half of its JSON', '{"epochs":[1', /what is not JSON but "{\\"epochs\\":\[1"/],
  ['JSON nested without end', '['.repeat(500_000), /what is not JSON but/],
])('a Pool in whose place %s answers is asked again', async (_what, answer, message) => {
  const { pool } = await servePool({ '/claims/epochs': answer });
  const failure = await failureOf(pool.newestPackage(HOTKEY, signal));
  expect(failure.code).toBe('POOL_UNAVAILABLE');
  expect(failure.message).toMatch(message);
});

test.each([
  ['no list', '{"epochs":7}', /it has no list `epochs`/],
  ['an epoch that is no u64', '{"epochs":[1.5]}', /an epoch of its list is not a u64/],
  ['more than a MiB', `{"epochs":[${'1,'.repeat(600_000)}1]}`, /at most 1048576 bytes are read/],
  ['403', 403, /it answered 403/],
  ['404', 404, /it answered 404/],
])('a Pool that answers %s is not understood', async (_what, answer, message) => {
  const { pool } = await servePool({ '/claims/epochs': answer });
  const failure = await failureOf(pool.newestPackage(HOTKEY, signal));
  expect(failure.code).toBe('POOL_REPLY_INVALID');
  expect(failure.message).toMatch(message);
});

test('a redirect is not followed', async () => {
  const elsewhere = await serve((_request, response) => response.end('{"epochs":[]}'));
  const url = await serve((_request, response) =>
    response.writeHead(302, { location: elsewhere }).end(),
  );
  const pool = createPool({ poolUrl: url, poolRootMember: 'root' });
  const failure = await failureOf(pool.newestPackage(HOTKEY, signal));
  expect(failure.code).toBe('POOL_REPLY_INVALID');
  expect(failure.message).toContain('redirects are not followed');
});

test('a Pool that is down or answers 5xx is unavailable, which is worth another try', async () => {
  const { pool } = await servePool({ '/claims/epochs': 503 });
  const failure = await failureOf(pool.newestPackage(HOTKEY, signal));
  expect(failure.code).toBe('POOL_UNAVAILABLE');
  expect(failure.message).toMatch(/\/claims\/epochs answered 503\.$/);

  const gone = createPool({ poolUrl: 'http://127.0.0.1:1', poolRootMember: 'root' });
  const refused = await failureOf(gone.newestPackage(HOTKEY, signal));
  expect(refused.code).toBe('POOL_UNAVAILABLE');
  expect(refused.message).toContain('the connection is refused (ECONNREFUSED)');
});

test('no Pool, or one behind plain http, is a matter of settings', async () => {
  const none = createPool({ poolUrl: null, poolRootMember: 'root' });
  expect((await failureOf(none.newestPackage(HOTKEY, signal))).message).toBe('No Pool is set.');
  const plain = createPool({ poolUrl: 'http://pool.example.org', poolRootMember: 'root' });
  const failure = await failureOf(plain.newestPackage(HOTKEY, signal));
  expect(failure.code).toBe('SETTING_INVALID');
  expect(failure.message).toContain('plain http, which is allowed to loopback only');
});

test('an aborted signal throws its reason', async () => {
  const { pool } = await servePool({ '/claims/epochs': '{"epochs":[]}' });
  const reason = new Error('cancelled by a person');
  await expect(pool.newestPackage(HOTKEY, AbortSignal.abort(reason))).rejects.toBe(reason);
});

test('the root and the leaf count of an epoch come from its record', async () => {
  const text = `{"epoch":"3","root":"${'AB'.repeat(32)}","num_of_leaves":5,"extra":18446744073709551615}`;
  const { pool } = await servePool({ '/claims/epoch/3': text });
  expect(await pool.epoch('3', signal)).toEqual({
    root: ROOT,
    rootSource: 'Pool /claims/epoch/3 member root, not compared with the chain',
    leafCount: 5,
    text,
  });
});

test('a record without a leaf count is usable', async () => {
  const { pool } = await servePool({ '/claims/epoch/3': `{"root":"${ROOT}"}` });
  expect(await pool.epoch('3', signal)).toMatchObject({ root: ROOT, leafCount: null });
});

test.each([
  ['is not there', 404, 'The Pool has no record of epoch 3.'],
  [
    'names no root',
    '{"epoch":3,"merkle":"x"}',
    "The Pool's record of epoch 3 has no 32-byte root in member root; it has epoch, merkle.",
  ],
  [
    'has a root of zeros',
    `{"root":"${'00'.repeat(32)}"}`,
    "The Pool's root of epoch 3 is all zero.",
  ],
])('an epoch whose record %s has no root', async (_what, answer, message) => {
  const { pool } = await servePool({ '/claims/epoch/3': answer });
  const failure = await failureOf(pool.epoch('3', signal));
  expect(failure.code).toBe('PROOF_ROOT_UNAVAILABLE');
  expect(failure.message).toBe(message);
  expect(failure.hint).toContain('never taken from the package');
});

test('a record of another epoch is refused', async () => {
  const { pool } = await servePool({ '/claims/epoch/3': `{"epoch":4,"root":"${ROOT}"}` });
  expect((await failureOf(pool.epoch('3', signal))).message).toContain(
    'its record is of another epoch',
  );
});

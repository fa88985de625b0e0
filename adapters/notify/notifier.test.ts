import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { noticeOf, type Notice } from '../../core/notice.js';
import { isProcessAlive } from '../../test/support/processes.js';
import { until } from '../../test/support/until.js';
import {
  createWebhookReceiver,
  signatureOf,
  type WebhookReceiver,
} from '../../test/support/webhook-receiver.js';
import { runCommand } from './command-hook.js';
import { createNotifier, type HookOutcome } from './notifier.js';

const SECRET = 'not a text to be guessed';

const notice = noticeOf(
  { run: 'round-20261121-101500-k3fq', round: 'round-20261121-101500-k3fq', pipeline: 'round' },
  'parked',
  '2026-11-21T10:20:00.000Z',
  { step: 'submission/submit', start: 2, error: { code: 'EFFECT_UNKNOWN', message: 'Hmm – ü.' } },
);

const signal = new AbortController().signal;

let folder: string;
let receiver: WebhookReceiver;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-notify-'));
  await writeFile(path.join(folder, 'secret'), `${SECRET}\n`);
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(async () => {
  receiver = await createWebhookReceiver();
});
afterEach(() => receiver.close());

const post = (more: object = {}, given: Notice = notice): Promise<HookOutcome> =>
  createNotifier(
    {
      notifyUrl: receiver.url,
      notifySecretFile: path.join(folder, 'secret'),
      notifyCommand: null,
      stateDir: folder,
      ...more,
    },
    {},
  ).deliver('webhook', given, signal);

describe('a webhook', () => {
  test('gets the notice as JSON, signed over its id, the time and the body', async () => {
    await receiver.open();
    const beforeMs = Date.now();
    expect(await post()).toEqual({ kind: 'delivered' });
    const [one] = receiver.received;
    expect(one?.notice).toEqual(notice);
    expect(one?.headers).toMatchObject({
      'content-type': 'application/json',
      'webhook-id': notice.id,
      'webhook-signature': one === undefined ? '' : signatureOf(one, SECRET),
    });
    const sentMs = Number(one?.headers['webhook-timestamp']) * 1_000;
    expect(Math.abs(sentMs - beforeMs)).toBeLessThan(60_000);
  });

  test('takes a secret of Standard Webhooks by its bytes, and without one is not signed', async () => {
    await receiver.open();
    const key = Buffer.from('0123456789abcdef0123456789');
    await writeFile(path.join(folder, 'whsec'), `whsec_${key.toString('base64')}`);
    await post({ notifySecretFile: path.join(folder, 'whsec') });
    await post({ notifySecretFile: null });
    const [signed, unsigned] = receiver.received;
    expect(signed?.headers['webhook-signature']).toBe(signed && signatureOf(signed, key));
    expect(unsigned?.headers['webhook-signature']).toBeUndefined();
  });

  test.each([
    [{ status: 500 }, 'The webhook answered 500.', undefined],
    [{ status: 401 }, 'The webhook answered 401.', undefined],
    [{ status: 503, headers: { 'Retry-After': '7' } }, 'The webhook answered 503.', 7_000],
    [{ status: 429, headers: { 'Retry-After': '999999' } }, 'The webhook answered 429.', 600_000],
    [
      { status: 302, headers: { Location: 'https://elsewhere.example/very-secret-token' } },
      'The webhook answered with a redirect, which is not followed.',
      undefined,
    ],
  ])('that answers %j has not been told', async (answer, reason, retryAfterMs) => {
    await receiver.open();
    receiver.answer = answer;
    expect(await post()).toEqual({
      kind: 'failed',
      reason,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  });

  test('is never named in what is told of a failure', async () => {
    expect(await post()).toEqual({
      kind: 'failed',
      reason: 'The webhook cannot be reached (ECONNREFUSED).',
    });
    for (const notifyUrl of [
      'https://very-secret-token.invalid/x',
      'ftp://very-secret-token.example/x',
      'http://very-secret-token.example/',
      'very-secret-token',
    ]) {
      const outcome = await post({ notifyUrl });
      expect(outcome).toMatchObject({ kind: 'failed' });
      expect(JSON.stringify(outcome)).not.toContain('very-secret-token');
    }
  });

  test('is not asked with a secret that is not there, or is too short', async () => {
    await receiver.open();
    const none = path.join(folder, 'none');
    expect(await post({ notifySecretFile: none })).toEqual({
      kind: 'failed',
      reason: `${none}, of setting notifySecretFile, cannot be read (ENOENT).`,
    });
    const short = path.join(folder, 'short');
    await writeFile(short, 'hunter2');
    expect(await post({ notifySecretFile: short })).toEqual({
      kind: 'failed',
      reason: `${short}, of setting notifySecretFile, holds no secret of at least 16 bytes.`,
    });
    expect(receiver.received).toEqual([]);
  });

  test('that is slow leaves room: no more than four are asked at one time', async () => {
    await receiver.open();
    const notifier = createNotifier(
      { notifyUrl: receiver.url, notifySecretFile: null, notifyCommand: null, stateDir: folder },
      {},
    );
    const outcomes = await Promise.all(
      Array.from({ length: 6 }, () => notifier.deliver('webhook', notice, signal)),
    );
    expect(outcomes.map(({ kind }) => kind).sort()).toEqual([
      ...Array.from({ length: 2 }, () => 'busy'),
      ...Array.from({ length: 4 }, () => 'delivered'),
    ]);
    expect(await notifier.deliver('webhook', notice, signal)).toEqual({ kind: 'delivered' });
  });

  test('or a command that is not set is not told', async () => {
    const notifier = createNotifier(
      { notifyUrl: null, notifySecretFile: null, notifyCommand: null, stateDir: folder },
      {},
    );
    for (const hook of ['webhook', 'command'] as const)
      expect(await notifier.deliver(hook, notice, signal)).toEqual({ kind: 'not set' });
  });
});

describe('a command', () => {
  const command = (...argv: string[]): Parameters<typeof runCommand>[0] => ({
    argv,
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', TOLD: 'yes' },
  });
  const shell = (text: string): Parameters<typeof runCommand>[0] => command('sh', '-c', text);

  test('gets the notice on its stdin, and an environment of its own', async () => {
    expect(await runCommand(shell('cat > told; env > environment'), notice, signal)).toEqual({
      kind: 'delivered',
    });
    expect(JSON.parse(await readFile(path.join(folder, 'told'), 'utf8'))).toEqual(notice);
    const names = (await readFile(path.join(folder, 'environment'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => line.split('=', 1)[0])
      .filter((name) => !['_', 'PWD', 'SHLVL', 'OLDPWD'].includes(name ?? ''));
    expect(new Set(names)).toEqual(new Set(['PATH', 'TOLD']));
  });

  test('that does not read has been told all the same', async () => {
    const large = { ...notice, message: 'x'.repeat(1_000_000) };
    expect(await runCommand(command('true'), large, signal)).toEqual({ kind: 'delivered' });
  });

  test.each([
    [['sh', '-c', 'echo secret >&2; exit 3'], 'The command exited with 3.'],
    [['sh', '-c', 'kill -9 $$'], 'The command was ended by SIGKILL.'],
    [['/no/such/program'], 'The command could not be started (ENOENT).'],
    [['a\0b'], 'The command could not be started (ERR_INVALID_ARG_VALUE).'],
  ])('%j has not been told', async (argv, reason) => {
    expect(await runCommand(command(...argv), notice, signal)).toEqual({ kind: 'failed', reason });
  });

  test('that may not be run has not been told', async () => {
    const file = path.join(folder, 'plain');
    await writeFile(file, 'text');
    await chmod(file, 0o600);
    expect(await runCommand(command(file), notice, signal)).toEqual({
      kind: 'failed',
      reason: 'The command could not be started (EACCES).',
    });
  });

  test('that takes too long is ended, with what it started', async () => {
    const outcome = await runCommand(
      { ...shell('sleep 600 & echo $! > child; wait'), timeoutMs: 5_000 },
      notice,
      signal,
    );
    expect(outcome).toEqual({ kind: 'failed', reason: 'The command did not end within 5 s.' });
    const pid = Number(await readFile(path.join(folder, 'child'), 'utf8'));
    await until('what the command started is gone', async () => !(await isProcessAlive(pid)));
  });

  test('is ended when its worker stops, which is no outcome', async () => {
    const stop = new AbortController();
    const running = runCommand(shell('echo $$ > own; sleep 600'), notice, stop.signal);
    await until(
      'the command runs',
      async () => (await readFile(path.join(folder, 'own'), 'utf8').catch(() => '')) !== '',
    );
    stop.abort(new Error('the worker stops'));
    await expect(running).rejects.toThrow('the worker stops');
    const pid = Number(await readFile(path.join(folder, 'own'), 'utf8'));
    await until('the command is gone', async () => !(await isProcessAlive(pid)));
  });
});

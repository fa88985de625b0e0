import { expect, test } from 'vitest';
import { assertPublicHost, isLoopbackHost } from './public-host.js';

test.each([
  '10.1.2.3',
  '172.31.0.1',
  '192.168.1.1',
  '169.254.169.254',
  '100.64.0.1',
  '0.0.0.0',
  '[fd00::1]',
  '[fe80::1]',
  '[::]',
  '[::ffff:a01:203]',
])('%s is private', async (host) => {
  await expect(assertPublicHost(host, { allowLoopback: true })).rejects.toThrow(
    `${host.replace(/[[\]]/g, '')} is a private address, which nobody outside can reach.`,
  );
});

test.each(['127.0.0.1', 'localhost', '[::1]', '[::ffff:7f00:1]'])(
  '%s is this machine, which is allowed only where it is asked for',
  async (host) => {
    expect(isLoopbackHost(host)).toBe(true);
    await assertPublicHost(host, { allowLoopback: true });
    await expect(assertPublicHost(host, { allowLoopback: false })).rejects.toThrow(
      'is this machine, which nobody outside can reach.',
    );
  },
);

test('a public address passes', async () => {
  await assertPublicHost('93.184.216.34', { allowLoopback: false });
  expect(isLoopbackHost('example.org')).toBe(false);
});

test('a name without an address is unreachable', async () => {
  await expect(
    assertPublicHost('no-such-host.invalid', { allowLoopback: false }),
  ).rejects.toMatchObject({ kind: 'unreachable' });
});

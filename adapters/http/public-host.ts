import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { HttpFailure } from './bounded-fetch.js';

/** Addresses that a stranger on the internet cannot reach, or that lead back into our own network. */
const PRIVATE = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const) {
  PRIVATE.addSubnet(network, prefix, 'ipv4');
}
for (const [network, prefix] of [
  ['::', 128],
  ['64:ff9b::', 96],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const) {
  PRIVATE.addSubnet(network, prefix, 'ipv6');
}
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** True for an address of this machine itself: `localhost`, 127.0.0.0/8, ::1. */
export function isLoopbackHost(hostname: string): boolean {
  const host = bare(hostname);
  return host === 'localhost' || isIn(LOOPBACK, host);
}

/**
 * Resolves a URL's hostname and throws HttpFailure `not_allowed` when any of its addresses is private,
 * or is loopback and `allowLoopback` is false; `unreachable` when it has none.
 */
export async function assertPublicHost(
  hostname: string,
  options: { allowLoopback: boolean },
): Promise<void> {
  const host = bare(hostname);
  for (const address of await resolve(host)) {
    const isLoopback = isIn(LOOPBACK, address);
    if (isIn(PRIVATE, address) || (isLoopback && !options.allowLoopback)) {
      throw new HttpFailure(
        'not_allowed',
        `${host}${host === address ? '' : ` (${address})`} is ${isLoopback ? 'this machine' : 'a private address'}, which nobody outside can reach.`,
      );
    }
  }
}

async function resolve(host: string): Promise<string[]> {
  if (isIP(host) !== 0) return [host];
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch (error) {
    throw new HttpFailure('unreachable', `${host} cannot be reached: its name has no address.`, {
      cause: error,
    });
  }
}

function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '');
}

/** An IPv4 address in IPv6 clothes is matched by the IPv4 rules: BlockList does that itself. */
function isIn(list: BlockList, address: string): boolean {
  const family = isIP(address);
  return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

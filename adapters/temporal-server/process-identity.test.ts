import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { endProcess, identifyProcess, isAlive, type ProcessIdentity } from './process-identity.js';

/** A shell in a group of its own that says when its trap is set. */
async function start(script: string): Promise<ProcessIdentity> {
  const child = spawn('/bin/sh', ['-c', `${script}; echo ready; while :; do sleep 0.05; done`], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(child.stdout, 'data');
  return identifyProcess(child.pid as number) as ProcessIdentity;
}

describe('ending a process', () => {
  it('lets one that obeys TERM end by itself', async () => {
    const identity = await start(':');
    expect(await endProcess(identity, 5_000)).toBe(true);
    expect(isAlive(identity)).toBe(false);
  });

  it('kills one that ignores TERM when its grace is over', async () => {
    const identity = await start('trap "" TERM');
    expect(await endProcess(identity, 200)).toBe(false);
    expect(isAlive(identity)).toBe(false);
  });

  it('leaves a process alone that only has the same number', async () => {
    const identity = await start(':');
    expect(await endProcess({ pid: identity.pid, birth: 'another' }, 200)).toBe(true);
    expect(isAlive(identity)).toBe(true);
    await endProcess(identity, 5_000);
  });
});

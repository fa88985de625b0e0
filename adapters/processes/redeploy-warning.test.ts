import { describe, expect, it } from 'vitest';
import type { HostInfo } from '../../core/host-protocol.js';
import {
  readHostStanding,
  readStanding,
  redeployWarning,
  type ProcessStanding,
} from './redeploy-warning.js';

describe('the warning about a redeploy', () => {
  const standing = (changes: Partial<ProcessStanding> = {}): ProcessStanding => ({
    pid: 100,
    parentPid: 50,
    cgroup: '0::/user.slice/user-0.slice/session-1.scope',
    pidNamespace: 'pid:[1]',
    ...changes,
  });
  const unit = (name: string): Partial<ProcessStanding> => ({
    cgroup: `12:cpu:/\n0::/system.slice/${name}`,
  });

  it('names the unit that worker and host share', () => {
    expect(
      redeployWarning(
        standing(unit('adit-worker.service')),
        standing({ pid: 200, ...unit('adit-worker.service') }),
        'systemd',
      ),
    ).toMatch(/^The process host belongs to adit-worker\.service, the unit of this worker/);
  });

  it.each([
    ['the main process', { pid: 1, parentPid: 0 }, 'node'],
    ['the child of a small init', { pid: 7, parentPid: 1 }, 'tini'],
  ])('is given to %s of a container', (_what, worker, firstProcess) => {
    expect(redeployWarning(standing(worker), standing({ pid: 200 }), firstProcess)).toMatch(
      /^This worker is the main process of its container/,
    );
  });

  it.each([
    ['the host has a unit of its own', standing({ pid: 200, ...unit('adit-host.service') })],
    ['the host runs in another container', standing({ pid: 200, pidNamespace: 'pid:[2]' })],
    ['the host cannot be seen', null],
  ])('is not given when %s', (_what, host) => {
    const worker = standing({ parentPid: 1, ...unit('adit-worker.service') });
    expect(redeployWarning(worker, host, 'systemd')).toBeNull();
  });

  it('is not given to a worker in a terminal', () => {
    const shared = { cgroup: '0::/user.slice/user-0.slice/user@0.service/app.slice/term.scope' };
    expect(
      redeployWarning(standing(shared), standing({ pid: 200, ...shared }), 'systemd'),
    ).toBeNull();
  });

  it('is about the host, not about who has its pid here', () => {
    const info: HostInfo = {
      hostId: 'this',
      pid: process.pid,
      build: '',
      protocol: 1,
      startedAtMs: 0,
      containment: 'processGroup',
      promise: '',
      devices: [],
    };
    const own = readStanding('self');
    expect(own).not.toBeNull();
    const { pidNamespace = '' } = own ?? {};
    expect(readHostStanding({ ...info, pidNamespace })).toMatchObject({ pid: process.pid });
    // In another container, and of a build that did not say where.
    expect(readHostStanding({ ...info, pidNamespace: 'pid:[1]' })).toBeNull();
    expect(readHostStanding(info)).toBeNull();
  });

  it('is made of what /proc tells', () => {
    expect(readStanding('self')).toMatchObject({ pid: process.pid, parentPid: process.ppid });
    expect(readStanding(2 ** 22 + 1)).toBeNull();
  });
});

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createTestHost,
  endOf,
  lives,
  run,
  shellSpec,
  until,
  type TestHost,
} from '../test/support/process-host.js';
import { processesNaming } from '../test/support/witness.js';
import { probeContainment } from './containment.js';

const cgroups = await probeContainment({ force: 'cgroup' }).catch(() => null);
const namespaces = await probeContainment({ force: 'pidNamespace' }).catch(() => null);
const mount = (...args: string[]): boolean =>
  spawnSync('mount', args, { stdio: 'ignore' }).status === 0;

describe('a shim that is started ahead', () => {
  let host: TestHost;
  beforeEach(async () => {
    host = createTestHost();
    await host.start();
  });
  afterEach(() => host.end());

  const index = (): string => host.file('host/programs');
  const spares = (): string[] => readdirSync(index()).filter((name) => name.endsWith('.spare'));
  /** The marker and the shim of the next program. */
  async function spare(): Promise<{ marker: string; pid: number }> {
    await until(() => spares().length === 1);
    const [name = ''] = spares();
    await until(async () => (await processesNaming(name)).length > 0);
    return { marker: path.basename(name, '.spare'), pid: (await processesNaming(name))[0] ?? 0 };
  }
  const owner = (start: number): { marker: string; leader: { pid: number } } =>
    JSON.parse(
      readFileSync(
        host.file(`runs/run-1/processes/candidates.0@trained/${start}/owner.json`),
        'utf8',
      ),
    ) as { marker: string; leader: { pid: number } };

  it('is what the next program runs in, and there is another one then', async () => {
    const first = await spare();
    expect(await endOf(run(await host.connect(), shellSpec('exit 3')))).toMatchObject({ code: 3 });
    expect(owner(1)).toMatchObject({ marker: first.marker, leader: { pid: first.pid } });
    const second = await spare();
    expect(second.marker).not.toBe(first.marker);
  });

  it('is waited for by a program that comes while it is started', async () => {
    const [first = ''] = spares();
    expect(await endOf(run(await host.connect(), shellSpec('exit 3')))).toMatchObject({ code: 3 });
    expect(`${owner(1).marker}.spare`).toBe(first);
  });

  it('is passed over when it was killed', async () => {
    const { pid, marker } = await spare();
    process.kill(pid, 'SIGKILL');
    await until(() => !lives(pid));
    expect(await endOf(run(await host.connect(), shellSpec('exit 3')))).toMatchObject({ code: 3 });
    expect(owner(1).marker).not.toBe(marker);
    await until(() => spares().length === 1 && !spares()[0]?.startsWith(marker));
  });

  it.skipIf(cgroups === null)('leaves no cgroup behind', async () => {
    await host.stop();
    await host.start({ containment: 'cgroup' });
    const { marker } = await spare();
    const cgroup = cgroups?.cgroupOf(marker) ?? '';
    await until(() => existsSync(cgroup));
    await host.stop();
    expect(existsSync(cgroup)).toBe(false);
  });

  it('is ended also when somebody has stopped it', async () => {
    const { pid } = await spare();
    process.kill(pid, 'SIGSTOP');
    await host.stop();
    expect(lives(pid)).toBe(false);
  });

  it.skipIf(namespaces === null)('sees what was mounted after it', async (context) => {
    await host.restart({ containment: 'pidNamespace' });
    const { marker } = await spare();
    const place = host.file('place');
    mkdirSync(place);
    if (!mount('-t', 'tmpfs', 'tmpfs', place)) context.skip();
    try {
      writeFileSync(path.join(place, 'mounted'), '');
      const spec = shellSpec('[ -e mounted ] && exit 3', { cwd: place });
      expect(await endOf(run(await host.connect(), spec))).toMatchObject({ code: 3 });
      expect(owner(1).marker).not.toBe(marker);
      const { pid } = await spare();
      expect(spawnSync('umount', [place]).status).toBe(0);
      // Nor does the next one keep it.
      await until(() => !lives(pid));
    } finally {
      spawnSync('umount', [place]);
    }
  });

  it('ends with its host, and is no program to the next one', async () => {
    const { pid } = await spare();
    await host.stop();
    expect(lives(pid)).toBe(false);
    expect(readdirSync(index())).toEqual([]);
    // As a host that was killed leaves it.
    writeFileSync(path.join(index(), 'left.spare'), '');
    await host.start();
    const client = await host.connect();
    expect((await client.call('list', {})).programs).toEqual([]);
    await until(() => spares().length === 1 && spares()[0] !== 'left.spare');
  });

  it('serves as many programs at once as there are', async () => {
    const client = await host.connect();
    const ends = await Promise.all(
      Array.from({ length: 12 }, async (_, number) =>
        endOf(run(client, shellSpec(`exit ${number}`), { stepPath: `step${number}` })),
      ),
    );
    expect(ends.map(({ code }) => code)).toEqual(Array.from({ length: 12 }, (_, number) => number));
    await until(() => readdirSync(index()).length === 1);
  });
});

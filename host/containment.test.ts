import { spawn } from 'node:child_process';
import { mkdirSync, rmdirSync, utimesSync, existsSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { probeContainment, type Containment, type ContainmentLevel } from './containment.js';

const LEVELS: readonly ContainmentLevel[] = ['pidNamespace', 'cgroup', 'processGroup'];
const found: Containment[] = [];
for (const force of LEVELS) {
  const containment = await probeContainment({ force }).catch(() => null);
  if (containment !== null) found.push(containment);
}

/** What a contained shell command prints, with a descriptor beyond the usual three. */
async function run(
  containment: Containment,
  command: string,
  signal?: (pid: number) => void,
): Promise<{ code: number | null; signal: string | null; text: string }> {
  const tree = `test-${process.pid}`;
  const [program = '', ...args] = containment.wrap(['/bin/sh', '-c', command], tree);
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    detached: true,
  });
  let text = '';
  for (const stream of [child.stdout, child.stdio[3]]) {
    if (stream !== null && stream !== undefined && 'setEncoding' in stream) {
      stream.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
        if (text.includes('ready')) signal?.(child.pid ?? 0);
      });
    }
  }
  const end = await new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.once('close', (code, name) => resolve({ code, signal: name })),
  );
  const cgroup = containment.cgroupOf(tree);
  if (cgroup !== null) rmdirSync(cgroup);
  return { ...end, text };
}

describe.each(found)('containment at level $level', (containment) => {
  it('passes the status through, and descriptors on', async () => {
    expect(await run(containment, 'echo here >&3; exit 7')).toEqual({
      code: 7,
      signal: null,
      text: 'here\n',
    });
  });

  it('lets a program see its own group and session', async () => {
    const { text } = await run(containment, `cut -d' ' -f5,6 /proc/$$/stat; echo $$`);
    const [groupAndSession, pid] = text.split('\n');
    // At level cgroup and processGroup the shell itself was spawned as the leader.
    expect(groupAndSession).toBe(`${pid} ${pid}`);
  });

  it('promises something in a sentence', () => {
    expect(containment.promise).toMatch(/^[A-Z].*\.$/);
  });
});

describe.each(found.filter(({ level }) => level === 'pidNamespace'))(
  'a pid namespace',
  (containment) => {
    it('has the shim as pid 1 and a /proc of its own, and everything else as it is', async () => {
      const look =
        'for n in net ipc uts user cgroup; do readlink /proc/self/ns/$n; done; ls /dev | sort';
      const outside = await run(found.at(-1) as Containment, look);
      expect((await run(containment, look)).text).toBe(outside.text);
      expect((await run(containment, 'echo $$; ls -d /proc/[0-9]*')).text).toMatch(
        /^1\n\/proc\/1\n/,
      );
    });

    it('buries orphans', async () => {
      const { text } = await run(
        containment,
        `(setsid sh -c 'sleep 0.05' &); (setsid sh -c 'sleep 0.05' &); sh -c 'sleep 0.3'; cat /proc/[0-9]*/stat | grep -c ' Z '`,
      );
      expect(text).toBe('0\n');
    });

    it('outlives a TERM to the leader, which only waits', async () => {
      const end = await run(containment, 'echo ready; sleep 0.2; exit 5', (pid) =>
        process.kill(pid, 'SIGTERM'),
      );
      expect(end).toEqual({ code: 5, signal: null, text: 'ready\n' });
    });
  },
);

describe.each(found.filter(({ level }) => level === 'cgroup'))('a cgroup', (containment) => {
  it('that a dead host left empty is removed by the next, but not one that was just made', async () => {
    const old = containment.cgroupOf('old-and-empty') ?? '';
    const recent = containment.cgroupOf('just-made') ?? '';
    const foreign = path.join(path.dirname(old), 'not-of-ours');
    const made = [old, recent, foreign];
    for (const folder of made) mkdirSync(folder);
    for (const folder of [old, foreign]) utimesSync(folder, 1, 1);
    await probeContainment({ force: 'cgroup' });
    expect(made.map((folder) => existsSync(folder))).toEqual([false, true, true]);
    for (const folder of made) if (existsSync(folder)) rmdirSync(folder);
  });
});

it('takes the strongest level that works', async () => {
  expect((await probeContainment({})).level).toBe(found[0]?.level);
});

it('refuses a level that does not work here', async () => {
  const searched = process.env['PATH'];
  const works = found.some(({ level }) => level === 'pidNamespace');
  try {
    process.env['PATH'] = '/nowhere';
    // util-linux is found in the usual places too, so this only fails where namespaces are forbidden.
    const probed = await probeContainment({ force: 'pidNamespace' }).catch(
      (error: unknown) => error,
    );
    if (works) expect(probed).toMatchObject({ level: 'pidNamespace' });
    else expect(probed).toMatchObject({ code: 'HOST_UNUSABLE' });
  } finally {
    process.env['PATH'] = searched;
  }
});

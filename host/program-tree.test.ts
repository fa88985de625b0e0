import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { probeContainment, type Containment, type ContainmentLevel } from './containment.js';
import { readProcesses, readStat } from './process-table.js';
import {
  endTree,
  membersOf,
  PROCESS_MARKER,
  recordTree,
  signalTree,
  type TreeRecord,
} from './program-tree.js';

/** What any shim does: it survives the signals of an end, and writes down how the program ended. */
const SHIM = `trap : TERM HUP INT
"$@"
printf %d $? >"$ADIT_TEST_EXIT"`;

const LEVELS: readonly ContainmentLevel[] = ['pidNamespace', 'cgroup', 'processGroup'];
const found = new Map<ContainmentLevel, Containment>();
for (const force of LEVELS) {
  const containment = await probeContainment({ force }).catch(() => null);
  if (containment !== null) found.set(force, containment);
}

describe.each([...found.values()])('a program tree at level $level', (containment) => {
  let folder: string;
  const trees: TreeRecord[] = [];
  const children: ChildProcess[] = [];

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'adit-tree-'));
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    for (const tree of trees.splice(0)) await endTree(tree, 0);
    for (const child of children.splice(0)) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  const file = (name: string): string => path.join(folder, name);
  const read = (name: string): string =>
    existsSync(file(name)) ? readFileSync(file(name), 'utf8') : '';
  const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
    while (!(await condition())) await sleep(5);
  };
  const lives = async (pid: number): Promise<boolean> => (await readStat(pid)) !== null;
  let count = 0;
  const start = async (command: string): Promise<TreeRecord & { child: ChildProcess }> => {
    const marker = `test-${process.pid}-${(count += 1)}`;
    const [program = '', ...args] = containment.wrap(
      ['/bin/sh', '-c', SHIM, 'shim', '/bin/sh', '-c', command],
      marker,
    );
    const child = spawn(program, args, {
      cwd: folder,
      env: {
        PATH: process.env['PATH'],
        [PROCESS_MARKER]: marker,
        ADIT_TEST_EXIT: file('exit'),
      },
      detached: true,
      stdio: 'ignore',
    });
    children.push(child);
    const tree = await recordTree(child.pid ?? 0, marker, containment);
    if (tree === null) throw new Error('the program ended before it was recorded');
    trees.push(tree);
    return { ...tree, child };
  };
  /** The members that run `sleep` for so long, as this test sees their pids. */
  const sleepers = async (tree: TreeRecord, seconds: string): Promise<number[]> => {
    const pids = await membersOf(tree);
    return pids.filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1') === `sleep\0${seconds}\0`;
      } catch {
        return false;
      }
    });
  };

  it('lets the program end by itself, and then has no members', async () => {
    const tree = await start('while [ ! -e go ]; do sleep 0.02; done; exit 7');
    expect(await membersOf(tree)).toContain(tree.leader.pid);
    writeFileSync(file('go'), '');
    await until(async () => (await membersOf(tree)).length === 0);
    expect(read('exit')).toBe('7');
    await endTree(tree, 0);
  });

  it('asks with TERM, and the status that the program then ends with is recorded', async () => {
    const tree = await start('trap "exit 9" TERM; : >ready; while :; do sleep 0.05; done');
    await until(() => existsSync(file('ready')));
    await endTree(tree, 30_000);
    expect(read('exit')).toBe('9');
    expect(await membersOf(tree)).toEqual([]);
  });

  it('kills what ignores TERM when the grace is over', async () => {
    const tree = await start('trap "" TERM; : >ready; while :; do sleep 0.05; done');
    await until(() => existsSync(file('ready')));
    await endTree(tree, 100);
    expect(await membersOf(tree)).toEqual([]);
    expect(read('exit')).toBe('');
  });

  it('lets the program that stands stopped end too', async () => {
    const tree = await start('trap "exit 4" TERM; : >ready; while :; do sleep 0.05; done');
    await until(() => existsSync(file('ready')));
    expect(await signalTree(tree, 'SIGSTOP')).toBeGreaterThan(1);
    await endTree(tree, 30_000);
    expect(read('exit')).toBe('4');
  });

  it('finds and ends a child in a session of its own whose parent has gone', async () => {
    const tree = await start('(setsid sleep 300.1 &) ; : >ready; sleep 300.2');
    await until(() => existsSync(file('ready')));
    await until(async () => (await sleepers(tree, '300.1')).length === 1);
    const [pid = 0] = await sleepers(tree, '300.1');
    await endTree(tree, 5_000);
    expect(await lives(pid)).toBe(false);
  });

  it('gives a signal only to those that handle it', async () => {
    const tree = await start(
      `sh -c 'trap "echo warned >>warned" USR1; : >ready; while :; do sleep 0.05; done'; exit 3`,
    );
    await until(() => existsSync(file('ready')));
    expect(await signalTree(tree, 'SIGUSR1')).toBe(1);
    await until(() => read('warned') === 'warned\n');
    expect(read('exit')).toBe('');
  });

  /** What makes a trainer in Python that handles USR1, and notes in `warned` who did. */
  const TRAINER = `import os, signal, time
def warned(*_):
    with open("warned", "a") as file: file.write("%d " % os.getpid())
signal.signal(signal.SIGUSR1, warned)
def fork(body):
    pid = os.fork()
    if pid == 0: body()
    return pid
`;
  const startTrainer = (body: string): Promise<TreeRecord> => {
    writeFileSync(file('trainer.py'), `${TRAINER}${body}`);
    return start('exec python3 trainer.py');
  };
  const startStayingFork = async (): Promise<TreeRecord> => {
    const tree = await startTrainer(`
fork(lambda: [time.sleep(0.01) for _ in iter(int, 1)])
open("ready", "w").close()
while True: time.sleep(0.01)
`);
    await until(() => existsSync(file('ready')));
    return tree;
  };

  it('gives a signal to no child that is just about to become another program', async () => {
    // Its child handles what it handles itself, for as long as it takes to become `sleep`: now and then long.
    const tree = await startTrainer(`
open("pid", "w").write("%d " % os.getpid())
forks = 0
def become(): time.sleep(0.4 if forks % 8 == 0 else 0.01); os.execv("/bin/sleep", ["sleep", "0.01"])
while True:
    pid = fork(become)
    forks += 1
    if os.waitpid(pid, 0)[1] != 0: open("killed", "a").write("killed")
`);
    await until(() => read('pid').endsWith(' '));
    const signals: Promise<number>[] = [];
    for (let turn = 0; turn < 250; turn += 1) {
      signals.push(signalTree(tree, 'SIGUSR1'));
      await sleep(5);
    }
    await Promise.all(signals);
    await until(() => read('warned') !== '');
    expect(read('killed')).toBe('');
    expect([...new Set(read('warned').split(' '))]).toEqual([read('pid').trim(), '']);
  });

  it.runIf(containment.level === 'processGroup')(
    'gives a signal to a child that stays what it was forked as',
    async () => {
      const tree = await startStayingFork();
      const sent = signalTree(tree, 'SIGUSR1');
      await until(() => read('warned') !== '');
      expect(await sent).toBe(2);
      await until(() => read('warned').trim().split(' ').length === 2);
      // It is not young any more: nobody waits.
      expect(await signalTree(tree, 'SIGUSR1')).toBe(2);
    },
  );

  it.runIf(containment.level === 'processGroup')(
    'keeps a signal from a child that stays what it was forked as for no longer where the machine has slept',
    async () => {
      const tree = await startStayingFork();
      const awakeSeconds = process.uptime();
      const beganAt = performance.now();
      vi.spyOn(process, 'uptime').mockImplementation(
        () => awakeSeconds + (performance.now() - beganAt) / 1_000 - 3_600,
      );
      expect(await signalTree(tree, 'SIGUSR1')).toBe(2);
    },
  );

  it('gives a signal to nobody where nobody handles it', async () => {
    const tree = await start(': >ready; sleep 300.3');
    await until(() => existsSync(file('ready')));
    await until(async () => (await sleepers(tree, '300.3')).length === 1);
    expect(await signalTree(tree, 'SIGUSR1')).toBe(0);
    expect(await sleepers(tree, '300.3')).not.toEqual([]);
  });

  it('ends a program that keeps forking', async () => {
    const tree = await start(
      'trap "" TERM; : >ready; f() { (sleep 0.02; f) & (sleep 0.02; exit) & }; f; sleep 300',
    );
    await until(() => existsSync(file('ready')));
    await endTree(tree, 50);
    expect(await membersOf(tree)).toEqual([]);
  });

  it('takes nothing for its own after another boot', async () => {
    const tree = await start('sleep 300.4');
    await until(async () => (await sleepers(tree, '300.4')).length === 1);
    const other = { ...tree, leader: { ...tree.leader, bootId: 'another' } };
    expect(await membersOf(other)).toEqual([]);
    await endTree(other, 0);
    expect(await membersOf(tree)).not.toEqual([]);
  });

  it('takes a process that has a pid of its own again for a stranger', async () => {
    const tree = await start('sleep 300.5');
    const stranger = spawn('sleep', ['300.6'], { detached: true, stdio: 'ignore' });
    children.push(stranger);
    const reused: TreeRecord = {
      leader: { ...tree.leader, pid: stranger.pid ?? 0, startTicks: tree.leader.startTicks - 1 },
      marker: 'of-nobody',
      level: 'processGroup',
    };
    expect(await membersOf(reused)).toEqual([]);
    await endTree(reused, 0);
    expect(await lives(stranger.pid ?? 0)).toBe(true);
  });

  it.skipIf(containment.level === 'processGroup')(
    'finds and ends a child that has left its session, its parent and its environment',
    async () => {
      const tree = await start('(env -i setsid sleep 301.1 &) ; : >ready; sleep 301.2');
      await until(() => existsSync(file('ready')));
      await until(async () => (await sleepers(tree, '301.1')).length === 1);
      const [pid = 0] = await sleepers(tree, '301.1');
      await endTree(tree, 5_000);
      expect(await lives(pid)).toBe(false);
    },
  );

  it('is found again by its marker from another pid namespace of this boot', async () => {
    const tree = await start('sleep 301.3');
    const elsewhere = {
      ...tree,
      leader: { ...tree.leader, pid: 999_999_999, pidNamespace: 'pid:[1]' },
      ...(tree.init !== undefined && {
        init: { ...tree.init, pid: 999_999_998, pidNamespace: 'pid:[1]' },
      }),
    };
    await until(async () => (await sleepers(elsewhere, '301.3')).length === 1);
    await endTree(elsewhere, 5_000);
    expect(await membersOf(tree)).toEqual([]);
  });

  it.runIf(containment.level === 'pidNamespace')(
    'ends whole when its leader is killed',
    async () => {
      const tree = await start('(env -i setsid sleep 301.4 &) ; : >ready; sleep 301.5');
      await until(() => existsSync(file('ready')));
      const pids = await membersOf(tree);
      process.kill(tree.leader.pid, 'SIGKILL');
      await until(async () => (await membersOf(tree)).length === 0);
      expect(await Promise.all(pids.map(lives))).toEqual(pids.map(() => false));
    },
  );

  it.runIf(containment.level === 'pidNamespace')('ends whole when its shim is killed', async () => {
    const tree = await start('(env -i setsid sleep 301.6 &) ; : >ready; sleep 301.7');
    await until(() => existsSync(file('ready')));
    const pids = await membersOf(tree);
    process.kill(tree.init?.pid ?? 0, 'SIGKILL');
    await until(async () => (await membersOf(tree)).length === 0);
    expect(await Promise.all(pids.map(lives))).toEqual(pids.map(() => false));
  });

  it.runIf(containment.level === 'pidNamespace')(
    'ends what runs in a pid namespace that the program made itself',
    async () => {
      const tree = await start(
        'env -i unshare --pid --fork --mount-proc setsid sleep 301.8 & sleep 301.9',
      );
      await until(async () => (await sleepers(tree, '301.8')).length > 0);
      const pids = await sleepers(tree, '301.8');
      await endTree(tree, 200);
      expect(await Promise.all(pids.map(lives))).toEqual(pids.map(() => false));
    },
  );

  it.runIf(containment.level !== 'pidNamespace' && process.getuid?.() === 0)(
    'spares those whose pid namespace the program went into',
    async () => {
      const stranger = spawn('unshare', ['--pid', '--fork', '--mount-proc', 'sleep', '302.5'], {
        detached: true,
        stdio: 'ignore',
      });
      children.push(stranger);
      const inside = async (): Promise<number | undefined> =>
        (await readProcesses()).find(({ parent }) => parent === stranger.pid)?.pid;
      await until(async () => (await inside()) !== undefined);
      const pid = (await inside()) ?? 0;
      const tree = await start(`nsenter --target ${pid} --pid sleep 302.6`);
      await until(async () => (await sleepers(tree, '302.6')).length === 1);
      await endTree(tree, 5_000);
      expect(await lives(pid)).toBe(true);
      process.kill(pid, 'SIGKILL');
    },
  );

  it.runIf(containment.level === 'cgroup')(
    'leaves no cgroup behind, nested ones included',
    async () => {
      const tree = await start('sleep 302.1');
      await until(async () => (await sleepers(tree, '302.1')).length === 1);
      const [pid] = await sleepers(tree, '302.1');
      const inner = path.join(tree.cgroup ?? '', 'inner');
      mkdirSync(inner);
      writeFileSync(path.join(inner, 'cgroup.procs'), String(pid));
      expect(await membersOf({ ...tree, marker: 'of-nobody' })).toContain(pid);
      await endTree(tree, 5_000);
      expect(existsSync(tree.cgroup ?? '')).toBe(false);
    },
  );

  it.runIf(containment.level === 'cgroup')('never kills a cgroup that is not ours', async () => {
    const tree = await start('sleep 302.2');
    const forged = {
      ...tree,
      marker: 'of-nobody',
      cgroup: path.dirname(tree.cgroup ?? ''),
      leader: { ...tree.leader, pid: 999_999_999 },
    };
    expect(await membersOf(forged)).toEqual([]);
    await endTree(forged, 0);
    expect(await membersOf(tree)).not.toEqual([]);
  });
});

it('is tested at least for process groups, which every system has', () => {
  expect([...found.keys()]).toContain('processGroup');
});

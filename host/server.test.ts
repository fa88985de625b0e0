import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { hostname } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HOST_PROTOCOL_VERSION } from '../core/host-protocol.js';
import {
  createTestHost,
  lives,
  readPid,
  run,
  shellSpec,
  until,
  untilFile,
  type TestHost,
} from '../test/support/process-host.js';
import { connectHost } from './client.js';
import { startHost } from './host.js';

describe('the socket of the process host', () => {
  let host: TestHost;
  const servers: Server[] = [];
  const sockets: Socket[] = [];
  beforeEach(() => {
    host = createTestHost();
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    for (const server of servers.splice(0)) server.close();
    await host.end();
  });

  const folder = () => host.file('host');
  const secret = () => readFileSync(host.file('host/secret'), 'utf8').trim();
  const hello = () => ({ adit: HOST_PROTOCOL_VERSION, secret: secret() });

  /** A connection that says what it likes. */
  async function raw(...messages: readonly (object | string)[]) {
    const socket = connect(host.file('host/socket'));
    sockets.push(socket);
    let text = '';
    socket.setEncoding('utf8').on('data', (data: string) => (text += data));
    socket.on('error', () => {});
    const closed = new Promise((resolve) => socket.once('close', resolve));
    for (const message of messages) {
      socket.write(typeof message === 'string' ? message : `${JSON.stringify(message)}\n`);
    }
    const lines = (): object[] =>
      text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as object);
    return { socket, closed, lines };
  }

  /** Somebody else who listens there. */
  async function listen(onConnection: (socket: Socket) => void): Promise<void> {
    mkdirSync(folder(), { mode: 0o700 });
    writeFileSync(host.file('host/secret'), 'x');
    const server = createServer(onConnection);
    servers.push(server);
    server.listen(host.file('host/socket'));
    await once(server, 'listening');
  }

  it('is nobody’s where no host was ever started, and after one was killed', async () => {
    expect(await connectHost(host.stateDir)).toBeNull();
    await host.start();
    await host.stop();
    expect(await connectHost(host.stateDir)).toBeNull();
  });

  it('says who the host is', async () => {
    await host.start({ build: '1.2.3' });
    const { info } = await host.connect();
    expect(info).toMatchObject({
      pid: process.pid,
      pidNamespace: readlinkSync('/proc/self/ns/pid'),
      build: '1.2.3',
      protocol: HOST_PROTOCOL_VERSION,
      containment: 'processGroup',
      devices: [],
    });
    expect(info.hostId).toBe(readFileSync(host.file('host-id'), 'utf8').trim());
  });

  it('works in a state folder whose path is longer than that of a socket may be', async () => {
    const stateDir = host.file('x'.repeat(150));
    const long = await startHost({ stateDir, gpus: [], containment: 'processGroup' });
    const client = await connectHost(stateDir);
    expect(client?.info.pid).toBe(process.pid);
    client?.close();
    await long.stop();
  });

  it('tells a second host who has the state folder', async () => {
    await host.start({ build: '1.2.3' });
    await expect(host.start()).rejects.toMatchObject({
      code: 'HOST_UNUSABLE',
      message: expect.stringContaining(
        `Another process host has ${folder()}: process ${process.pid} of build 1.2.3`,
      ) as string,
    });
  });

  describe('whose lock another machine has signed', () => {
    const signed = (who: string, boot: string): void =>
      writeFileSync(
        path.join(folder(), 'lock'),
        `process 1 of build 2 on ${who}, since now\n${boot}`,
      );
    beforeEach(async () => {
      await host.start();
      await host.stop();
    });

    it('is not taken while that machine lives', async () => {
      signed('elsewhere', 'boot 1-2-3\n');
      // By a clock that is ahead: however long this takes, it was just now.
      const ahead = new Date(Date.now() + 50_000);
      utimesSync(path.join(folder(), 'lock'), ahead, ahead);
      await expect(host.start()).rejects.toMatchObject({
        code: 'HOST_UNAVAILABLE',
        message: expect.stringMatching(
          /^Another machine had \S+ 0 s ago: process 1 of build 2 on elsewhere, since now\.$/,
        ) as string,
        hint: expect.stringContaining('give each its own (ADIT_STATE_DIR)') as string,
      });
    });

    it('is taken when that machine has been silent for long', async () => {
      signed('elsewhere', 'boot 1-2-3\n');
      const before = new Date(Date.now() - 61_000);
      utimesSync(path.join(folder(), 'lock'), before, before);
      await host.start();
    });

    it.each([
      ['this machine before it was started anew', hostname(), 'boot 1-2-3\n'],
      ['a build that did not say where it ran', 'elsewhere', ''],
    ])('is taken when that is %s', async (_what, who, boot) => {
      signed(who, boot);
      await host.start();
    });

    it('signs off when it stops, so that the folder can be moved', async () => {
      expect(readFileSync(path.join(folder(), 'lock'), 'utf8')).toBe('');
    });
  });

  it.each([
    ['open to other users', () => chmodSync(folder(), 0o755), 'is open to other users (mode 755)'],
    [
      'no directory',
      () => {
        rmSync(folder(), { recursive: true });
        writeFileSync(folder(), '');
      },
      '',
    ],
  ])('refuses a folder that is %s', async (_what, spoil, why) => {
    mkdirSync(folder(), { mode: 0o700 });
    spoil();
    const refusal = { code: 'HOST_UNUSABLE', message: expect.stringContaining(why) as string };
    await expect(connectHost(host.stateDir)).rejects.toMatchObject(refusal);
    await expect(host.start()).rejects.toThrow(why === '' ? /EEXIST|is no directory/ : why);
  });

  it('refuses a folder of another user', async () => {
    const other = host.file('other');
    mkdirSync(other);
    symlinkSync('/proc/1', path.join(other, 'host'));
    await expect(connectHost(other)).rejects.toMatchObject({ code: 'HOST_UNUSABLE' });
  });

  it('refuses what is no socket', async () => {
    mkdirSync(folder(), { mode: 0o700 });
    writeFileSync(host.file('host/socket'), '');
    await expect(connectHost(host.stateDir)).rejects.toMatchObject({
      code: 'HOST_UNUSABLE',
      message: `What listens on ${host.file('host/socket')} cannot be used as the process host: it is not a socket of this user.`,
    });
  });

  it.each([
    ['garbage', 'HTTP/1.1 400 Bad Request\n', 'a line is no JSON object'],
    ['another protocol', '{"hello":1}\n', 'it does not speak the protocol.'],
  ])('refuses a server that answers with %s', async (_what, answer, why) => {
    await listen((socket) => socket.write(answer));
    await expect(connectHost(host.stateDir)).rejects.toMatchObject({
      code: 'HOST_UNUSABLE',
      message: expect.stringContaining(why) as string,
    });
  });

  it('refuses a server that answers without end', async () => {
    await listen((socket) => {
      const piece = 'x'.repeat(1024 * 1024);
      const more = (): void => {
        while (!socket.destroyed && socket.write(piece));
      };
      socket.on('error', () => {}).on('drain', more);
      more();
    });
    await expect(connectHost(host.stateDir)).rejects.toMatchObject({
      code: 'HOST_UNUSABLE',
      message: expect.stringContaining('a line is longer than') as string,
    });
  });

  it('serves nobody with another secret', async () => {
    await host.start();
    writeFileSync(host.file('host/secret'), 'f'.repeat(64));
    await expect(connectHost(host.stateDir)).rejects.toMatchObject({
      code: 'HOST_UNUSABLE',
      message: 'The process host does not know this client: its secret is another.',
    });
  });

  it('refuses a client that speaks a newer version, and says both', async () => {
    await host.start();
    const client = await raw({ ...hello(), adit: 99 });
    await client.closed;
    expect(client.lines()).toMatchObject([
      {
        error: {
          code: 'HOST_UNUSABLE',
          message: `The process host speaks version ${HOST_PROTOCOL_VERSION} of its protocol, this client version 99.`,
        },
      },
    ]);
  });

  it('cuts off who sends garbage or a line without end, before and after the greeting, and lives on', async () => {
    await host.start();
    for (const messages of [
      ['garbage\n'],
      ['{"adit":1\n'],
      ['[]\n'],
      ['x'.repeat(5_000)],
      [hello(), 'garbage\n'],
      [hello(), { method: 'info' }],
      [hello(), 'x'.repeat(17 * 1024 * 1024)],
    ]) {
      await (
        await raw(...messages)
      ).closed;
    }
    const client = await host.connect();
    await expect(client.call('list', {})).resolves.toEqual({ programs: [] });
  });

  it('answers what it does not know, and what makes no sense, with an error', async () => {
    await host.start();
    const client = await raw(
      hello(),
      { id: 1, method: 'toString', params: {} },
      { id: 2, method: 'run', params: {} },
      { id: 3, method: 'run', params: { place: { runId: 'r', stepPath: 's', start: '../..' } } },
      { id: 4, method: 'end' },
      { id: 5, method: 'list' },
    );
    await until(() => client.lines().length === 6);
    expect(client.lines().slice(1)).toEqual(
      expect.arrayContaining([
        { id: 1, error: { code: 'INTERNAL', message: 'There is no method toString.' } },
        { id: 3, error: { code: 'INTERNAL', message: 'There is no start ../...' } },
        { id: 5, result: { programs: [] } },
      ]),
    );
  });

  it('keeps what a client does not read within bounds, and tells the end all the same', async () => {
    await host.start();
    const client = await raw(hello());
    await until(() => client.lines().length === 1);
    client.socket.pause();
    const place = { runId: 'r', stepPath: 's', start: 1 };
    const spec = shellSpec(`while [ ! -e ${host.file('go')} ]; do sleep 0.02; done`);
    client.socket.write(
      `${JSON.stringify({ id: 1, method: 'run', params: { place, token: 1, spec, mayStart: true } })}\n`,
    );
    await untilFile(host.file('runs/r/processes/s/1/owner.json'));
    writeFileSync(host.file('go'), '');
    const other = await host.connect();
    await until(async () => (await other.call('list', {})).programs.length === 0);
    client.socket.resume();
    await until(() => client.lines().some((line) => 'result' in line));
  });

  it('runs a short command for a connection, and ends it with that', async () => {
    await host.start();
    const client = await host.connect();
    const command = (script: string) => ({
      argv: ['/bin/sh', '-c', script],
      cwd: host.cwd,
      env: { PATH: '/usr/bin:/bin' },
      stdoutFile: host.file('out'),
      stderrFile: host.file('err'),
      timeoutMs: 60_000,
      outputBytes: 1_000_000,
    });
    writeFileSync(host.file('out'), '');
    writeFileSync(host.file('err'), '');
    const done = await client.call('command', command('echo out; echo err >&2; exit 4'));
    expect(done).toMatchObject({ exitCode: 4, timedOut: false, tooMuchOutput: false });
    expect(readFileSync(host.file('out'), 'utf8')).toBe('out\n');
    expect(readFileSync(host.file('err'), 'utf8')).toBe('err\n');
    const long = client.call('command', command(`echo $$ > ${host.file('pid')}; sleep 60`));
    long.catch(() => {});
    const pid = await readPid(host.file('pid'));
    client.close();
    await until(() => !lives(pid));
  });

  it('ends by itself when it was idle for so long, and not while a program runs', async () => {
    const { closed } = await host.start({ idleExitMs: 2_000 });
    const client = await host.connect();
    const spec = shellSpec(`while [ ! -e ${host.file('go')} ]; do sleep 0.02; done`);
    run(client, spec).catch(() => {});
    await untilFile(host.file('runs/run-1/processes/candidates.0@trained/1/owner.json'));
    client.close();
    const again = await host.connect();
    expect((await again.call('list', {})).programs).toHaveLength(1);
    again.close();
    writeFileSync(host.file('go'), '');
    await closed;
    expect(await connectHost(host.stateDir)).toBeNull();
  });
});

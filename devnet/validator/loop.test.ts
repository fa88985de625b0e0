import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { decodeAddress, sr25519Verify } from '@polkadot/util-crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeRepository, type TestRepository } from '../../test/support/git-repository.js';
import { isGroupAlive } from '../../test/support/processes.js';
import { canonicalBody } from './canonical-body.js';
import { createCoordinatorClient } from './coordinator-client.js';
import { runCycle, runLoop, type Validator } from './loop.js';
import { openHotkey } from './signing.js';

const run = promisify(execFile);

const MNEMONIC = 'bottom drive obey lake curtain smoke basket hold race lonely fit walk';
const SCAN = 'POST /api/v1/validator/submissions/scan';
const RESULT = 'POST /api/v1/validator/jobs/job-1/result';
const LOOK = 'GET /api/v1/verifications?submission_id=submission-1';

/** What the coordinator does with the next request of a route, instead of its answer. */
type Fault = 'break before' | 'break after' | 500 | 'html';

/** The few routes that a validator uses. Checks every signature; holds jobs and results in memory. */
class Coordinator {
  jobs: unknown[] = [];
  readonly results: {
    status: string;
    notes: string;
    replay_log: string;
    observed_metrics: object;
  }[] = [];
  readonly requests: string[] = [];
  readonly faults: { route: string; fault: Fault }[] = [];
  detail: unknown;
  #server: Server | undefined;
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Listens; on the same port again after `stop`. */
  async start(): Promise<void> {
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch((error: unknown) => {
        response.writeHead(500).end(String(error));
      });
    });
    await new Promise<void>((resolve) => {
      this.#server?.listen(this.#port, '127.0.0.1', resolve);
    });
    const address = this.#server.address();
    this.#port = typeof address === 'object' && address !== null ? address.port : 0;
  }

  async stop(): Promise<void> {
    const stopped = new Promise((resolve) => this.#server?.close(resolve));
    this.#server?.closeAllConnections();
    await stopped;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) {
      body += String(chunk);
    }
    const route = `${request.method} ${request.url}`;
    this.requests.push(route);
    if (!isSigned(request, body)) {
      response.writeHead(401).end('{"detail":"bad signature"}');
      return;
    }
    const at = this.faults.findIndex((each) => each.route === route);
    const fault = at === -1 ? undefined : this.faults.splice(at, 1)[0]?.fault;
    if (fault === 'break before') {
      request.socket.destroy();
      return;
    }
    const reply = this.#reply(route, body);
    if (fault === 'break after') {
      request.socket.destroy();
    } else if (fault === 500) {
      response.writeHead(500).end('{"detail":"no"}');
    } else if (fault === 'html') {
      response.end('<html>');
    } else {
      response
        .writeHead(reply === undefined ? 404 : 200)
        .end(JSON.stringify(reply ?? { detail: 'not found' }));
    }
  }

  #reply(route: string, body: string): unknown {
    switch (route) {
      case SCAN:
        return this.jobs.length === 0 ? undefined : { jobs: this.jobs };
      case RESULT: {
        this.jobs = [];
        this.results.push(JSON.parse(body));
        return { id: 'job-1' };
      }
      case LOOK:
        return this.results.map(({ status }) => ({ id: 'job-1', status }));
      case 'GET /api/v1/submissions/submission-1/detail':
        return this.detail;
      default:
        return undefined;
    }
  }
}

function isSigned(request: IncomingMessage, body: string): boolean {
  const header = (name: string): string => String(request.headers[name] ?? '');
  const [requestPath = '', query = ''] = (request.url ?? '').split('?');
  const canonical = body === '' ? '' : canonicalBody(JSON.parse(body));
  const hash = createHash('sha256').update(canonical).digest('hex');
  const message = [
    'BT-AUTH-V1',
    request.method,
    requestPath,
    query,
    header('x-timestamp'),
    hash,
  ].join('\n');
  return (
    body === canonical &&
    (header('content-type') === 'application/json') === (body !== '') &&
    Math.abs(Number(header('x-timestamp')) - Date.now() / 1_000) < 60 &&
    sr25519Verify(
      message,
      Buffer.from(header('x-signature'), 'hex'),
      decodeAddress(header('x-hotkey')),
    )
  );
}

let repository: TestRepository;
let commit: string;
let coordinator: Coordinator;
let home: string;
let hotkeyFile: string;
let ending: AbortController;
let lines: string[];
let validator: Validator;

beforeAll(async () => {
  repository = await makeRepository();
  commit = await repository.commit({ 'train.py': 'x = 1\n' });
});

beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'adit-validator-'));
  hotkeyFile = path.join(home, 'hotkey');
  await writeFile(hotkeyFile, JSON.stringify({ secretPhrase: MNEMONIC }));
  coordinator = new Coordinator();
  await coordinator.start();
  ending = new AbortController();
  lines = [];
  validator = {
    client: createCoordinatorClient(`${coordinator.url}/`, await openHotkey(hotkeyFile)),
    replaySettings: { folder: home, ca: undefined, signal: ending.signal },
    report: (line) => lines.push(line),
  };
});

afterEach(async () => {
  ending.abort(new Error('test over'));
  await coordinator.stop();
});

const PATCH =
  'diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n';

const spec = (changes: object = {}): object => ({
  repository: repository.folder,
  base_ref: 'production',
  base_commit_sha: commit,
  benchmark_command: 'echo ppl=2.5',
  allowed_patch_paths: ['train.py'],
  metric_name: 'ppl',
  unknown_key: 1,
  ...changes,
});

const job = (changes: object = {}, specChanges: object = {}): object => ({
  job_id: 'job-1',
  submission: { id: 'submission-1', patch: PATCH, artifact_uri: null },
  replay_spec: spec(specChanges),
  ...changes,
});

describe('a cycle', () => {
  it('replays the job of a scan and posts its result, signed', async () => {
    coordinator.jobs = [job()];
    expect(await runCycle(validator)).toBe(1);
    expect(coordinator.requests).toEqual([SCAN, RESULT]);
    expect(coordinator.results).toMatchObject([
      { status: 'accepted', observed_metrics: { ppl: 2.5 } },
    ]);
    expect(coordinator.results[0]?.replay_log).toContain('ppl=2.5');
    expect(lines.at(-1)).toBe('job job-1: accepted ppl=2.5. Replay succeeded.');
  });

  it('takes 404 and idle payloads for no work', async () => {
    expect(await runCycle(validator)).toBe(0);
    for (const status of ['idle', 'empty', 'none']) {
      coordinator.jobs = [{ status }];
      expect(await runCycle(validator)).toBe(0);
    }
  });

  it('reads jobs in their other shapes', async () => {
    const submission = { id: 'submission-1', patch: PATCH };
    const shapes = [
      { job: job() },
      { id: 'job-1', detail: { submission: { ...submission, replay_spec: spec() } } },
      { id: 'job-1', submission_id: 'submission-1', replay_spec: null },
      {
        id: 'job-1',
        submission,
        replay_spec: { metric_name: 'ppl', validator_benchmark_env: { A: 1 }, result_path: '' },
        task: spec({ benchmark_command: 'echo ppl=2.$A' }),
      },
    ];
    coordinator.detail = { submission, replay_spec: spec() };
    for (const shape of shapes) {
      coordinator.jobs = [shape];
      await runCycle(validator);
    }
    expect(coordinator.results.map((result) => result.observed_metrics)).toEqual([
      { ppl: 2.5 },
      { ppl: 2.5 },
      { ppl: 2.5 },
      { ppl: 2.1 },
    ]);
  });

  it('ends at a job that cannot be replayed and at a metric that is null', async () => {
    coordinator.jobs = [job({}, { repository: null })];
    await expect(runCycle(validator)).rejects.toThrow('without a repository cannot be replayed');
    coordinator.jobs = [
      job({}, { result_path: 'r.json', benchmark_command: 'echo \'{"ppl": null}\' > r.json' }),
    ];
    await expect(runCycle(validator)).rejects.toThrow('not null');
    coordinator.jobs = [
      job({}, { result_path: 'r.json', benchmark_command: 'echo \'{"ppl": NaN}\' > r.json' }),
    ];
    await expect(runCycle(validator)).rejects.toThrow('cannot hold the number NaN');
    expect(coordinator.results).toEqual([]);
  });
});

describe('posting a result', () => {
  it('is not repeated when the broken connection had delivered it', async () => {
    coordinator.jobs = [job()];
    coordinator.faults.push({ route: RESULT, fault: 'break after' });
    expect(await runCycle(validator)).toBe(1);
    expect(coordinator.requests).toEqual([SCAN, RESULT, LOOK]);
    expect(coordinator.results.length).toBe(1);
  });

  it('is repeated once, with a note and a shorter log, when it had not', async () => {
    coordinator.jobs = [
      job({}, { benchmark_command: 'head -c 20000 /dev/zero | tr "\\0" y; echo; echo ppl=1' }),
    ];
    coordinator.faults.push({ route: RESULT, fault: 'break before' });
    await runCycle(validator);
    expect(coordinator.requests).toEqual([SCAN, RESULT, LOOK, RESULT]);
    expect(coordinator.results[0]?.notes).toContain('Posted again after a connection failure');
    expect(coordinator.results[0]?.replay_log.length).toBeLessThanOrEqual(8_192);
  });

  it('looks again after a second broken connection, then gives up', async () => {
    coordinator.jobs = [job()];
    coordinator.faults.push(
      { route: RESULT, fault: 'break before' },
      { route: RESULT, fault: 'break after' },
    );
    expect(await runCycle(validator)).toBe(1);
    expect(coordinator.requests).toEqual([SCAN, RESULT, LOOK, RESULT, LOOK]);

    coordinator.jobs = [job()];
    coordinator.results.length = 0;
    coordinator.faults.push(
      { route: RESULT, fault: 'break before' },
      { route: LOOK, fault: 'break before' },
      { route: RESULT, fault: 'break before' },
    );
    await expect(runCycle(validator)).rejects.toThrow('jobs/job-1/result');
    expect(coordinator.results).toEqual([]);
  });

  it('is not repeated after an HTTP error', async () => {
    coordinator.jobs = [job()];
    coordinator.faults.push({ route: RESULT, fault: 500 });
    await expect(runCycle(validator)).rejects.toThrow('answered HTTP 500');
    expect(coordinator.requests).toEqual([SCAN, RESULT]);
  });
});

describe('the loop', () => {
  it('outlasts failed cycles and a coordinator that is down, and ends with the signal', async () => {
    coordinator.faults.push({ route: SCAN, fault: 500 }, { route: SCAN, fault: 'html' });
    const loop = runLoop(validator, 5);
    await expect.poll(() => coordinator.requests.length).toBeGreaterThan(2);
    await coordinator.stop();
    await expect
      .poll(() => lines.filter((line) => line.includes('ECONN')).length)
      .toBeGreaterThan(0);
    await coordinator.start();
    coordinator.jobs = [job()];
    await expect.poll(() => coordinator.results.length).toBe(1);
    ending.abort(new Error('over'));
    await loop;
    expect(lines[0]).toMatch(/^cycle failed: .* answered HTTP 500/);
    expect(lines[1]).toMatch(/^cycle failed: .*something other than JSON/);
  });
});

describe('the validator process', () => {
  // Compiled inside the package, where Node finds the dependencies.
  const compiled = path.resolve('node_modules/.cache/adit-validator-test', String(process.pid));
  let child: ChildProcess | undefined;

  beforeAll(async () => {
    await mkdir(compiled, { recursive: true });
    await writeFile(path.join(compiled, 'package.json'), '{"type":"module"}');
    const flags =
      '--ignoreConfig --outDir X --rootDir . --module nodenext --target es2022 --types node --skipLibCheck';
    const args = flags.split(' ').map((flag) => (flag === 'X' ? compiled : flag));
    await run('node_modules/.bin/tsc', [...args, 'devnet/validator/main.ts']);
  });

  afterEach(() => void child?.kill('SIGKILL'));

  afterAll(() => rm(compiled, { recursive: true, force: true }));

  const start = (...more: string[]): ChildProcess => {
    const args = [
      '--coordinator',
      coordinator.url,
      '--hotkey',
      hotkeyFile,
      '--home',
      home,
      ...more,
    ];
    child = spawn(process.execPath, [path.join(compiled, 'devnet/validator/main.js'), ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return child;
  };
  const exitOf = (process_: ChildProcess): Promise<[number | null, string | null]> =>
    new Promise((resolve) => process_.once('exit', (code, signal) => resolve([code, signal])));

  it('does one cycle when asked for one, after clearing what a killed one left', async () => {
    await mkdir(path.join(home, 'replays', 'replay-old'), { recursive: true });
    coordinator.jobs = [job()];
    expect(await exitOf(start('--once'))).toEqual([0, null]);
    expect(coordinator.results.map((result) => result.status)).toEqual(['accepted']);
    expect(await readdir(path.join(home, 'replays'))).toEqual([]);
  });

  it('ends cleanly on SIGTERM in mid-replay, its benchmark with it', async () => {
    const mark = path.join(home, 'pid');
    coordinator.jobs = [job({}, { benchmark_command: `echo $$ > ${mark}; sleep 600 & wait` })];
    const running = start('--interval', '0.01');
    await expect.poll(() => (existsSync(mark) ? readFile(mark, 'utf8') : '')).toMatch(/\d\n/);
    const group = Number(await readFile(mark, 'utf8'));
    running.kill('SIGTERM');
    expect(await exitOf(running)).toEqual([0, null]);
    await expect.poll(() => isGroupAlive(group)).toBe(false);
    expect(coordinator.results).toEqual([]);
    expect(await readdir(path.join(home, 'replays'))).toEqual([]);
  });

  it('does not count the time in which it is stopped by a signal', async () => {
    const [begun, ended] = [path.join(home, 'begun'), path.join(home, 'ended')];
    const benchmark = `touch ${begun}; sleep 0.5; echo ppl=1; touch ${ended}`;
    coordinator.jobs = [job({}, { benchmark_command: benchmark, time_budget_seconds: 4 })];
    const running = start('--interval', '0.01');
    await expect.poll(() => existsSync(begun)).toBe(true);
    const deadline = Date.now() + 4_500;
    running.kill('SIGSTOP');
    await expect.poll(() => existsSync(ended) && Date.now() > deadline).toBe(true);
    running.kill('SIGCONT');
    await expect.poll(() => coordinator.results.length).toBe(1);
    expect(coordinator.results[0]?.status).toBe('accepted');
    running.kill('SIGTERM');
    expect(await exitOf(running)).toEqual([0, null]);
  });

  it('says how it is used when an argument is missing', async () => {
    const failure: unknown = await run(process.execPath, [
      path.join(compiled, 'devnet/validator/main.js'),
    ]).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 2, stderr: expect.stringContaining('Usage: ') });
  });
});

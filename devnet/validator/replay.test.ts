import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, symlink } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startHttpsServer, type HttpsServer } from '../../test/fakes/https-server.js';
import { makeRepository, type TestRepository } from '../../test/support/git-repository.js';
import { isProcessAlive } from '../../test/support/processes.js';
import { replay, type ReplayOutcome } from './replay.js';
import type { ReplayJob } from './job.js';

const ARTIFACT = 'the artifact';
const SHA256 = createHash('sha256').update(ARTIFACT).digest('hex');
const PATCH = [
  'diff --git a/train.py b/train.py',
  '--- a/train.py',
  '+++ b/train.py',
  '@@ -1 +1 @@',
  '-x = 1',
  '+x = 2',
  '',
].join('\n');

let repository: TestRepository;
let server: HttpsServer;
let respond: (request: IncomingMessage, response: ServerResponse) => void;
let requests: IncomingMessage[];
let folder: string;

beforeAll(async () => {
  repository = await makeRepository();
  await repository.commit({ 'train.py': 'x = 1\n' });
  server = await startHttpsServer((request, response) => {
    requests.push(request);
    respond(request, response);
  });
});

afterAll(() => server.close());

beforeEach(async () => {
  requests = [];
  respond = (_request, response) => void response.end(ARTIFACT);
  folder = await mkdtemp(path.join(tmpdir(), 'adit-replays-'));
});

const writeMetric = (value: string): string => `printf '{"ppl": ${value}}' > result.json`;

function jobWith(changes: Partial<ReplayJob>): ReplayJob {
  return {
    jobId: 'job-1',
    submissionId: 'submission-1',
    repository: repository.folder,
    ref: 'production',
    patch: PATCH,
    allowedPatchPaths: ['train.py'],
    maxPatchBytes: 262_144,
    setupCommand: '',
    benchmarkCommand: writeMetric('2.5'),
    resultPath: 'result.json',
    metricName: 'ppl',
    secondaryMetricName: undefined,
    timeBudgetSeconds: 60,
    benchmarkEnvironment: {},
    artifactUri: undefined,
    artifactSha256: undefined,
    artifactSizeBytes: undefined,
    ...changes,
  };
}

async function outcomeOf(
  changes: Partial<ReplayJob>,
  signal?: AbortSignal,
): Promise<ReplayOutcome> {
  return await replay(jobWith(changes), {
    folder,
    ca: server.ca,
    signal: signal ?? new AbortController().signal,
  });
}

const withArtifact = (changes: Partial<ReplayJob> = {}): Partial<ReplayJob> => ({
  patch: '',
  artifactUri: `${server.origin}/a.zip`,
  artifactSha256: SHA256,
  artifactSizeBytes: ARTIFACT.length,
  benchmarkCommand:
    'printf \'{"ppl": %s}\' "$AUTORESEARCH_SUBMISSION_ARTIFACT_BYTES" > result.json; cat "$AUTORESEARCH_SUBMISSION_ARTIFACT_PATH"',
  ...changes,
});

describe('a replay that succeeds', () => {
  it('applies the patch, runs setup and benchmark, and reports the metric of the result file', async () => {
    const outcome = await outcomeOf({
      setupCommand: 'cat train.py && echo set up > setup.txt',
      benchmarkCommand: `cat setup.txt && ${writeMetric('2.5')}`,
    });
    expect(outcome).toMatchObject({ status: 'accepted', observedMetrics: { ppl: 2.5 } });
    expect(outcome.log).toContain('x = 2\n$ cat setup.txt');
    expect(await readdir(folder)).toEqual([]);
  });

  it('gives programs a clean environment with the benchmark environment in both phases', async () => {
    const { log } = await outcomeOf({
      setupCommand: 'env | sort | sed s/^/setup:/',
      benchmarkCommand: `env | sort | sed s/^/benchmark:/; ${writeMetric('1')}`,
      benchmarkEnvironment: { KEY: 'v1' },
    });
    for (const phase of ['setup', 'benchmark']) {
      const names = [...log.matchAll(new RegExp(`^${phase}:([A-Z_]+)=`, 'gm'))].map(
        (match) => match[1],
      );
      expect(names.filter((name) => !['PWD', 'OLDPWD', 'SHLVL', '_'].includes(name ?? ''))).toEqual(
        [
          'HOME',
          'KEY',
          'LANG',
          'LC_ALL',
          'PATH',
          'PIP_DISABLE_PIP_VERSION_CHECK',
          'PYTHONNOUSERSITE',
        ],
      );
      expect(log).toMatch(new RegExp(`^${phase}:HOME=.*/checkout$`, 'm'));
    }
  });

  it('checks out a branch or a commit, also one that the branch has left behind', async () => {
    const other = await makeRepository();
    const first = await other.commit({ 'train.py': 'x = 1\n' });
    await other.commit({ 'train.py': 'moved = 1\n' });
    await other.git('branch', 'elsewhere', first);
    for (const ref of [first, 'elsewhere']) {
      expect((await outcomeOf({ repository: other.folder, ref })).status).toBe('accepted');
    }
    expect((await outcomeOf({ repository: other.folder })).notes).toContain('git apply failed');
  });

  it('reads console text when there is no result path', async () => {
    const outcome = await outcomeOf({
      resultPath: undefined,
      benchmarkCommand: 'echo ppl=3; echo PPL: 4 >&2',
    });
    expect(outcome).toMatchObject({ status: 'accepted', observedMetrics: { ppl: 4 } });
  });

  it('reports the secondary metric too, and is an error without it', async () => {
    const benchmarkCommand = `printf '{"ppl": 2, "speed": 3}' > result.json`;
    const both = await outcomeOf({ benchmarkCommand, secondaryMetricName: 'speed' });
    expect(both.observedMetrics).toEqual({ ppl: 2, speed: 3 });
    const one = await outcomeOf({ secondaryMetricName: 'speed' });
    expect(one).toMatchObject({ status: 'error', notes: 'The benchmark gave no speed.' });
  });

  it('accepts a metric that is NaN: the engine has no finiteness check', async () => {
    const outcome = await outcomeOf({ benchmarkCommand: writeMetric('NaN') });
    expect(outcome).toMatchObject({ status: 'accepted', observedMetrics: { ppl: Number.NaN } });
  });
});

describe('the checks before cloning', () => {
  it('reject without touching the repository', async () => {
    const outcome = await outcomeOf({
      patch: PATCH.replaceAll('train.py', 'benchmark.py'),
      repository: '/nowhere',
    });
    expect(outcome).toMatchObject({
      status: 'rejected',
      observedMetrics: {},
      log: 'validator_rejection=disallowed_patch_paths\n',
    });
  });
});

describe('the outcome table', () => {
  const stale = async (): Promise<string> => {
    const committed = await makeRepository();
    await committed.commit({ 'train.py': 'x = 1\n', 'result.json': '{"ppl": 9}' });
    return committed.folder;
  };

  it.each([
    ['a setup that fails', { setupCommand: 'exit 3' }, 'error', 'Setup failed with exit code 3.'],
    [
      'a benchmark that fails after a good result',
      { benchmarkCommand: `${writeMetric('2')}; exit 4` },
      'error',
      'The benchmark failed with exit code 4.',
    ],
    [
      'a rejection marker after a good result',
      { benchmarkCommand: `${writeMetric('2')}; echo validator_rejection=x >&2; exit 1` },
      'rejected',
      'The benchmark failed with exit code 1.',
    ],
    [
      'a rejection marker without a result file',
      { benchmarkCommand: 'echo validator_rejection=quantized_size; exit 1' },
      'error',
      "The benchmark's result is unusable: result file result.json not found.",
    ],
    [
      'exit 0 without a result file',
      { benchmarkCommand: 'true' },
      'error',
      "The benchmark's result is unusable: result file result.json not found.",
    ],
    [
      'a result file that is no JSON',
      { benchmarkCommand: 'echo no > result.json' },
      'error',
      "The benchmark's result is unusable: result file is not valid JSON: a value was expected at offset 0.",
    ],
    [
      'a result file without the metric, whatever the console says',
      {
        benchmarkCommand: 'echo "{}" > result.json; echo ppl=3; echo validator_rejection=x; exit 1',
      },
      'error',
      "The benchmark's result is unusable: result file does not hold the metric ppl.",
    ],
    [
      'a result file outside the checkout',
      { benchmarkCommand: 'ln -s /etc/hostname result.json' },
      'error',
      "The benchmark's result is unusable: result file result.json lies outside the checkout.",
    ],
    [
      'a result file that is a pipe',
      { benchmarkCommand: 'mkfifo result.json' },
      'error',
      "The benchmark's result is unusable: result file result.json is not a regular file.",
    ],
    [
      'console text without the metric',
      { resultPath: undefined, benchmarkCommand: 'true' },
      'error',
      'The benchmark printed no metric.',
    ],
    [
      'console text without the metric but with a marker',
      { resultPath: undefined, benchmarkCommand: 'echo validator_rejection=x' },
      'rejected',
      'The benchmark printed no metric.',
    ],
  ] as const)('%s', async (_name, changes, status, notes) => {
    expect(await outcomeOf(changes)).toMatchObject({ status, notes, observedMetrics: {} });
  });

  it('believes a committed stale result: accepted after exit 0, rejected with a marker', async () => {
    const committed = await stale();
    expect(await outcomeOf({ repository: committed, benchmarkCommand: 'true' })).toMatchObject({
      status: 'accepted',
      observedMetrics: { ppl: 9 },
    });
    const benchmarkCommand = 'echo validator_rejection=x; exit 1';
    expect((await outcomeOf({ repository: committed, benchmarkCommand })).status).toBe('rejected');
  });

  it('does not catch a metric that is null', async () => {
    await expect(outcomeOf({ benchmarkCommand: writeMetric('null') })).rejects.toThrow(
      'A metric must be a string or a number, not null.',
    );
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('the time budget', () => {
  it('is shared by setup and benchmark, and its end kills the whole process group', async () => {
    const mark = path.join(folder, 'survivor.pid');
    const sleeper = `sleep 600 & echo $! > ${mark}; wait`;
    expect(await outcomeOf({ timeBudgetSeconds: 4, benchmarkCommand: sleeper })).toMatchObject({
      status: 'error',
      notes: 'The benchmark ran past the time budget of 4 s.',
    });
    await expectGone(mark);
    expect(await outcomeOf({ timeBudgetSeconds: 4, setupCommand: 'sleep 600' })).toMatchObject({
      status: 'error',
      notes: 'Setup ran past the time budget of 4 s.',
    });
  });

  it('ends preparation too', async () => {
    respond = () => {};
    const outcome = await outcomeOf({ ...withArtifact(), timeBudgetSeconds: 4 });
    expect(outcome.status).toBe('error');
    expect(outcome.notes).toBe('Replay preparation failed: the time budget was spent');
  });
});

describe('a validator that is told to end', () => {
  it('kills the running group, leaves no checkout and has no outcome', async () => {
    const mark = path.join(folder, 'survivor.pid');
    const ending = new AbortController();
    const running = outcomeOf(
      { benchmarkCommand: `sleep 600 & echo $! > ${mark}; wait` },
      ending.signal,
    );
    const failure = expect(running).rejects.toThrow('ended');
    await expect.poll(() => readFile(mark, 'utf8').catch(() => '')).toMatch(/\d+\n/);
    ending.abort(new Error('ended'));
    await failure;
    await expectGone(mark);
    expect(await readdir(folder)).toEqual(['survivor.pid']);
  });
});

async function expectGone(pidFile: string): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8'));
  await expect.poll(() => isProcessAlive(pid)).toBe(false);
}

describe('the artifact', () => {
  it('is fetched once, without redirects or an extension, and told to the benchmark', async () => {
    const outcome = await outcomeOf(withArtifact());
    expect(outcome).toMatchObject({
      status: 'accepted',
      observedMetrics: { ppl: ARTIFACT.length },
    });
    expect(outcome.log).toContain(ARTIFACT);
    expect(requests.map((request) => [request.method, request.url])).toEqual([['GET', '/a.zip']]);
  });

  it.each([
    [
      'a redirect',
      302,
      { location: '/b.zip' },
      '',
      'artifact address redirects (HTTP 302), redirects are refused',
    ],
    ['an error status', 404, {}, 'gone', 'artifact address answers HTTP 404'],
    [
      'another length',
      200,
      { 'content-length': '5' },
      'short',
      'artifact Content-Length is 5, declared are 12 bytes',
    ],
    [
      'fewer bytes than declared',
      200,
      { 'transfer-encoding': 'chunked' },
      'short',
      'artifact size mismatch: declared 12 bytes, received 5',
    ],
    [
      'more bytes than declared',
      200,
      { 'transfer-encoding': 'chunked' },
      'much too long for this',
      'artifact size mismatch: declared 12 bytes, received more than 12',
    ],
    [
      'other bytes',
      200,
      {},
      'THE ARTIFACT',
      `artifact digest mismatch: declared ${SHA256}, received`,
    ],
  ])('fails the preparation for %s', async (_name, status, headers, body, reason) => {
    respond = (_request, response) => void response.writeHead(status, headers).end(body);
    const outcome = await outcomeOf(withArtifact());
    expect(outcome.status).toBe('error');
    expect(outcome.notes).toContain(`Replay preparation failed: ${reason}`);
    expect(requests.length).toBe(1);
  });

  it('may have another length on the way when it is compressed', async () => {
    const body = gzipSync(ARTIFACT);
    respond = (_request, response) =>
      void response
        .writeHead(200, { 'content-encoding': 'gzip', 'content-length': body.length })
        .end(body);
    expect(await outcomeOf(withArtifact())).toMatchObject({
      status: 'accepted',
      log: expect.stringContaining(ARTIFACT),
    });
  });

  it('comes from a host whose certificate is trusted, or not at all', async () => {
    const job = jobWith(withArtifact());
    const outcome = await replay(job, {
      folder,
      ca: undefined,
      signal: new AbortController().signal,
    });
    expect(outcome.notes).toMatch(/^Replay preparation failed: .*self-signed certificate/);
  });

  it.each([
    ['none', { artifactUri: undefined }, 'a submission artifact is required'],
    ['plain http', { artifactUri: 'http://localhost/a' }, 'must be an https address'],
    ['a local path', { artifactUri: '/etc/hostname' }, 'must be an https address'],
    ['no digest', { artifactSha256: undefined }, 'needs artifact_sha256 and artifact_size_bytes'],
    ['no size', { artifactSizeBytes: undefined }, 'needs artifact_sha256 and artifact_size_bytes'],
  ])(
    'with %s is an error where required, and skipped where not',
    async (_name, changes, reason) => {
      const required = await outcomeOf(withArtifact(changes));
      expect(required.status).toBe('error');
      expect(required.notes).toContain(reason);
      const demanded = { AUTORESEARCH_REQUIRE_SUBMISSION_ARTIFACT: 'Yes' };
      const byTask = await outcomeOf(
        withArtifact({ ...changes, patch: PATCH, benchmarkEnvironment: demanded }),
      );
      expect(byTask.notes).toContain(reason);
      const optional = await outcomeOf(
        withArtifact({ ...changes, patch: PATCH, benchmarkCommand: 'env | grep ARTIFACT' }),
      );
      expect(optional.notes).toContain('result file result.json not found');
      expect(optional.log).not.toContain('AUTORESEARCH_SUBMISSION_ARTIFACT_PATH');
      expect(requests).toEqual([]);
    },
  );

  it('is not written through a link in the checkout', async () => {
    const hostile = await makeRepository();
    await symlink(folder, path.join(hostile.folder, '.autoresearch-submission'));
    await hostile.commit({ 'train.py': 'x = 1\n' });
    const outcome = await outcomeOf(withArtifact({ repository: hostile.folder }));
    expect(outcome.notes).toContain('.autoresearch-submission in the checkout is not a folder');
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('a preparation that fails', () => {
  it.each([
    ['a repository that is not there', { repository: '/nowhere/at/all' }, 'git clone failed'],
    [
      'a repository that looks like an option',
      { repository: '--upload-pack=touch x' },
      'git clone failed',
    ],
    [
      'a transport that starts programs',
      { repository: 'ssh://localhost/x' },
      "transport 'ssh' not allowed",
    ],
    ['a ref that is not there', { ref: 'f'.repeat(40) }, 'git checkout failed'],
    ['a ref that looks like an option', { ref: '--orphan=x' }, 'begins with a dash'],
    ['a patch that does not apply', { patch: PATCH.replace('x = 1', 'x = 7') }, 'git apply failed'],
  ])('ends as error: %s', async (_name, changes, reason) => {
    const outcome = await outcomeOf(changes);
    expect(outcome.status).toBe('error');
    expect(outcome.notes).toContain('Replay preparation failed: ');
    expect(outcome.notes).toContain(reason);
    expect(outcome.log).toContain(reason);
  });
});

describe('held-out documents of a job', () => {
  const SOURCES = 'AUTORESEARCH_HELDOUT_SOURCES_JSON';
  const show = `cat "$AUTORESEARCH_PRIVATE_HELDOUT_MANIFEST"; env; ${writeMetric('1')}`;

  it('become a manifest in the checkout and leave the environment', async () => {
    const outcome = await outcomeOf({
      benchmarkCommand: show,
      benchmarkEnvironment: {
        [SOURCES]: JSON.stringify({ version: 1, documents: ['one', { text: 'two' }] }),
        HF_TOKEN: 'abc',
      },
    });
    expect(outcome.status).toBe('accepted');
    expect(outcome.log).toContain('"documents":[{"text":"one"},{"text":"two"}]');
    expect(outcome.log).toContain('AUTORESEARCH_HELDOUT_DATASET=[REDACTED]');
    expect(outcome.log).not.toMatch(/SOURCES_JSON|HF_TOKEN/);
  });

  it.each([['not json'], ['{"documents": [{"source": "hf_rows"}]}']])(
    'are refused: %s',
    async (sources) => {
      const outcome = await outcomeOf({ benchmarkEnvironment: { [SOURCES]: sources } });
      expect(outcome.status).toBe('error');
      expect(outcome.notes).toContain('Replay preparation failed');
    },
  );
});

describe('the log', () => {
  it('hides environment values of four or more characters, also where the metric is read', async () => {
    const outcome = await outcomeOf({
      resultPath: undefined,
      benchmarkCommand: 'echo "$LONG $SHORT"; echo ppl=4.5678',
      benchmarkEnvironment: { LONG: 'secret', SHORT: 'abc', NUMBER: '.5678' },
    });
    expect(outcome.log).toContain('[REDACTED] abc\nppl=4[REDACTED]');
    expect(outcome.observedMetrics).toEqual({ ppl: 4 });
  });

  it('keeps head and tail within 128,000 characters', async () => {
    const { log } = await outcomeOf({
      benchmarkCommand: `${writeMetric('1')}; echo first; head -c 300000 /dev/zero | tr '\\0' x; echo; echo last`,
    });
    expect(log.length).toBeLessThanOrEqual(128_000);
    expect(log).toContain('first\n');
    expect(log).toMatch(/characters left out[^]*last\n$/);
  });
});

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { startHttpsServer, type HttpsServer } from '../../test/fakes/https-server.js';
import { makeRepository, type TestRepository } from '../../test/support/git-repository.js';
import { metricFromResult, metricFromText } from '../validator/extraction.js';
import type { ReplayJob } from '../validator/job.js';
import { checkPatchSurface } from '../validator/patch-surface.js';
import { replay, type ReplayOutcome } from '../validator/replay.js';

const run = promisify(execFile);

const SOURCE = path.resolve('devnet/repositories/tiny-ternary-frontier');
const PRIVATE = path.resolve('devnet/repositories/private.json');
const PACK = 'competition_packs/tiny_ternary_frontier';
const RESULT = `${PACK}/last_run.json`;
const RULES = { allowedPatchPaths: [`${PACK}/train.py`], maxPatchBytes: 262_144 };

let repository: TestRepository;
let server: HttpsServer;
let folder: string;
const artifacts = new Map<string, Buffer>();

beforeAll(async () => {
  repository = await makeRepository();
  const isGenerated = /__pycache__|last_run\.json|baseline_manifest\.json/;
  await cp(SOURCE, repository.folder, {
    recursive: true,
    filter: (file) => !isGenerated.test(file),
  });
  await repository.commit({});
  server = await startHttpsServer((request, response) => {
    response.end(artifacts.get(request.url ?? ''));
  });
  folder = await mkdtemp(path.join(tmpdir(), 'adit-tiny-'));
});

afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

interface Ran {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs Python without site-packages and without the settings of this machine. */
async function python(
  checkout: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Ran> {
  const environment = { PATH: process.env['PATH'], PYTHONDONTWRITEBYTECODE: '1', ...env };
  try {
    const options = { cwd: checkout, env: environment, maxBuffer: 1 << 24 };
    return { exitCode: 0, ...(await run('python3', ['-s', '-S', ...args], options)) };
  } catch (error) {
    return z
      .object({ code: z.int(), stdout: z.string(), stderr: z.string() })
      .transform(({ code, stdout, stderr }) => ({ exitCode: code, stdout, stderr }))
      .parse(error);
  }
}

async function cloned(name: string): Promise<string> {
  const checkout = path.join(folder, name);
  await run('git', ['clone', '--quiet', repository.folder, checkout]);
  return checkout;
}

const manifest = z.object({
  artifact_path: z.string(),
  artifact_sha256: z.string(),
  artifact_size_bytes: z.int(),
});

/** Sets the method, trains with the fast profile and returns the artifact. */
async function trained(checkout: string, method: string): Promise<z.infer<typeof manifest>> {
  const file = path.join(checkout, PACK, 'train.py');
  const source = await readFile(file, 'utf8');
  expect(source.split('"method": "round"').length).toBe(2);
  await writeFile(file, source.replace('"method": "round"', `"method": "${method}"`));
  const output = path.join(checkout, 'out', 'artifact');
  const { stdout, stderr } = await python(checkout, [
    `${PACK}/train.py`,
    '--profile',
    'fast',
    '--output',
    output,
  ]);
  expect(stderr).toBe('');
  return manifest.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''));
}

async function benchmark(checkout: string, env: Record<string, string>): Promise<Ran> {
  return await python(checkout, [`${PACK}/benchmark.py`], env);
}

async function publicMetric(checkout: string, artifactPath: string): Promise<number | undefined> {
  await benchmark(checkout, { AUTORESEARCH_SUBMISSION_ARTIFACT_PATH: artifactPath });
  return metricFromResult(await readFile(path.join(checkout, RESULT), 'utf8'), 'heldout_ppl');
}

/** Publishes the artifact and has the validator replay a submission, on the private documents. */
async function validated(
  submission: z.infer<typeof manifest>,
  patch: string,
  changes: Partial<ReplayJob> = {},
): Promise<ReplayOutcome> {
  const name = `/${submission.artifact_sha256}`;
  artifacts.set(name, await readFile(submission.artifact_path));
  const job: ReplayJob = {
    jobId: 'job',
    submissionId: 'submission',
    repository: repository.folder,
    ref: 'production',
    patch,
    ...RULES,
    setupCommand: `python3 ${PACK}/prepare.py`,
    benchmarkCommand: `python3 ${PACK}/benchmark.py`,
    resultPath: RESULT,
    metricName: 'heldout_ppl',
    secondaryMetricName: undefined,
    timeBudgetSeconds: 120,
    benchmarkEnvironment: { AUTORESEARCH_HELDOUT_SOURCES_JSON: await readFile(PRIVATE, 'utf8') },
    artifactUri: `${server.origin}${name}`,
    artifactSha256: submission.artifact_sha256,
    artifactSizeBytes: submission.artifact_size_bytes,
    ...changes,
  };
  await mkdir(path.join(folder, 'replays'), { recursive: true });
  const { signal } = new AbortController();
  return await replay(job, { folder: path.join(folder, 'replays'), ca: server.ca, signal });
}

describe('tiny-ternary-frontier', () => {
  it('passes its own tests, the private ladder among them', { timeout: 180_000 }, async () => {
    const checkout = await cloned('own-tests');
    const args = ['-m', 'unittest', 'discover', '-s', 'tests'];
    const { exitCode, stderr } = await python(checkout, args, { TINY_PRIVATE_DOCUMENTS: PRIVATE });
    expect(stderr).toMatch(/\nOK\n$/);
    expect(exitCode).toBe(0);
  });

  it('goes from a clean clone through setup, default training and benchmark', async () => {
    const checkout = await cloned('default');
    expect((await python(checkout, [`${PACK}/prepare.py`])).stdout).toBe(
      'baseline_manifest=baseline_manifest.json\n',
    );
    const { stdout } = await python(checkout, [
      `${PACK}/train.py`,
      '--output',
      path.join(folder, 'default.zip'),
    ]);
    expect(stdout).toMatch(/^phase=float step=1500 total=30000 loss=\d\.\d+ elapsed=\d+\.\d+\n/);
    const env = { AUTORESEARCH_SUBMISSION_ARTIFACT_PATH: path.join(folder, 'default.zip') };
    const scored = await benchmark(checkout, env);
    expect(scored.exitCode).toBe(0);
    // A few percent: the maths library of another platform may round otherwise.
    expect(Math.abs((metricFromText(scored.stdout, 'heldout_ppl') ?? 0) / 6.014 - 1)).toBeLessThan(
      0.05,
    );
    const { stdout: status } = await run('git', ['status', '--porcelain'], { cwd: checkout });
    expect(status).toBe('');
  });

  it('rewards a one-word patch, on public and on private documents, which differ', async () => {
    const [baselineCheckout, checkout] = [await cloned('baseline'), await cloned('candidate')];
    const baseline = await trained(baselineCheckout, 'round');
    const candidate = await trained(checkout, 'qat');
    const { stdout: patch } = await run('git', ['diff', '--', PACK], { cwd: checkout });
    expect(patch.split('\n').filter((line) => /^[-+] /.test(line)).length).toBe(2);
    expect(checkPatchSurface(patch, RULES)).toBeUndefined();

    const publicPpl = [
      await publicMetric(baselineCheckout, baseline.artifact_path),
      await publicMetric(checkout, candidate.artifact_path),
    ];
    const outcomes = [await validated(baseline, ''), await validated(candidate, patch)];
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['accepted', 'accepted']);
    const privatePpl = outcomes.map((outcome) => outcome.observedMetrics['heldout_ppl']);
    for (const [before = 0, after = 0] of [publicPpl, privatePpl]) {
      expect(Math.log(before / after)).toBeGreaterThan(0.5);
    }
    expect(privatePpl[0]).not.toBe(publicPpl[0]);

    const console = await validated(candidate, patch, { resultPath: undefined });
    expect(console.observedMetrics['heldout_ppl']).toBeCloseTo(privatePpl[1] ?? 0, 5);
  });

  it('ends as error at the validator when a gate fails, since no result file is written', async () => {
    const artifact = path.join(folder, 'large');
    const bytes = Buffer.alloc(9_000);
    await writeFile(artifact, bytes);
    const large = {
      artifact_path: artifact,
      artifact_sha256: createHash('sha256').update(bytes).digest('hex'),
      artifact_size_bytes: bytes.length,
    };
    const outcome = await validated(large, '');
    expect(outcome.status).toBe('error');
    expect(outcome.notes).toContain(`result file ${RESULT} not found`);
    expect(outcome.log).toContain('validator_rejection=artifact_size: 72000 bits, at most 35400');
    expect((await validated(large, '', { resultPath: undefined })).status).toBe('rejected');
  });

  it('has data that its generator makes again, byte for byte', async () => {
    const target = path.join(folder, 'data');
    await python(folder, [path.resolve('devnet/repositories/generate-data.py'), target]);
    const names = [
      `tiny-ternary-frontier/${PACK}/data/train.json`,
      `tiny-ternary-frontier/${PACK}/data/public_smoke.json`,
      'private.json',
    ];
    for (const name of names) {
      const made = await readFile(path.join(target, name), 'utf8');
      expect(
        made === (await readFile(path.resolve('devnet/repositories', name), 'utf8')),
        name,
      ).toBe(true);
    }
  });
});

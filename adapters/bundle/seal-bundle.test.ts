import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FileRef } from '../../compiler/values.js';
import type { JsonObject } from '../../core/json.js';
import type { Plan } from '../../core/plan.js';
import type { RunView, StepView } from '../../core/run-view.js';
import { createEvidence, type Evidence } from '../evidence/evidence.js';
import { createTextMask } from '../secrets/text-mask.js';
import { createFolderStore, type Store } from '../store/store.js';
import { readChain, type Chain } from './chain.js';
import { openBundle } from './read-bundle.js';
import { packBundle } from './pack-bundle.js';
import { createBundles, type Bundles } from './seal-bundle.js';

const TOKEN = 'a-token-of-the-artifact-host';
const MNEMONIC = 'legal winner thank year wave sausage worth useful legal winner thank yellow';
const GITHUB = `ghp_${'a1B2'.repeat(9)}`;
const RUN = 'round-20261121-101500-aaaa';
const RETRY = 'round-20261121-111500-bbbb';

let stateDir: string;
let store: Store;
let evidence: Evidence;
let bundles: Bundles;

beforeEach(async () => {
  stateDir = await mkdtemp(path.join(tmpdir(), 'adit-seal-'));
  store = createFolderStore(path.join(stateDir, 'store'));
  evidence = createEvidence(stateDir);
  const tokenFile = path.join(stateDir, 'token');
  await writeFile(tokenFile, `${TOKEN}\n`);
  await writeFile(path.join(stateDir, 'hotkey.json'), '{"secretPhrase":"of the hotkey file"}');
  const mask = createTextMask([tokenFile]);
  bundles = createBundles({ stateDir, store, evidence, mask, build: '1.2.3' });
});
afterEach(() => rm(stateDir, { recursive: true, force: true }));

function planOf(inputs: JsonObject = {}): Plan {
  return {
    irVersion: 1,
    pipeline: 'round',
    sourceSha256: '0'.repeat(64),
    network: { coordinator: '', hotkey: '' },
    inputs,
    steps: [],
    outputs: [],
  };
}

function viewOf(changes: Partial<RunView> = {}): RunView {
  return {
    runId: RUN,
    roundId: RUN,
    pipeline: 'round',
    status: 'succeeded',
    stage: 'tried',
    outputs: {},
    steps: [],
    ...changes,
  };
}

function listed(stepPath: string, status: StepView['status']): StepView {
  return { path: stepPath, uses: 'process.run', status, attempts: 1 };
}

function recordStep(stepPath: string, outputs: JsonObject, runId = RUN): void {
  evidence.writeStep(runId, {
    path: stepPath,
    uses: 'process.run',
    status: 'succeeded',
    outputs,
  });
}

async function seal(view = viewOf(), plan = planOf()): Promise<Chain> {
  await bundles.seal({ view, plan });
  return readChain((await evidence.readChain(view.runId)) ?? Buffer.alloc(0));
}

function json(ref: FileRef): JsonObject {
  return { ...ref };
}

describe('the chain of a run', () => {
  it('holds its records and names its files, whole', async () => {
    const log = await store.putBytes('log');
    const weights = await store.putBytes('weights');
    recordStep('tried', { log: json(log), artifact: { file: json(weights) } });
    const { root } = await bundles.seal({ view: viewOf(), plan: planOf({ task: 'tiny' }) });
    const chain = readChain((await evidence.readChain(RUN)) ?? Buffer.alloc(0));
    expect(chain.problems).toEqual([]);
    expect(chain.root).toBe(root);
    expect(chain.head).toMatchObject({ runId: RUN, pipeline: 'round', status: 'succeeded' });
    expect(chain.records.map(({ record, name }) => `${record} ${name}`)).toEqual([
      'environment environment',
      'plan plan',
      'run run',
      'step tried',
    ]);
    expect(chain.files).toEqual([
      { file: log.sha256, sizeBytes: 3, role: 'evidence' },
      { file: weights.sha256, sizeBytes: 7, role: 'artifact' },
    ]);
  });

  it('names a file by its digest wherever an output does, and not by the digest of an input', async () => {
    const [inner, input] = [await store.putBytes('inner'), await store.putBytes('{}')];
    evidence.writeStep(RUN, {
      path: 'tried',
      inputSha256: input.sha256,
      outputs: { inputSha256: inner.sha256 },
    });
    expect((await seal()).files.map(({ file }) => file)).toEqual([inner.sha256]);
  });

  it('is the same when it is written again, and another when a record is', async () => {
    recordStep('tried', { n: 1 });
    const first = await seal();
    expect((await seal()).root).toBe(first.root);
    recordStep('tried', { n: 2 });
    expect((await seal()).root).not.toBe(first.root);
  });

  it('has what a retry took over from an earlier run of its round, and nothing of other rounds', async () => {
    for (const name of ['first', 'again', 'part/inner', 'each#0/work', 'unreached', 'gone/inner'])
      recordStep(name, { n: 1 });
    await evidence.writeRun(RUN, viewOf({ status: 'failed' }));
    const other = 'round-20261121-104500-cccc';
    recordStep('foreign', { n: 1 }, other);
    await evidence.writeRun(other, viewOf({ runId: other, roundId: other }));
    recordStep('again', { n: 2 }, RETRY);
    const part = viewOf({ runId: RETRY, steps: [listed('part/inner', 'succeeded')] });
    await evidence.writePart(RETRY, 'part', part);
    const { records } = await seal(
      viewOf({
        runId: RETRY,
        steps: [
          listed('first', 'succeeded'),
          listed('again', 'succeeded'),
          { ...listed('part', 'succeeded'), part: true },
          listed('each', 'failed'),
          listed('unreached', 'pending'),
          listed('gone', 'skipped'),
        ],
      }),
    );
    const steps = records.filter(({ record }) => record === 'step');
    expect(steps.map(({ name, value }) => [name, value['ofRun'], value['outputs']])).toEqual([
      ['again', undefined, { n: 2 }],
      ['each#0/work', RUN, { n: 1 }],
      ['first', RUN, { n: 1 }],
      ['part/inner', RUN, { n: 1 }],
    ]);
  });

  it('keeps to what can be read: a record that is too large is named, and nothing else of it', async () => {
    recordStep('large', { text: 'x'.repeat(9 * 1024 * 1024) });
    recordStep('many', { list: Array.from({ length: 2_000_001 }, () => 0) });
    recordStep('small', { n: 1 });
    const { problems, records } = await seal();
    expect(problems).toEqual([]);
    const steps = records.filter(({ record }) => record === 'step');
    expect(steps.map(({ name, value }) => [name, value['leftOut']])).toEqual([
      ['large', 'the bundle is full'],
      ['many', 'the bundle is full'],
      ['small', undefined],
    ]);
  });

  it('names the files that a verdict names, and the evidence of a gate that said no', async () => {
    const result = await store.putBytes('{"heldout_ppl":2}');
    const report = await store.putBytes(JSON.stringify({ resultFile: result }));
    evidence.writeStep(RUN, {
      path: 'gate',
      uses: 'gate.evidence',
      status: 'failed',
      error: {
        code: 'GATE_NOT_PASSED',
        message: 'No.',
        hint: `The whole report is in the store: ${report.sha256}.`,
      },
    });
    const { files } = await seal();
    expect(files.map(({ file }) => file).toSorted()).toEqual(
      [report.sha256, result.sha256].toSorted(),
    );
  });

  it('names a file that this machine does not have', async () => {
    const gone = { uri: `store:${'7'.repeat(64)}`, sha256: '7'.repeat(64), sizeBytes: 9 };
    recordStep('tried', { log: gone });
    expect((await seal()).files).toEqual([{ file: gone.sha256, sizeBytes: 9, role: 'evidence' }]);
  });
});

describe('no secret is in a bundle', () => {
  async function bundleOf(
    runId = RUN,
  ): Promise<{ readonly bytes: Buffer; readonly absent: string[] }> {
    const out = path.join(stateDir, 'round.tar');
    const chain = (await evidence.readChain(runId)) ?? Buffer.alloc(0);
    const packed = await packBundle(
      { chain, store, out },
      {
        withArtifacts: true,
        holdsSecret: async (file) => (await readFile(file, 'utf8')).includes(TOKEN),
      },
    );
    const opened = await openBundle(out);
    await opened.close();
    expect(opened.problems).toEqual([]);
    return { bytes: await readFile(out), absent: packed.absent.map(({ why }) => why) };
  }

  it('in inputs, outputs, errors and names', async () => {
    recordStep('tried', { text: `it is ${TOKEN}, is it`, [TOKEN]: 1, list: [[MNEMONIC]] });
    evidence.writeStep(RUN, {
      path: 'failed',
      uses: 'process.run',
      status: 'failed',
      error: { code: 'PROGRAM_FAILED', message: `curl -H "${GITHUB}"`, hint: TOKEN },
    });
    await seal(viewOf({ outputs: { told: TOKEN } }), planOf({ command: `push ${GITHUB}` }));
    const { bytes } = await bundleOf();
    for (const secret of [TOKEN, MNEMONIC, GITHUB, 'of the hotkey file'])
      expect(bytes.includes(secret)).toBe(false);
    expect(bytes.includes('it is [masked], is it')).toBe(true);
  });

  it('in any of many steps, and in those alone', async () => {
    const paths = Array.from(
      { length: 250 },
      (_, index) => `step${String(index).padStart(3, '0')}`,
    );
    for (const [index, name] of paths.entries())
      recordStep(name, { text: index % 99 === 50 ? `it is ${TOKEN}` : 'it is not' });
    const { records } = await seal();
    const texts = records
      .filter(({ record }) => record === 'step')
      .map(({ value }) => (value['outputs'] as JsonObject)['text']);
    expect(texts).toEqual(
      paths.map((_, index) => (index % 99 === 50 ? 'it is [masked]' : 'it is not')),
    );
  });

  it('in the output of a program that failed, or in a file', async () => {
    const root = path.join(stateDir, 'runs', RUN, 'processes', 'tried', '1');
    await mkdir(path.join(root, 'output'), { recursive: true });
    await writeFile(
      path.join(root, 'spec.json'),
      JSON.stringify({
        version: 2,
        argv: ['/bin/sh', '-c', `push ${TOKEN}`],
        cwd: '/w',
        envNames: ['HF_TOKEN'],
        envSha256: '9'.repeat(64),
      }),
    );
    await writeFile(path.join(root, 'output', 'log'), `token: ${TOKEN}\nfailed\n`);
    const log = await store.putBytes(`all of it: ${TOKEN}`);
    recordStep('other', { log: json(log) });
    const { records } = await seal(
      viewOf({ steps: [{ path: 'tried', uses: 'process.run', status: 'failed', attempts: 1 }] }),
    );
    const program = records.find(({ record }) => record === 'program');
    expect(program?.name).toBe('tried, start 1');
    expect(program?.value['spec']).toMatchObject({
      argv: ['/bin/sh', '-c', 'push [masked]'],
      envNames: ['HF_TOKEN'],
    });
    const { bytes, absent } = await bundleOf();
    expect(absent).toEqual(['secret']);
    expect(bytes.includes(TOKEN)).toBe(false);
    expect(bytes.includes('9'.repeat(64))).toBe(false);
    expect(bytes.includes('token: [masked]\nfailed')).toBe(true);
  });
});

describe('a bundle that is put together', () => {
  it('does without a file whose bytes are no longer its own', async () => {
    const log = await store.putBytes('log');
    const after = await store.putBytes('after');
    recordStep('tried', { log: json(log), after: json(after) });
    await seal();
    await writeFile(await store.locate(log), 'LOG');
    const out = path.join(stateDir, 'round.tar');
    const chain = (await evidence.readChain(RUN)) ?? Buffer.alloc(0);
    const options = { withArtifacts: true, holdsSecret: () => Promise.resolve(false) };
    const { absent } = await packBundle({ chain, store, out }, options);
    expect(absent).toMatchObject([{ file: { file: log.sha256 }, why: 'missing' }]);
    const opened = await openBundle(out);
    expect(opened.problems).toEqual([]);
    expect((await opened.read(after.sha256, 100))?.toString()).toBe('after');
    await opened.close();
  });

  it('is not written from a chain that was changed', async () => {
    recordStep('tried', { n: 1 });
    await seal();
    const text = String(await evidence.readChain(RUN)).replace('"n":1', '"n":2');
    const out = path.join(stateDir, 'round.tar');
    const options = { withArtifacts: true, holdsSecret: () => Promise.resolve(false) };
    await expect(packBundle({ chain: Buffer.from(text), store, out }, options)).rejects.toThrow(
      'bundle.chain, line 5 (step tried): its link does not fit: it was changed',
    );
    await expect(readFile(out)).rejects.toThrow('ENOENT');
  });

  it.each([
    ['is left when the command is interrupted', false, 'Interrupted.'],
    ['takes no name that is taken meanwhile', true, 'EEXIST'],
  ])('%s, with nothing of it left behind', async (_what, isTaken, message) => {
    recordStep('tried', { log: json(await store.putBytes('log')) });
    await seal();
    const folder = path.join(stateDir, 'written');
    const out = path.join(folder, 'round.tar');
    await mkdir(folder);
    const controller = new AbortController();
    const writing = packBundle(
      { chain: (await evidence.readChain(RUN)) ?? Buffer.alloc(0), store, out },
      {
        withArtifacts: true,
        holdsSecret: async () => {
          if (isTaken) await writeFile(out, "another's");
          else controller.abort(new Error('Interrupted.'));
          return false;
        },
        signal: controller.signal,
      },
    );
    await expect(writing).rejects.toThrow(message);
    expect(await readdir(folder)).toEqual(isTaken ? ['round.tar'] : []);
    if (isTaken) expect(await readFile(out, 'utf8')).toBe("another's");
  });
});

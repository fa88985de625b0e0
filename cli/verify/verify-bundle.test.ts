import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isJsonObject, type JsonObject } from '../../core/json.js';
import { forge, ROUND_BUNDLE, ROUND_ROOT, type Forgery } from '../../test/support/bundles.js';
import { verifyBundle, type VerifiedBundle } from './verify-bundle.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-verify-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const searchPath = process.env['PATH'] ?? '';

async function verifyForged(
  change: (forgery: Forgery) => void,
  root: string | null = null,
): Promise<VerifiedBundle> {
  const file = path.join(folder, 'forged.tar');
  await writeFile(file, forge(change));
  return verifyBundle(file, { root, searchPath });
}

/** What did not pass, as `check: message`. */
function complaints({ problems, checks }: VerifiedBundle): string[] {
  return [
    ...problems.map(({ place, message }) => `${place}: ${message}`),
    ...checks
      .filter(({ result }) => result !== 'passed')
      .map(({ check, result, message }) => `${check} ${result}: ${message}`),
  ];
}

function outputs(forgery: Forgery, step: string): JsonObject {
  const found = forgery.value('step', step)['outputs'];
  if (!isJsonObject(found)) throw new Error(`${step} has no outputs.`);
  return found;
}

/** A member of nested objects. */
function inside(value: unknown, ...names: string[]): JsonObject {
  let at: unknown = value;
  for (const name of names) at = isJsonObject(at) ? at[name] : undefined;
  if (!isJsonObject(at)) throw new Error(`There is no ${names.join('.')}.`);
  return at;
}

function digestOf(ref: JsonObject): string {
  return String(ref['sha256']);
}

describe('the bundle of a round', () => {
  it('is authentic by the root of its run, and consistent without one', async () => {
    const verified = await verifyBundle(ROUND_BUNDLE, { root: ROUND_ROOT, searchPath });
    expect(complaints(verified)).toEqual([]);
    expect(verified).toMatchObject({ verdict: 'authentic', status: 'succeeded', root: ROUND_ROOT });
    expect(verified.checks.map(({ check, step }) => `${check} ${step}`)).toEqual([
      'run run',
      'measurement baseline',
      'measurement candidates#0/measured',
      'measurement candidates#1/measured',
      'patch patch',
      'gate verdict',
      'submission submission/submit',
      'acceptance acceptance',
      'proof proof',
    ]);
    const without = await verifyBundle(ROUND_BUNDLE, { root: null, searchPath });
    expect(without.verdict).toBe('consistent');
  });

  it('made anew as a whole by a forger is consistent, and fails by the root', async () => {
    const forged = (forgery: Forgery): void =>
      forgery.replaceAll('/tmp/state/demo', '/tmp/state/work');
    expect((await verifyForged(forged)).verdict).toBe('consistent');
    const verified = await verifyForged(forged, ROUND_ROOT);
    expect(verified.verdict).toBe('wrong');
    expect(complaints(verified)).toEqual([
      `bundle.chain: its root is ${verified.root}, not ${ROUND_ROOT}: it is another bundle, or it was made anew`,
    ]);
  });

  it('put together again without changes is the same', async () => {
    expect((await verifyForged(() => {})).root).toBe(ROUND_ROOT);
  });
});

describe('evidence that contradicts a claim is found, although every digest fits', () => {
  it('a number that its result file does not say', async () => {
    const verified = await verifyForged((forgery) => {
      const measured = outputs(forgery, 'candidates#0/measured');
      inside(measured, 'measurement')['value'] = 1.25;
    });
    expect(complaints(verified)).toEqual([
      'measurement failed: its result file does not say heldout_ppl 1.25',
    ]);
  });

  it('held-out documents that are not those of the result', async () => {
    const verified = await verifyForged((forgery) => {
      const measured = outputs(forgery, 'candidates#0/measured');
      inside(measured, 'measurement', 'fingerprint')['heldoutSha256'] = '0'.repeat(64);
    });
    expect(complaints(verified)).toEqual([
      'measurement failed: its result file is of other held-out documents than its fingerprint says',
    ]);
  });

  it('a patch that does not apply to what it is said to change', async () => {
    const verified = await verifyForged((forgery) => {
      const patch = inside(outputs(forgery, 'patch'), 'patch');
      const list = forgery.files.get(String(patch['baseSha256']));
      const [changed] = (
        JSON.parse(String(list)) as { files: { before: { file: { sha256: string } } }[] }
      ).files;
      const base = changed?.before.file.sha256 ?? '';
      const text = String(forgery.files.get(base));
      forgery.files.set(base, Buffer.from(text.replaceAll(/\n/g, ' \n')));
    });
    expect(complaints(verified)).toEqual([
      expect.stringMatching(/^patch failed: it does not apply/),
    ]);
  });

  it('a base file that the patch leaves alone in the changed place', async () => {
    const verified = await verifyForged((forgery) => {
      const patch = inside(outputs(forgery, 'patch'), 'patch');
      const list = forgery.files.get(String(patch['baseSha256']));
      const [changed] = (
        JSON.parse(String(list)) as { files: { before: { file: { sha256: string } } }[] }
      ).files;
      const base = changed?.before.file.sha256 ?? '';
      forgery.files.set(
        base,
        Buffer.concat([forgery.files.get(base) ?? Buffer.alloc(0), Buffer.from('# more\n')]),
      );
    });
    expect(complaints(verified)).toEqual([
      expect.stringMatching(/^patch failed: .* comes out other than in the commit$/),
    ]);
  });

  it('a PASS with a gain below the threshold', async () => {
    const verified = await verifyForged((forgery) => {
      const verdict = inside(outputs(forgery, 'verdict'), 'verdict');
      const sha256 = digestOf(inside(verdict, 'report'));
      const report = JSON.parse(String(forgery.files.get(sha256))) as JsonObject;
      inside(report, 'evidence')['threshold'] = 100;
      forgery.files.set(sha256, Buffer.from(JSON.stringify(report)));
    });
    expect(complaints(verified)).toEqual([
      expect.stringMatching(/^gate failed: the check "gain" passed then, and fails now: /),
      expect.stringMatching(/^submission failed: the check "gain" passed then/),
    ]);
  });

  it('a measurement at the gate that no benchmark has made', async () => {
    const verified = await verifyForged((forgery) => {
      const { measurement } = outputs(forgery, 'baseline');
      inside(measurement)['measuredAt'] = '2026-11-21T00:00:00.000Z';
    });
    expect(complaints(verified)).toEqual([
      'gate failed: no benchmark in the bundle has made the measurement of the baseline',
    ]);
  });

  /** Changes the report of the gate. */
  function report(forgery: Forgery, change: (report: JsonObject) => void): void {
    const sha256 = digestOf(inside(outputs(forgery, 'verdict'), 'verdict', 'report'));
    const value = JSON.parse(String(forgery.files.get(sha256))) as JsonObject;
    change(value);
    forgery.files.set(sha256, Buffer.from(JSON.stringify(value)));
  }

  it.each<[string, (evidence: JsonObject) => void, string]>([
    [
      'task',
      (evidence) => (inside(evidence, 'task')['allowedPatchPaths'] = ['**']),
      'the task is another one than the coordinator served',
    ],
    [
      'patch',
      (evidence) => (inside(evidence, 'patch')['baseSha256'] = '1'.repeat(64)),
      'no step in the bundle has made the patch that was judged',
    ],
    [
      'artifact',
      (evidence) => (inside(evidence, 'artifact')['uri'] = 'https://example.org/other'),
      'no step in the bundle has published the artifact that was judged',
    ],
  ])('a gate that judged another %s than the round has', async (_what, change, message) => {
    const verified = await verifyForged((forgery) =>
      report(forgery, (value) => change(inside(value, 'evidence'))),
    );
    expect(complaints(verified)[0]).toBe(`gate failed: ${message}`);
  });

  it('a statement that is not the one of the verdict, and not what was sent', async () => {
    const verified = await verifyForged((forgery) =>
      report(forgery, (value) => (inside(value, 'statement')['summary'] = 'Something else.')),
    );
    expect(complaints(verified)).toEqual([
      'gate failed: the verdict is about another summary than its report',
      'submission failed: the digest of what was sent is not that of what the gate has passed',
    ]);
  });

  it('a first line that says another status than the record of the run', async () => {
    const verified = await verifyForged((forgery) => {
      forgery.value('run', 'run')['status'] = 'failed';
    });
    expect(complaints(verified)).toEqual([
      'run failed: its record says the status "failed", line 1 another',
    ]);
  });

  it('a second request with other work', async () => {
    const verified = await verifyForged((forgery) => {
      const effect = forgery.value('effect', 'submission/submit');
      const { tries, intent } = effect;
      const about = { ...inside(intent), patchSha256: '1'.repeat(64) };
      effect['tries'] = [...(tries as JsonObject[]), { sentAt: '2026-11-22T00:00:00.000Z', about }];
    });
    expect(complaints(verified)).toEqual([
      'submission failed: another patch or artifact was submitted than the gate has passed',
    ]);
  });

  it('an acceptance of a submission that nobody made', async () => {
    const verified = await verifyForged((forgery) => {
      const acceptance = inside(outputs(forgery, 'acceptance'), 'acceptance');
      const sha256 = digestOf(inside(acceptance, 'record'));
      const record = JSON.parse(String(forgery.files.get(sha256))) as JsonObject;
      inside(record, 'submission')['id'] = 'other';
      forgery.files.set(sha256, Buffer.from(JSON.stringify(record)));
      acceptance['submissionId'] = 'other';
    });
    expect(complaints(verified)).toEqual([
      'acceptance failed: it is of a submission that nothing in the bundle names',
    ]);
  });

  it('a file that the list of the patch names twice', async () => {
    const verified = await verifyForged((forgery) => {
      const sha256 = String(inside(outputs(forgery, 'patch'), 'patch')['baseSha256']);
      const list = JSON.parse(String(forgery.files.get(sha256))) as { files: JsonObject[] };
      list.files.push(...list.files);
      forgery.files.set(sha256, Buffer.from(JSON.stringify(list)));
    });
    expect(complaints(verified)).toEqual([
      'patch failed: the list of what the patch changes names a file twice',
    ]);
  });

  it('a submission that the gate has not passed', async () => {
    const verified = await verifyForged((forgery) => {
      const effect = forgery.value('effect', 'submission/submit');
      inside(effect, 'intent')['patchSha256'] = '1'.repeat(64);
    });
    expect(complaints(verified)).toEqual([
      'submission failed: another patch or artifact was submitted than the gate has passed',
    ]);
  });

  it('a stored submission with other metrics', async () => {
    const verified = await verifyForged((forgery) => {
      const { sha256 } = inside(outputs(forgery, 'submission/submit'), 'submission', 'record');
      const stored = JSON.parse(String(forgery.files.get(String(sha256)))) as JsonObject;
      inside(stored, 'claimed_metrics')['heldout_ppl'] = 1;
      forgery.files.set(String(sha256), Buffer.from(JSON.stringify(stored)));
    });
    expect(complaints(verified)).toEqual([
      'submission failed: what was stored has another claimed_metrics than the gate has passed',
    ]);
  });

  it('an acceptance that its record does not say', async () => {
    const verified = await verifyForged((forgery) => {
      inside(outputs(forgery, 'acceptance'), 'acceptance', 'observedMetrics')['heldout_ppl'] = 1;
    });
    expect(complaints(verified)).toEqual([
      'acceptance failed: its record holds other observed metrics',
    ]);
  });

  it('an amount that the Merkle proof does not lead from', async () => {
    const verified = await verifyForged((forgery) => forgery.replaceAll('500000000', '900000000'));
    expect(complaints(verified)).toEqual([
      'proof failed: its proof does not lead to the root under ink-cum-sorted-promote',
    ]);
  });

  it('a proof that says more than its package', async () => {
    const verified = await verifyForged((forgery) => {
      inside(outputs(forgery, 'proof'), 'proof')['amount'] = '900000000';
    });
    expect(complaints(verified)).toEqual([
      'proof failed: the proof says another amount than the package that was served',
    ]);
  });
});

describe('what is not there', () => {
  it('makes the bundle incomplete, and is named', async () => {
    const verified = await verifyForged((forgery) => {
      const patch = inside(outputs(forgery, 'patch'), 'patch');
      forgery.files.delete(digestOf(inside(patch, 'file')));
    });
    expect(verified.verdict).toBe('incomplete');
    expect(verified.absent).toMatchObject([{ role: 'evidence', why: 'missing' }]);
    expect(complaints(verified)).toEqual([
      expect.stringMatching(/^patch not made: the patch, [0-9a-f]{12}, is missing$/),
      expect.stringMatching(/^gate not made: the patch, /),
      expect.stringMatching(/^submission not made: the patch, /),
    ]);
  });

  it('makes it incomplete where the record of a step is on another machine', async () => {
    const verified = await verifyForged(({ records }) => {
      for (const step of ['baseline', 'verdict', 'acceptance']) {
        const at = records.findIndex(({ record, name }) => record === 'step' && name === step);
        records.splice(at, 1);
      }
    });
    expect(verified.verdict).toBe('incomplete');
    const gone = 'what the step returned is not in the bundle';
    expect(complaints(verified)).toEqual([
      `measurement not made: ${gone}`,
      `gate not made: ${gone}`,
      `acceptance not made: ${gone}`,
    ]);
  });

  it('makes it incomplete where the coordinator served nothing of what it stored', async () => {
    const verified = await verifyForged((forgery) => {
      const { sha256 } = inside(outputs(forgery, 'submission/submit'), 'submission', 'record');
      forgery.files.set(String(sha256), Buffer.from('{}'));
    });
    expect(verified.verdict).toBe('incomplete');
    expect(complaints(verified)).toEqual([
      'submission not made: the coordinator served nothing of what it stored',
    ]);
  });

  it('is a gate whose patch is larger than any task allows', async () => {
    const verified = await verifyForged((forgery) => {
      const patch = inside(outputs(forgery, 'patch'), 'patch');
      forgery.files.set(digestOf(inside(patch, 'file')), Buffer.alloc(5_000_000, 'seed '));
    });
    expect(complaints(verified)).toContainEqual(
      expect.stringMatching(/^gate not made: the patch, [0-9a-f]{12}, is too large to be read$/),
    );
  });

  it('is not made of evidence of which a parser would make gigabytes', async () => {
    const verified = await verifyForged((forgery) => {
      const sha256 = digestOf(inside(outputs(forgery, 'proof'), 'proof', 'file'));
      forgery.files.set(sha256, Buffer.from(`{"a":[${'{},'.repeat(2_000_000)}{}]}`));
    });
    expect(complaints(verified)).toEqual([
      'proof not made: the claim package has more than 2000000 values',
    ]);
  });

  it('is not made of a list that names one large file again and again', async () => {
    const verified = await verifyForged((forgery) => {
      const sha256 = String(inside(outputs(forgery, 'patch'), 'patch')['baseSha256']);
      const list = JSON.parse(String(forgery.files.get(sha256))) as { files: JsonObject[] };
      const [first] = list.files;
      const file = digestOf(inside(first, 'before', 'file'));
      forgery.files.set(file, Buffer.alloc(30 * 1024 * 1024));
      list.files = ['a', 'b', 'c'].map((name) => ({ ...first, path: name }));
      forgery.files.set(sha256, Buffer.from(JSON.stringify(list)));
    });
    expect(complaints(verified)).toContain(
      'patch not made: it changes files of more than 67108864 bytes',
    );
  });

  it.each([
    ['content', 'literal 999999999\n'],
    ['deltas', 'delta 9\n'.repeat(17)],
  ])('is not made of a patch with more binary %s than is unpacked', async (_, binary) => {
    const verified = await verifyForged((forgery) => {
      const sha256 = digestOf(inside(outputs(forgery, 'patch'), 'patch', 'file'));
      forgery.files.set(sha256, Buffer.from(`GIT binary patch\n${binary}`));
    });
    expect(complaints(verified)).toContain(
      'patch not made: it holds more binary content than is unpacked here',
    );
  });

  it('does no harm where no check needs it: an artifact', async () => {
    const verified = await verifyForged((forgery) => {
      const { artifact } = outputs(forgery, 'candidates#0/trained');
      forgery.files.delete(digestOf(inside(artifact, 'file')));
    });
    expect(verified.verdict).toBe('consistent');
    expect(verified.absent).toMatchObject([{ role: 'artifact', why: 'missing' }]);
  });

  it('makes it incomplete where there is no git to apply the patch with', async () => {
    const verified = await verifyBundle(ROUND_BUNDLE, { root: ROUND_ROOT, searchPath: folder });
    expect(verified.verdict).toBe('incomplete');
    expect(complaints(verified)).toEqual([`patch not made: There is no git on ${folder}.`]);
  });
});

it('refuses what is no bundle, and what is not there', async () => {
  const file = path.join(folder, 'text');
  await writeFile(file, 'text\n'.repeat(200));
  await expect(verifyBundle(file, { root: null, searchPath })).rejects.toMatchObject({
    code: 'BUNDLE_REFUSED',
  });
  await expect(
    verifyBundle(path.join(folder, 'none'), { root: null, searchPath }),
  ).rejects.toMatchObject({ code: 'BUNDLE_MISSING', exitCode: 2 });
});

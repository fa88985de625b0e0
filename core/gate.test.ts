import { describe, expect, test } from 'vitest';
import { decideGate, type GateDecision } from './gate.js';
import type { GateCandidate, GateFacts, GateFingerprint, GateMeasurement } from './gate-facts.js';

const COMMIT = 'c'.repeat(40);
const BASE_TREE = 'a'.repeat(40);
const TREE = 'b'.repeat(40);
const BASE_ARTIFACT = '1'.repeat(64);
const ARTIFACT = '2'.repeat(64);
const COMMAND = 'python3 packs/tiny/benchmark.py';

const PATCH = `diff --git a/packs/tiny/train.py b/packs/tiny/train.py
--- a/packs/tiny/train.py
+++ b/packs/tiny/train.py
@@ -1 +1 @@
-method = "plain"
+method = "row"
`;

const FINGERPRINT: GateFingerprint = {
  command: COMMAND,
  commit: COMMIT,
  heldoutSha256: '3'.repeat(64),
  environmentSha256: '4'.repeat(64),
  device: 'cpu',
  runtimeSha256: '5'.repeat(64),
};

const BASELINE: GateCandidate = {
  measurement: {
    metric: 'heldout_ppl',
    value: 8.045,
    direction: 'minimize',
    fingerprint: FINGERPRINT,
    artifactSha256: BASE_ARTIFACT,
    tree: BASE_TREE,
  },
  artifactSha256: BASE_ARTIFACT,
  commit: COMMIT,
  tree: BASE_TREE,
};

const CANDIDATE: GateCandidate = {
  measurement: { ...BASELINE.measurement, value: 5.146, artifactSha256: ARTIFACT, tree: TREE },
  artifactSha256: ARTIFACT,
  commit: COMMIT,
  tree: TREE,
};

const FACTS: GateFacts = {
  task: {
    benchmarkCommand: COMMAND,
    metricName: 'heldout_ppl',
    metricDirection: 'minimize',
    allowedPatchPaths: ['packs/tiny/*.py'],
    maxPatchBytes: 1_000,
    competitionMode: 'standard',
  },
  baseline: BASELINE,
  candidate: CANDIDATE,
  patch: {
    text: PATCH,
    sizeBytes: PATCH.length,
    commit: COMMIT,
    tree: TREE,
    paths: ['packs/tiny/train.py'],
  },
  artifact: {
    sha256: ARTIFACT,
    sizeBytes: 3_232,
    uri: `https://artifacts.example.org/${ARTIFACT}`,
    problem: null,
  },
  secrets: [],
  threshold: 0.02,
  summary: 'One scale per row.',
  foreignIdeaIds: [],
};

function decide(change: Partial<GateFacts>): GateDecision {
  return decideGate({ ...FACTS, ...change });
}

/** Name and reason of each failed check. */
function failures(change: Partial<GateFacts>): Record<string, string> {
  const failed = decide(change).checks.filter((check) => !check.passed);
  return Object.fromEntries(failed.map(({ name, reason }) => [name, reason]));
}

function measured(change: Partial<GateMeasurement>): { candidate: GateCandidate } {
  return { candidate: { ...CANDIDATE, measurement: { ...CANDIDATE.measurement, ...change } } };
}

function patched(change: Partial<GateFacts['patch']>): { patch: GateFacts['patch'] } {
  const text = change.text ?? FACTS.patch.text;
  return { patch: { ...FACTS.patch, sizeBytes: text?.length ?? 0, ...change } };
}

describe('a candidate that is better, clean and published', () => {
  test('passes with the gain in nats', () => {
    const decision = decide({});
    expect(decision.passed).toBe(true);
    expect(decision.gain).toBeCloseTo(Math.log(8.045 / 5.146), 12);
    expect(decision.gainUnit).toBe('nats');
    expect(decision.claimedMetrics).toEqual({ heldout_ppl: 5.146 });
  });

  test('gets a reason for each check, with the numbers', () => {
    const reasons = decide({}).checks.map(({ name, reason }) => `${name}: ${reason}`);
    expect(reasons).toEqual([
      'comparable: both measurements have the same benchmark command, commit, held-out documents, environment, device, runtime',
      "command: the candidate was measured with the task's benchmark command",
      'metric: both are heldout_ppl, to minimize',
      'claimed metrics: the claim is heldout_ppl 5.146, as measured',
      'gain: heldout_ppl 5.146 against 8.045 of the baseline: a gain of 0.446831 nats, at or above the threshold of 0.02',
      'measured artifact: the published artifact 222222222222 is the measured one',
      "changed: the candidate's artifact is not the baseline's",
      'workspace: the patch turns commit cccccccccccc into the measured tree bbbbbbbbbbbb',
      `surface: the patch, ${PATCH.length} of at most 1000 bytes, touches "packs/tiny/train.py", all inside the surface`,
      'patch: the patch is UTF-8 text that ends with a line feed',
      `artifact: https://artifacts.example.org/${ARTIFACT} serves the artifact, 3232 bytes, SHA-256 222222222222, fetched back now`,
      'secrets: patch, summary and idea hold no key, mnemonic or token that is known by its form',
      'summary: the summary has 18 of at most 7900 characters',
      'ideas: a standard task asks for no idea',
    ]);
  });

  test('passes in the metric of its own unit, upwards', () => {
    const task = { ...FACTS.task, metricName: 'accuracy', metricDirection: 'maximize' as const };
    const accuracy = (value: number, side: GateCandidate): GateCandidate => ({
      ...side,
      measurement: { ...side.measurement, metric: 'accuracy', direction: 'maximize', value },
    });
    const decision = decide({
      task,
      baseline: accuracy(0.5, BASELINE),
      candidate: accuracy(0.75, CANDIDATE),
      threshold: 0.25,
    });
    expect(decision).toMatchObject({ passed: true, gain: 0.25, gainUnit: 'accuracy' });
  });

  test('claims its secondary metric too', () => {
    const decision = decide(measured({ secondary: { metric: 'packed_bytes', value: 3_232 } }));
    expect(decision.claimedMetrics).toEqual({ heldout_ppl: 5.146, packed_bytes: 3_232 });
  });
});

describe('gain', () => {
  test('a gain below the threshold is not enough, a gain that equals it is', () => {
    expect(failures(measured({ value: 8.0 }))).toEqual({
      gain: 'heldout_ppl 8 against 8.045 of the baseline: a gain of 0.00560924 nats, below the threshold of 0.02',
    });
    expect(failures({ threshold: Math.log(8.045 / 5.146) })).toEqual({});
  });

  test('a loss is no improvement, and neither is the same value with a threshold of zero', () => {
    expect(failures(measured({ value: 9 }))['gain']).toBe(
      'heldout_ppl 9 against 8.045 of the baseline: a gain of -0.112174 nats, which is no improvement',
    );
    expect(failures({ ...measured({ value: 8.045 }), threshold: 0 })['gain']).toContain(
      'a gain of 0 nats',
    );
  });

  test('a metric that is not finite never passes', () => {
    expect(failures(measured({ value: NaN }))).toEqual({
      metric: "the candidate's heldout_ppl is NaN",
      'claimed metrics': 'the claimed heldout_ppl would be NaN',
      gain: 'heldout_ppl NaN against 8.045 of the baseline: a gain of NaN nats, which is no improvement',
    });
    expect(failures(measured({ value: 0 }))['gain']).toContain('no improvement');
  });

  test.each([-1, NaN, Infinity])('a threshold of %s is none', (threshold) => {
    expect(failures({ threshold })['gain']).toContain(
      `the threshold ${threshold} is no least gain`,
    );
  });
});

describe('measurements', () => {
  test.each<[keyof GateFingerprint, string]>([
    ['command', 'benchmark command'],
    ['commit', 'commit'],
    ['heldoutSha256', 'held-out documents'],
    ['environmentSha256', 'environment'],
    ['device', 'device'],
    ['runtimeSha256', 'runtime'],
  ])('that differ in %s cannot be compared', (key, name) => {
    const fingerprint = { ...FINGERPRINT, [key]: 'other' };
    expect(failures(measured({ fingerprint }))['comparable']).toBe(
      `the two measurements differ in ${name} (baseline ${JSON.stringify(FINGERPRINT[key])}, candidate "other")`,
    );
  });

  test('by another command than the task asks for do not count', () => {
    const task = { ...FACTS.task, benchmarkCommand: 'make bench' };
    expect(failures({ task })).toEqual({
      command: `the candidate was measured with "${COMMAND}", the task's is "make bench"`,
    });
  });

  test('of another metric or direction do not count', () => {
    expect(failures(measured({ metric: 'loss', direction: 'maximize' }))).toEqual({
      metric:
        'the candidate was measured in "loss", the task\'s metric is heldout_ppl; the candidate was measured to maximize, the task says minimize',
      'claimed metrics': 'there is no measured heldout_ppl to claim',
    });
  });

  test('without the secondary metric that the task names are not whole', () => {
    const task = { ...FACTS.task, secondaryMetricName: 'packed_bytes' };
    expect(failures({ task })).toEqual({
      'claimed metrics': 'there is no measured packed_bytes to claim',
    });
  });
});

describe('artifact', () => {
  test('an artifact that changed after publishing stops the round', () => {
    const artifact = { ...FACTS.artifact, problem: 'https://x has SHA-256 99, not 22' };
    expect(failures({ artifact })).toEqual({
      artifact: 'the artifact changed after publishing: https://x has SHA-256 99, not 22',
    });
  });

  test('what is published must be what was measured', () => {
    const artifact = { ...FACTS.artifact, sha256: '9'.repeat(64) };
    expect(failures({ artifact })).toEqual({
      'measured artifact': 'artifact 999999999999 is published, but 222222222222 was measured',
    });
  });

  test('a measurement of another artifact than the candidate holds does not count', () => {
    expect(failures({ candidate: { ...CANDIDATE, artifactSha256: '9'.repeat(64) } })).toEqual({
      'measured artifact':
        "the candidate's measurement is of artifact 222222222222, not of its own 999999999999",
    });
  });

  test('an artifact equal to the baseline is a candidate that does nothing', () => {
    const same = {
      ...CANDIDATE,
      artifactSha256: BASE_ARTIFACT,
      measurement: { ...CANDIDATE.measurement, artifactSha256: BASE_ARTIFACT },
    };
    const artifact = { ...FACTS.artifact, sha256: BASE_ARTIFACT };
    expect(failures({ candidate: same, artifact })).toEqual({
      changed: "the candidate's artifact is the baseline's, byte for byte (111111111111)",
    });
  });

  test.each([
    ['no address', { uri: undefined }, 'address "", 3232 bytes'],
    [
      'a plain http address',
      { uri: 'http://example.org/x' },
      'address "http://example.org/x", 3232 bytes',
    ],
    ['no bytes', { sizeBytes: 0 }, `address "https://artifacts.example.org/${ARTIFACT}", 0 bytes`],
  ])('an artifact with %s has no complete reference', (_what, change, shown) => {
    expect(failures({ artifact: { ...FACTS.artifact, ...change } })).toEqual({
      artifact: `the artifact has no complete reference: ${shown}`,
    });
  });
});

describe('patch', () => {
  test('an empty patch passes with a complete artifact only', () => {
    expect(failures(patched({ text: '', paths: [] }))).toEqual({});
    expect(
      failures({
        ...patched({ text: ' \n', paths: [] }),
        artifact: { ...FACTS.artifact, uri: undefined },
      })['patch'],
    ).toBe('the patch is empty and there is no complete artifact: address, digest, size');
  });

  test('a patch outside the surface is refused with its paths and the surface', () => {
    const text = PATCH.replaceAll('packs/tiny/train.py', 'packs/shared/engine.py');
    expect(failures(patched({ text, paths: ['packs/shared/engine.py'] }))).toEqual({
      surface:
        'the patch touches paths outside the allowed surface: "packs/shared/engine.py" (allowed: "packs/tiny/*.py")',
    });
  });

  test('a patch that holds bytecode, or names no path, is refused', () => {
    const text = PATCH.replaceAll('train.py', 'train.pyc');
    expect(failures(patched({ text }))['surface']).toBe(
      'the patch holds Python bytecode: "packs/tiny/train.pyc"',
    );
    expect(failures(patched({ text: 'hello\n' }))['surface']).toBe(
      'the patch names no path that a validator could read',
    );
  });

  test('a patch that is too large is refused, unread', () => {
    expect(failures({ patch: { ...FACTS.patch, text: null, sizeBytes: 1_001 } })).toEqual({
      surface: 'the patch is too large: 1001 of at most 1000 bytes',
      patch: 'the patch is not UTF-8 text, or too large to be read',
    });
  });

  test('a patch that is not UTF-8 is refused', () => {
    expect(failures({ patch: { ...FACTS.patch, text: null } })).toEqual({
      surface: 'the paths of a patch that is not UTF-8 cannot be read',
      patch: 'the patch is not UTF-8 text, or too large to be read',
    });
  });

  test('a patch without a line feed at its end is refused', () => {
    expect(failures(patched({ text: PATCH.trimEnd() }))).toEqual({
      patch: 'the patch does not end with a line feed',
    });
  });

  test('paths are read from the patch, whatever was said of it', () => {
    expect(failures(patched({ paths: [] }))).toEqual({
      surface: 'the patch touches "packs/tiny/train.py", but was said to touch nothing',
    });
  });

  test('a long list of paths is cut', () => {
    const text = Array.from({ length: 12 }, (_, n) => `--- a/etc/${n}\n`).join('');
    expect(failures(patched({ text }))['surface']).toContain('"etc/9" and 2 more (allowed');
  });

  test('a patch of another commit or tree than the candidate is refused', () => {
    expect(failures(patched({ commit: 'd'.repeat(40), tree: 'e'.repeat(40) }))).toEqual({
      workspace:
        "the patch's commit is dddddddddddd, the candidate workspace's is cccccccccccc; the patch's tree is eeeeeeeeeeee, the candidate workspace's is bbbbbbbbbbbb",
    });
  });

  test('a measurement of another tree than the workspace has is refused', () => {
    expect(failures(measured({ tree: BASE_TREE }))).toEqual({
      workspace: "the measured tree is aaaaaaaaaaaa, the candidate workspace's is bbbbbbbbbbbb",
    });
  });
});

test('a secret is named by its place and kind only', () => {
  const secrets = [
    { where: 'patch', kind: 'mnemonic', line: 7 },
    { where: 'summary', kind: 'Hugging Face token', line: 1 },
  ];
  expect(failures({ secrets })).toEqual({
    secrets:
      'the patch holds what looks like a mnemonic, line 7; the summary holds what looks like a Hugging Face token, line 1',
  });
});

test('a summary is neither blank nor longer than what is sent', () => {
  expect(failures({ summary: ' \n' })).toEqual({ summary: 'the summary is blank' });
  expect(failures({ summary: 'x'.repeat(7_900) })).toEqual({});
  expect(failures({ summary: 'x'.repeat(7_901) })).toEqual({
    summary: 'the summary has 7901 characters, at most 7900 are sent',
  });
});

describe('a centerless task', () => {
  const task = { ...FACTS.task, competitionMode: 'centerless' };
  const idea = { task, proposedIdea: 'Fit the scale of each row.' };
  const ids = ['s1', 's2', 's3', 's4', 's5', 's6'];

  test('asks for an idea', () => {
    const reason = 'a centerless task asks for a proposed idea, and there is none';
    expect(failures({ task })).toEqual({ ideas: reason });
    expect(failures({ task, proposedIdea: ' ' })).toEqual({ ideas: reason });
  });

  test('is content with an idea as long as no other miner has one', () => {
    expect(decide(idea).checks.at(-1)).toEqual({
      name: 'ideas',
      passed: true,
      reason: 'an idea is proposed, and no other miner has proposed one before',
    });
  });

  test('asks which idea was implemented once others have any, and picks none itself', () => {
    expect(failures({ ...idea, foreignIdeaIds: ids })).toEqual({
      ideas:
        'other miners have proposed ideas, so the submission whose idea was implemented must be named: s1, s2, s3, s4, s5, and 1 more',
    });
    const named = decide({ ...idea, foreignIdeaIds: ids, implementedSubmissionId: 's6' });
    expect(named.passed).toBe(true);
    expect(named.checks.at(-1)?.reason).toBe(
      'an idea is proposed, and submission s6 is named as implemented',
    );
  });

  test('refuses a name that is no idea of another miner', () => {
    expect(failures({ ...idea, implementedSubmissionId: 'x' })).toEqual({
      ideas:
        'no other miner has proposed an idea yet, so submission "x" cannot be named as implemented',
    });
    expect(failures({ ...idea, foreignIdeaIds: ['s1'], implementedSubmissionId: 'x' })).toEqual({
      ideas: 'submission "x" is none of the other miners\' ideas: s1',
    });
  });
});

test('everything that is wrong is reported at once', () => {
  const decision = decide({
    ...measured({ value: 9, artifactSha256: BASE_ARTIFACT }),
    patch: { ...FACTS.patch, text: 'x', commit: 'd'.repeat(40) },
    artifact: { ...FACTS.artifact, uri: undefined },
    summary: '',
  });
  expect(decision.passed).toBe(false);
  expect(decision.checks.filter((check) => !check.passed).map(({ name }) => name)).toEqual([
    'gain',
    'measured artifact',
    'changed',
    'workspace',
    'surface',
    'patch',
    'artifact',
    'summary',
  ]);
});

test('untrusted text in a reason is quoted and cut', () => {
  const fingerprint = { ...FINGERPRINT, device: `\u001b[31m\n${'x'.repeat(500)}` };
  const reason = failures(measured({ fingerprint }))['comparable'] ?? '';
  expect(reason).toContain('candidate "\\u001b[31m\\nxxx');
  expect(reason.length).toBeLessThan(300);
});

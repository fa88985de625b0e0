/**
 * The evidence gate: whether a measured candidate may be submitted. Pure: everything that had to be
 * read, fetched or scanned comes in as facts.
 *
 * 1. Every check is made and reported, so that a person sees all that is wrong at once.
 * 2. What a value says about bytes counts for nothing where the bytes themselves are among the facts.
 * 3. Reasons hold the numbers that decided, and never a secret.
 */
import { measureGain } from './gain.js';
import type { GateFacts, GateFingerprint, GateMeasurement } from './gate-facts.js';
import { checkPatchSurface, type PatchRejection } from './patch-surface.js';

interface GateCheck {
  readonly name: string;
  readonly passed: boolean;
  /** For people, with the numbers. */
  readonly reason: string;
}

export interface GateDecision {
  readonly passed: boolean;
  readonly checks: readonly GateCheck[];
  /** Positive when the candidate is better; NaN when it cannot be told. */
  readonly gain: number;
  readonly gainUnit: string;
  readonly claimedMetrics: { readonly [name: string]: number };
}

/** The public launcher keeps a summary at or below this (protocol 2.6). */
const MAX_SUMMARY_CHARS = 7_900;

const NAMED_IDEAS = 5;

/** All checks of the gate; it passes when each of them does. */
export function decideGate(facts: GateFacts): GateDecision {
  const { gain, unit } = measureGain(
    facts.task.metricName,
    facts.task.metricDirection,
    facts.baseline.measurement.value,
    facts.candidate.measurement.value,
  );
  const claimedMetrics = claimedMetricsOf(facts.candidate.measurement);
  const checks = [
    checkComparable(facts),
    checkCommand(facts),
    checkMetric(facts),
    checkClaimedMetrics(facts, claimedMetrics),
    checkGain(facts, gain, unit),
    checkMeasuredArtifacts(facts),
    checkChanged(facts),
    checkWorkspace(facts),
    checkSurface(facts),
    checkPatchText(facts),
    checkArtifact(facts),
    checkSecrets(facts),
    checkSummary(facts),
    checkIdeas(facts),
  ];
  return {
    passed: checks.every((check) => check.passed),
    checks,
    gain,
    gainUnit: unit,
    claimedMetrics,
  };
}

type Check = (facts: GateFacts) => GateCheck;

function result(name: string, problems: readonly string[], pass: string): GateCheck {
  return problems.length === 0
    ? { name, passed: true, reason: pass }
    : { name, passed: false, reason: problems.join('; ') };
}

const FINGERPRINT_NAMES: { readonly [K in keyof GateFingerprint]: string } = {
  command: 'benchmark command',
  commit: 'commit',
  heldoutSha256: 'held-out documents',
  environmentSha256: 'environment',
  device: 'device',
  runtimeSha256: 'runtime',
};

const checkComparable: Check = ({ baseline, candidate }) => {
  const [ours, theirs] = [candidate.measurement.fingerprint, baseline.measurement.fingerprint];
  const keys = Object.keys(FINGERPRINT_NAMES) as (keyof GateFingerprint)[];
  return result(
    'comparable',
    keys
      .filter((key) => ours[key] !== theirs[key])
      .map(
        (key) =>
          `the two measurements differ in ${FINGERPRINT_NAMES[key]} (baseline ${quote(theirs[key])}, candidate ${quote(ours[key])})`,
      ),
    `both measurements have the same ${keys.map((key) => FINGERPRINT_NAMES[key]).join(', ')}`,
  );
};

const checkCommand: Check = ({ task, candidate }) => {
  const { command } = candidate.measurement.fingerprint;
  return result(
    'command',
    command === task.benchmarkCommand
      ? []
      : [
          `the candidate was measured with ${quote(command)}, the task's is ${quote(task.benchmarkCommand)}`,
        ],
    "the candidate was measured with the task's benchmark command",
  );
};

const checkMetric: Check = ({ task, baseline, candidate }) => {
  const problems: string[] = [];
  for (const [who, { measurement }] of Object.entries({ baseline, candidate })) {
    if (measurement.metric !== task.metricName) {
      problems.push(
        `the ${who} was measured in ${quote(measurement.metric)}, the task's metric is ${task.metricName}`,
      );
    }
    if (measurement.direction !== task.metricDirection) {
      problems.push(
        `the ${who} was measured to ${measurement.direction}, the task says ${task.metricDirection}`,
      );
    }
    if (!Number.isFinite(measurement.value)) {
      problems.push(`the ${who}'s ${task.metricName} is ${measurement.value}`);
    }
  }
  return result('metric', problems, `both are ${task.metricName}, to ${task.metricDirection}`);
};

function checkClaimedMetrics(
  { task }: GateFacts,
  claimed: { readonly [name: string]: number },
): GateCheck {
  const wanted = [task.metricName, task.secondaryMetricName].filter((name) => name !== undefined);
  const problems = [
    ...wanted
      .filter((name) => !Object.hasOwn(claimed, name))
      .map((name) => `there is no measured ${name} to claim`),
    ...Object.entries(claimed)
      .filter(([, value]) => !Number.isFinite(value))
      .map(([name, value]) => `the claimed ${name} would be ${value}`),
  ];
  return result('claimed metrics', problems, `the claim is ${formatMetrics(claimed)}, as measured`);
}

function checkGain(
  { task, baseline, candidate, threshold }: GateFacts,
  gain: number,
  unit: string,
): GateCheck {
  const numbers = `${task.metricName} ${format(candidate.measurement.value)} against ${format(baseline.measurement.value)} of the baseline: a gain of ${format(gain)} ${unit}`;
  const problems: string[] = [];
  if (!(threshold >= 0) || !Number.isFinite(threshold))
    problems.push(`the threshold ${threshold} is no least gain`);
  if (!(gain > 0)) problems.push(`${numbers}, which is no improvement`);
  else if (!(gain >= threshold))
    problems.push(`${numbers}, below the threshold of ${format(threshold)}`);
  return result('gain', problems, `${numbers}, at or above the threshold of ${format(threshold)}`);
}

const checkMeasuredArtifacts: Check = ({ baseline, candidate, artifact }) => {
  const problems: string[] = [];
  for (const [who, { measurement, artifactSha256 }] of Object.entries({ baseline, candidate })) {
    if (measurement.artifactSha256 !== artifactSha256) {
      problems.push(
        `the ${who}'s measurement is of artifact ${short(measurement.artifactSha256)}, not of its own ${short(artifactSha256)}`,
      );
    }
  }
  if (candidate.measurement.artifactSha256 !== artifact.sha256) {
    problems.push(
      `artifact ${short(artifact.sha256)} is published, but ${short(candidate.measurement.artifactSha256)} was measured`,
    );
  }
  return result(
    'measured artifact',
    problems,
    `the published artifact ${short(artifact.sha256)} is the measured one`,
  );
};

const checkChanged: Check = ({ baseline, candidate }) =>
  result(
    'changed',
    candidate.measurement.artifactSha256 === baseline.measurement.artifactSha256
      ? [
          `the candidate's artifact is the baseline's, byte for byte (${short(baseline.measurement.artifactSha256)})`,
        ]
      : [],
    "the candidate's artifact is not the baseline's",
  );

const checkWorkspace: Check = ({ candidate, patch }) => {
  const problems: string[] = [];
  const mustBe = (what: string, actual: string, whose: string, expected: string): void => {
    if (actual !== expected)
      problems.push(`${what} is ${short(actual)}, ${whose} is ${short(expected)}`);
  };
  mustBe("the patch's commit", patch.commit, "the candidate workspace's", candidate.commit);
  mustBe("the patch's tree", patch.tree, "the candidate workspace's", candidate.tree);
  mustBe(
    'the measured tree',
    candidate.measurement.tree,
    "the candidate workspace's",
    candidate.tree,
  );
  mustBe(
    'the measured commit',
    candidate.measurement.fingerprint.commit,
    "the candidate workspace's",
    candidate.commit,
  );
  return result(
    'workspace',
    problems,
    `the patch turns commit ${short(patch.commit)} into the measured tree ${short(patch.tree)}`,
  );
};

const REJECTIONS: { readonly [K in PatchRejection]: string } = {
  patch_too_large: 'the patch is too large',
  unparseable_patch_surface: 'the patch names no path that a validator could read',
  generated_python_cache_paths: 'the patch holds Python bytecode',
  disallowed_patch_paths: 'the patch touches paths outside the allowed surface',
};

const checkSurface: Check = ({ task, patch }) => {
  const size = `${patch.sizeBytes} of at most ${task.maxPatchBytes} bytes`;
  if (patch.sizeBytes > task.maxPatchBytes) {
    return result('surface', [`${REJECTIONS.patch_too_large}: ${size}`], '');
  }
  if (patch.text === null)
    return result('surface', ['the paths of a patch that is not UTF-8 cannot be read'], '');
  const check = checkPatchSurface(patch.text, task);
  if (!check.ok) {
    const paths = check.paths.length === 0 ? '' : `: ${listed(check.paths)}`;
    const allowed =
      check.reason === 'disallowed_patch_paths'
        ? ` (allowed: ${listed(task.allowedPatchPaths)})`
        : '';
    return result('surface', [`${REJECTIONS[check.reason]}${paths}${allowed}`], '');
  }
  const problems =
    [...check.paths].sort().join('\n') === [...patch.paths].sort().join('\n')
      ? []
      : [`the patch touches ${listed(check.paths)}, but was said to touch ${listed(patch.paths)}`];
  return result(
    'surface',
    problems,
    `the patch, ${size}, touches ${listed(check.paths)}, all inside the surface`,
  );
};

const checkPatchText: Check = ({ patch, artifact }) => {
  if (patch.text === null) {
    return result('patch', ['the patch is not UTF-8 text, or too large to be read'], '');
  }
  if (patch.text.trim() === '') {
    return result(
      'patch',
      isComplete(artifact)
        ? []
        : ['the patch is empty and there is no complete artifact: address, digest, size'],
      'the patch is empty, and the artifact stands for itself',
    );
  }
  return result(
    'patch',
    patch.text.endsWith('\n') ? [] : ['the patch does not end with a line feed'],
    'the patch is UTF-8 text that ends with a line feed',
  );
};

const checkArtifact: Check = ({ artifact }) => {
  const problems: string[] = [];
  if (!isComplete(artifact)) {
    problems.push(
      `the artifact has no complete reference: address ${quote(artifact.uri ?? '')}, ${artifact.sizeBytes} bytes`,
    );
  } else if (artifact.problem !== null) {
    problems.push(`the artifact changed after publishing: ${artifact.problem}`);
  }
  return result(
    'artifact',
    problems,
    `${artifact.uri} serves the artifact, ${artifact.sizeBytes} bytes, SHA-256 ${short(artifact.sha256)}, fetched back now`,
  );
};

const checkSecrets: Check = ({ secrets }) =>
  result(
    'secrets',
    secrets.map(
      ({ where, kind, line }) => `the ${where} holds what looks like a ${kind}, line ${line}`,
    ),
    'patch, summary and idea hold no key, mnemonic or token that is known by its form',
  );

const checkSummary: Check = ({ summary }) => {
  const problems: string[] = [];
  if (summary.trim() === '') problems.push('the summary is blank');
  if (summary.length > MAX_SUMMARY_CHARS) {
    problems.push(
      `the summary has ${summary.length} characters, at most ${MAX_SUMMARY_CHARS} are sent`,
    );
  }
  return result(
    'summary',
    problems,
    `the summary has ${summary.length} of at most ${MAX_SUMMARY_CHARS} characters`,
  );
};

/** Protocol 2.10. Which idea was implemented is never guessed: a false attribution moves another's reward. */
const checkIdeas: Check = ({
  task,
  proposedIdea,
  implementedSubmissionId: implemented,
  foreignIdeaIds,
}) => {
  if (task.competitionMode !== 'centerless') {
    return result('ideas', [], `a ${task.competitionMode} task asks for no idea`);
  }
  const problems: string[] = [];
  if (proposedIdea === undefined || proposedIdea.trim() === '') {
    problems.push('a centerless task asks for a proposed idea, and there is none');
  }
  if (foreignIdeaIds.length > 0 && implemented === undefined) {
    problems.push(
      `other miners have proposed ideas, so the submission whose idea was implemented must be named: ${named(foreignIdeaIds)}`,
    );
  }
  if (implemented !== undefined && !foreignIdeaIds.includes(implemented)) {
    problems.push(
      foreignIdeaIds.length === 0
        ? `no other miner has proposed an idea yet, so submission ${quote(implemented)} cannot be named as implemented`
        : `submission ${quote(implemented)} is none of the other miners' ideas: ${named(foreignIdeaIds)}`,
    );
  }
  return result(
    'ideas',
    problems,
    implemented === undefined
      ? 'an idea is proposed, and no other miner has proposed one before'
      : `an idea is proposed, and submission ${implemented} is named as implemented`,
  );
};

function isComplete({ uri, sha256, sizeBytes }: GateFacts['artifact']): boolean {
  return (
    uri !== undefined &&
    uri.startsWith('https://') &&
    /^[0-9a-f]{64}$/.test(sha256) &&
    sizeBytes > 0
  );
}

function claimedMetricsOf({ metric, value, secondary }: GateMeasurement): Record<string, number> {
  return {
    [metric]: value,
    ...(secondary === undefined ? {} : { [secondary.metric]: secondary.value }),
  };
}

function formatMetrics(metrics: { readonly [name: string]: number }): string {
  return Object.entries(metrics)
    .map(([name, value]) => `${name} ${format(value)}`)
    .join(', ');
}

function format(value: number): string {
  return String(Number(value.toPrecision(6)));
}

function short(digest: string): string {
  return digest.slice(0, 12);
}

/** Untrusted text on one line, of bounded length. */
function quote(text: string): string {
  const quoted = JSON.stringify(text);
  return quoted.length > 200 ? `${quoted.slice(0, 200)}…` : quoted;
}

function listed(items: readonly string[]): string {
  if (items.length === 0) return 'nothing';
  const more = items.length > 10 ? ` and ${items.length - 10} more` : '';
  return `${items.slice(0, 10).map(quote).join(', ')}${more}`;
}

function named(ids: readonly string[]): string {
  const more = ids.length > NAMED_IDEAS ? `, and ${ids.length - NAMED_IDEAS} more` : '';
  return `${ids.slice(0, NAMED_IDEAS).join(', ')}${more}`;
}

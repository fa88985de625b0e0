/** `adit verify`: checks a bundle that a stranger may have made. Offline: it asks nobody for anything. */
import { BundleRefused, openBundle, type OpenBundle } from '../../adapters/bundle/read-bundle.js';
import type { BundleProblem } from '../../adapters/bundle/chain.js';
import type { Absence } from '../../adapters/bundle/pack-bundle.js';
import { CliFailure, EXIT } from '../failure.js';
import { checkGates } from './check-gate.js';
import { checkMeasurements } from './check-measurements.js';
import { checkPatches } from './check-patch.js';
import { checkProofs } from './check-proofs.js';
import { checkRun } from './check-run.js';
import { checkAcceptances, checkSubmissions } from './check-submissions.js';
import type { Check } from './check.js';

/**
 * - `authentic`: it is the bundle whose root was given, and all its evidence holds.
 * - `consistent`: the same, but no root was given: whoever could write all of it anew could have made it.
 * - `incomplete`: nothing contradicts, and what a check needs is not there.
 * - `wrong`: a byte was changed, it is another bundle than the root says, or its evidence contradicts it.
 */
export type Verdict = 'authentic' | 'consistent' | 'incomplete' | 'wrong';

export interface VerifiedBundle {
  readonly verdict: Verdict;
  readonly runId: string;
  readonly roundId: string;
  readonly pipeline: string;
  readonly status: string;
  /** The root that the bundle has. */
  readonly root: string;
  readonly files: number;
  readonly absent: readonly {
    readonly sha256: string;
    readonly sizeBytes: number;
    readonly role: string;
    readonly why: Absence;
  }[];
  readonly problems: readonly BundleProblem[];
  /** Empty where a byte is wrong: what damaged evidence says means nothing. */
  readonly checks: readonly Check[];
}

export interface VerifyOptions {
  /** The root as the run's result says it: 64 hex digits; null: not known. */
  readonly root: string | null;
  /** Where git is looked for. */
  readonly searchPath: string;
}

/** Throws CliFailure BUNDLE_MISSING, BUNDLE_REFUSED. */
export async function verifyBundle(file: string, options: VerifyOptions): Promise<VerifiedBundle> {
  const bundle = await open(file);
  try {
    const problems = [...bundle.problems];
    const { head, root, files } = bundle.chain;
    if (problems.length === 0 && options.root !== null && options.root !== root) {
      problems.push({
        place: 'bundle.chain',
        message: `its root is ${root}, not ${options.root}: it is another bundle, or it was made anew`,
      });
    }
    const checks = problems.length === 0 ? await checkEvidence(bundle, options) : [];
    return {
      verdict: verdictOf(problems, checks, options.root !== null),
      runId: head?.runId ?? '',
      roundId: head?.roundId ?? '',
      pipeline: head?.pipeline ?? '',
      status: head?.status ?? '',
      root,
      files: files.length,
      absent: bundle.absent.map(({ file: { file: sha256, sizeBytes, role }, why }) => ({
        sha256,
        sizeBytes,
        role,
        why,
      })),
      problems,
      checks,
    };
  } finally {
    await bundle.close();
  }
}

async function checkEvidence(bundle: OpenBundle, { searchPath }: VerifyOptions): Promise<Check[]> {
  return [
    await checkRun(bundle),
    ...(await checkMeasurements(bundle)),
    ...(await checkPatches(bundle, searchPath)),
    ...(await checkGates(bundle)),
    ...(await checkSubmissions(bundle)),
    ...(await checkAcceptances(bundle)),
    ...(await checkProofs(bundle)),
  ];
}

function verdictOf(
  problems: readonly BundleProblem[],
  checks: readonly Check[],
  hasRoot: boolean,
): Verdict {
  if (problems.length > 0 || checks.some(({ result }) => result === 'failed')) return 'wrong';
  if (checks.some(({ result }) => result === 'not made')) return 'incomplete';
  return hasRoot ? 'authentic' : 'consistent';
}

async function open(file: string): Promise<OpenBundle> {
  try {
    return await openBundle(file);
  } catch (error) {
    if (error instanceof BundleRefused) {
      throw new CliFailure('BUNDLE_REFUSED', `${file} is refused: ${error.message}.`, {
        hint: error.hint,
      });
    }
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new CliFailure('BUNDLE_MISSING', `${file} cannot be read: ${code}.`, {
      hint: 'Give the file that `adit bundle` wrote.',
      exitCode: EXIT.usage,
    });
  }
}

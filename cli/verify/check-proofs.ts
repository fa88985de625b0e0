import { parse as parseLossless } from 'lossless-json';
import { z } from 'zod';
import type { OpenBundle } from '../../adapters/bundle/read-bundle.js';
import {
  normalizeDigest,
  parseClaimPackage,
  readUnsigned,
  type ClaimPackage,
} from '../../adapters/merkle/claim-package.js';
import { matchProfiles } from '../../adapters/merkle/detection.js';
import { profileName, PROFILES } from '../../adapters/merkle/profile.js';
import { rewardProofSchema, type RewardProof } from '../../compiler/values.js';
import { isJsonObject } from '../../core/json.js';
import {
  assertBounded,
  check,
  checksWithoutRecord,
  CheckEnd,
  evidenceOfError,
  failed,
  outputsOf,
  readJsonOf,
  shaped,
  stepsOf,
  type Check,
} from './check.js';

const evidenceSchema = z.object({
  format: z.literal('adit-reward-proof/1'),
  claimAsServed: z.string(),
  epochAsServed: z.string(),
  root: z.string(),
  leafCount: z.int().nonnegative().nullable(),
  contract: z.string().nullable().optional(),
  expectedRecipient: z.string(),
  verification: z.object({
    result: z.enum(['verified', 'invalid', 'unknown_profile']),
    profiles: z.array(z.string()).optional(),
  }),
});
type Evidence = z.output<typeof evidenceSchema>;

/** Walks each Merkle proof again, from the package as the Pool served it. */
export async function checkProofs(bundle: OpenBundle): Promise<Check[]> {
  const checks = checksWithoutRecord(bundle, 'proof', 'rewards.proof');
  for (const record of stepsOf(bundle, 'rewards.proof')) {
    const outputs = outputsOf(record);
    const refused = evidenceOfError(record);
    if (outputs === null && refused === null) continue;
    checks.push(
      await check('proof', record.name, async () => {
        const proof =
          outputs === null ? null : shaped(outputs['proof'], rewardProofSchema, 'the proof');
        const { value: evidence } = await readJsonOf(bundle, proof?.file.sha256 ?? refused ?? '', {
          what: 'the claim package',
          schema: evidenceSchema,
        });
        const claim = readClaim(evidence);
        if (proof === null) return `no proof: ${evidence.verification.result}, as was recorded`;
        assertSays(proof, claim, evidence);
        assertOwn(bundle, proof);
        assertServedRoot(evidence, claim);
        walkAgain(claim, evidence);
        return `epoch ${claim.epoch}, amount ${claim.amount}: it leads to the Pool's root ${evidence.root.slice(0, 14)}…, which was not compared with the chain`;
      }),
    );
  }
  return checks;
}

function readClaim({ claimAsServed }: Evidence): ClaimPackage {
  const parsed = parseClaimPackage(parse(claimAsServed));
  if (parsed.ok) return parsed.value;
  throw failed(`its package cannot be used: ${parsed.message}`);
}

function assertSays(proof: RewardProof, claim: ClaimPackage, evidence: Evidence): void {
  const pairs: ReadonlyArray<readonly [string, unknown, unknown]> = [
    ['epoch', proof.epoch, claim.epoch],
    ['index', proof.index, claim.index],
    ['hotkey', proof.hotkey, claim.hotkey],
    ['recipient', proof.recipient, claim.recipient],
    ['amount', proof.amount, claim.amount],
    ['root', proof.root, claim.root],
    ['root', proof.root, evidence.root],
    ['pinned recipient', proof.recipient, evidence.expectedRecipient],
    ['result', proof.result, 'verified'],
    ['result', evidence.verification.result, 'verified'],
  ];
  const other = pairs.find(([, is, should]) => is !== should);
  if (other !== undefined)
    throw failed(`the proof says another ${other[0]} than the package that was served`);
}

/** A reward of another hotkey than the run's proves nothing about the run. */
function assertOwn(bundle: OpenBundle, { hotkey }: RewardProof): void {
  const networks = bundle.records('plan').map(({ value }) => value['network']);
  const own = networks.map((network) => (isJsonObject(network) ? network['hotkey'] : null));
  if (own.some((each) => typeof each === 'string' && each !== '' && each !== hotkey))
    throw failed(`it is the proof of the hotkey ${hotkey}, which is not the one of the run`);
}

/** The root and the number of leaves must be in the Pool's own record of the epoch. */
function assertServedRoot(
  { epochAsServed, root, leafCount }: Evidence,
  { epoch: number }: ClaimPackage,
): void {
  const epoch = parse(epochAsServed);
  const members = isJsonObject(epoch) ? Object.values(epoch as Record<string, unknown>) : [];
  if (!members.some((member) => normalizeDigest(member) === root))
    throw failed(`the Pool's record of the epoch does not hold the root ${root}`);
  const served = isJsonObject(epoch) ? readUnsigned(epoch['epoch']) : null;
  if (served !== null && served !== BigInt(number))
    throw failed(`the Pool's record is of epoch ${served}, the proof of epoch ${number}`);
  if (leafCount === null) return;
  const counts = members.map((member) => readUnsigned(member));
  if (!counts.includes(BigInt(leafCount)))
    throw failed(`the Pool's record of the epoch does not say ${leafCount} leaves`);
}

function walkAgain(claim: ClaimPackage, evidence: Evidence): void {
  const { root, leafCount, contract = null, verification } = evidence;
  const recorded = verification.profiles ?? [];
  const matching = matchProfiles(claim, { root, leafCount, contract }, PROFILES).map(profileName);
  if (recorded.length > 0 && recorded.every((name) => matching.includes(name))) return;
  const needsContract = recorded.some((name) => name.endsWith('|contract'));
  if (needsContract && contract === null)
    throw new CheckEnd(
      'not made',
      'its encoding needs the address of a contract, which is not kept',
    );
  throw failed(
    `its proof does not lead to the root under ${recorded.join(' or ') || 'any encoding that is named'}`,
  );
}

function parse(text: string): unknown {
  assertBounded(Buffer.from(text), 'what the Pool served');
  try {
    return parseLossless(text);
  } catch {
    return null;
  }
}

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openBundle } from '../../adapters/bundle/read-bundle.js';
import type { JsonObject } from '../../core/json.js';
import {
  buildRewardTree,
  MERKLE_PROFILES,
  type MerkleProfile,
} from '../../devnet/merkle/reward-tree.js';
import { forge } from '../../test/support/bundles.js';
import { checkProofs } from './check-proofs.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-proofs-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

interface Lie {
  readonly leafCount?: number;
  readonly sibling?: string;
  readonly epoch?: number;
  readonly runHotkey?: string;
  readonly claimAsServed?: string;
}

/** The round's bundle with the proof of a leaf in a tree of so many; what its check comes to. */
async function check(
  profile: MerkleProfile,
  { leaves, index }: { readonly leaves: number; readonly index: number },
  lie: Lie = {},
): Promise<string> {
  const bytes = forge((forgery) => {
    const outputs = forgery.value('step', 'proof')['outputs'] as { proof: JsonObject };
    const { proof } = outputs;
    const file = proof['file'] as { sha256: string };
    const evidence = JSON.parse(String(forgery.files.get(file.sha256))) as JsonObject;
    const payee = {
      hotkey: String(proof['hotkey']),
      recipientColdkey: String(proof['recipient']),
    };
    const payees = Array.from({ length: leaves }, (_, at) => ({
      ...payee,
      amount: BigInt(at + 1),
    }));
    const tree = buildRewardTree(profile, 1n, payees);
    const siblings = [...(tree.proofs[index] ?? [])];
    if (lie.sibling !== undefined) siblings[0] = lie.sibling;
    const leafCount = lie.leafCount ?? leaves;
    Object.assign(proof, { index, amount: String(index + 1), root: tree.root });
    Object.assign(evidence, {
      root: tree.root,
      leafCount,
      claimAsServed: JSON.stringify({
        epoch: 1,
        index,
        hotkey: payee.hotkey,
        recipient_coldkey: payee.recipientColdkey,
        amount: index + 1,
        proof: siblings,
        root: tree.root,
      }),
      epochAsServed: JSON.stringify({
        epoch: lie.epoch ?? 1,
        root: tree.root,
        num_of_leaves: leafCount,
      }),
      verification: { result: 'verified', profiles: [profile] },
      ...(lie.claimAsServed === undefined ? {} : { claimAsServed: lie.claimAsServed }),
    });
    forgery.files.set(file.sha256, Buffer.from(JSON.stringify(evidence)));
    const plan = forgery.value('plan', 'plan')['network'] as JsonObject;
    if (lie.runHotkey !== undefined) plan['hotkey'] = lie.runHotkey;
  });
  const file = path.join(folder, 'round.tar');
  await writeFile(file, bytes);
  const bundle = await openBundle(file);
  try {
    const [made] = await checkProofs(bundle);
    return made?.result === 'passed' ? 'passed' : `${made?.result}: ${made?.message}`;
  } finally {
    await bundle.close();
  }
}

const profiles = Object.keys(MERKLE_PROFILES) as MerkleProfile[];

it.each(profiles)('walks the proofs of trees of many sizes again: %s', async (profile) => {
  for (const leaves of [1, 2, 3, 5, 8, 9]) {
    for (const index of new Set([0, leaves - 1]))
      expect(await check(profile, { leaves, index }), `${index} of ${leaves}`).toBe('passed');
  }
});

it.each([
  ['failed: what the Pool served is nested too deeply', '['.repeat(1_000_000)],
  ['not made: what the Pool served has more than 2000000 values', `[${'{},'.repeat(2_000_000)}{}]`],
])('makes nothing of a package that is too much: %s', async (message, claimAsServed) => {
  expect(await check('ink-cum-sorted-promote', { leaves: 2, index: 0 }, { claimAsServed })).toBe(
    message,
  );
});

it.each<[string, Lie, string]>([
  ['another sibling', { sibling: `0x${'1'.repeat(64)}` }, 'its proof does not lead to the root'],
  ['another number of leaves', { leafCount: 9 }, 'its proof does not lead to the root'],
  ['another epoch', { epoch: 2 }, "the Pool's record is of epoch 2, the proof of epoch 1"],
  [
    'another hotkey',
    { runHotkey: '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY' },
    'which is not the one of the run',
  ],
])('finds %s', async (_what, lie, message) => {
  const found = await check('ink-cum-positional-promote', { leaves: 5, index: 1 }, lie);
  expect(found).toMatch(/^failed: /);
  expect(found).toContain(message);
});

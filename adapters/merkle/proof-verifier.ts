/**
 * Verifies claim packages and remembers which encoding profiles have ever matched.
 *
 * Pins belong to a scope: where the root was read. With a chain that would be the contract's code
 * hash; until there is one it is the Pool and the way the root is read from it.
 *
 *   <state>/merkle-pins/<digest of the scope>.json   { scope, profiles: [ids] }
 *
 * 1. Nothing pinned: a match pins what matched; no match is `unknown_profile`.
 * 2. Something pinned: only pinned profiles count, and no match is `invalid`.
 * 3. A match keeps only the pinned profiles that matched.
 * 4. A profile from the settings takes the place of the pins.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../core/error.js';
import { isJsonObject } from '../../core/json.js';
import { SettingsError, type Settings } from '../settings/settings.js';
import type { ClaimPackage } from './claim-package.js';
import { matchProfiles, type PublishedEpoch } from './detection.js';
import { findProfile, PROFILES, profileName, type Profile } from './profile.js';

export type Verification =
  | {
      readonly result: 'verified';
      /** Name of the profile; several that cannot be told apart yet are joined with ` or `. */
      readonly profile: string;
      readonly profiles: readonly string[];
    }
  | { readonly result: 'invalid'; readonly tried: readonly string[] }
  | { readonly result: 'unknown_profile'; readonly triedCount: number };

export interface ProofVerifier {
  /**
   * Compares the package with what was published. The three-way result of merkle-claims section 7.
   * `scope` names where the published root was read; pins are kept per scope.
   */
  verify(claim: ClaimPackage, published: PublishedEpoch, scope: string): Promise<Verification>;
}

/** Throws an error when `merkleProfile` names no known profile; pins lie under `stateDir`. */
export function createProofVerifier(
  settings: Pick<Settings, 'stateDir' | 'merkleProfile'>,
): ProofVerifier {
  const configured = settings.merkleProfile === null ? null : findProfile(settings.merkleProfile);
  if (settings.merkleProfile !== null && configured === null) {
    throw new SettingsError(
      `Setting merkleProfile is ${settings.merkleProfile}, which is no encoding profile.`,
      'Use a short name such as ink-cum-sorted-promote, or seven parts such as blake2b-256|E.I.H.R.A|sorted|promote|plain|single|none.',
    );
  }
  const pinFile = (scope: string): string =>
    path.join(
      settings.stateDir,
      'merkle-pins',
      `${createHash('sha256').update(scope).digest('hex').slice(0, 32)}.json`,
    );

  return {
    async verify(claim, published, scope) {
      const pinned = configured === null ? await readPins(pinFile(scope)) : [configured];
      const allowed = pinned ?? PROFILES;
      const matches = matchProfiles(claim, published, allowed);
      if (matches.length === 0) {
        return pinned === null
          ? { result: 'unknown_profile', triedCount: allowed.length }
          : { result: 'invalid', tried: allowed.map(profileName) };
      }
      if (configured === null && matches.length !== pinned?.length) {
        await writePins(pinFile(scope), scope, matches);
      }
      const profiles = matches.map(profileName);
      return { result: 'verified', profile: profiles.join(' or '), profiles };
    },
  };
}

async function readPins(file: string): Promise<Profile[] | null> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const ids = readIds(text);
  const pins = Array.isArray(ids) ? ids.map((id) => findProfile(String(id))) : [null];
  // Going on without the pins would accept again what they refuse.
  if (pins.length === 0 || pins.includes(null))
    throw new StepError('FILE_CHANGED', `${file} does not list encoding profiles.`, {
      hint: 'It says how proofs of this Pool are made. Restore it, or remove it to find that out again.',
    });
  return pins.filter((pin) => pin !== null);
}

function readIds(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value['profiles'] : null;
  } catch {
    return null;
  }
}

async function writePins(file: string, scope: string, pins: readonly Profile[]): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  const temporary = `${file}.${randomUUID()}.tmp`;
  const record = { scope, profiles: pins.map((pin) => pin.id) };
  await writeFile(temporary, `${JSON.stringify(record, null, 2)}\n`, { flush: true });
  await rename(temporary, file);
}

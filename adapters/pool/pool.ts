/** The Pool's public claims API: reads only, no credentials (merkle-claims section 2). */
import { parse as parseLossless } from 'lossless-json';
import { StepError } from '../../core/error.js';
import { isJsonObject } from '../../core/json.js';
import { boundedFetch, HttpFailure, type BoundedReply } from '../http/bounded-fetch.js';
import {
  normalizeDigest,
  parseClaimPackage,
  readUnsigned,
  type ClaimPackage,
} from '../merkle/claim-package.js';
import { decodeAccount } from '../merkle/ss58.js';
import type { Settings } from '../settings/settings.js';

export interface ServedPackage {
  readonly claim: ClaimPackage;
  /** The package as it was served, numbers unchanged. */
  readonly text: string;
}

export interface ServedEpoch {
  /** The published root, `0x` and 64 lower-case hex digits. */
  readonly root: string;
  /** Where the root was read, for people. */
  readonly rootSource: string;
  /** Number of leaves; null when the record does not tell. */
  readonly leafCount: number | null;
  /** The record as it was served, numbers unchanged. */
  readonly text: string;
}

export interface Pool {
  /** Names the Pool and the way a root is read from it: the scope of what is remembered about its proofs. */
  readonly rootScope: string;
  /**
   * The hotkey's package of the newest epoch that has one; null when no epoch has. Amounts are
   * cumulative, so older packages are subsumed (merkle-claims section 8).
   * Epochs up to `after` are not looked at.
   * Throws POOL_UNAVAILABLE, POOL_REPLY_INVALID, SETTING_MISSING, SETTING_INVALID.
   */
  newestPackage(hotkey: string, signal: AbortSignal, after?: string): Promise<ServedPackage | null>;
  /** The newest published epoch, a decimal u64; null when there is none. Throws as above. */
  newestEpoch(signal: AbortSignal): Promise<string | null>;
  /** The record of an epoch. Throws PROOF_ROOT_UNAVAILABLE when it holds no root, and as above. */
  epoch(epoch: string, signal: AbortSignal): Promise<ServedEpoch>;
}

/** How many epochs are looked at, newest first (merkle-claims section 2.1). */
const MAX_EPOCHS = 20;
const MAX_BODY_BYTES = 1024 * 1024;
const TIMEOUT_MS = 30_000;
const ADDRESS_HINT = 'Is ADIT_POOL_URL the root of the Pool, without /claims?';
/** Our assumption, like the member of the root: the names of the contract's own `Epoch` record. */
const LEAF_COUNT_MEMBER = 'num_of_leaves';

export function createPool(settings: Pick<Settings, 'poolUrl' | 'poolRootMember'>): Pool {
  const { poolRootMember: rootMember } = settings;
  const rootUrl = settings.poolUrl?.replace(/\/+$/, '');

  /** The JSON of one route; null for 404, which says that there is none. */
  async function get(
    route: string,
    signal: AbortSignal,
  ): Promise<{ value: unknown; text: string } | null> {
    if (rootUrl === undefined) {
      throw new StepError('SETTING_MISSING', 'No Pool is set.', {
        hint: 'Set ADIT_POOL_URL, or poolUrl in adit.config.yaml: the root, without /claims.',
      });
    }
    const address = `${rootUrl}/claims${route}`;
    let reply: BoundedReply;
    try {
      reply = await boundedFetch(address, {
        headers: { accept: 'application/json' },
        maxBodyBytes: MAX_BODY_BYTES,
        timeoutMs: TIMEOUT_MS,
        signal,
      });
    } catch (error) {
      throw error instanceof HttpFailure ? toStepError(error) : error;
    }
    if (reply.status === 404) return null;
    if (reply.status >= 500 || reply.status === 429) {
      throw new StepError('POOL_UNAVAILABLE', `${address} answered ${reply.status}.`);
    }
    if (reply.status < 200 || reply.status > 299)
      throw invalid(address, `it answered ${reply.status}`);
    const text = reply.body.toString('utf8');
    try {
      return { value: parseLossless(text), text };
    } catch {
      // Half of a reply, or the page of a proxy: what lies between is in the way, and the Pool has said nothing.
      throw new StepError(
        'POOL_UNAVAILABLE',
        `${address} answered what is not JSON but ${JSON.stringify(text.slice(0, 60))}.`,
        { hint: ADDRESS_HINT },
      );
    }
  }

  async function listEpochs(signal: AbortSignal): Promise<bigint[]> {
    const reply = await get('/epochs', signal);
    if (reply === null) throw invalid('/claims/epochs', 'it answered 404');
    const list = isJsonObject(reply.value) ? reply.value['epochs'] : undefined;
    if (!Array.isArray(list)) throw invalid('/claims/epochs', 'it has no list `epochs`');
    const epochs = list.map((item: unknown) => {
      const epoch = readUnsigned(item);
      if (epoch === null) throw invalid('/claims/epochs', 'an epoch of its list is not a u64');
      return epoch;
    });
    // The order of the list is not promised.
    return [...new Set(epochs)].sort((a, b) => (a < b ? 1 : -1)).slice(0, MAX_EPOCHS);
  }

  return {
    rootScope: `${rootUrl ?? ''} member ${rootMember}`,

    async newestEpoch(signal) {
      return (await listEpochs(signal))[0]?.toString() ?? null;
    },

    async newestPackage(hotkey, signal, after) {
      if (decodeAccount(hotkey) === null) {
        throw new StepError(
          'STEP_INPUT_INVALID',
          `${hotkey} is not an SS58 address with prefix 42.`,
        );
      }
      for (const epoch of await listEpochs(signal)) {
        if (after !== undefined && epoch <= BigInt(after)) break;
        const route = `/epoch/${epoch}/proof/${hotkey}`;
        const reply = await get(route, signal);
        if (reply === null) continue;
        const parsed = parseClaimPackage(reply.value);
        if (!parsed.ok) throw invalid(`/claims${route}`, parsed.message);
        const claim = parsed.value;
        if (claim.epoch !== epoch.toString()) {
          throw invalid(`/claims${route}`, `its package is of epoch ${claim.epoch}`);
        }
        if (claim.hotkey !== hotkey) {
          throw invalid(`/claims${route}`, `its package is of hotkey ${claim.hotkey}`);
        }
        return { claim, text: reply.text };
      }
      return null;
    },

    async epoch(epoch, signal) {
      const route = `/epoch/${epoch}`;
      const reply = await get(route, signal);
      const record = reply?.value;
      if (reply === null) throw rootUnavailable(`The Pool has no record of epoch ${epoch}`);
      if (!isJsonObject(record)) throw invalid(`/claims${route}`, 'it is not a JSON object');
      const member = (name: string): unknown =>
        Object.hasOwn(record, name) ? record[name] : undefined;

      if (member('epoch') !== undefined && readUnsigned(member('epoch'))?.toString() !== epoch) {
        throw invalid(`/claims${route}`, 'its record is of another epoch');
      }
      const root = normalizeDigest(member(rootMember));
      if (root === null) {
        const names = Object.keys(record)
          .slice(0, 20)
          .join(', ')
          .replace(/[^\x20-\x7e]/g, '?')
          .slice(0, 200);
        throw rootUnavailable(
          `The Pool's record of epoch ${epoch} has no 32-byte root in member ${rootMember}; it has ${names === '' ? 'no members' : names}`,
        );
      }
      if (/^0x0+$/.test(root))
        throw rootUnavailable(`The Pool's root of epoch ${epoch} is all zero`);
      const count = member(LEAF_COUNT_MEMBER);
      const leafCount =
        count === undefined || count === null ? null : readUnsigned(count, 0xffff_ffffn);
      if (leafCount === null && count !== undefined && count !== null) {
        throw invalid(`/claims${route}`, `its ${LEAF_COUNT_MEMBER} is not a u32`);
      }
      return {
        root,
        rootSource: `Pool /claims${route} member ${rootMember}, not compared with the chain`,
        leafCount: leafCount === null ? null : Number(leafCount),
        text: reply.text,
      };
    },
  };

  function rootUnavailable(what: string): StepError {
    return new StepError('PROOF_ROOT_UNAVAILABLE', `${what}.`, {
      hint: 'The root is never taken from the package. If the Pool names it otherwise, set ADIT_POOL_ROOT_MEMBER.',
    });
  }
}

function invalid(address: string, what: string): StepError {
  return new StepError(
    'POOL_REPLY_INVALID',
    `The Pool's reply to ${address} cannot be used: ${what}.`,
    { hint: ADDRESS_HINT },
  );
}

function toStepError(failure: HttpFailure): StepError {
  if (failure.kind === 'unreachable' || failure.kind === 'timeout') {
    return new StepError('POOL_UNAVAILABLE', failure.message, { cause: failure });
  }
  if (failure.kind === 'not_allowed') {
    return new StepError(
      'SETTING_INVALID',
      `The Pool's address cannot be used: ${failure.message}`,
      {
        hint: 'Set ADIT_POOL_URL to an https address (plain http to loopback only).',
        cause: failure,
      },
    );
  }
  return new StepError('POOL_REPLY_INVALID', failure.message, {
    hint: ADDRESS_HINT,
    cause: failure,
  });
}

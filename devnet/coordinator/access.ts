/** Who may do what: the auth classes of protocol 2.1, and the body of a request. */
import { timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { canonicalJson } from '../auth/canonical-json.js';
import { JsonSyntaxError, parseJson } from '../auth/json-numbers.js';
import { isSignedBy, publicKeyOf, signedMessage } from '../auth/signature.js';
import { Problem, bodyProblem } from './problem.js';
import type { CoordinatorState } from './state.js';

/** A body as it came and as it reads, numbers kept. */
export interface RequestBody {
  readonly raw: Buffer;
  readonly value: unknown;
}

const NO_BODY: RequestBody = { raw: Buffer.alloc(0), value: undefined };

/** Reads the bytes of a body; no bytes are no body. Throws a 422 Problem for what is not JSON. */
export function parseRequestBody(raw: Buffer): RequestBody {
  if (raw.length === 0) return NO_BODY;
  try {
    return {
      raw,
      value: parseJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw)),
    };
  } catch (error) {
    const reason = error instanceof JsonSyntaxError ? error.message : 'not UTF-8';
    throw new Problem(422, [
      { loc: ['body'], msg: `JSON decode error: ${reason}`, type: 'json_invalid' },
    ]);
  }
}

/** The body after its schema; `{}` when there was none. Throws the 422 list when it does not fit. */
export function readBody<S extends z.ZodType>(request: FastifyRequest, schema: S): z.output<S> {
  const body = bodyOf(request).value;
  const read = schema.safeParse(body === undefined ? {} : body);
  if (!read.success) throw bodyProblem(read.error);
  return read.data;
}

/** The hotkey that signed this request. Throws 401. */
export function requireHotkey(state: CoordinatorState, request: FastifyRequest): string {
  const hotkey = headerOf(request, 'x-hotkey');
  const timestamp = headerOf(request, 'x-timestamp');
  const signature = headerOf(request, 'x-signature');
  if (hotkey === null || timestamp === null || signature === null) {
    throw new Problem(401, 'missing authentication headers X-Hotkey, X-Timestamp and X-Signature');
  }
  if (publicKeyOf(hotkey) === null)
    throw new Problem(401, 'X-Hotkey is not an SS58 address with prefix 42');
  if (!/^[1-9]\d{0,11}$/.test(timestamp))
    throw new Problem(401, 'X-Timestamp is not whole seconds');
  const settings = state.settings.read();
  const nowMs = settings.signatureClock === 'devnet' ? state.clock.nowMs() : Date.now();
  if (Math.abs(Math.floor(nowMs / 1_000) - Number(timestamp)) > settings.timestampWindowSeconds) {
    throw new Problem(
      401,
      `request timestamp is more than ${settings.timestampWindowSeconds} seconds away`,
    );
  }
  const [path = '', ...queryParts] = (request.raw.url ?? '').split('?');
  const message = signedMessage({
    method: request.method,
    path,
    query: queryParts.join('?'),
    timestamp,
    canonicalBody: signedBody(settings.signatureMode, bodyOf(request)),
  });
  if (!isSignedBy(hotkey, message, signature)) throw new Problem(401, 'invalid signature');
  if (settings.refuseRepeatedSignature && !state.database.rememberSignature(signature)) {
    throw new Problem(401, 'signature was used before');
  }
  return hotkey;
}

/** A hotkey that passes the stake gate. Throws 401, or 403 with `insufficient_miner_stake`. */
export function requireMiner(state: CoordinatorState, request: FastifyRequest): string {
  const hotkey = requireHotkey(state, request);
  const { stakeGate, stakedHotkeys } = state.settings.read();
  if (stakeGate && !stakedHotkeys.includes(hotkey)) {
    throw new Problem(403, {
      error: 'insufficient_miner_stake',
      message: `hotkey ${hotkey} has not enough stake on this subnet`,
    });
  }
  return hotkey;
}

/** A hotkey on the validator allowlist. Throws 401 or 403. */
export function requireValidator(state: CoordinatorState, request: FastifyRequest): string {
  const hotkey = requireHotkey(state, request);
  if (!state.settings.read().validatorHotkeys.includes(hotkey)) {
    throw new Problem(403, `hotkey ${hotkey} is not on the validator allowlist`);
  }
  return hotkey;
}

/** The operator. Throws 401. */
export function requireAdmin(adminToken: string, request: FastifyRequest): void {
  const given = Buffer.from(headerOf(request, 'x-admin-token') ?? '');
  const wanted = Buffer.from(adminToken);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) {
    throw new Problem(401, 'missing or wrong X-Admin-Token');
  }
}

function signedBody(mode: 'recanonicalise' | 'raw_bytes', body: RequestBody): Uint8Array {
  if (body.value === undefined || mode === 'raw_bytes') return body.raw;
  try {
    return Buffer.from(canonicalJson(body.value), 'utf8');
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Problem(422, [{ loc: ['body'], msg: error.message, type: 'json_invalid' }]);
  }
}

function bodyOf(request: FastifyRequest): RequestBody {
  const body = request.body;
  if (typeof body !== 'object' || body === null || !('raw' in body) || !('value' in body))
    return NO_BODY;
  return Buffer.isBuffer(body.raw) ? { raw: body.raw, value: body.value } : NO_BODY;
}

function headerOf(request: FastifyRequest, name: string): string | null {
  const value = request.headers[name];
  return typeof value === 'string' && value !== '' ? value : null;
}

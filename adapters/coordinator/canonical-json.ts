import { createHash } from 'node:crypto';
import { canonicalJson } from '../../core/canonical-json.js';
import type { Json } from '../../core/json.js';

/** What is hashed and what is sent; for a request without a body both are empty (protocol 1.3). */
export interface CanonicalBody {
  readonly text: string;
  /** SHA-256 of the text, lower-case hex. */
  readonly sha256: string;
}

/** The body of a request in canonical form; undefined is a request without one, `{}` is not. */
export function canonicalBody(body: Json | undefined): CanonicalBody {
  const text = body === undefined ? '' : canonicalJson(body);
  return { text, sha256: createHash('sha256').update(text, 'utf8').digest('hex') };
}

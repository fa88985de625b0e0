/** Which files of the store the records of a run name. */
import type { FileRef } from '../../compiler/values.js';
import { isJsonObject, type Json } from '../../core/json.js';
import { isDigest, type BundleFile } from './chain.js';

export interface NamedFiles {
  /** Files by FileRef, in the order of their first mention. */
  readonly files: Map<string, BundleFile>;
  /** Digests of which only the store can say whether it has bytes for them; to ask takes time for each. */
  readonly digests: Set<string>;
  /** The same, of evidence that may name files itself. */
  readonly hinted: Set<string>;
}

/** Adds what a record names. */
export function addNamedFiles(value: Json, found: NamedFiles): void {
  visit(value, '', '', found);
}

/** `key` is the member that the value is, `owner` the one around it. */
function visit(value: Json, key: string, owner: string, found: NamedFiles): void {
  if (typeof value === 'string') {
    // The input of a step is in no file.
    const isInput = key === 'inputSha256' && owner === '';
    if (key.endsWith('Sha256') && key !== 'artifactSha256' && !isInput && isDigest(value))
      found.digests.add(value);
    // What a patch applies to, and the verdict that an effect was allowed by.
    if ((key === 'baseSha256' || key === 'verdict') && isDigest(value)) found.hinted.add(value);
    // The errors of a gate that said no, and of a proof that is none, name their evidence there.
    if (key === 'hint') {
      for (const [, sha256 = ''] of value.matchAll(/\bstore: ?([0-9a-f]{64})\b/g))
        found.hinted.add(sha256);
    }
  } else if (Array.isArray(value)) {
    for (const item of value) visit(item, key, owner, found);
  } else if (isJsonObject(value)) {
    if (isFileRef(value)) addFile(value, key, owner, found);
    else for (const [name, member] of Object.entries(value)) visit(member, name, key, found);
  }
}

function addFile(ref: FileRef, key: string, owner: string, { files, hinted }: NamedFiles): void {
  const role = key === 'file' && owner === 'artifact' ? 'artifact' : 'evidence';
  const known = files.get(ref.sha256);
  // What is an artifact anywhere is one everywhere.
  if (known === undefined || role === 'artifact')
    files.set(ref.sha256, { file: ref.sha256, sizeBytes: ref.sizeBytes, role });
  if (key === 'report') hinted.add(ref.sha256);
}

/** True for what a record means as a file of the store. */
function isFileRef(value: unknown): value is FileRef {
  return (
    isJsonObject(value) &&
    isDigest(value['sha256']) &&
    value['uri'] === `store:${value['sha256']}` &&
    Number.isSafeInteger(value['sizeBytes']) &&
    Number(value['sizeBytes']) >= 0
  );
}

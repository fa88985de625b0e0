/** The bundle of a whole round on the local network (version 1 of the format), and bundles made from it as a forger would. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import {
  readChain,
  writeChain,
  type BundleFile,
  type BundleRecord,
} from '../../adapters/bundle/chain.js';
import { TAR_END_BYTES, tarHeader, tarPadding } from '../../adapters/bundle/tar-header.js';
import type { JsonObject } from '../../core/json.js';
import { PACKAGE_ROOT } from './local-network.js';

export const ROUND_BUNDLE = path.join(PACKAGE_ROOT, 'test/fixtures/bundles/round.v1.tar');
export const ROUND_ROOT = '1c06e237ce451272e23ece7c14d137ee46ebbcb0efa9acd7d276a85a19595f28';

/** Where each part of a bundle lies, in order: what a problem there is called, and its first byte. */
export function partsOf(bundle: Buffer): { readonly place: string; readonly from: number }[] {
  const parts: { place: string; from: number }[] = [];
  const chain = chainOf(bundle);
  parts.push({ place: 'the header of bundle.chain', from: 0 });
  let at = 512;
  let line = 0;
  for (let from = 0; from < chain.length; from = chain.indexOf('\n', from) + 1) {
    line += 1;
    parts.push({ place: `bundle.chain, line ${line}`, from: at + from });
  }
  at += chain.length;
  parts.push({ place: 'the filling after bundle.chain', from: at });
  at += tarPadding(chain.length);
  for (const { file, sizeBytes } of readChain(chain).files) {
    parts.push({ place: `the header of files/${file}`, from: at });
    parts.push({ place: `files/${file}`, from: at + 512 });
    at += 512 + sizeBytes;
    parts.push({ place: `the filling after files/${file}`, from: at });
    at += tarPadding(sizeBytes);
  }
  parts.push({ place: 'the end of the archive', from: at });
  return parts;
}

function chainOf(bundle: Buffer): Buffer {
  const length = Number.parseInt(bundle.subarray(124, 135).toString('latin1'), 8);
  return bundle.subarray(512, 512 + length);
}

/** What a forger can change: the records, and the files by their digest. */
export interface Forgery {
  readonly records: BundleRecord[];
  /** The bytes of each file, under the digest that the round's bundle has for it. */
  readonly files: Map<string, Buffer>;
  /** Changes a text wherever it stands. */
  replaceAll(text: string, by: string): void;
  /** The value of a record, to be changed in place. */
  value(kind: BundleRecord['record'], name: string): JsonObject;
}

/**
 * The round's bundle with changes, made anew as a whole: digests follow the changed bytes wherever they are named, and
 * the chain fits. A file that was taken out is `missing`.
 */
export function forge(change: (forgery: Forgery) => void): Buffer {
  const round = readFileSync(ROUND_BUNDLE);
  const { head, records, files } = readChain(chainOf(round));
  if (head === null) throw new Error('The bundle of the fixtures is damaged.');
  const contents = new Map<string, Buffer>();
  for (const { place, from } of partsOf(round)) {
    const found = files.find(({ file }) => place === `files/${file}`);
    if (found !== undefined) contents.set(found.file, round.subarray(from, from + found.sizeBytes));
  }
  const lines = structuredClone(records) as BundleRecord[];
  change({
    records: lines,
    files: contents,
    replaceAll(text, by) {
      for (const [sha256, bytes] of contents) contents.set(sha256, replaced(bytes, text, by));
      lines.splice(
        0,
        lines.length,
        ...(JSON.parse(JSON.stringify(lines).replaceAll(text, by)) as BundleRecord[]),
      );
    },
    value(kind, name) {
      const found = lines.find((line) => line.record === kind && line.name === name);
      if (found === undefined) throw new Error(`The bundle has no ${kind} ${name}.`);
      return found.value;
    },
  });
  return assemble(head, lines, files, contents);
}

function assemble(
  head: Parameters<typeof writeChain>[0],
  records: readonly BundleRecord[],
  files: readonly BundleFile[],
  contents: Map<string, Buffer>,
): Buffer {
  let text = JSON.stringify(records);
  let names = files.map((file) => ({ ...file, was: file.file }));
  // A file that names another changes with it, so this goes on until nothing does.
  for (let isStable = false; !isStable;) {
    isStable = true;
    for (const named of names) {
      const bytes = contents.get(named.was);
      if (bytes === undefined) continue;
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      if (sha256 === named.file) continue;
      isStable = false;
      const size = (of: number): string => `"sizeBytes":${of}`;
      const [old, now] = [`"sha256":"${named.file}",`, `"sha256":"${sha256}",`];
      text = text.replaceAll(old + size(named.sizeBytes), now + size(bytes.length));
      text = text.replaceAll(named.file, sha256);
      for (const [other, content] of contents)
        contents.set(other, replaced(content, named.file, sha256));
      names = names.map((each) =>
        each === named ? { ...each, file: sha256, sizeBytes: bytes.length } : each,
      );
    }
  }
  const lines = names.map(({ file, sizeBytes, role }): BundleFile => ({ file, sizeBytes, role }));
  const { text: chain } = writeChain(
    {
      runId: head.runId,
      roundId: head.roundId,
      pipeline: head.pipeline,
      status: head.status,
    },
    [...(JSON.parse(text) as BundleRecord[]), ...lines],
  );
  return Buffer.concat([
    entry('bundle.chain', Buffer.from(chain)),
    ...names.map(({ was, file }) => {
      const bytes = contents.get(was);
      return bytes === undefined
        ? entry(`missing/${file}`, Buffer.alloc(0))
        : entry(`files/${file}`, bytes);
    }),
    Buffer.alloc(TAR_END_BYTES),
  ]);
}

/** A file of an archive, as a bundle has it. */
export function entry(name: string, bytes: Buffer): Buffer {
  return Buffer.concat([
    tarHeader(name, bytes.length),
    bytes,
    Buffer.alloc(tarPadding(bytes.length)),
  ]);
}

function replaced(bytes: Buffer, text: string, by: string): Buffer {
  return bytes.includes(text) ? Buffer.from(bytes.toString('utf8').replaceAll(text, by)) : bytes;
}

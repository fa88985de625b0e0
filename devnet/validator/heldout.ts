/**
 * Held-out documents that come with a job (protocol 4.5): written into the checkout as a manifest, so that the
 * benchmark finds them, and taken out of the environment.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { PreparationFailed } from './preparation-failed.js';

const SOURCES = 'AUTORESEARCH_HELDOUT_SOURCES_JSON';
const FOLDER = '.autoresearch-heldout';
const MANIFEST = `${FOLDER}/manifest.json`;
const TOKENS = ['AUTORESEARCH_PRIVATE_HELDOUT_HF_TOKEN', 'HF_TOKEN', 'HUGGINGFACE_TOKEN'];

const entry = z.union([z.string(), z.looseObject({ text: z.string() })]);
const sources = z.union([z.array(entry), z.looseObject({ documents: z.array(entry) })]);

/**
 * The benchmark environment after the held-out documents have been put in place; unchanged when it names none.
 * Row sources, which a validator with network access would fetch, are refused.
 */
export async function placeHeldout(
  environment: Readonly<Record<string, string>>,
  checkout: string,
): Promise<Record<string, string>> {
  const text = environment[SOURCES];
  if (text === undefined || text === '') {
    return { ...environment };
  }
  const documents = readSources(text);
  await mkdir(path.join(checkout, FOLDER));
  await writeFile(
    path.join(checkout, MANIFEST),
    JSON.stringify({ documents, metadata: { source: 'job', count: documents.length } }),
  );
  const kept = Object.entries(environment).filter(
    ([name]) => name !== SOURCES && !TOKENS.includes(name),
  );
  return {
    ...Object.fromEntries(kept),
    AUTORESEARCH_PRIVATE_HELDOUT_MANIFEST: MANIFEST,
    AUTORESEARCH_PRIVATE_HELDOUT_ROOT: FOLDER,
    AUTORESEARCH_HELDOUT_DATASET: 'validator-private-shard',
  };
}

function readSources(text: string): { text: string }[] {
  const read = sources.safeParse(parse(text));
  if (!read.success) {
    throw new PreparationFailed(
      `${SOURCES} is not a list of texts; row sources are not fetched here`,
    );
  }
  const entries = Array.isArray(read.data) ? read.data : read.data.documents;
  return entries.map((each) => ({ text: typeof each === 'string' ? each : each.text }));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new PreparationFailed(`${SOURCES} is not valid JSON`);
  }
}

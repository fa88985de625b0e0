import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createArtifactHost } from '../adapters/artifact-host/artifact-host.js';
import { createEvidence } from '../adapters/evidence/evidence.js';
import { createFolderStore, type Store } from '../adapters/store/store.js';
import type { Artifact } from '../compiler/values.js';
import { startHttpsStorage, type HttpsStorage } from '../test/fakes/https-storage.js';
import type { Adapters } from './adapters.js';
import { artifactPublish } from './artifact-publish.js';
import type { StepContext } from './step-type.js';

let folder: string;
let storage: HttpsStorage;
let store: Store;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-publish-'));
  store = createFolderStore(folder);
  storage = await startHttpsStorage();
});
afterEach(async () => {
  await storage.close();
  await rm(folder, { recursive: true, force: true });
});

async function publish(
  artifact: Artifact,
  { firstAttempt }: { firstAttempt: boolean },
): Promise<Artifact> {
  const adapters: Partial<Adapters> = {
    store,
    evidence: createEvidence(folder),
    artifactHost: createArtifactHost({
      publishUrl: storage.url,
      publishCaFile: storage.caFile,
      publishTokenFile: storage.tokenFile,
      coordinatorUrl: 'http://127.0.0.1:1',
    }),
  };
  const context: StepContext = {
    call: {
      runId: 'run',
      roundId: 'run',
      pipeline: 'test',
      path: 'published',
      start: 1,
      network: { coordinator: '', hotkey: '' },
    },
    firstAttempt,
    attempt: firstAttempt ? 1 : 2,
    scheduledAtMs: 0,
    deadlineMs: null,
    signal: new AbortController().signal,
    progress: () => undefined,
    adapters: adapters as Adapters,
  };
  return (await artifactPublish.run({ artifact }, context)).artifact;
}

function methods(): (string | undefined)[] {
  return storage.requests.map(({ method }) => method);
}

test('an artifact is uploaded and fetched back', async () => {
  const file = await store.putBytes('weights');
  const published = await publish({ file }, { firstAttempt: true });
  expect(published).toEqual({ file, uri: `${storage.url}/${file.sha256}` });
  expect(storage.objects.get(`/${file.sha256}`)?.toString()).toBe('weights');
  expect(methods()).toEqual(['PUT', 'GET']);
});

test('a second try looks first, and uploads nothing that is there already', async () => {
  const file = await store.putBytes('weights');
  await publish({ file }, { firstAttempt: true });
  storage.requests.length = 0;
  expect(await publish({ file }, { firstAttempt: false })).toEqual({
    file,
    uri: `${storage.url}/${file.sha256}`,
  });
  expect(methods()).toEqual(['GET']);
});

test('a second try uploads what is missing or broken', async () => {
  const file = await store.putBytes('weights');
  storage.objects.set(`/${file.sha256}`, Buffer.from('weigh'));
  await publish({ file }, { firstAttempt: false });
  expect(storage.objects.get(`/${file.sha256}`)?.toString()).toBe('weights');
  expect(methods()).toEqual(['GET', 'PUT', 'GET']);
});

test('an artifact whose bytes are gone from the store is not published', async () => {
  const file = await store.putBytes('weights');
  await writeFile(await store.locate(file), 'other');
  await expect(publish({ file }, { firstAttempt: true })).rejects.toMatchObject({
    code: 'FILE_CHANGED',
  });
  expect(methods()).toEqual([]);
});

import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createFolderStore, type Store } from './store.js';

let folder: string;
let store: Store;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'adit-store-'));
  store = createFolderStore(path.join(folder, 'store'));
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('the store', () => {
  test('names a file by the digest of its bytes, and gives them back', async () => {
    const file = path.join(folder, 'artifact');
    writeFileSync(file, 'some bytes');
    const ref = await store.putFile(file);
    const sha256 = createHash('sha256').update('some bytes').digest('hex');
    expect(ref).toEqual({ uri: `store:${sha256}`, sha256, sizeBytes: 10 });
    expect((await store.read(ref)).toString()).toBe('some bytes');
    expect(await store.putBytes('some bytes')).toEqual(ref);
    expect(readdirSync(path.join(folder, 'store', 'incoming'))).toEqual([]);
  });

  test('says when a file is not there', async () => {
    const ref = { uri: '', sha256: '0'.repeat(64), sizeBytes: 1 };
    await expect(store.read(ref)).rejects.toMatchObject({ code: 'FILE_MISSING' });
    await expect(store.putFile(path.join(folder, 'nothing'))).rejects.toMatchObject({
      code: 'FILE_MISSING',
    });
  });

  test('never gives bytes that are not those of the digest', async () => {
    const ref = await store.putBytes('original');
    const file = await store.locate(ref);
    writeFileSync(file, 'changed!');
    await expect(store.read(ref)).rejects.toMatchObject({ code: 'FILE_CHANGED' });
    truncateSync(file, 3);
    await expect(store.locate(ref)).rejects.toMatchObject({ code: 'FILE_CHANGED' });
  });

  test('leaves nothing behind when it is interrupted', async () => {
    const file = path.join(folder, 'large');
    writeFileSync(file, Buffer.alloc(8 * 1024 * 1024));
    const controller = new AbortController();
    const reason = new Error('cancelled');
    const put = store.putFile(file, controller.signal);
    controller.abort(reason);
    await expect(put).rejects.toBe(reason);
    expect(readdirSync(path.join(folder, 'store', 'incoming'))).toEqual([]);
  });
});

/** What of the workspaces belongs to one run, for a run that nobody can go on with (workspace-record.ts says where they lie). */
import { readdir, readFile, realpath } from 'node:fs/promises';
import path from 'node:path';
import { isJsonObject } from '../../core/json.js';
import { stepFolderName } from '../../core/step-folder.js';

/** What belongs to one run alone: absolute paths that may be removed, in this order. */
export async function workspacePathsOf(stateDir: string, runId: string): Promise<string[]> {
  const root = path.join(path.resolve(stateDir), 'workspaces', stepFolderName(runId));
  const folder = await realpath(root).catch(() => null);
  if (folder === null) return [];
  const repositories = path.join(path.resolve(stateDir), 'repositories');
  const records = await readRecords(path.join(repositories, 'checkouts'));
  const own = records.filter(
    ({ checkout }) => isInside(checkout, folder) || isInside(checkout, root),
  );
  // Forks share the objects of their clone: only what no other checkout is made of goes.
  const others = new Set(
    records.filter((record) => !own.includes(record)).map(({ gitDir }) => gitDir),
  );
  const gitDirs = new Set(own.map(({ gitDir }) => gitDir).filter((gitDir) => !others.has(gitDir)));
  const real = await realpath(repositories).catch(() => repositories);
  return [
    folder,
    ...[...gitDirs].filter((gitDir) => isInside(gitDir, real) || isInside(gitDir, repositories)),
    ...own.map(({ file }) => file),
  ];
}

interface CheckoutRecord {
  readonly file: string;
  readonly checkout: string;
  readonly gitDir: string;
}

async function readRecords(folder: string): Promise<CheckoutRecord[]> {
  const records: CheckoutRecord[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.endsWith('.json')) continue;
    const file = path.join(folder, name);
    const record = await readJson(file);
    if (!isJsonObject(record)) continue;
    const { path: checkout, gitDir } = record;
    if (typeof checkout === 'string' && typeof gitDir === 'string')
      records.push({ file, checkout, gitDir });
  }
  return records;
}

async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch {
    return null;
  }
}

function isInside(file: string, folder: string): boolean {
  return file.startsWith(`${folder}${path.sep}`);
}

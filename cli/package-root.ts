import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

interface PackageFile {
  readonly name?: unknown;
  readonly version?: unknown;
}

/** The folder of this package: the checkout, or where it is installed; and its version. */
export function findPackage(): { readonly root: string; readonly version: string } {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const found = readPackageFile(path.join(folder, 'package.json'));
    if (found?.name === 'adit-engine') return { root: folder, version: String(found.version) };
    const parent = path.dirname(folder);
    if (parent === folder)
      throw new Error('package.json of adit-engine was not found above this file.');
    folder = parent;
  }
}

function readPackageFile(file: string): PackageFile | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as PackageFile;
  } catch {
    return null;
  }
}

/** Path of the folder of schemas from a folder, with `/`, as a file there names one for editors. */
export function schemasFrom(folder: string): string {
  const schemas = path.join(findPackage().root, 'schema');
  return path.relative(path.resolve(folder), schemas).split(path.sep).join('/');
}

import { readFileSync } from 'node:fs';
import path from 'node:path';

interface PackageFile {
  readonly name?: unknown;
  readonly version?: unknown;
}

/**
 * The folder of this package, the checkout or where it is installed, and its version. Looked for by its name: how deep
 * a file lies in the build is the bundler's affair. Throws where no folder above this file is that of the package.
 */
export function findPackage(): { readonly root: string; readonly version: string } {
  for (let folder = import.meta.dirname; ; folder = path.dirname(folder)) {
    const found = readPackageFile(path.join(folder, 'package.json'));
    if (found?.name === 'adit-engine') return { root: folder, version: String(found.version) };
    if (path.dirname(folder) === folder)
      throw new Error('package.json of adit-engine was not found above this file.');
  }
}

function readPackageFile(file: string): PackageFile | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as PackageFile;
  } catch {
    return null;
  }
}

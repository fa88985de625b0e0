import path from 'node:path';
import { findPackage } from '../adapters/package/find-package.js';

/** Path of the folder of schemas from a folder, with `/`, as a file there names one for editors. */
export function schemasFrom(folder: string): string {
  const schemas = path.join(findPackage().root, 'schema');
  return path.relative(path.resolve(folder), schemas).split(path.sep).join('/');
}

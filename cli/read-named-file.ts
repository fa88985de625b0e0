import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { MAX_FILE_BYTES } from '../compiler/yaml.js';
import type { ReadNamedFile } from '../testing/compile-test-file.js';
import { standInFor } from './read-file.js';

/** Reads the files that a file names, from the folder in which it lies. */
export function namedFileReader(file: string): ReadNamedFile {
  return (name) => {
    const named = path.join(path.dirname(file), name);
    const at = path.isAbsolute(name) ? name : named;
    try {
      const stat = statSync(at);
      if (!stat.isFile()) return { file: at, problem: 'it is no file' };
      const content = stat.size > MAX_FILE_BYTES ? standInFor(stat.size) : readFileSync(at);
      return { file: at, content };
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      const message = error instanceof Error ? error.message : String(error);
      return { file: at, problem: code === 'ENOENT' ? 'there is no such file' : message };
    }
  };
}

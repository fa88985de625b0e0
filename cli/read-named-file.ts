import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { MAX_FILE_BYTES } from '../compiler/yaml.js';
import type { ReadNamedFile } from '../testing/compile-test-file.js';

/** Reads the files that a file names, from the folder in which it lies. */
export function namedFileReader(file: string): ReadNamedFile {
  return (name) => {
    const named = path.join(path.dirname(file), name);
    const at = path.isAbsolute(name) ? name : named;
    try {
      const stat = statSync(at);
      if (!stat.isFile()) return { file: at, problem: 'it is no file' };
      // Of a larger one just enough for the compiler to refuse it.
      if (stat.size > MAX_FILE_BYTES)
        return { file: at, content: new Uint8Array(Math.min(stat.size, 2 ** 30)) };
      return { file: at, content: readFileSync(at) };
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      const message = error instanceof Error ? error.message : String(error);
      return { file: at, problem: code === 'ENOENT' ? 'there is no such file' : message };
    }
  };
}

import { readFileSync } from 'node:fs';
import path from 'node:path';

/** Version of Adit, from the package that this file lies in; `unnamed` when there is none. */
export function readBuild(): string {
  for (let folder = import.meta.dirname; ; folder = path.dirname(folder)) {
    try {
      const about = readFileSync(path.join(folder, 'package.json'), 'utf8');
      return String((JSON.parse(about) as { version: unknown }).version);
    } catch {
      if (path.dirname(folder) === folder) return 'unnamed';
    }
  }
}

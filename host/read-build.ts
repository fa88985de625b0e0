import { readFileSync } from 'node:fs';

/** Version of Adit, from the package that this file lies in; `unnamed` when there is none. */
export function readBuild(): string {
  for (const place of ['../package.json', '../../package.json']) {
    try {
      const { version } = JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8')) as {
        version: unknown;
      };
      return String(version);
    } catch {
      // The other place.
    }
  }
  return 'unnamed';
}

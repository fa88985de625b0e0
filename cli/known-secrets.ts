import { readFile } from 'node:fs/promises';
import type { Settings } from '../adapters/settings/settings.js';
import { readServices } from '../adapters/temporal-server/services-file.js';

/** Variables that name files whose content must never be shown. */
const SECRET_FILES = [
  'ADIT_PUBLISH_TOKEN_FILE',
  'ADIT_HOTKEY_PASSWORD_FILE',
  'ADIT_NOTIFY_SECRET_FILE',
];

export interface KnownSecrets {
  readonly literals: readonly string[];
  /** Files that are there and cannot be read, so that what they hold cannot be masked. */
  readonly unreadable: readonly string[];
}

/** The secrets that the settings name, those of the local networks of this state folder included. */
export async function readKnownSecrets(settings: Settings): Promise<KnownSecrets> {
  const literals = new Set<string>();
  const unreadable: string[] = [];
  for (const file of secretFiles(settings)) {
    try {
      const text = (await readFile(file, 'utf8')).trim();
      if (text !== '') literals.add(text);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') unreadable.push(file);
    }
  }
  return { literals: [...literals], unreadable };
}

/** Files whose content must never be shown. */
export function secretFiles(
  settings: Pick<
    Settings,
    'stateDir' | 'publishTokenFile' | 'hotkeyPasswordFile' | 'notifySecretFile'
  >,
): string[] {
  const files = new Set<string>();
  for (const file of [
    settings.publishTokenFile,
    settings.hotkeyPasswordFile,
    settings.notifySecretFile,
  ]) {
    if (file !== null) files.add(file);
  }
  for (const kind of ['dev', 'demo'] as const) {
    const variables = readServices(settings.stateDir, kind)?.variables ?? {};
    for (const name of SECRET_FILES) {
      const file = variables[name];
      if (file !== undefined) files.add(file);
    }
  }
  return [...files];
}

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { SETTING_VARIABLES } from '../../adapters/settings/settings.js';
import { SEARCH_ATTRIBUTES } from '../../workflows/contract.js';

interface Service {
  readonly image?: string;
  readonly environment?: Record<string, string>;
  readonly depends_on?: Record<string, { condition: string }>;
  readonly command?: readonly string[];
  readonly ports?: readonly string[];
  readonly secrets?: readonly string[];
}

// There is no container engine where these tests run: the file is read, not started.
const compose = parse(readFileSync(new URL('../../docker-compose.yml', import.meta.url), 'utf8'), {
  merge: true,
}) as {
  services: Record<string, Service>;
  configs: Record<string, { content: string }>;
  secrets: Record<string, { file: string }>;
};

describe('docker-compose.yml', () => {
  test('pins every image to an exact version', () => {
    const images = Object.values(compose.services).flatMap(({ image }) => image ?? []);
    expect(images).toContain('postgres:16');
    for (const image of images) expect(image).toMatch(/:\d+(\.\d+\.\d+)?$/);
  });

  test('waits only for services that it has', () => {
    for (const { depends_on: needs } of Object.values(compose.services)) {
      for (const name of Object.keys(needs ?? {}))
        expect(Object.keys(compose.services)).toContain(name);
    }
  });

  test('tunes the server as the embedded one is', () => {
    const tuning = parse(compose.configs['temporal-dynamic-config']?.content ?? '') as unknown;
    expect(tuning).toEqual({
      'history.transferProcessorMaxPollRPS': [{ value: 1000 }],
      'history.timerProcessorMaxTimeShift': [{ value: '10ms' }],
    });
  });

  test('creates the search attributes that a run uses', () => {
    const script = compose.services['temporal-namespace']?.command?.join('\n') ?? '';
    expect(script).toContain(SEARCH_ATTRIBUTES.join(' '));
    expect(script).toContain('--retention 90d');
  });

  test('gives the worker only settings that there are', () => {
    const ofWorker = ['TEMPORAL_ADDRESS', 'ADIT_START_HOST'];
    const known: string[] = [...Object.values(SETTING_VARIABLES), ...ofWorker];
    for (const name of Object.keys(compose.services['worker']?.environment ?? {}))
      expect(known).toContain(name);
  });

  test('gives the worker a file for each secret that a setting names', () => {
    const { environment = {}, secrets = [] } = compose.services['worker'] ?? {};
    expect(Object.keys(compose.secrets)).toEqual(secrets);
    for (const variable of [
      'ADIT_HOTKEY_FILE',
      'ADIT_HOTKEY_PASSWORD_FILE',
      'ADIT_PUBLISH_TOKEN_FILE',
    ]) {
      const secret = environment[variable]?.match(/\/run\/secrets\/([a-z-]+)\}?$/)?.[1] ?? '';
      expect(secrets).toContain(secret);
      expect(compose.secrets[secret]?.file).toMatch(new RegExp(`^\\$\\{${variable}:-`));
    }
  });

  test('leaves keys and settings out of the image, which is made of the whole folder', () => {
    const ignored = readFileSync(new URL('../../.dockerignore', import.meta.url), 'utf8').split(
      '\n',
    );
    for (const name of ['.env', '.git', 'adit.config.yaml', 'dist', 'node_modules'])
      expect(ignored).toContain(name);
    for (const { file } of Object.values(compose.secrets)) {
      const inside = file.match(/:-\.\/(.+)\}$/)?.[1];
      if (inside !== undefined) expect(ignored).toContain(inside);
    }
  });

  test('exposes nothing beyond this machine', () => {
    const ports = Object.values(compose.services).flatMap(({ ports: list }) => list ?? []);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
  });
});

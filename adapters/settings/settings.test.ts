import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadSettings, SETTING_VARIABLES, SettingsError } from './settings.js';
import { readFileSync } from 'node:fs';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'adit-settings-'));
});

afterAll(() => rmSync(folder, { recursive: true }));

const withFile = (
  content: string,
  env: NodeJS.ProcessEnv = {},
): ReturnType<typeof loadSettings> => {
  writeFileSync(path.join(folder, 'adit.config.yaml'), content);
  return loadSettings({ HOME: '/home/someone', ...env }, folder);
};

describe('settings', () => {
  test('come from the environment before the file, and from the file before the default', () => {
    const settings = withFile('coordinatorUrl: https://file.example\ntaskQueue: night\n', {
      ADIT_COORDINATOR_URL: 'https://env.example',
    });
    expect(settings).toMatchObject({
      coordinatorUrl: 'https://env.example',
      taskQueue: 'night',
      minFreeBytes: 1024 ** 3,
    });
  });

  test('spell an address in one way', () => {
    const { coordinatorUrl, poolUrl } = withFile('', {
      ADIT_COORDINATOR_URL: 'HTTPS://Env.Example:443/',
      ADIT_POOL_URL: 'https://pool.example//',
    });
    expect([coordinatorUrl, poolUrl]).toEqual(['https://env.example', 'https://pool.example']);
  });

  test.each(['coordinatorUrl', 'poolUrl', 'publishUrl'])(
    'refuse a user or password in %s, and do not show it',
    (name) => {
      expect(() => withFile(`${name}: https://miner:hunter2@one.example/x\n`)).toThrowError(
        `setting ${name}: an address must not hold a user or a password`,
      );
    },
  );

  test('say how effects settle and what limits them', () => {
    expect(withFile('')).toMatchObject({
      signatureWindowSeconds: 300,
      coordinatorLagSeconds: 30,
      maxSubmissionsPerDay: null,
      allowParallelRounds: false,
    });
    expect(
      withFile('allowParallelRounds: true\nmaxSubmissionsPerDay: 3\n', {
        ADIT_SIGNATURE_WINDOW_SECONDS: '60',
        ADIT_ALLOW_PARALLEL_ROUNDS: 'false',
      }),
    ).toMatchObject({
      signatureWindowSeconds: 60,
      maxSubmissionsPerDay: 3,
      allowParallelRounds: false,
    });
    for (const wrong of [
      'maxSubmissionsPerDay: 0',
      'allowParallelRounds: perhaps',
      'coordinatorLagSeconds: -1',
    ]) {
      expect(() => withFile(`${wrong}\n`)).toThrowError(`setting ${wrong.split(':')[0]}: `);
    }
  });

  test('resolve paths of the file beside the file', () => {
    expect(withFile('hotkeyFile: keys/miner\n').hotkeyFile).toBe(path.join(folder, 'keys/miner'));
  });

  test('keep state and cache under the home folder, or where XDG says', () => {
    expect(withFile('').stateDir).toBe('/home/someone/.local/state/adit');
    expect(withFile('', { XDG_CACHE_HOME: '/cache' }).cacheDir).toBe('/cache/adit');
  });

  test.each([
    ['coordinatorURL: https://x.example\n', /Unrecognized key: "coordinatorURL"/],
    ['- a list\n', /must hold a map of settings/],
    ['a: [\n', /adit\.config\.yaml: /],
    ['minFreeBytes: much\n', /setting minFreeBytes: /],
  ])('refuse the file %j with the place and a way out', (content, message) => {
    expect(() => withFile(content)).toThrowError(message);
    expect(() => withFile(content)).toThrowError(SettingsError);
  });

  test.each([
    ['', null],
    ['gpus: none\n', []],
    ['gpus: 0\n', ['0']],
    ['gpus: 0, GPU-8f6b\n', ['0', 'GPU-8f6b']],
    ['gpus: [0, 1]\n', ['0', '1']],
  ])('name devices: %j', (content, gpus) => {
    expect(withFile(content).gpus).toEqual(gpus);
  });

  test.each([
    ['0,,1', 'setting gpus: "" is no id of a device'],
    ['0, 0', 'setting gpus: a device is named twice'],
    ['$(x)', 'setting gpus: "$(x)" is no id of a device'],
  ])('refuse the devices %s', (text, message) => {
    expect(() => withFile('', { ADIT_GPUS: text })).toThrowError(message);
  });

  test('refuse a file that is named and does not exist', () => {
    expect(() => loadSettings({ ADIT_CONFIG: 'elsewhere.yaml' }, folder)).toThrowError(
      /elsewhere\.yaml does not exist/,
    );
  });

  test('are all in docs/operating.md', () => {
    const text = readFileSync(new URL('../../docs/operating.md', import.meta.url), 'utf8');
    for (const [name, variable] of Object.entries(SETTING_VARIABLES)) {
      expect(text).toMatch(new RegExp(`\\| \`${name}\` +\\| \`${variable}\` +\\|`));
    }
  });
});

describe('settings of hooks', () => {
  test('are an address, a list and names of events', () => {
    expect(withFile('')).toMatchObject({
      notifyUrl: null,
      notifySecretFile: null,
      notifyCommand: null,
      notifyEvents: null,
    });
    expect(
      withFile('notifyCommand: [/bin/tell, --loud]\nnotifySecretFile: keys/notify\n', {
        ADIT_NOTIFY_URL: 'https://hooks.example/T0/B0/token?x=1',
        ADIT_NOTIFY_EVENTS: 'parked, failed',
      }),
    ).toMatchObject({
      notifyUrl: 'https://hooks.example/T0/B0/token?x=1',
      notifySecretFile: path.join(folder, 'keys/notify'),
      notifyCommand: ['/bin/tell', '--loud'],
      notifyEvents: ['parked', 'failed'],
    });
    expect(
      withFile('', { ADIT_NOTIFY_COMMAND: '["tell", "a b"]', ADIT_NOTIFY_URL: 'http://[::1]:9/' }),
    ).toMatchObject({ notifyCommand: ['tell', 'a b'], notifyUrl: 'http://[::1]:9/' });
  });

  test.each([
    ['ADIT_NOTIFY_URL', 'http://token.example/x', 'setting notifyUrl: an address for notices is'],
    ['ADIT_NOTIFY_URL', 'https://me:token@one.example/', 'setting notifyUrl: an address for'],
    ['ADIT_NOTIFY_URL', 'token', 'setting notifyUrl: an address for notices is https'],
    ['ADIT_NOTIFY_COMMAND', 'tell token', 'setting notifyCommand: '],
    ['ADIT_NOTIFY_COMMAND', '[]', 'setting notifyCommand: a command is a list'],
    ['ADIT_NOTIFY_COMMAND', '["./token"]', 'setting notifyCommand: a command is a list'],
    ['ADIT_NOTIFY_COMMAND', '[3]', 'setting notifyCommand.0: '],
    ['ADIT_NOTIFY_EVENTS', 'parked,token', 'setting notifyEvents.1: '],
  ])('refuse %s=%s, and do not show it', (variable, value, message) => {
    expect(() => withFile('', { [variable]: value })).toThrowError(message);
    expect(() => withFile('', { [variable]: value })).not.toThrowError(/token/);
  });
});

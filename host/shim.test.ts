import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { shimOpening, shimWord, type ShimProgram } from './shim.js';

const SHELLS = [['/bin/sh'], ['bash'], ['busybox', 'sh']].filter(
  ([shell = '', ...applet]) => spawnSync(shell, [...applet, '-c', ':']).status === 0,
);

describe.each(SHELLS)('the script of a shim, read by %s', (shell, ...applet) => {
  // As when it is called sh.
  const posix = shell === 'bash' ? ['--posix'] : [];
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), "adit-shim it's "));
    for (const name of ['log', 'exit']) writeFileSync(file(name), name === 'exit' ? '    \n' : '');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const file = (name: string): string => path.join(folder, name);
  const read = (name: string): string => readFileSync(file(name), 'utf8');
  const word = (argv: readonly string[], changes: Partial<ShimProgram> = {}): string =>
    shimWord({ argv, cwd: folder, env: {}, log: file('log'), exit: file('exit'), ...changes });
  function feed(script: string): void {
    spawnSync(shell ?? '', [...applet, ...posix, '-s', 'shim'], {
      input: `${shimOpening('true')}${script}`,
      env: { ADIT_PROCESS_ID: 'marker' },
    });
  }
  /** What `env -0` prints, without what the shell itself adds. */
  function environment(text: string): { [name: string]: string } {
    const entries = text.split('\0').filter(Boolean);
    return Object.fromEntries(
      entries
        .map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)])
        .filter(([name]) => name !== '_' && name !== 'SHLVL'),
    ) as { [name: string]: string };
  }

  const AWKWARD = [
    '',
    ' a  b ',
    `it's "quoted" \\ $HOME \`id\` $(id)`,
    'two\nlines\n',
    '-n',
    '*?[a]~#;&|<>(){}!',
    // Bytes 0x80 to 0x9f, by some of which dash marks things for itself.
    Array.from({ length: 32 }, (_, index) => String.fromCodePoint(0xc0 + index)).join(''),
    '\u0001\u007F\t\r',
    'Žluťoučký кот 🐈',
  ];

  it('passes every argument as it is', () => {
    feed(word(['printf', '%s\\0', ...AWKWARD]));
    expect(read('log')).toBe(AWKWARD.map((text) => `${text}\0`).join(''));
    expect(read('exit')).toMatch(/^\{"code":0\}/);
  });

  it('gives the program its environment, whatever is in it, and nothing else', () => {
    const values = Object.fromEntries(AWKWARD.map((text, index) => [`V${index}`, text]));
    const env = { ...values, PATH: '/usr/bin:/bin', IFS: 'a', CDPATH: '/', PS4: 'x', OLDPWD: '/o' };
    feed(
      word(['env', '-0'], {
        env: { ...env, 'no.name': 'left out', '1st': 'left out', PWD: '/bogus' },
      }),
    );
    expect(environment(read('log'))).toEqual({ ...env, ADIT_PROCESS_ID: 'marker', PWD: folder });
  });

  it('is not kept from its work by a name that shells keep for themselves', () => {
    feed(
      word(['sh', '-c', 'exit 7'], {
        env: { PPID: '1', UID: '5', OPTIND: 'a b', SRANDOM: 'a b', PATH: '/usr/bin:/bin' },
      }),
    );
    expect(read('exit')).toMatch(/^\{"code":7\}/);
  });

  it('runs it in its directory, without input, and with none of its own descriptors', () => {
    mkdirSync(file('there'));
    const tell = 'cat; pwd; for fd in /proc/self/fd/*; do readlink "$fd"; done';
    feed(word(['/bin/sh', '-c', tell], { cwd: file('there') }));
    const [cwd, input, ...others] = read('log').split('\n');
    expect([cwd, input]).toEqual([file('there'), '/dev/null']);
    expect(others).not.toContain(file('exit'));
    feed(word(['/bin/sh', '-c', 'echo {forged} >&3']));
    expect(read('exit')).toMatch(/^\{"code":2\}/);
  });

  it('runs nothing when the word breaks off, wherever that is', () => {
    const whole = word(['touch', file('ran')], { env: { PATH: '/usr/bin:/bin' } });
    for (let length = 0; length < whole.length - 2; length += 1) {
      feed(whole.slice(0, length));
      if (existsSync(file('ran'))) throw new Error(`It ran after ${length} characters.`);
    }
    expect(read('exit')).toBe('    \n');
    feed(whole);
    expect(existsSync(file('ran'))).toBe(true);
  });

  it('tells the status of the shell for what cannot be run', () => {
    feed(word(['no-such-command-here']));
    expect(read('exit')).toMatch(/^\{"code":127\}/);
    feed(word([folder]));
    expect(read('exit')).toMatch(/^\{"code":126\}/);
  });

  it('leaves no status where the program never began', () => {
    feed(word(['true'], { cwd: file('none') }));
    expect(read('exit')).toBe('    \n');
  });
});

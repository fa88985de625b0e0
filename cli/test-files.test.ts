import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { until } from '../test/support/until.js';
import { runCommandLine } from './command-line.js';

let folder: string;
let out: string;
let err: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-test-'));
  out = '';
  err = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += String(text);
    return true;
  });
  await write(
    'a.yaml',
    'pipeline: a\nsteps: [{ id: ready, uses: round.preflight, if: "true" }, { stop: { reason: enough } }]\n',
  );
});

afterEach(async () => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  await rm(folder, { recursive: true, force: true });
});

async function write(name: string, text: string): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, text);
  return file;
}

const READY =
  'steps: { ready: { outputs: { hotkey: h, coordinator: c, recipient: r, checks: [] } } }\n';
const test = (name: string, expected: string): string =>
  `  - { name: ${name}, expect: "${expected}" }\n`;

describe('adit test', () => {
  it('says ok and exits 0 when all tests pass', async () => {
    const file = await write(
      'a.test.yaml',
      `${READY}tests:\n${test('it stops', "status == 'stopped'")}`,
    );
    expect(await runCommandLine(['test', file])).toBe(0);
    expect(out).toBe(`ok ${file}: 1 test\n`);
    expect(err).toMatch(/^1 passed \([\d.]+ s\)\n$/);
  });

  it('shows a test that fails, with the steps as they went, and exits 1', async () => {
    const file = await write(
      'a.test.yaml',
      `${READY}tests:\n${test('it stops', 'ran.ready')}${test('it goes on', "status == 'succeeded'")}`,
    );
    expect(await runCommandLine(['test', file])).toBe(1);
    expect(out).toBe(
      [
        'FAILED it goes on',
        `${file}:4:33: error: it is not so that status == 'succeeded' [NOT_AS_EXPECTED]`,
        `4 |   - { name: it goes on, expect: "status == 'succeeded'" }`,
        '  |                                 ~~~~~~~~~~~~~~~~~~~~~~~',
        '  = status is "stopped"',
        '  = the run ended as stopped at [1]: STOPPED: enough',
        '',
        '  the steps as they went:',
        '    ready  succeeded',
        '    [1]    stopped    STOPPED: enough',
        '',
        '',
      ].join('\n'),
    );
    expect(err).toContain('1 passed, 1 failed');
  });

  it('tells the mistakes of a file and exits 2; `adit check` tells the same', async () => {
    const file = await write('a.test.yaml', `tests:\n${test('it', 'ran.redy')}`);
    expect(await runCommandLine(['test', file])).toBe(2);
    expect(out).toContain(`${file}:2:30: error: the pipeline has no step \`redy\` [NAME_UNKNOWN]`);
    const told = out;
    out = '';
    expect(await runCommandLine(['check', file])).toBe(2);
    expect(out).toBe(told);
    await write('a.test.yaml', `${READY}tests:\n${test('it', 'ran.ready')}`);
    out = '';
    expect(await runCommandLine(['check', file])).toBe(0);
    expect(out).toBe(`ok ${file}\n`);
  });

  it('runs only the tests whose names have a text in them', async () => {
    const file = await write(
      'a.test.yaml',
      `${READY}tests:\n${test('it stops', 'true')}${test('other', 'false')}`,
    );
    expect(await runCommandLine(['test', file, '--filter', 'STOPS'])).toBe(0);
    expect(await runCommandLine(['test', file, '--filter', 'none'])).toBe(2);
    expect(err).toContain('No test has "none" in its name.');
  });

  it('runs a file once that is named twice, and asks for the files of a folder', async () => {
    const file = await write(
      'a.test.yaml',
      `${READY}tests:\n${test('it stops', "status == 'stopped'")}`,
    );
    const again = `${path.dirname(file)}/./a.test.yaml`;
    expect(await runCommandLine(['test', file, file, again])).toBe(0);
    expect(err).toMatch(/^1 passed/);
    err = '';
    expect(await runCommandLine(['test', path.dirname(file)])).toBe(2);
    expect(err).toContain(`Name test files in it, such as ${path.dirname(file)}/*.test.yaml.`);
  });

  it('runs the other tests when a file is not there, and exits 2', async () => {
    const file = await write(
      'a.test.yaml',
      `${READY}tests:\n${test('it stops', "status == 'stopped'")}`,
    );
    const none = path.join(path.dirname(file), 'none.test.yaml');
    expect(await runCommandLine(['test', none, file])).toBe(2);
    expect(out).toContain(`ok ${file}: 1 test`);
    expect(err).toContain(`The test file ${none} cannot be read: there is no such file.`);
  });

  it('refuses a pipeline, and names its test file', async () => {
    expect(await runCommandLine(['test', path.join(folder, 'a.yaml')])).toBe(2);
    expect(err).toContain('a.yaml is no test file');
    expect(err).toContain('a.test.yaml');
  });

  it('gives results as JSON, with the steps and the failures', async () => {
    const file = await write('a.test.yaml', `${READY}tests:\n${test('it', 'starts.ready == 2')}`);
    expect(await runCommandLine(['test', file, '--json'])).toBe(1);
    expect(JSON.parse(out)).toEqual({
      ok: false,
      passed: 0,
      failed: 1,
      files: [
        {
          file,
          diagnostics: [],
          tests: [
            {
              name: 'it',
              ok: false,
              failures: [
                {
                  code: 'NOT_AS_EXPECTED',
                  message: 'it is not so that starts.ready == 2',
                  details: [
                    'starts.ready is 1',
                    'the run ended as stopped at [1]: STOPPED: enough',
                  ],
                  line: 3,
                  column: 25,
                  endLine: 3,
                  endColumn: 44,
                },
              ],
              status: 'stopped',
              error: { code: 'STOPPED', message: 'enough', step: '[1]' },
              outputs: {},
              steps: [
                expect.objectContaining({ path: 'ready', status: 'succeeded', attempts: 1 }),
                expect.objectContaining({ path: '[1]', uses: 'stop', status: 'stopped' }),
              ],
              order: ['ready'],
              seconds: 0,
            },
          ],
        },
      ],
    });
  });

  it('writes JUnit XML that a parser reads, whatever stands in names and messages', async () => {
    const hostile = '\'<a> & ]]> \\u0001 \\ud800 \\"q\\" ü\'';
    const file = await write(
      'a.test.yaml',
      `${READY}tests:\n  - { name: "${hostile}", expect: "status == 'failed' && error.message != '<&>'" }\n${test('fine', 'true')}`,
    );
    const broken = await write('b.test.yaml', 'pipeline: a.yaml\ntests: []\n');
    const xml = path.join(folder, 'out.xml');
    expect(await runCommandLine(['test', file, broken, '--junit', xml])).toBe(2);
    const { stdout } = await promisify(execFile)('python3', ['-c', READ_JUNIT, xml]);
    expect(JSON.parse(stdout)).toEqual({
      suites: { tests: '3', failures: '1', errors: '1' },
      names: [`'<a> & ]]> \ufffd \ufffd "q" ü'`, 'fine', 'the file has no mistake'],
      kinds: ['failure', '', 'error'],
      texts: [
        expect.stringContaining("error.message != '<&>'"),
        '',
        expect.stringContaining('b.test.yaml:2:8'),
      ],
    });
    expect(await readFile(xml, 'utf8')).toMatch(/^<\?xml version="1.0" encoding="UTF-8"\?>\n/);
    expect(await runCommandLine(['test', file, '--junit', path.join(folder, 'no/out.xml')])).toBe(
      2,
    );
    expect(err).toContain('The results cannot be written');
  });

  it('watches the files that the pipeline calls too', async () => {
    await write('called.yaml', 'pipeline: called\nsteps: [{ stop: { reason: enough } }]\n');
    await write('calls.yaml', 'pipeline: calls\nsteps: [{ id: gate, pipeline: ./called.yaml }]\n');
    const file = await write('calls.test.yaml', `tests:\n${test('it', "status == 'stopped'")}`);
    const watching = runCommandLine(['test', file, '--watch']);
    const watched = (count: number): Promise<true> =>
      until(`run ${count}`, () => err.split('watching 3 files').length > count || undefined);
    await watched(1);
    expect(out).toBe(`ok ${file}: 1 test\n`);
    await write('called.yaml', 'pipeline: called\nsteps: [{ wait: 1m }]\n');
    await watched(2);
    expect(out).toContain('FAILED it');
    await write('called.yaml', 'pipeline: called\nsteps: [{ wait: x }]\n');
    await watched(3);
    expect(out).toContain('called.yaml:2:17: error:');
    process.emit('SIGTERM', 'SIGTERM');
    expect(await watching).toBe(130);
  });

  it('watches: runs again when the tests change, when the pipeline changes, and over a broken file', async () => {
    const file = await write('a.test.yaml', `${READY}tests:\n${test('it', 'true')}`);
    const watching = runCommandLine(['test', file, '--watch']);
    const watched = (count: number): Promise<true> =>
      until(`run ${count}`, () => err.split('watching 2 files').length > count || undefined);
    await watched(1);
    expect(out).toBe(`ok ${file}: 1 test\n`);
    await write('a.test.yaml', `${READY}tests:\n${test('it', 'false')}`);
    await watched(2);
    expect(out).toContain('FAILED it');
    await rm(file);
    await watched(3);
    expect(err).toContain('cannot be read: there is no such file');
    await write('a.test.yaml', `${READY}tests:\n${test('it', 'ran.ready')}`);
    await watched(4);
    await write('a.yaml', 'pipeline: a\nsteps: [{ id: redy, uses: round.preflight }]\n');
    await watched(5);
    expect(out).toContain('the pipeline has no step `ready`');
    process.emit('SIGTERM', 'SIGTERM');
    expect(await watching).toBe(130);
  });
});

const READ_JUNIT = `
import json, sys, xml.etree.ElementTree as E
root = E.parse(sys.argv[1]).getroot()
cases = list(root.iter('testcase'))
bad = lambda c: next(iter(c), None)
print(json.dumps({
  'suites': {k: root.get(k) for k in ('tests', 'failures', 'errors')},
  'names': [c.get('name') for c in cases],
  'kinds': ['' if bad(c) is None else bad(c).tag for c in cases],
  'texts': ['' if bad(c) is None else bad(c).text for c in cases],
}))
`;

import { describe, expect, it } from 'vitest';
import { CliFailure, isLostServer, toPrintedFailure } from './failure.js';
import { clean, cleanLines, wantsColor } from './output.js';
import { table } from './table.js';

describe('printing', () => {
  it('uses colours only at a terminal, and never where NO_COLOR is set', () => {
    expect(wantsColor({ isTTY: true }, {})).toBe(true);
    expect(wantsColor({ isTTY: true }, { NO_COLOR: '1' })).toBe(false);
    expect(wantsColor({ isTTY: true }, { TERM: 'dumb' })).toBe(false);
    expect(wantsColor({}, { CI: 'true', FORCE_COLOR: '1' })).toBe(false);
  });

  it("takes terminal escapes out of a stranger's text", () => {
    // oxlint-disable-next-line no-control-regex
    expect(clean('\u001b]0;owned\u0007 red\u001b[31m\r\nnext')).not.toMatch(/[\u0000-\u001f]/);
    expect(cleanLines('one\u001b[2J\ntwo').split('\n')).toHaveLength(2);
  });

  it('aligns columns by what is seen, colours and wide characters included', () => {
    const drawn = table([
      ['\u001b[32mok\u001b[39m', 'first'],
      ['failed', '二'],
      ['', 'x', 'last'],
    ]);
    // oxlint-disable-next-line no-control-regex
    expect(drawn.replace(/\u001b\[\d+m/g, '').split('\n')).toEqual([
      'ok      first',
      'failed  二',
      '        x      last',
    ]);
  });
});

describe('a failure', () => {
  it('is printed as it is when it is meant for people', () => {
    expect(toPrintedFailure(new CliFailure('RUN_NOT_FOUND', 'There is no run.'))).toEqual({
      code: 'RUN_NOT_FOUND',
      message: 'There is no run.',
      hint: '',
      exitCode: 1,
    });
  });

  it('is called a defect when nobody meant it for people', () => {
    expect(toPrintedFailure(new TypeError('x is not a function'))).toMatchObject({
      code: 'INTERNAL',
      message: 'Unexpected: x is not a function',
      exitCode: 1,
    });
  });

  it('is exit code 5 when the server went away in the middle of a command', () => {
    const lost = Object.assign(new Error('14 UNAVAILABLE: No connection'), {
      code: 14,
      details: 'No connection',
    });
    expect(isLostServer(new Error('Failed to describe', { cause: lost }))).toBe(true);
    expect(toPrintedFailure(new Error('Failed to describe', { cause: lost })).exitCode).toBe(5);
    expect(isLostServer(Object.assign(new Error('nope'), { code: 5, details: 'not found' }))).toBe(
      false,
    );
  });
});

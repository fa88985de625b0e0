import { describe, expect, it } from 'vitest';
import { toEnd, type EndFacts } from './program-end.js';

describe('the end of a program', () => {
  const facts = (changes: Partial<EndFacts>): EndFacts => ({
    exit: null,
    intent: null,
    owner: { startedAtMs: 1_000 },
    metrics: {},
    oomGrew: false,
    lastAliveAtMs: null,
    ...changes,
  });
  const exit = (code: number) => ({ code, endedAtMs: 5_000 });
  const intent = (cause: 'rule' | 'deadline' | 'limit') => ({ version: 2, marker: 'm', cause });

  it.each([
    ['an exit', { exit: exit(3) }, { cause: 'exited', code: 3 }],
    ['a signal', { exit: exit(139) }, { cause: 'signalled', signal: 'SIGSEGV' }],
    ['KILL', { exit: exit(137) }, { cause: 'signalled', signal: 'SIGKILL' }],
    [
      'KILL while memory was short',
      { exit: exit(137), oomGrew: true },
      { cause: 'outOfMemory', signal: 'SIGKILL' },
    ],
    ['TERM while memory was short', { exit: exit(143), oomGrew: true }, { cause: 'signalled' }],
    ['a status that is no signal', { exit: exit(255) }, { cause: 'exited', code: 255 }],
    ['nothing recorded', {}, { cause: 'lost' }],
    ['an exit after a rule', { exit: exit(0), intent: intent('rule') }, { cause: 'rule', code: 0 }],
    [
      'the KILL of a deadline, while memory was short',
      { exit: exit(137), intent: intent('deadline'), oomGrew: true },
      { cause: 'deadline', signal: 'SIGKILL' },
    ],
    ['a rule, and nothing recorded', { intent: intent('rule') }, { cause: 'rule' }],
  ])('is told by its records: %s', (_what, changes, end) => {
    expect(toEnd(facts(changes))).toMatchObject(end);
  });

  it('is at the time that the shim wrote it, else when the program was last seen alive', () => {
    expect(toEnd(facts({ exit: exit(0), lastAliveAtMs: 9_000 })).endedAtMs).toBe(5_000);
    expect(toEnd(facts({ lastAliveAtMs: 9_000 })).endedAtMs).toBe(9_000);
  });

  it('is never before the host decided it: the time of a file comes a tick late', () => {
    const decided = { ...intent('limit'), decidedAtMs: 5_003 };
    expect(toEnd(facts({ exit: exit(143), intent: decided })).endedAtMs).toBe(5_003);
    expect(toEnd(facts({ exit: exit(143), intent: intent('limit') })).endedAtMs).toBe(5_000);
    const forged = { ...intent('limit'), ...(JSON.parse('{"decidedAtMs":"soon"}') as object) };
    expect(toEnd(facts({ exit: exit(143), intent: forged })).endedAtMs).toBe(5_000);
  });

  it('is never before its beginning, although the clock was set back', () => {
    expect(toEnd(facts({ lastAliveAtMs: 500 }))).toMatchObject({
      startedAtMs: 1_000,
      endedAtMs: 1_000,
    });
  });
});

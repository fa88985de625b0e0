import { expect, test } from 'vitest';
import type { RunFacts } from '../../rehearse/facts.js';
import { readSchedule, scheduleText, type Schedule } from '../../rehearse/schedule.js';
import type { Played } from './play.js';
import { sweep } from './sweep.js';

const FACTS: RunFacts = {
  end: { status: 'succeeded', code: null },
  steps: [],
  effects: [],
  claims: [],
  submissions: [],
  counted: {},
  programs: [],
  left: 0,
};
const WITHOUT: Played = {
  facts: FACTS,
  broken: [],
  fired: [],
  trace: [],
  prefix: [],
  openBecause: null,
  tookMs: 1,
};

const of = (text: string): Schedule => {
  const read = readSchedule(text);
  if ('problem' in read) throw new Error(read.problem);
  return read.schedule;
};
const LOST = 'drop_reply@reply:coordinator:POST:/a:1';
const KILLED = 'kill_worker@record:ended:a:1';
const SERVER = 'restart_server@record:ended:a:1';

interface Swept {
  readonly verdicts: { readonly [schedule: string]: string };
  readonly shortest: readonly string[];
  /** What was played, in order. */
  readonly order: readonly string[];
  /** Most at one time. */
  readonly most: number;
  /** Most of those that kill the server at one time. */
  readonly mostKillers: number;
}

/** No processes: what a schedule comes to is said by its text. */
async function run(
  texts: readonly string[],
  outcome: (text: string) => Partial<Played>,
): Promise<Swept> {
  const order: string[] = [];
  const playing = { now: 0, most: 0, killers: 0, mostKillers: 0 };
  const { judged, failures } = await sweep(texts.map(of), {
    without: () => WITHOUT,
    jobs: 2,
    play: async (schedule) => {
      const text = scheduleText(schedule);
      order.push(text);
      playing.now += 1;
      if (text.includes('restart_server')) playing.killers += 1;
      playing.most = Math.max(playing.most, playing.now);
      playing.mostKillers = Math.max(playing.mostKillers, playing.killers);
      await new Promise((resolve) => setImmediate(resolve));
      playing.now -= 1;
      if (text.includes('restart_server')) playing.killers -= 1;
      return { ...WITHOUT, fired: schedule, ...outcome(text) };
    },
    onJudged: () => {},
    signal: new AbortController().signal,
  });
  return {
    verdicts: Object.fromEntries(
      judged.map(({ schedule, verdict }) => [scheduleText(schedule), verdict]),
    ),
    shortest: failures.map((failure) => scheduleText(failure.shortest)),
    order,
    most: playing.most,
    mostKillers: playing.mostKillers,
  };
}

test('a run is right only if its fault happened, and broken if it could not be played', async () => {
  const { verdicts } = await run([LOST, KILLED, SERVER], (text) => {
    if (text === SERVER) throw new Error('no port');
    return text === KILLED ? { fired: [] } : {};
  });
  expect(verdicts).toEqual({ [LOST]: 'right', [KILLED]: 'missed', [SERVER]: 'broken' });
});

test("a rule of the author's own that is broken is wrong as any other", async () => {
  const broken = [{ rule: 'mine', message: 'It is not so.' }];
  const { verdicts, shortest } = await run([`${KILLED}+${LOST}`], (text) =>
    text.includes(LOST) ? { broken } : {},
  );
  expect(verdicts).toEqual({ [`${KILLED}+${LOST}`]: 'wrong' });
  expect(shortest).toEqual([LOST]);
});

test('what is wrong counts although a fault did not happen', async () => {
  const { verdicts } = await run([LOST], () => ({
    facts: { ...FACTS, end: null },
    fired: [],
    openBecause: 'it waits for a person at a',
  }));
  expect(verdicts).toEqual({ [LOST]: 'wrong' });
});

test('runs go side by side, but those that kill the server one after the other, among themselves', async () => {
  const again = SERVER.replace(/1$/, '2');
  const { order, most, mostKillers } = await run([LOST, SERVER, KILLED, again], () => ({}));
  expect(order).toEqual([SERVER, LOST, again, KILLED]);
  expect({ most, mostKillers }).toEqual({ most: 2, mostKillers: 1 });
});

test('of a pair that is wrong the part that is wrong alone is told, and not played again', async () => {
  const wrong = (text: string): Partial<Played> =>
    text.includes(LOST) ? { facts: { ...FACTS, counted: { a: 2 } } } : {};
  const alone = await run([`${KILLED}+${LOST}`], wrong);
  expect(alone.shortest).toEqual([LOST]);
  const known = await run([LOST, KILLED, `${KILLED}+${LOST}`], wrong);
  expect(known.shortest).toEqual([LOST, LOST]);
  expect(known.order).toHaveLength(3);
});

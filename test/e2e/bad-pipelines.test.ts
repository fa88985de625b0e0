/** Each pipeline in pipelines/bad has one fault in its design: the sweep finds it, and the schedule told shows it again. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadSettings } from '../../adapters/settings/settings.js';
import { loadPipeline } from '../../cli/load-plan.js';
import { playSchedule } from '../../cli/rehearsal/play.js';
import { readRehearsalFile, rehearsalFileOf } from '../../cli/rehearsal/rehearsal-file.js';
import { openStage, type Stage } from '../../cli/rehearsal/stage.js';
import { sweep } from '../../cli/rehearsal/sweep.js';
import { readSchedule, scheduleText } from '../../rehearse/schedule.js';
import { isRehearsalFile } from '../../testing/rehearsal-file.js';
import { PACKAGE_ROOT } from '../support/local-network.js';

const FOLDER = path.join(PACKAGE_ROOT, 'pipelines', 'bad');
const LONG_MS = 400_000;
const LOST = 'drop_reply@reply:coordinator:POST:/effects/:name:1';

/** The schedule that shows what is wrong with it, and the rules that it breaks then. */
const BAD: { readonly [name: string]: readonly [schedule: string, ...rules: string[]] } = {
  'again-in-catch': [LOST, 'acts_once'],
  'asks-at-night': ['unavailable@request:coordinator:GET:/api/v1/tasks:1', 'ended'],
  'blind-repeat': [LOST, 'acts_once'],
  'key-per-try': [LOST, 'right_effects'],
  'no-second-try': ['drop_request@request:coordinator:GET:/api/v1/tasks:1', 'right_end'],
  swallowed: ['unavailable@request:coordinator:POST:/effects/:name:1', 'right_effects'],
  'two-in-one': ['drop_request@request:coordinator:POST:/effects/:name:2', 'acts_once'],
  'until-done': [LOST, 'acts_once', 'right_starts'],
};

const ended = new AbortController();
let stage: Stage;

beforeAll(async () => {
  const { cacheDir } = loadSettings(process.env, PACKAGE_ROOT);
  const { signal } = ended;
  stage = await openStage({ cacheDir, env: process.env, onProgress: () => {}, signal });
});

afterAll(async () => {
  await stage.close();
});

test('each of them has its schedule here', () => {
  const names = readdirSync(FOLDER).filter((name) => !isRehearsalFile(name));
  expect(names.map((name) => path.basename(name, '.yaml')).sort()).toEqual(Object.keys(BAD));
});

test.each(Object.entries(BAD))(
  '%s is caught',
  async (name, [text, ...rules]) => {
    const file = path.join(FOLDER, `${name}.yaml`);
    const loaded = await loadPipeline(file);
    const rehearsal = await readRehearsalFile(rehearsalFileOf(file), loaded);
    const read = readSchedule(text);
    if (rehearsal === null || 'problem' in read) throw new Error(`${name} cannot be played`);
    const playing = stage.for(loaded, rehearsal);
    const without = await playSchedule([], playing);
    const { judged, failures } = await sweep([read.schedule], {
      without: () => without,
      play: (schedule) => playSchedule(schedule, playing),
      jobs: 1,
      onJudged: () => {},
      signal: ended.signal,
    });
    expect(judged.map(({ verdict, problem }) => [verdict, problem])).toEqual([['wrong', null]]);
    expect(judged[0]?.violations.map((violation) => violation.rule)).toEqual(rules);
    expect(failures.map(({ shortest }) => scheduleText(shortest))).toEqual([text]);
  },
  LONG_MS,
);

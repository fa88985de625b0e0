/** What a pipeline file says about a whole run: its `deadline`, and which events hooks are told. */
import { NOTICE_EVENTS, type NoticeEvent } from '../core/notice.js';
import type { Plan } from '../core/plan.js';
import type { MapReader } from './read-map.js';
import { suggest } from './suggest.js';

export type RunTerms = Pick<Plan, 'deadlineMs' | 'notify'>;

/** A server takes no timer without an end. */
const LONGEST_DEADLINE = {
  ms: 365 * 24 * 60 * 60 * 1_000,
  text: '365d',
  hint: 'without one a run may take any time',
};

export function parseRunTerms(pipeline: MapReader): RunTerms {
  const deadlineMs = pipeline.duration('deadline', LONGEST_DEADLINE);
  const notify = parseNotify(pipeline);
  return {
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
    ...(notify === undefined ? {} : { notify }),
  };
}

function parseNotify(pipeline: MapReader): NoticeEvent[] | undefined {
  const node = pipeline.get('notify');
  if (node === undefined) return undefined;
  if (node.kind !== 'list') {
    pipeline.invalid(
      node,
      '`notify` is a list of events',
      'for instance `notify: [parked, approval, failed]`; where hooks are is for the settings to say',
    );
    return undefined;
  }
  const events = new Set<NoticeEvent>();
  for (const item of node.items) {
    const text = item.kind === 'scalar' ? String(item.value) : '';
    const event = NOTICE_EVENTS.find((known) => known === text);
    if (event === undefined) {
      const near = suggest(text, NOTICE_EVENTS);
      pipeline.invalid(
        item,
        text === '' ? 'an event is a word' : `\`${text}\` is no event of a run`,
        near === null ? `events are ${NOTICE_EVENTS.join(', ')}` : `did you mean \`${near}\`?`,
      );
    } else if (events.has(event)) {
      pipeline.invalid(item, `\`${event}\` stands here twice`, 'remove one');
    } else {
      events.add(event);
    }
  }
  return [...events];
}

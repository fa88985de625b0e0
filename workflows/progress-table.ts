import type { RunView, StepView } from '../core/run-view.js';

const MARKS = {
  pending: '·',
  running: '▶',
  parked: '⏸',
  succeeded: '✓',
  failed: '✗',
  stopped: '■',
  skipped: '–',
  cancelled: '⊘',
} as const;

/** Longest text that Temporal keeps as a run's current details, with room for its encoding. */
const MAX_LENGTH = 12_000;

/** Most steps that wait for something and are told above the table. */
const MAX_WAITS = 10;

/** The run as a Markdown table, for the Temporal UI. */
export function progressTable(view: RunView): string {
  const reached = view.steps.filter(
    // A condition that did not stop the run is no news.
    ({ status, uses }) => status !== 'pending' && !(status === 'skipped' && uses === 'stop'),
  );
  const rows = reached.map(
    (step) =>
      `| ${MARKS[step.status]} | ${step.path} | ${step.uses} | ${step.status} | ${step.attempts || ''} | ${step.error?.code ?? ''} |`,
  );
  const waits = view.steps.flatMap(waitLine);
  const pending = view.steps.filter(({ status }) => status === 'pending').length;
  const head = [
    `**${view.pipeline}** ${statusWords(view)}.`,
    ...(view.error === undefined
      ? []
      : ['', `**${view.error.code}** ${plain(view.error.message)}`]),
    ...(waits.length === 0 ? [] : ['', ...waits.slice(0, MAX_WAITS)]),
    ...(waits.length > MAX_WAITS ? [`- and ${waits.length - MAX_WAITS} more`] : []),
    '',
    '| | step | type | status | tries | error |',
    '|---|---|---|---|---|---|',
  ].join('\n');
  const tail = pending === 0 ? '' : `\n\n${pending} more to come.`;
  let first = 0;
  let length = head.length + tail.length + rows.reduce((sum, row) => sum + row.length + 1, 0);
  while (length > MAX_LENGTH && first < rows.length) length -= (rows[first++]?.length ?? 0) + 1;
  return `${head}\n${rows.slice(first).join('\n')}${tail}`;
}

/** What a step waits for that somebody can do something about. */
function waitLine({ path, error, note, decide, approval }: StepView): string[] {
  if (decide === undefined) return note === undefined ? [] : [`- ${path}: ${plain(note)}`];
  if (approval !== undefined)
    return [
      `- ${path} ${plain(note ?? 'waits for approval')}. Look at it with \`adit ${decide}\`.`,
    ];
  const what = error === undefined ? '' : `: **${error.code}** ${plain(error.message)}`;
  const until = note === undefined ? '' : ` (${plain(note)})`;
  return [`- ${path} asks a person${until}${what} Decide with \`adit ${decide}\`.`];
}

function statusWords({ status, stage }: RunView): string {
  if (status === 'succeeded') return status;
  return `${status === 'running' ? 'is running' : status}${stage === '' ? '' : `, at ${stage}`}`;
}

function plain(text: string): string {
  return text.replace(/[|\r\n]+/g, ' ').slice(0, 500);
}

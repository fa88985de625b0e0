import Table from 'cli-table3';

const FRAME = [
  'top',
  'top-mid',
  'top-left',
  'top-right',
  'bottom',
  'bottom-mid',
  'bottom-left',
  'bottom-right',
  'left',
  'left-mid',
  'mid',
  'mid-mid',
  'right',
  'right-mid',
];

/** Rows in aligned columns, without a frame; colours and wide characters are measured as they are seen. */
export function table(rows: readonly (readonly string[])[]): string {
  const frameless = Object.fromEntries(FRAME.map((part) => [part, '']));
  const drawn = new Table({
    chars: { ...frameless, middle: '  ' },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  const width = Math.max(0, ...rows.map((row) => row.length));
  for (const row of rows)
    drawn.push(Array.from({ length: width }, (_, column) => row[column] ?? ''));
  return drawn
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** What an approval shows and asks, for a person. All of it may be a stranger's text. */
import { printFields, type AnswerField } from '../core/answer-fields.js';
import { isJsonObject, type Json } from '../core/json.js';
import type { ApprovalView } from '../workflows/contract.js';
import { clean, paint, print } from './output.js';
import { quoted } from './parked-steps.js';
import { createPrintableOutput } from './printable-output.js';
import { toFileRef, type ShownFile } from './shown-files.js';

/** Most lines that are printed of one value or file. */
const MAX_LINES = 200;

/** A file as it was read, or why it cannot be shown. */
export type FileOrProblem = ShownFile | { readonly name: string; readonly problem: string };

export function printApproval(
  { asked, state }: ApprovalView,
  files: readonly FileOrProblem[],
  { command, mask }: { readonly command: string; readonly mask: (text: string) => string },
): void {
  if (asked.summary !== null) printText(asked.summary, '  ');
  for (const [name, value] of Object.entries(asked.show)) {
    print();
    printValue(name, value);
    for (const file of files) {
      if (isWithin(file.name, name)) printFile(file, command, mask);
    }
  }
  print();
  for (const field of asked.fields) printField(field);
  for (const { by, at, reason } of state.approved) {
    const why = reason === undefined ? '' : `: ${clean(reason)}`;
    print(`  approved by ${clean(by)} at ${clean(at)}${why}`);
  }
  if (state.fields !== undefined && asked.fields.length > 0)
    print(
      `  who approved has answered ${clean(JSON.stringify(state.fields), 2_000)}; all answer alike`,
    );
  if (state.quorum > 1)
    print(
      `  ${state.quorum - state.approved.length} more of ${state.quorum} must approve; names are by people's own word`,
    );
  if (state.expiresAt !== undefined) print(`  until ${clean(state.expiresAt)}`);
  print(`  digest ${state.digest}`);
}

/** Members of a value are named behind it: `patch.file`, `files[0]`. */
function isWithin(fileName: string, name: string): boolean {
  return fileName === name || ['.', '['].some((next) => fileName.startsWith(`${name}${next}`));
}

function printValue(name: string, value: Json): void {
  const ref = toFileRef(value);
  if (ref !== null) {
    print(`  ${paint.bold(clean(name))}: a file of ${ref.sizeBytes} bytes, ${ref.sha256}`);
    return;
  }
  const isBlock = Array.isArray(value) || isJsonObject(value);
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, isBlock ? 2 : 0);
  if (!text.includes('\n') && text.length <= 300) {
    print(`  ${paint.bold(clean(name))}: ${printable(Buffer.from(text))}`);
    return;
  }
  print(`  ${paint.bold(clean(name))}:`);
  printText(text, '    ');
}

function printFile(file: FileOrProblem, command: string, mask: (text: string) => string): void {
  const name = paint.dim(clean(file.name));
  if ('problem' in file) {
    print(`  ${name}: ${paint.red('cannot be shown:')} ${clean(file.problem)}`);
    return;
  }
  const { head, ref } = file;
  const whole = `${command} --file ${quoted(clean(file.name))}`;
  if (head.includes(0)) {
    print(`  ${name} is no text; all of it: ${whole}`);
    return;
  }
  print(`  ${name}, compared with its digest:`);
  const cut = printText(mask(head.toString('utf8')), '  │ ');
  if (cut || head.length < ref.sizeBytes) print(`  … there is more of it: ${whole}`);
}

/** True when there was more than is printed. */
function printText(text: string, margin: string): boolean {
  const lines = printable(Buffer.from(text)).replace(/\n$/, '').split('\n');
  for (const line of lines.slice(0, MAX_LINES)) print(`${margin}${line}`);
  if (lines.length <= MAX_LINES) return false;
  print(`${margin}… ${lines.length - MAX_LINES} more lines`);
  return true;
}

function printable(bytes: Buffer): string {
  const output = createPrintableOutput();
  return output.push(bytes) + output.end();
}

function printField(field: AnswerField): void {
  const { summary, default: instead } = field;
  const other = instead === undefined ? '' : `, else ${clean(JSON.stringify(instead), 200)}`;
  const what = summary === '' ? '' : `: ${clean(summary)}`;
  print(`  field ${clean(printFields([field]))}${other}${what}`);
}

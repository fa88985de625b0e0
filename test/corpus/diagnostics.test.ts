/**
 * docs/diagnostics.md is true: every example in it is compiled, and every command in it is bound. Its head says how a
 * section is built.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { STEP_TYPES } from '../../activities/registry.js';
import { bindPipeline, type GivenInput } from '../../compiler/bind.js';
import { compilePipeline, sourceOf } from '../../compiler/compile.js';
import {
  DIAGNOSTIC_CODES,
  printDiagnostic,
  type Diagnostic,
  type Source,
} from '../../compiler/diagnostic.js';
import type { PipelineFiles } from '../../compiler/pipeline-files.js';
import { readSections, type Example, type Section } from './read-sections.js';

const text = readFileSync(join(import.meta.dirname, '../../docs/diagnostics.md'), 'utf8');
const sections = readSections(text);

const NUMBERS = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven'];

/** Files of commands that are too large, too many, or too odd, to be shown. */
const MADE: ReadonlyMap<string, string | Uint8Array> = new Map<string, string | Uint8Array>([
  // Each calls the next.
  ...NUMBERS.map((name, at): [string, string] => {
    const next = NUMBERS[at + 1];
    const step = next === undefined ? 'wait: 1s' : `pipeline: ./${next}.yaml`;
    return [`${name}.yaml`, `pipeline: ${name}\nsteps:\n  - ${step}\n`];
  }),
  ['small.yaml', 'pipeline: small\nsteps:\n  - { wait: 1s }\n'],
  ['huge.yaml', `pipeline: huge\nsteps:\n  - { wait: 1s }\n# ${'x'.repeat(1024 * 1024)}`],
  ['utf16.yaml', Buffer.from('\ufeffpipeline: small\nsteps:\n  - { wait: 1s }\n', 'utf16le')],
  [
    'deep.yaml',
    `pipeline: deep\nsteps:\n  - { wait: 1s }\noutputs:\n  tree: ${'{a: '.repeat(200)}1${'}'.repeat(200)}\n`,
  ],
  ['notes.txt', 'x'.repeat(512 * 1024)],
]);

function print(diagnostics: readonly Diagnostic[], source: Source): string {
  return diagnostics.map((diagnostic) => printDiagnostic(diagnostic, source)).join('\n');
}

/** How a plan is written may change without a change of the document. */
function withoutPlanSize(text: string): string {
  return text.replaceAll(/a plan of \d+ bytes/g, 'a plan of so many bytes');
}

/** The files that a section shows, and those that are made, in one folder. */
function filesOf({ files }: Section): PipelineFiles {
  return {
    identify: (file) => file,
    read: (name) => {
      const file = name.replace(/^\.\//, '');
      const content = files.get(file) ?? MADE.get(file);
      if (content === undefined) return { problem: 'there is no such file', near: [...files.keys()] };
      return { identity: file, file, content: new TextEncoder().encode(String(content)), sha256: '0'.repeat(64) };
    },
  };
}

/** What a command shows of the diagnostics of its file and its inputs. */
function runCommand(command: string, section: Section): string {
  const { files } = section;
  const [, file = '', rest = ''] = /^adit (?:check|run) (\S+)(.*)$/.exec(command) ?? [];
  const content = (name: string): string | Uint8Array => {
    const found = files.get(name) ?? MADE.get(name);
    if (found === undefined) throw new Error(`The document shows no ${name}.`);
    return found;
  };
  const compiled = compilePipeline(content(file), file, STEP_TYPES, filesOf(section));
  if (compiled.pipeline === null)
    return compiled.diagnostics
      .map((diagnostic) => printDiagnostic(diagnostic, sourceOf(compiled, diagnostic)))
      .join('\n');
  const inputs = new Map<string, GivenInput>();
  for (const [, name = '', quoted, bare = ''] of rest.matchAll(/--input (\w+)=(?:'([^']*)'|(\S+))/g)) {
    const given = quoted ?? bare;
    inputs.set(name, { text: given.startsWith('@') ? String(content(given.slice(1))) : given });
  }
  const { source } = compiled;
  const binding = { inputs, network: { coordinator: '', hotkey: '' }, sourceSha256: '0'.repeat(64), source };
  return print(bindPipeline(compiled.pipeline, binding).diagnostics, source);
}

/** An example is the file `round.yaml`, where another file of its section calls it. */
function codesOf({ content }: Example, section: Section): string[] {
  const files = new Map([...section.files, ['round.yaml', content]]);
  const compiled = compilePipeline(content, 'round.yaml', STEP_TYPES, filesOf({ ...section, files }));
  return compiled.diagnostics.map(({ code }) => code);
}

describe('docs/diagnostics.md', () => {
  it('has a section for every code, in the order of the codes, and for no other', () => {
    expect(sections.map(({ code }) => code)).toEqual(DIAGNOSTIC_CODES);
  });

  it.each(sections.map((section) => [section.code, section] as const))('%s: its examples are what they say', (code, section) => {
    const { wrong, right } = section;
    expect(wrong.length, 'examples that are wrong').toBeGreaterThan(0);
    expect(right.length, 'examples that are right').toBeGreaterThan(0);
    expect(section.meaning.length, 'what it means').toBeGreaterThan(20);
    for (const example of wrong) {
      if (example.command === null) {
        expect([...new Set(codesOf(example, section))].toSorted(), example.content).toEqual([code, ...example.also].toSorted());
      } else {
        const printed = runCommand(example.command, section);
        expect(withoutPlanSize(printed)).toBe(withoutPlanSize(example.content));
        expect(example.content).toContain(`[${code}]`);
      }
    }
    for (const example of right) {
      if (example.command === null) expect(codesOf(example, section), example.content).toEqual([]);
      else expect(runCommand(example.command, section)).toBe(example.content);
    }
  });

  it('shows a file in YAML wherever a file can show the code', () => {
    const byCommand = sections.filter(({ wrong }) => wrong.some(({ command }) => command !== null));
    expect(byCommand.map(({ code }) => code)).toEqual([
      'FILE_TOO_LARGE', 'FILE_NOT_TEXT', 'YAML_TOO_DEEP', 'PIPELINE_DEPTH',
      'INPUT_MISSING', 'INPUT_UNKNOWN', 'INPUT_INVALID', 'PLAN_TOO_LARGE',
    ]);
  });
});

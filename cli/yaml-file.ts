/** A map in YAML or JSON that a command is given in a file, read as strictly as a pipeline. */
import { createSource, Diagnostics, placeOf, printDiagnostic } from '../compiler/diagnostic.js';
import { parseYaml, toJson } from '../compiler/yaml.js';
import type { Json } from '../core/json.js';
import { CliFailure, EXIT } from './failure.js';
import { readTextFile } from './read-file.js';

export interface YamlEntry {
  readonly name: string;
  readonly value: Json;
  /** `file:line:column` of the name. */
  readonly place: string;
}

/**
 * The entries of the map; `what` is what the file was named for, `example` an entry of one. Throws CliFailure (exit code
 * 2) with every mistake at its place.
 */
export function readYamlMap(file: string, what: string, example: string): YamlEntry[] {
  const source = createSource(file, readTextFile(file, what));
  const diagnostics = new Diagnostics(source);
  const root = source.text.trim() === '' ? null : parseYaml(source.text, diagnostics).root;
  const mistakes = diagnostics.list().filter(({ code }) => code !== 'FILE_EMPTY');
  if (mistakes.length > 0) {
    const count = mistakes.length === 1 ? 'a mistake' : `${mistakes.length} mistakes`;
    const told = mistakes.map((one) => printDiagnostic(one, source));
    throw new CliFailure('FILE_INVALID', [`${what} has ${count}:`, ...told].join('\n\n'), {
      hint: 'It is YAML or JSON.',
      exitCode: EXIT.usage,
    });
  }
  if (root?.kind !== 'map') {
    const found = root === null ? 'nothing' : root.kind === 'list' ? 'a list' : 'a single value';
    throw new CliFailure('FILE_INVALID', `${what} ${file} must hold a map, not ${found}.`, {
      hint: `For example: ${example}`,
      exitCode: EXIT.usage,
    });
  }
  return root.entries.map(({ key, keyRange, value }) => {
    const { line, column } = placeOf(source, keyRange.start);
    return { name: key, value: toJson(value), place: `${file}:${line}:${column}` };
  });
}

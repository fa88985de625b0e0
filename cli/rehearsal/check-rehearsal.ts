import { existsSync } from 'node:fs';
import { STEP_TYPES } from '../../activities/registry.js';
import { compilePipeline, type CompiledFile } from '../../compiler/compile.js';
import { createSource, Diagnostics } from '../../compiler/diagnostic.js';
import { decodeFile } from '../../compiler/yaml.js';
import { compileRehearsalFile } from '../../testing/rehearsal-file.js';
import { filesOnDisk } from '../pipeline-files.js';
import { namedFileReader } from '../read-named-file.js';
import { RULE_WORDS } from './rehearsal-file.js';

/** What is wrong with a rehearsal file, or with the pipeline beside it, without which nothing can be told of the file. */
export function checkRehearsal(
  content: Uint8Array,
  file: string,
): Pick<CompiledFile, 'source' | 'diagnostics'>[] {
  const found = namedFileReader('')(pipelineOf(file));
  if ('problem' in found) {
    const text = decodeFile(content);
    const diagnostics = new Diagnostics(createSource(file, typeof text === 'string' ? text : ''));
    diagnostics.add(
      'VALUE_INVALID',
      { start: 0, end: 0 },
      `the pipeline file ${found.file} cannot be read: ${found.problem}`,
      'a rehearsal file lies beside its pipeline: `x.rehearse.yaml` is for `x.yaml`',
    );
    return [{ source: diagnostics.source, diagnostics: diagnostics.list() }];
  }
  const { pipeline, source, files } = compilePipeline(
    found.content,
    found.file,
    STEP_TYPES,
    filesOnDisk,
  );
  if (pipeline === null) {
    return files.flatMap((one) => {
      const diagnostics = one.diagnostics.filter(({ severity }) => severity === 'error');
      return diagnostics.length === 0 ? [] : [{ source: one.source, diagnostics }];
    });
  }
  return [
    compileRehearsalFile(content, file, {
      pipeline,
      source,
      signatures: STEP_TYPES,
      words: RULE_WORDS,
    }),
  ];
}

/** The pipeline beside a rehearsal file, whichever way its name is written. */
function pipelineOf(file: string): string {
  const base = file.replace(/\.rehearse\.ya?ml$/, '');
  const other = `${base}.yml`;
  return !existsSync(`${base}.yaml`) && existsSync(other) ? other : `${base}.yaml`;
}

import { checkPipeline, type CheckedPipeline } from './check.js';
import { createSource, Diagnostics, type Diagnostic, type Source } from './diagnostic.js';
import { parsePipeline } from './parse.js';
import type { StepSignature } from './step-signature.js';
import { warnOfSecrets } from './secret-literals.js';
import { decodeFile, parseYaml } from './yaml.js';

export interface Compiled {
  /** Null when there is a mistake; warnings are none. */
  readonly pipeline: CheckedPipeline | null;
  /** Every mistake and every warning, in source order. */
  readonly diagnostics: readonly Diagnostic[];
  /** The text that the places refer to; empty when the file is not text. */
  readonly source: Source;
}

/**
 * Checks a pipeline file completely. `file` is its name as the author wrote it. Never throws for what a file holds:
 * every mistake is a diagnostic.
 */
export function compilePipeline(
  content: Uint8Array | string,
  file: string,
  signatures: readonly StepSignature[],
): Compiled {
  const text = decodeFile(
    typeof content === 'string' ? new TextEncoder().encode(content) : content,
  );
  if (typeof text !== 'string') {
    const source = createSource(file, '');
    const diagnostics = new Diagnostics(source);
    diagnostics.add(text.code, { start: 0, end: 0 }, text.message, text.hint);
    return { pipeline: null, diagnostics: diagnostics.list(), source };
  }
  const source = createSource(file, text);
  const diagnostics = new Diagnostics(source);
  const tree = parseYaml(text, diagnostics);
  const yamlErrors = diagnostics.size;
  const parsed = tree.root === null ? null : parsePipeline(tree.root, diagnostics);
  const checked = parsed === null ? null : checkPipeline(parsed, signatures, diagnostics);
  warnOfSecrets(diagnostics);
  if (Number.isFinite(tree.brokenAt)) keepReliable(tree.brokenAt, yamlErrors, diagnostics);
  const list = diagnostics.list();
  return { pipeline: diagnostics.size === 0 ? checked : null, diagnostics: list, source };
}

/**
 * After a syntax error the rest of the tree is a guess: what was said about it is dropped, and so is what
 * might only be missing because it stands further down.
 */
function keepReliable(brokenAt: number, yamlErrors: number, diagnostics: Diagnostics): void {
  let at = 0;
  diagnostics.retain((diagnostic, range) => {
    const isYaml = at++ < yamlErrors;
    const mayFollow = ['KEY_MISSING', 'NAME_UNKNOWN', 'STEP_KIND'].includes(diagnostic.code);
    return isYaml || diagnostic.severity === 'warning' || (range.end < brokenAt && !mayFollow);
  });
}

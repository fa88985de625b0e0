import type { Diagnostic } from '../compiler/diagnostic.js';

/** The compiler speaks of pipelines, where a file is of another kind; `least` is what one needs at least. */
export function withOwnWords(diagnostic: Diagnostic, what: string, least: string): Diagnostic {
  if (!diagnostic.code.startsWith('FILE_')) return diagnostic;
  const say = (text: string): string => text.replace('a pipeline', what);
  const hint =
    diagnostic.code === 'FILE_EMPTY' ? `${what} needs at least ${least}` : say(diagnostic.hint);
  return { ...diagnostic, message: say(diagnostic.message), hint };
}

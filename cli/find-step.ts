import { suggestHint } from '../compiler/suggest.js';
import { CliFailure, EXIT } from './failure.js';

/**
 * The path that a person means: the path itself, or an id that only one of the steps has (of steps of items: the last
 * part of the path). Throws CliFailure STEP_NOT_FOUND or STEP_AMBIGUOUS (exit code 2), which say what there is.
 */
export function findStepPath(given: string, paths: readonly string[], runId: string): string {
  if (paths.includes(given)) return given;
  const named = paths.filter((path) => isNamed(path, given));
  const [only] = named;
  if (only !== undefined && named.length === 1) return only;
  if (named.length > 1) {
    throw new CliFailure(
      'STEP_AMBIGUOUS',
      `The run "${runId}" has ${named.length} steps "${given}".`,
      {
        hint: `Name one by its path: ${list(named)}.`,
        exitCode: EXIT.usage,
      },
    );
  }
  throw new CliFailure('STEP_NOT_FOUND', `The run "${runId}" has no step "${given}" here.`, {
    hint: suggestHint(given, paths, 'It has none.'),
    exitCode: EXIT.usage,
  });
}

/** True when a step is called so: by its path, or by its id. */
export function isNamed(path: string, given: string): boolean {
  return path === given || path.slice(path.lastIndexOf('/') + 1) === given;
}

function list(paths: readonly string[]): string {
  const shown = paths.slice(0, 20).join(', ');
  return paths.length > 20 ? `${shown} and ${paths.length - 20} more` : shown;
}

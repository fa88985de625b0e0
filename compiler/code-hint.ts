import { STEP_ERRORS } from '../core/error.js';
import { listNames, suggest } from './suggest.js';

/** What to write in place of an error code that there is not; `none` is what leaving all codes out does. */
export function codeHint(written: string, none: string): string {
  const codes = Object.keys(STEP_ERRORS);
  const near = suggest(written, codes);
  if (near !== null) return `did you mean \`${near}\`?`;
  const word = written.toUpperCase().replaceAll(/[^A-Z]+/g, '_');
  if (written === '*' || ['ANY', 'ALL', 'ERROR', 'EXCEPTION'].includes(word)) return none;
  if (/^(?:STOP|STOPPED|CANCEL|CANCELED|CANCELLED|TERMINATED)$/.test(word))
    return 'that is no failure: use `finally` for what must happen in any case';
  if (word === 'RUN_DEADLINE')
    return 'it ends the whole run, which nothing takes; every `finally` runs';
  const alike = codes.filter((code) => code.split('_').includes(word));
  return alike.length > 0 ? `there are: ${listNames(alike)}` : 'docs/errors.md has them all';
}

import { usage } from './failure.js';
import { clean } from './output.js';

/**
 * The texts of an option that is given as `name=value`, by name, in their order. Throws CliFailure USAGE for one without a
 * name or a value, and for a name that is given twice: nobody could tell which of both was meant.
 */
export function readNameValues(
  option: string,
  given: readonly string[],
  example: string,
): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const placeOf = new Map<string, number>();
  for (const [index, text] of given.entries()) {
    const at = text.indexOf('=');
    if (at <= 0) {
      const lacks = at === 0 ? 'name' : 'value';
      throw usage(
        `${option} takes NAME=VALUE; "${shown(text)}" has no ${lacks}.`,
        `For example: ${option} ${example}`,
      );
    }
    const name = text.slice(0, at);
    const first = placeOf.get(name);
    if (first !== undefined) {
      const both = [first, index].map((place) => `\`${option} ${shown(given[place] ?? '')}\``);
      throw usage(
        `\`${shown(name)}\` is given twice: ${both.join(' and ')} (number ${first + 1} and number ${index + 1} of the ${option} options).`,
        `Give it once; a list is one value: ${option} '${shown(name)}=[…, …]'.`,
      );
    }
    placeOf.set(name, index);
    values.set(name, text.slice(at + 1));
  }
  return values;
}

function shown(text: string): string {
  return clean(text, 60);
}

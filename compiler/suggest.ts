/** Most names that one is compared with: thousands of misspelt names among thousands must not take minutes. */
const MAX_COMPARED = 400;

/** The name that was most likely meant, or null when none is near. */
export function suggest(name: string, known: Iterable<string>): string | null {
  let best: string | null = null;
  let compared = 0;
  // Of a short word every other is near: of one letter only its case may differ.
  const most = Math.min(Math.floor((name.length + 1) / 3), 8);
  const least = name.length < 2 ? 0 : 1;
  let bestDistance = Math.max(least, most) + 1;
  for (const candidate of known) {
    if (Math.abs(candidate.length - name.length) >= bestDistance) continue;
    if ((compared += 1) > MAX_COMPARED) break;
    const [ours, theirs] = [name.toLowerCase(), candidate.toLowerCase()];
    // `whit` for `with`: the same letters in another order are one slip.
    const distance = editDistance(ours, theirs) - (isAnagram(ours, theirs) ? 1 : 0);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** `did you mean` with the nearest name, else the names that there are, else the text given. */
export function suggestHint(name: string, known: Iterable<string>, otherwise: string): string {
  const names = [...known];
  const near = suggest(name, names);
  if (near !== null) return `did you mean \`${near}\`?`;
  if (names.length === 0) return otherwise;
  return `there ${names.length === 1 ? 'is' : 'are'}: ${listNames(names)}`;
}

/** Names for a sentence, at most twelve of them. */
export function listNames(names: readonly string[]): string {
  const shown = names.slice(0, 12).map((name) => `\`${name}\``);
  const rest = names.length - shown.length;
  return rest > 0 ? `${shown.join(', ')} and ${rest} more` : shown.join(', ');
}

/** True for a word of some length with one slip in it: a letter too many, too few or wrong, or two in turn. */
export function isSlip(word: string, meant: string): boolean {
  if (meant.length < 5 || Math.abs(meant.length - word.length) > 1) return false;
  return editDistance(word, meant) <= 1;
}

function isAnagram(a: string, b: string): boolean {
  return a.length === b.length && sorted(a) === sorted(b);
}

function sorted(text: string): string {
  return Array.from(text).toSorted().join('');
}

/** Insertions, deletions, replacements and swaps of neighbours that make one text of the other. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let cost = Math.min(replaced, (last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

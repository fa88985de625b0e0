/** Far deeper than what anybody writes, and far from where recursion over a value ends in a stack overflow. */
const DEEPEST = 200;

/**
 * True when a stranger's JSON is nested so deeply that code which recurses over it (`JSON.stringify`
 * among them) would fail. `JSON.parse` itself reads any depth.
 */
export function isNestedTooDeeply(value: unknown): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; depth <= DEEPEST; depth += 1) {
    const next: unknown[] = [];
    for (const item of level) {
      if (typeof item !== 'object' || item === null) continue;
      for (const member of Object.values(item)) next.push(member);
    }
    if (next.length === 0) return false;
    level = next;
  }
  return true;
}

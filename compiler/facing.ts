/** What is certain where an expression is true, and where it is false. */

/** Facts; null where that can never be, so that everything would be certain. */
type Known = ReadonlySet<string> | null;

export interface Facing {
  readonly whenTrue: Known;
  readonly whenFalse: Known;
}

export const NOTHING: ReadonlySet<string> = new Set();

/** Of a value that says nothing. */
export const OPEN: Facing = { whenTrue: NOTHING, whenFalse: NOTHING };

export function turned({ whenTrue, whenFalse }: Facing): Facing {
  return { whenTrue: whenFalse, whenFalse: whenTrue };
}

export function facingOf(truth: boolean): Facing {
  return truth ? { whenTrue: NOTHING, whenFalse: null } : { whenTrue: null, whenFalse: NOTHING };
}

/**
 * Of `left && right`. A side that fails counts for nothing where the other one decides: where it is false only what both
 * sides say of that is certain.
 */
export function both(left: Facing, right: Facing): Facing {
  return {
    whenTrue: union(left.whenTrue, right.whenTrue),
    whenFalse: intersection(left.whenFalse, right.whenFalse),
  };
}

/** Of `left || right`. */
export function either(left: Facing, right: Facing): Facing {
  return turned(both(turned(left), turned(right)));
}

/** Of `test ? then : otherwise`. */
export function choice(test: Facing, then: Facing, otherwise: Facing): Facing {
  const where = (truth: 'whenTrue' | 'whenFalse'): Known =>
    intersection(union(test.whenTrue, then[truth]), union(test.whenFalse, otherwise[truth]));
  return { whenTrue: where('whenTrue'), whenFalse: where('whenFalse') };
}

function union(a: Known, b: Known): Known {
  return a === null || b === null ? null : new Set([...a, ...b]);
}

function intersection(a: Known, b: Known): Known {
  if (a === null) return b;
  return b === null ? a : new Set([...a].filter((fact) => b.has(fact)));
}

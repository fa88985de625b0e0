/** Functions that expressions may call, with the number of arguments. `core/evaluate.ts` holds what they do. */
export const FUNCTIONS: ReadonlyMap<string, number> = new Map([
  ['has', 1],
  ['size', 1],
  ['string', 1],
  ['int', 1],
  ['double', 1],
  ['bool', 1],
]);

/** Methods, with the numbers of arguments that they take, the receiver not counted. */
export const METHODS: ReadonlyMap<string, readonly number[]> = new Map([
  ['size', [0]],
  ['contains', [1]],
  ['startsWith', [1]],
  ['endsWith', [1]],
]);

/** Macros, with the numbers of arguments, the name of the item counted. */
export const MACROS: ReadonlyMap<string, readonly number[]> = new Map([
  ['all', [2]],
  ['exists', [2]],
  ['exists_one', [2]],
  ['filter', [2]],
  ['map', [2, 3]],
]);

/** Functions of CEL that are left out on purpose, with what to do instead. */
export const LEFT_OUT: ReadonlyMap<string, string> = new Map([
  ['matches', 'a pattern can run for seconds; use contains, startsWith or endsWith'],
  ['timestamp', 'expressions know no time'],
  ['duration', 'write durations as values, `15m`'],
  ['dyn', 'it would hide a type from the checker'],
  ['type', 'the checker knows the types before the run'],
  ['bytes', 'expressions compute with JSON values'],
  ['uint', 'use int'],
]);

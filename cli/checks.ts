/** What `adit doctor` says about one thing. */
export interface Check {
  readonly name: string;
  /** `missing`: a run cannot do without it. `note`: worth knowing, or needed only later. */
  readonly level: 'ok' | 'note' | 'missing';
  readonly found: string;
  readonly wayOut: string;
}

export const ok = (name: string, found: string): Check => ({
  name,
  level: 'ok',
  found,
  wayOut: '',
});

export const note = (name: string, found: string, wayOut: string): Check => ({
  name,
  level: 'note',
  found,
  wayOut,
});

export const missing = (name: string, found: string, wayOut: string): Check => ({
  name,
  level: 'missing',
  found,
  wayOut,
});

/** What docs/language.md says is so: each claim in test/fixtures/language is quoted from it, and tried. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readClaims, tryClaim, withoutBlanks } from '../support/claims.js';

const text = withoutBlanks(
  readFileSync(join(import.meta.dirname, '../../docs/language.md'), 'utf8'),
);
const folder = join(import.meta.dirname, '../fixtures/language');

describe.each(readdirSync(folder))('%s', (file) => {
  const claims = readClaims(join(folder, file)).map((claim, at) => {
    const quotes = [claim.says].flat();
    return { claim, quotes, name: `${at + 1}: ${quotes.join(' / ')}` };
  });
  it.each(claims)('$name', async ({ claim, quotes }) => {
    for (const quote of quotes) expect(text).toContain(withoutBlanks(quote));
    await tryClaim(claim);
  });
});

/** What keys and tokens look like in a text. Each pattern is bounded, so that a hostile text cannot make it slow. */
export const SECRET_PATTERNS: ReadonlyArray<readonly [kind: string, pattern: RegExp]> = [
  ['private key', /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/g],
  ['encrypted key file', /\$NACL[^\s]{16}/g],
  [
    'seed or private key in hex',
    /(?:secret|seed|mnemonic|passphrase|priv(?:ate)?[_ -]?key)[^\n]{0,40}?(?<![0-9a-z])(?:0x)?(?:[0-9a-f]{64}){1,2}(?![0-9a-z])/gi,
  ],
  ['Hugging Face token', /\bhf_[A-Za-z0-9]{30,64}\b/g],
  ['GitHub token', /\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b/g],
  ['GitLab token', /\bglpat-[A-Za-z0-9_-]{20,64}/g],
  ['AWS access key', /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/g],
  ['AWS secret key', /aws_?secret[^\n]{0,30}?[=:]\s{0,4}["']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])/gi],
  ['Google API key', /\bAIza[0-9A-Za-z_-]{35}/g],
  ['Slack token', /\bxox[abeoprs]-[A-Za-z0-9-]{10,255}/g],
  ['API key', /\bsk-[A-Za-z0-9_-]{20,255}/g],
  ['npm token', /\bnpm_[A-Za-z0-9]{36}\b/g],
  ['bearer token', /\bBearer\s{1,4}[A-Za-z0-9._~+/-]{20,255}/g],
  ['password in a URL', /\bhttps?:\/\/[^\s/:@]{1,200}:[^\s/@]{1,200}@/g],
];

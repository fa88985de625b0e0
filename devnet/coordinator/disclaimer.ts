/** The disclaimer that comes with every claim: members as on the live service, words our own. */

export interface Disclaimer {
  readonly code: string;
  readonly version: string;
  readonly title: string;
  readonly must_display: boolean;
  readonly url: string;
  readonly summary: string;
  readonly text: string;
}

const TEXT = `# Disclaimer

This is a local development network. It runs on one machine, pays nothing and promises nothing.

## No Reward Guarantee

Claims, submissions, acceptances and reward proofs made here have no value outside it.
`;

export function disclaimer(coordinatorUrl: string): Disclaimer {
  return {
    code: 'no_reward_guarantee',
    version: '2026-05-23',
    title: 'No reward guarantee',
    must_display: true,
    url: `${coordinatorUrl}/disclaimer.md`,
    summary: 'Participation in this development network does not lead to any reward.',
    text: TEXT,
  };
}

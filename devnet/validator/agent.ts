/** How the validator of the devnet names itself, so that its requests can be told from those of clients. */
export const VALIDATOR_AGENT = 'adit-devnet-validator';

/** The checkout could not be made ready: the replay ends as `error` with the note "Replay preparation failed". */
export class PreparationFailed extends Error {}

export type TemporalServerErrorCode =
  | 'SERVER_NONE'
  | 'SERVER_UNREACHABLE'
  | 'SERVER_NAMESPACE_MISSING'
  | 'SERVER_NOT_MADE'
  | 'SERVER_START_FAILED'
  | 'TEMPORAL_PROFILE_INVALID';

/** There is no Temporal server to talk to; the message says what was tried, the hint the ways out. */
export class TemporalServerError extends Error {
  readonly code: TemporalServerErrorCode;
  readonly hint: string;

  constructor(code: TemporalServerErrorCode, message: string, hint: string) {
    super(message);
    this.name = 'TemporalServerError';
    this.code = code;
    this.hint = hint;
  }
}

/** Errors as FastAPI writes them (protocol 2.3): `{"detail": …}`, a list for a body that does not fit. */
import type { z } from 'zod';

export type ProblemDetail =
  string | { readonly error: string; readonly message: string } | readonly FieldProblem[];

interface FieldProblem {
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  readonly type: string;
}

/** An answer other than success. */
export class Problem extends Error {
  readonly statusCode: number;
  readonly detail: ProblemDetail;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    statusCode: number,
    detail: ProblemDetail,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(typeof detail === 'string' ? detail : JSON.stringify(detail));
    this.name = 'Problem';
    this.statusCode = statusCode;
    this.detail = detail;
    this.headers = headers;
  }
}

export function notFound(what: string): Problem {
  return new Problem(404, `${what} not found`);
}

/** One field of the body is missing or unfit. */
export function fieldProblem(field: string, msg: string, type: string, statusCode = 422): Problem {
  return new Problem(statusCode, [{ loc: ['body', field], msg, type }]);
}

/** The 422 list for a body that its schema refused. */
export function bodyProblem(error: z.ZodError): Problem {
  const list = error.issues.map((issue): FieldProblem => {
    const missing = issue.code === 'invalid_type' && issue.message.includes('received undefined');
    return {
      loc: ['body', ...issue.path.map((part) => (typeof part === 'number' ? part : String(part)))],
      msg: missing ? 'Field required' : issue.message,
      type: missing ? 'missing' : issue.code,
    };
  });
  return new Problem(422, list);
}

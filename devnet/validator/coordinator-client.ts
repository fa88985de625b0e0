/** The validator's side of the coordinator's routes (protocol 2.2): signed, one request each, no redirects. */
import { z } from 'zod';
import { VALIDATOR_AGENT } from './agent.js';
import { canonicalBody, type BodyValue } from './canonical-body.js';
import { signedHeaders, type Signer } from './signing.js';

/** The coordinator could not be reached or broke off: whether it took the request is unknown. */
export class ConnectionFailed extends Error {}

/** The coordinator answered with an HTTP error status. */
class HttpError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const TIMEOUT_MS = 30_000;
const MAX_REPLY_BYTES = 64 * 1024 * 1024;

export interface CoordinatorClient {
  /** The payload of a scan; undefined when the coordinator answers 404, which means no work. */
  readonly scan: (signal: AbortSignal) => Promise<unknown>;
  readonly detail: (submissionId: string, signal: AbortSignal) => Promise<unknown>;
  readonly postResult: (jobId: string, body: BodyValue, signal: AbortSignal) => Promise<void>;
  /** True when the verification of this job has ended. */
  readonly hasResult: (
    jobId: string,
    submissionId: string,
    signal: AbortSignal,
  ) => Promise<boolean>;
}

const verifications = z.array(z.looseObject({ id: z.string(), status: z.string() }));
const FINAL = new Set(['accepted', 'rejected', 'error']);

/** A client for the coordinator at `baseUrl`. Its calls throw ConnectionFailed, HttpError, or `signal.reason`. */
export function createCoordinatorClient(baseUrl: string, signer: Signer): CoordinatorClient {
  const base = baseUrl.replace(/\/+$/, '');

  async function call(request: Request, signal: AbortSignal): Promise<unknown> {
    const bodyText = request.body === undefined ? '' : canonicalBody(request.body);
    const query = request.query ?? '';
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const { method, path } = request;
    const headers = signedHeaders(signer, { method, path, query, timestamp, bodyText });
    const where = `${method} ${path}`;
    let status: number;
    let text: string;
    try {
      const response = await fetch(`${base}${path}${query === '' ? '' : `?${query}`}`, {
        method,
        headers: { ...headers, 'user-agent': VALIDATOR_AGENT },
        redirect: 'manual',
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
        ...(bodyText === '' ? {} : { body: bodyText }),
      });
      status = response.status;
      text = await readBounded(response);
    } catch (error) {
      signal.throwIfAborted();
      throw new ConnectionFailed(`${where}: ${reason(error)}`, { cause: error });
    }
    if (status < 200 || status > 299) {
      throw new HttpError(status, `${where} answered HTTP ${status}: ${text.slice(0, 500)}`);
    }
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new Error(`${where} answered something other than JSON.`, { cause: error });
    }
  }

  return {
    async scan(signal) {
      try {
        return await call({ method: 'POST', path: '/api/v1/validator/submissions/scan' }, signal);
      } catch (error) {
        if (error instanceof HttpError && error.status === 404) {
          return undefined;
        }
        throw error;
      }
    },
    async detail(submissionId, signal) {
      const path = `/api/v1/submissions/${encodeURIComponent(submissionId)}/detail`;
      return await call({ method: 'GET', path }, signal);
    },
    async postResult(jobId, body, signal) {
      const path = `/api/v1/validator/jobs/${encodeURIComponent(jobId)}/result`;
      await call({ method: 'POST', path, body }, signal);
    },
    async hasResult(jobId, submissionId, signal) {
      const query = `submission_id=${encodeURIComponent(submissionId)}`;
      const rows = verifications.parse(
        await call({ method: 'GET', path: '/api/v1/verifications', query }, signal),
      );
      return rows.some((row) => row.id === jobId && FINAL.has(row.status));
    },
  };
}

interface Request {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly query?: string;
  readonly body?: BodyValue;
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > MAX_REPLY_BYTES) {
      throw new Error(`the reply is larger than ${MAX_REPLY_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function reason(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}

/**
 * A small coordinator for tests of the client: a real HTTP server with its state in memory, counters and
 * injected faults. It checks signatures over the raw bytes of a body, on its own, and knows no validator.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { decodeAddress } from '@polkadot/util-crypto/address';
import { sr25519Verify } from '@polkadot/util-crypto/sr25519';
import type { Json, JsonObject } from '../../core/json.js';

/**
 * What happens to one request. `before`: nothing is done; `after`: it is done and then nobody hears of it.
 * A number is a status with a body.
 */
export type Fault =
  | {
      readonly kind: 'reply';
      readonly status: number;
      readonly body: string;
      readonly headers?: Record<string, string>;
      /** Called before the reply. */
      readonly change?: () => void;
    }
  | { readonly kind: 'drop'; readonly when: 'before' | 'after' }
  | { readonly kind: 'truncate' }
  | { readonly kind: 'silent' }
  | { readonly kind: 'huge' };

export interface FakeCoordinator {
  readonly url: string;
  readonly tasks: JsonObject[];
  readonly claims: JsonObject[];
  readonly submissions: JsonObject[];
  /** Texts of onboarding pages by task id. */
  readonly pages: Map<string, string>;
  /** Verifications that the detail route shows, by submission id. */
  readonly verifications: Map<string, Json>;
  /** Every request as `METHOD /path`, in order. */
  readonly requests: string[];
  /** Headers and bodies of the signed requests. */
  readonly signed: { headers: IncomingMessage['headers']; body: string }[];
  /** How far the `Date` header is ahead of the real time, in milliseconds. */
  dateOffsetMs: number;
  /** Lifetime of new claims, in milliseconds. */
  claimLifetimeMs: number;
  /** Members that are left out of submissions as they are served. */
  readonly hidden: Set<string>;
  /** The next requests that begin with `route` get these faults, one each. */
  failNext(route: string, ...faults: Fault[]): void;
  count(route: string): number;
  close(): Promise<void>;
}

export const replyWith = (
  status: number,
  body: Json | string,
  headers?: Record<string, string>,
): Extract<Fault, { kind: 'reply' }> => ({
  kind: 'reply',
  status,
  body: typeof body === 'string' ? body : JSON.stringify(body),
  ...(headers === undefined ? {} : { headers }),
});

class Refusal extends Error {
  readonly status: number;
  readonly detail: Json;
  constructor(status: number, detail: Json) {
    super(String(status));
    this.status = status;
    this.detail = detail;
  }
}

export async function startFakeCoordinator(): Promise<FakeCoordinator> {
  const faults: { route: string; fault: Fault }[] = [];
  const server = createServer((request, response) => void handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const fake: FakeCoordinator = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tasks: [],
    claims: [],
    submissions: [],
    pages: new Map(),
    verifications: new Map(),
    requests: [],
    signed: [],
    dateOffsetMs: 0,
    claimLifetimeMs: 2_700_000,
    hidden: new Set(),
    failNext: (route, ...list) => faults.push(...list.map((fault) => ({ route, fault }))),
    count: (route) => fake.requests.filter((request) => request.startsWith(route)).length,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return fake;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString('utf8');
    const name = `${request.method} ${request.url}`;
    fake.requests.push(name);
    const at = faults.findIndex(({ route }) => name.startsWith(route));
    const fault = at === -1 ? undefined : faults.splice(at, 1)[0]?.fault;
    response.setHeader('Date', new Date(Date.now() + fake.dateOffsetMs).toUTCString());

    if (fault?.kind === 'silent') return;
    if (fault?.kind === 'drop' && fault.when === 'before') return void response.destroy();
    if (fault?.kind === 'reply') {
      fault.change?.();
      response.writeHead(fault.status, fault.headers).end(fault.body);
      return;
    }
    if (fault?.kind === 'huge') {
      response.writeHead(200, { 'Content-Type': 'application/json' });
      const block = Buffer.alloc(64 * 1024, ' ');
      for (let sent = 0; sent < 200_000_000 && !response.destroyed; sent += block.length) {
        if (!response.write(block)) await new Promise((resolve) => setImmediate(resolve));
      }
      response.end();
      return;
    }
    const reply = answer(request, body);
    if (fault?.kind === 'drop') return void response.destroy();
    if (fault?.kind === 'truncate') {
      response.writeHead(reply.status, { 'Content-Length': reply.text.length });
      response.write(reply.text.slice(0, reply.text.length / 2), () => response.destroy());
      return;
    }
    response.writeHead(reply.status, { 'Content-Type': reply.type }).end(reply.text);
  }

  function answer(
    request: IncomingMessage,
    body: string,
  ): { status: number; type: string; text: string } {
    try {
      const value = route(request, body);
      if (typeof value === 'string') return { status: 200, type: 'text/markdown', text: value };
      return { status: 200, type: 'application/json', text: JSON.stringify(value) };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const text = JSON.stringify({ detail: error.detail });
      return { status: error.status, type: 'application/json', text };
    }
  }

  function route(request: IncomingMessage, body: string): Json {
    const url = new URL(request.url ?? '/', fake.url);
    const [, , , family, id, verb] = url.pathname.split('/');
    const wanted = (record: JsonObject): boolean =>
      [...url.searchParams].every(([name, value]) => record[name] === value);
    if (request.method === 'GET') {
      if (family === 'tasks' && id === undefined) return fake.tasks;
      if (family === 'tasks' && verb === 'onboard.md')
        return fake.pages.get(id ?? '') ?? refuse(404, 'Not Found');
      if (family === 'claims') return fake.claims.filter(wanted);
      if (family === 'submissions' && id === undefined)
        return fake.submissions.filter(wanted).map(shown);
      const submission =
        fake.submissions.find((record) => record['id'] === id) ?? refuse(404, 'Not Found');
      if (verb !== 'detail') return shown(submission);
      return {
        submission: shown(submission),
        verifications: fake.verifications.get(String(id)) ?? [],
      };
    }
    const hotkey = authenticate(request, url, body);
    if (family === 'tasks') return createClaim(hotkey, id ?? '', JSON.parse(body) as JsonObject);
    if (family === 'claims') return cancel(hotkey, id ?? '');
    return submit(hotkey, JSON.parse(body) as JsonObject);
  }

  function authenticate(request: IncomingMessage, url: URL, body: string): string {
    fake.signed.push({ headers: request.headers, body });
    const hotkey = String(request.headers['x-hotkey']);
    const timestamp = String(request.headers['x-timestamp']);
    const now = (Date.now() + fake.dateOffsetMs) / 1_000;
    if (Math.abs(now - Number(timestamp)) > 300) throw new Refusal(401, 'stale timestamp');
    const digest = createHash('sha256').update(body).digest('hex');
    const message = `BT-AUTH-V1\n${request.method}\n${url.pathname}\n${url.search.slice(1)}\n${timestamp}\n${digest}`;
    const signature = Buffer.from(String(request.headers['x-signature']), 'hex');
    if (!sr25519Verify(message, signature, decodeAddress(hotkey)))
      throw new Refusal(401, 'bad signature');
    return hotkey;
  }

  function createClaim(hotkey: string, taskId: string, body: JsonObject): JsonObject {
    if (!fake.tasks.some((task) => task['id'] === taskId)) throw new Refusal(404, 'no such task');
    const now = Date.now();
    const claim: JsonObject = {
      id: randomUUID(),
      task_id: taskId,
      miner_hotkey: hotkey,
      claim_description: body['claim_description'] ?? null,
      status: 'active',
      created_at: new Date(now).toISOString(),
      updated_at: new Date(now).toISOString(),
      expires_at: new Date(now + fake.claimLifetimeMs).toISOString(),
      participation_disclaimer: {
        code: 'no_reward_guarantee',
        version: '2026-05-23',
        title: 'No reward guarantee',
        must_display: true,
        url: 'https://example.org/disclaimer/',
        summary: 'Participation does not guarantee any reward.',
        text: '# Disclaimer',
      },
      unknown_member: { kept: true },
    };
    fake.claims.push(claim);
    return claim;
  }

  function ownClaim(hotkey: string, id: string): JsonObject {
    const claim = fake.claims.find((record) => record['id'] === id);
    if (claim === undefined) throw new Refusal(404, 'no such claim');
    if (claim['miner_hotkey'] !== hotkey) throw new Refusal(403, 'foreign claim');
    if (claim['status'] === 'active' && Date.parse(String(claim['expires_at'])) < Date.now()) {
      claim['status'] = 'expired';
    }
    if (claim['status'] !== 'active') throw new Refusal(409, `claim is ${String(claim['status'])}`);
    return claim;
  }

  function cancel(hotkey: string, id: string): JsonObject {
    return Object.assign(ownClaim(hotkey, id), { status: 'cancelled' });
  }

  function submit(hotkey: string, body: JsonObject): JsonObject {
    const claim = ownClaim(hotkey, String(body['claim_id']));
    claim['status'] = 'submitted';
    const submission: JsonObject = {
      proposed_idea: null,
      implemented_submission_id: null,
      ...body,
      id: randomUUID(),
      task_id: claim['task_id'] ?? null,
      miner_hotkey: hotkey,
      status: 'pending_verification',
      base_commit_sha: null,
      observed_metrics: null,
      created_at: new Date().toISOString(),
    };
    fake.submissions.push(submission);
    return submission;
  }

  function shown(submission: JsonObject): JsonObject {
    return Object.fromEntries(
      Object.entries(submission).filter(([name]) => !fake.hidden.has(name)),
    );
  }
}

function refuse(status: number, detail: string): never {
  throw new Refusal(status, detail);
}

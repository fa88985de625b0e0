/** The Pool's HTTP service: claims under `/claims`, status, recipient mapping (merkle-claims 2). */
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import { parseJson, writeJson } from '../auth/json-numbers.js';
import { isSignedBy, publicKeyOf } from '../auth/signature.js';
import { installCounters, type RequestCounters } from '../service/counters.js';
import { installFaults, type FaultPlan } from '../service/faults.js';
import type { ClaimPackage, Epochs } from './epochs.js';

/** Documented for reading one's own mapping, presumed for updates. */
const SIGNATURE_WINDOW_SECONDS = 300;

/** An answer of `{"detail": …}` with this status. */
class PoolProblem extends Error {
  readonly statusCode: number;
  constructor(statusCode: number, message: string) {
    super(message);
    this.name = 'PoolProblem';
    this.statusCode = statusCode;
  }
}

const recipientSchema = z
  .object({ recipient_coldkey: z.string().optional(), coldkey_address: z.string().optional() })
  .transform((body) => body.recipient_coldkey ?? body.coldkey_address ?? '');

export function createPool(parts: {
  epochs: Epochs;
  faults: FaultPlan;
  counters: RequestCounters;
}): FastifyInstance {
  const { epochs } = parts;
  const app = fastify({
    bodyLimit: 64 * 1024,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, async (_request: unknown, body: string) =>
    parseJson(body),
  );
  app.setReplySerializer((payload) => writeJson(payload));
  installCounters(app, 'pool', parts.counters);
  installFaults(app, 'pool', parts.faults);
  app.setErrorHandler(async (error, _request, reply) => {
    const statusCode =
      error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
        ? error.statusCode
        : 422;
    await reply
      .code(statusCode)
      .send({ detail: error instanceof Error ? error.message : 'bad request' });
  });
  app.setNotFoundHandler(async (_request, reply) => {
    await reply.code(404).send({ detail: 'Not Found' });
  });
  addClaimRoutes(app, epochs);
  addRecipientRoutes(app, epochs);
  for (const path of ['/health', '/status']) app.get(path, async () => poolStatus(epochs));
  return app;
}

function addClaimRoutes(app: FastifyInstance, epochs: Epochs): void {
  const newest = (): number => {
    const latest = epochs.numbers().at(-1);
    if (latest === undefined) throw new PoolProblem(404, 'no epoch is published');
    return latest;
  };
  const metadata = (epoch: number): object => {
    const found = epochs.metadata(epoch);
    if (found === null) throw new PoolProblem(404, `epoch ${epoch} is not published`);
    return {
      ...found,
      spent_rao: 0,
      disputed: false,
      claims_open_at: 0,
      uri: `devnet://epoch/${epoch}`,
    };
  };
  const claim = (epoch: number, hotkey: string): ClaimPackage => {
    const found = epochs.claimPackage(epoch, hotkey);
    if (found === null)
      throw new PoolProblem(404, `no claim for hotkey ${hotkey} in epoch ${epoch}`);
    return found;
  };

  app.get('/claims/health', async () => ({ status: 'ok' }));
  app.get('/claims/epochs', async () => {
    const numbers = epochs.numbers();
    return { epochs: numbers, default_epoch: numbers.at(-1) ?? null };
  });
  app.get('/claims/epoch', async () => metadata(newest()));
  app.get<{ Params: { epoch: string } }>('/claims/epoch/:epoch', async ({ params }) =>
    metadata(epochNumber(params.epoch)),
  );
  for (const word of ['claim', 'proof']) {
    app.get<{ Params: { hotkey: string } }>(`/claims/epoch/${word}/:hotkey`, async ({ params }) =>
      claim(newest(), params.hotkey),
    );
    app.get<{ Params: { epoch: string; hotkey: string } }>(
      `/claims/epoch/:epoch/${word}/:hotkey`,
      async ({ params }) => claim(epochNumber(params.epoch), params.hotkey),
    );
  }
}

function epochNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new PoolProblem(422, 'epoch must be an integer');
  return Number(text);
}

function addRecipientRoutes(app: FastifyInstance, epochs: Epochs): void {
  const path = '/api/v1/miners/recipient-coldkey';
  const mapping = (hotkey: string): object => {
    const recipient = epochs.recipientOf(hotkey);
    if (recipient === null) throw new PoolProblem(404, `no recipient coldkey is set for ${hotkey}`);
    return { miner_hotkey: hotkey, recipient_coldkey: recipient };
  };
  const update = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const recipient = recipientSchema.parse(request.body ?? {});
    if (publicKeyOf(recipient) === null) {
      throw new PoolProblem(422, 'recipient_coldkey is not an SS58 address with prefix 42');
    }
    const hotkey = signerOf(
      request,
      (timestamp) => `recipient_coldkey:update:${timestamp}:${recipient}`,
    );
    epochs.setRecipient(hotkey, recipient);
    await reply.send(mapping(hotkey));
  };
  app.put(path, update);
  app.post(path, update);
  app.post('/api/v1/miners/coldkey_address/update', update);
  app.post('/coldkey_address/update', update);
  app.get(path, async (request) => mapping(signerOf(request, (timestamp) => `auth:${timestamp}`)));
  app.get<{ Params: { hotkey: string } }>(`${path}/:hotkey`, async ({ params }) =>
    mapping(params.hotkey),
  );
}

/** The hotkey that signed the text; another scheme than the coordinator's (merkle-claims 2.4). */
function signerOf(request: FastifyRequest, text: (timestamp: string) => string): string {
  const { 'x-key': hotkey, 'x-timestamp': timestamp, 'x-signature': signature } = request.headers;
  if (
    typeof hotkey !== 'string' ||
    typeof timestamp !== 'string' ||
    typeof signature !== 'string'
  ) {
    throw new PoolProblem(401, 'missing authentication headers X-Key, X-Timestamp and X-Signature');
  }
  const ageSeconds = Math.abs(Math.floor(Date.now() / 1_000) - Number(timestamp));
  if (!/^\d{1,12}$/.test(timestamp) || ageSeconds > SIGNATURE_WINDOW_SECONDS) {
    throw new PoolProblem(401, `timestamp is more than ${SIGNATURE_WINDOW_SECONDS} seconds away`);
  }
  if (!isSignedBy(hotkey, Buffer.from(text(timestamp), 'utf8'), signature)) {
    throw new PoolProblem(401, 'invalid signature');
  }
  return hotkey;
}

/** The members that a monitor reads (merkle-claims 2.3). Its words about a chain are simulated. */
function poolStatus(epochs: Epochs): object {
  return {
    status: 'healthy',
    simulated: 'there is no chain behind this development network',
    window_number: epochs.numbers().at(-1) ?? null,
    current_block: null,
    onchain_runtime: {
      enabled: true,
      contract_status: {
        read_error: null,
        active_veto_count: 0,
        is_veto_active: false,
        claim_ready: true,
      },
      proof_api: { enabled: true },
      accounts: { publisher: null },
      processes: [{ name: 'publisher', running: true }],
      verifier_diagnostics: { verifier_count: 0 },
    },
  };
}

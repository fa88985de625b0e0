/**
 * Our own routes for whoever operates the devnet, under `/devnet/` and behind `X-Admin-Token`.
 * Nothing of this exists on the production coordinator.
 */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { publicKeyOf } from '../auth/signature.js';
import { faultSchema } from '../service/faults.js';
import { readBody, requireAdmin } from './access.js';
import { workItemCreationSchema } from './claims.js';
import type { CoordinatorParts } from './coordinator.js';
import { Problem, bodyProblem } from './problem.js';
import { publicRecord } from './records.js';
import { newId, now } from './state.js';
import { insertForeignSubmission } from './submissions.js';
import { findTask } from './tasks.js';

/** What the coordinator's operator routes reach in the rest of the devnet. */
export interface DevnetControls {
  /** Publishes what is outstanding at once; the epoch's number, or null when there is nothing new. */
  publishEpoch(): number | null;
  validator(): { running: boolean; pid: number | null };
  stopValidator(): Promise<void>;
  startValidator(): void;
  /** Everything is again as after the first start, but for tasks, hotkeys, addresses, settings and what was signed. */
  beginAnew(): Promise<void>;
}

/** The offset is stored: a time past the calendar's end would fail every request from then on. */
const MOST_ADVANCE_SECONDS = 10 * 365 * 86_400;

const advanceSchema = z.strictObject({ seconds: z.number().positive().max(MOST_ADVANCE_SECONDS) });
const allowSchema = z.strictObject({
  hotkey: z
    .string()
    .refine((text) => publicKeyOf(text) !== null, 'not an SS58 address with prefix 42'),
});

const foreignSchema = z.strictObject({ claim_id: z.string().min(1), hotkey: z.string().min(1) });

export function addDevnetRoutes(app: FastifyInstance, parts: CoordinatorParts): void {
  const { state, faults, counters, controls } = parts;
  app.addHook('preHandler', async (request) => {
    if (request.url.startsWith('/devnet/')) requireAdmin(parts.adminToken, request);
  });
  const status = (): object => ({
    now: now(state),
    clockOffsetSeconds: state.clock.offsetSeconds(),
    validator: controls.validator(),
  });

  app.get('/devnet/status', async () => status());
  app.post('/devnet/clock/advance', async (request) => {
    state.clock.advance(readBody(request, advanceSchema).seconds);
    return status();
  });
  app.post('/devnet/begin-anew', async () => {
    faults.clear();
    await controls.beginAnew();
    return status();
  });
  app.get('/devnet/settings', async () => state.settings.read());
  app.put('/devnet/settings', async (request) => {
    try {
      return state.settings.change(readBody(request, z.unknown()));
    } catch (error) {
      throw error instanceof z.ZodError ? bodyProblem(error) : error;
    }
  });
  app.get('/devnet/faults', async () => faults.list());
  app.post('/devnet/faults', async (request) => {
    faults.add(readBody(request, faultSchema));
    return faults.list();
  });
  app.delete('/devnet/faults', async () => {
    faults.clear();
    return [];
  });
  app.get('/devnet/faults/fired', async () => ({ fired: faults.fired(), held: faults.held() }));
  app.post('/devnet/faults/release', async () => ({ released: faults.release() }));
  app.post('/devnet/foreign-submissions', async (request) => {
    const { claim_id: claimId, hotkey } = readBody(request, foreignSchema);
    return publicRecord(insertForeignSubmission(state, claimId, hotkey));
  });
  app.get('/devnet/counters', async () => counters.read());
  app.post('/devnet/epochs', async () => ({ epoch: controls.publishEpoch() }));
  app.post('/devnet/validators', async (request) => {
    const { hotkey } = readBody(request, allowSchema);
    const { validatorHotkeys } = state.settings.read();
    return state.settings.change({ validatorHotkeys: [...new Set([...validatorHotkeys, hotkey])] });
  });
  app.post('/devnet/validator/stop', async () => {
    await controls.stopValidator();
    return status();
  });
  app.post('/devnet/validator/start', async () => {
    controls.startValidator();
    return status();
  });
  app.post('/devnet/work-items', async (request) => {
    const creation = readBody(request, workItemCreationSchema);
    if (findTask(state, creation.task_id).task_state === 'closed')
      throw new Problem(409, 'task is closed');
    return state.workItems.insert({
      id: newId(),
      ...creation,
      status: 'open',
      claim_id: null,
      created_at: now(state),
    });
  });
}

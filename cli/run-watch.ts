import type { ServerFlags } from '../adapters/temporal-server/choose-server.js';
import { TemporalServerError } from '../adapters/temporal-server/server-error.js';
import type { JsonObject } from '../core/json.js';
import { isLostServer } from './failure.js';
import { describeRun, queryView, toRunStatus } from './run-record.js';
import { queryWholeState } from './run-parts.js';
import { openSession, type Session } from './session.js';

/** What the server says about a run, for commands that go on without one: it is asked only when it is needed. */
const QUERY_TIMEOUT_MS = 3_000;

export interface RunWatch {
  /** Whether the run, or its step, may still start a program; null when nobody answers. */
  isUnderWay(stepPath: string | null): Promise<boolean | null>;
  isKnown(): Promise<boolean>;
  /** Paths of its steps; empty when nobody answers. */
  paths(): Promise<string[]>;
  /** Outputs of its steps by path; empty when nobody answers. */
  outputs(): Promise<ReadonlyMap<string, JsonObject>>;
  close(): Promise<void>;
}

export function createRunWatch(flags: ServerFlags, runId: string): RunWatch {
  let opened: Promise<Session | null> | null = null;

  /** Null also when the server went away: what lies on this machine is shown without it. */
  async function ask<T>(question: (session: Session) => Promise<T | null>): Promise<T | null> {
    opened ??= openSession(flags).catch((error: unknown) => {
      if (error instanceof TemporalServerError) return null;
      throw error;
    });
    const session = await opened;
    if (session === null) return null;
    return question(session).catch((error: unknown) => {
      if (isLostServer(error)) return null;
      throw error;
    });
  }

  return {
    isUnderWay: (stepPath) =>
      ask(async (session) => {
        const description = await describeRun(session, runId);
        if (description === null) return null;
        if (toRunStatus(description.status.name) !== 'running') return false;
        if (stepPath === null) return true;
        const view = await queryView(session, runId);
        const status = view?.steps.find(({ path }) => path === stepPath)?.status;
        return status === undefined ? null : status === 'running' || status === 'pending';
      }),
    isKnown: async () =>
      (await ask(async (session) => (await describeRun(session, runId)) !== null)) === true,
    paths: async () =>
      (await ask(async (session) => (await queryView(session, runId))?.steps ?? null))?.map(
        ({ path }) => path,
      ) ?? [],
    outputs: async () => (await ask((session) => queryOutputs(session, runId))) ?? new Map(),
    async close() {
      await (await opened?.catch(() => null))?.close();
    },
  };
}

async function queryOutputs(
  session: Session,
  runId: string,
): Promise<ReadonlyMap<string, JsonObject> | null> {
  try {
    const { steps } = await queryWholeState(session, runId, {
      timeoutMs: QUERY_TIMEOUT_MS,
      isWanted: () => true,
    });
    return new Map(
      Object.entries(steps).flatMap(([path, { outputs }]) =>
        outputs === undefined ? [] : [[path, outputs]],
      ),
    );
  } catch {
    return null;
  }
}

import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { createEvidence } from '../adapters/evidence/evidence.js';
import type { Settings } from '../adapters/settings/settings.js';
import { registerSearchAttributes } from '../adapters/temporal-server/prepare-namespace.js';
import { innerBlocks } from '../core/inner-blocks.js';
import type { Network, Plan, PlanStep } from '../core/plan.js';
import { toMoment } from '../core/run-deadline.js';
import {
  SEARCH_ATTRIBUTES,
  WORKFLOW_TYPE,
  type RunArgs,
  type RunMemo,
} from '../workflows/contract.js';
import { deadlineTerms, notifyTerms } from './plan-terms.js';
import { createRunId } from './run-id.js';
import type { Session } from './session.js';

/** Temporal keeps at most 20,000 bytes of a run's details, encoded. */
const MAX_DETAILS = 12_000;

export interface StartedRun {
  readonly runId: string;
  readonly evidence: string;
}

/**
 * The network that a run is started for, from the settings of this command; empty where a setting is
 * absent, and then no worker is held to it. Opens the hotkey. Throws StepError HOTKEY_*.
 */
export async function networkOf(settings: Settings): Promise<Network> {
  const coordinator = settings.coordinatorUrl ?? '';
  if (settings.hotkeyFile === null) return { coordinator, hotkey: '' };
  const { createWallet } = await import('../adapters/wallet/wallet.js');
  return { coordinator, hotkey: await createWallet(settings).address() };
}

/** What a run is started with besides its Plan; as `RunArgs` tells. */
export type RunTerms = Pick<RunArgs, 'state' | 'until' | 'deadlineMs' | 'lockId'> & {
  /** Id of the first run of the round; absent: this one is the first. */
  readonly roundId?: string;
};

/** Starts a run of `plan`, its Plan written to the evidence folder first. Remarks go to `onRemark`. */
export async function startRun(
  session: Session,
  plan: Plan,
  onRemark: (text: string) => void,
  terms: RunTerms = {},
): Promise<StartedRun> {
  const runId = createRunId(plan.pipeline, new Date());
  const evidence = createEvidence(session.settings.stateDir);
  await evidence.writePlan(runId, plan);
  const outcome = await registerSearchAttributes(
    session.connection,
    session.server.namespace,
    SEARCH_ATTRIBUTES,
  );
  if (!outcome.registered) {
    onRemark(
      `the Temporal server refuses the search attributes (${outcome.reason}); the run goes without them`,
    );
  }
  const args = {
    ...deadlineTerms(plan, terms, Date.now()),
    ...notifyTerms(plan, session.settings),
    ...terms,
    plan,
    roundId: terms.roundId ?? runId,
  };
  if (args.notify !== undefined && args.notify.hooks === undefined) {
    onRemark(
      'the file has `notify`, and no hook is set here: those of the worker are told, if it has any (docs/notifications.md)',
    );
  }
  try {
    await startExecution(session, runId, { ...args, searchAttributes: outcome.registered });
  } catch (error) {
    // A server that has just registered them may need a while until its front end knows them.
    if (
      !outcome.registered ||
      !/search attribute/i.test(String((error as { details?: unknown }).details ?? error))
    )
      throw error;
    onRemark(
      'the Temporal server does not know the search attributes yet; the run goes without them',
    );
    await startExecution(session, runId, { ...args, searchAttributes: false });
  }
  return { runId, evidence: evidence.directory(runId) };
}

/** The start itself: one call, with all that the Temporal UI and `adit list` show of the run. */
export async function startExecution(
  session: Pick<Session, 'client' | 'settings'>,
  runId: string,
  args: RunArgs,
): Promise<void> {
  const { plan, searchAttributes } = args;
  const memo: RunMemo = {
    pipeline: plan.pipeline,
    roundId: args.roundId,
    sourceSha256: plan.sourceSha256,
    evidence: createEvidence(session.settings.stateDir).directory(runId),
    ...(args.deadlineMs === undefined ? {} : { deadline: toMoment(args.deadlineMs) }),
  };
  const task = plan.inputs['task'];
  const [first] = args.state === undefined ? plan.steps : [];
  const keyword = (name: (typeof SEARCH_ATTRIBUTES)[number]) =>
    defineSearchAttributeKey(name, SearchAttributeType.KEYWORD);
  await session.client.workflow.start(WORKFLOW_TYPE, {
    workflowId: runId,
    taskQueue: session.settings.taskQueue,
    args: [args],
    memo: { adit: memo },
    workflowIdReusePolicy: 'REJECT_DUPLICATE',
    staticSummary: (plan.summary ?? plan.pipeline).slice(0, 120),
    staticDetails: planAsList(plan).slice(0, MAX_DETAILS),
    ...(searchAttributes
      ? {
          typedSearchAttributes: [
            { key: keyword('AditPipeline'), value: plan.pipeline },
            ...(typeof task === 'string'
              ? [{ key: keyword('AditTask'), value: task.slice(0, 200) }]
              : []),
            ...(first === undefined ? [] : [{ key: keyword('AditStage'), value: first.key }]),
          ],
        }
      : {}),
  });
}

/** The plan as a Markdown list, for the Temporal UI. */
function planAsList(plan: Plan): string {
  return plan.steps.flatMap((step) => listOf(step, 0)).join('\n');
}

function listOf(step: PlanStep, depth: number): string[] {
  const item = (text: string): string => `${'  '.repeat(depth)}- ${text}`;
  const words =
    step.kind === 'step'
      ? step.uses
      : step.kind === 'pipeline'
        ? `pipeline ${step.called.file}`
        : step.kind;
  const limit = step.kind === 'foreach' ? `, at most ${step.limit} at one time` : '';
  return [
    item(`\`${step.key}\` ${words}${limit}`),
    ...innerBlocks(step).flatMap(({ steps, title }) => [
      ...(title === '' ? [] : [item(title)]),
      ...steps.flatMap((inner) => listOf(inner, depth + 1)),
    ]),
    ...(step.kind === 'pipeline'
      ? step.called.steps.flatMap((inner) => listOf(inner, depth + 1))
      : []),
  ];
}

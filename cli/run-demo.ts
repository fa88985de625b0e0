/** `adit demo`: everything that a round needs, started; one round, shown; everything ended, or kept. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createEvidence } from '../adapters/evidence/evidence.js';
import { createFolderStore } from '../adapters/store/store.js';
import { chooseServer } from '../adapters/temporal-server/choose-server.js';
import { connectTo } from '../adapters/temporal-server/connect.js';
import { servicesFolder } from '../adapters/temporal-server/services-file.js';
import type { FileRef } from '../compiler/values.js';
import { isJsonObject, type JsonObject } from '../core/json.js';
import { WORKFLOW_TYPE } from '../workflows/contract.js';
import type { DemoOptions } from './commands/demo.js';
import { demoInputs } from './demo-inputs.js';
import { printDemoSummary, readProof } from './demo-summary.js';
import { hostPid } from './end-host.js';
import { CliFailure, EXIT, type ExitCode } from './failure.js';
import { listenForInterruption } from './interruption.js';
import { printServices } from './keep-services.js';
import { bindPlan, loadPipeline } from './load-plan.js';
import { endLeftovers, startLocalServices, type LocalServices } from './local-services.js';
import { lockServices } from './lock-services.js';
import { note, print, printJson } from './output.js';
import { findPackage } from '../adapters/package/find-package.js';
import { exitCodeOf } from './print-run.js';
import type { ProgressView } from './progress.js';
import { requestCancel } from './request-cancel.js';
import { describeRun, toShowJson, type RunRecord } from './run-record.js';
import { createSession, readSettings, settingsOfServices, type Session } from './session.js';
import { networkOf, startRun } from './start-run.js';
import { showToEnd } from './watch-to-end.js';
import { ownName } from './own-name.js';

const PIPELINE = 'pipelines/frontier-round.yaml';

/** What the demo remembers between two calls, beside the services' own data. */
interface DemoMemory {
  readonly ports?: { readonly server?: number; readonly ui?: number };
  readonly lastRun?: string;
}

/** Runs or resumes the demo; returns the exit code: 0 only when the proof is verified. */
export async function runDemo(options: DemoOptions): Promise<ExitCode> {
  const settings = await readSettings();
  const release = lockServices(settings.stateDir, 'demo');
  const folder = servicesFolder(settings.stateDir, 'demo');
  const server =
    options.address === undefined
      ? null
      : chooseServer({ flags: options, env: process.env, stateDir: settings.stateDir });
  const interruption = listenForInterruption(() => resumeHint(readMemory(folder), options));
  let view: ProgressView | null = null;
  try {
    const services = await startLocalServices({
      kind: 'demo',
      settings,
      env: process.env,
      onProgress: (text) => (view === null ? note(text) : view.say(text)),
      preferredPorts: readMemory(folder).ports ?? {},
      ...(server === null ? {} : { server }),
      signal: interruption.signal,
    });
    const supervision = new AbortController();
    const supervised = services.supervise(supervision.signal);
    let keep = false;
    try {
      rememberPorts(folder, services);
      const exitCode = await runRound(services, options, {
        signal: interruption.signal,
        onView: (shown) => (view = shown),
      });
      keep = options.keep === true;
      return exitCode;
    } catch (error) {
      throw interruption.signal.aborted ? interruption.signal.reason : error;
    } finally {
      supervision.abort();
      await supervised;
      if (keep) services.release();
      else await services.stop();
    }
  } finally {
    interruption.dispose();
    release();
  }
}

/** Ends what a kept demo left running; its data stays. */
export async function stopDemo(json: boolean): Promise<void> {
  const { stateDir } = await readSettings();
  const release = lockServices(stateDir, 'demo');
  try {
    const stopped = await endLeftovers(stateDir, 'demo', json ? () => {} : note);
    if (json) printJson({ stopped });
    else print(stopped ? 'The demo is stopped; its data stays.' : 'No demo is running.');
  } finally {
    release();
  }
}

async function runRound(
  services: LocalServices,
  options: DemoOptions,
  watching: { readonly signal: AbortSignal; readonly onView: (view: ProgressView | null) => void },
): Promise<ExitCode> {
  const json = options.json === true;
  const { variables } = services.current();
  const folder = String(variables['ADIT_STATE_DIR']);
  const session: Session = {
    ...(await createSession(await connectTo(services.server()), services.server())),
    settings: await settingsOfServices(services.current()),
  };
  try {
    const runId =
      options.resume === undefined
        ? await startNew(session, options.task, folder)
        : await findOpenRun(session, options.resume, folder);
    const { ui } = services.current().temporal;
    const page =
      ui === null ? null : `${ui}/namespaces/${session.server.namespace}/workflows/${runId}`;
    if (!json) print(`Run ${runId}${page === null ? '' : `\nTemporal UI: ${page}`}\n`);
    const record = await showToEnd(session, runId, { json, ...watching });
    const store = createFolderStore(path.join(folder, 'store'));
    const proof = await readProof(record, (file) =>
      store.locate(file as JsonObject & FileRef).catch(() => null),
    );
    const description = await describeRun(session, runId);
    if (json) {
      const { temporal, devnet } = services.current();
      printJson({
        ...toShowJson(record),
        temporal: temporal.address,
        ui: temporal.ui,
        coordinator: devnet.coordinator,
        proof,
      });
    } else {
      const recipe = await chosenRecipe(folder, runId);
      printDemoSummary({
        record,
        proof,
        ui:
          page === null || options.keep === true
            ? page
            : `${page} (ends with the demo; --keep leaves it)`,
        historyEvents: description?.historyLength ?? null,
        recipe,
      });
      if (options.keep === true) await printKept(services, folder);
    }
    return exitCodeFor(record, proof.verified);
  } finally {
    await session.close();
  }
}

async function startNew(session: Session, task: string, folder: string): Promise<string> {
  // An earlier round that was left would hold the hotkey's claim and half of the machine.
  for await (const { workflowId } of session.client.workflow.list({
    query: `WorkflowType="${WORKFLOW_TYPE}" AND ExecutionStatus="Running" AND TaskQueue="${session.settings.taskQueue}"`,
  })) {
    note(`cancelling the unfinished run ${workflowId} of an earlier demo`);
    await requestCancel(session, workflowId, 'a new demo was started');
    await session.client
      .withDeadline(Date.now() + 60_000, () =>
        session.client.workflow.getHandle(workflowId).result(),
      )
      .catch(() => {});
  }
  const loaded = await loadPipeline(path.join(findPackage().root, PIPELINE));
  const inputs = new Map(
    Object.entries(demoInputs(task)).map(([name, value]) => [name, { value }]),
  );
  const plan = bindPlan(loaded, inputs, await networkOf(session.settings));
  const { runId } = await startRun(session, plan, note);
  writeMemory(folder, { ...readMemory(folder), lastRun: runId });
  return runId;
}

async function findOpenRun(
  session: Session,
  resume: boolean | string,
  folder: string,
): Promise<string> {
  const runId = typeof resume === 'string' ? resume : readMemory(folder).lastRun;
  if (runId === undefined || (await describeRun(session, runId)) === null) {
    throw new CliFailure(
      'RUN_NOT_FOUND',
      runId === undefined ? 'There is no demo run to resume.' : `There is no demo run "${runId}".`,
      {
        hint: `Start a new one with: ${ownName()} demo`,
      },
    );
  }
  return runId;
}

function exitCodeFor({ view }: RunRecord, verified: boolean): ExitCode {
  if (view.status !== 'succeeded') return exitCodeOf(view.status);
  return verified ? EXIT.done : EXIT.failed;
}

/** Name of the recipe that `candidate.select` chose, from the evidence; null when it is not there. */
async function chosenRecipe(folder: string, runId: string): Promise<string | null> {
  const steps = await createEvidence(folder).readSteps(runId);
  const outputs = steps.find(
    ({ uses, status }) => uses === 'candidate.select' && status === 'succeeded',
  )?.['outputs'];
  const candidate = isJsonObject(outputs) ? outputs['candidate'] : null;
  const recipe = isJsonObject(candidate) ? candidate['recipe'] : null;
  return isJsonObject(recipe) ? String(recipe['name']) : null;
}

async function printKept(services: LocalServices, folder: string): Promise<void> {
  print(`\nKept running (end them with: ${ownName()} demo --stop):`);
  printServices(services.current(), folder, await hostPid(folder));
}

function resumeHint({ lastRun }: DemoMemory, { address, namespace }: DemoOptions): string {
  if (lastRun === undefined) return `Nothing had started yet: ${ownName()} demo`;
  const flags = [
    ...(address === undefined ? [] : [`--address ${address}`]),
    ...(namespace === undefined ? [] : [`--namespace ${namespace}`]),
  ];
  return `All is stopped, and nothing is lost. The run goes on with: ${[ownName(), 'demo --resume', lastRun, ...flags].join(' ')}`;
}

function rememberPorts(folder: string, services: LocalServices): void {
  const { address, ui, process: ours } = services.current().temporal;
  if (ours === null) return;
  const portOf = (url: string): number => Number(new URL(url).port);
  writeMemory(folder, {
    ...readMemory(folder),
    ports: { server: portOf(`http://${address}`), ...(ui === null ? {} : { ui: portOf(ui) }) },
  });
}

function readMemory(folder: string): DemoMemory {
  const file = path.join(folder, 'demo.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as DemoMemory) : {};
}

function writeMemory(folder: string, memory: DemoMemory): void {
  writeFileSync(path.join(folder, 'demo.json'), `${JSON.stringify(memory, null, 2)}\n`);
}

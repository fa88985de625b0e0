import { existsSync } from 'node:fs';
import { createEvidence } from '../adapters/evidence/evidence.js';
import type { ServerFlags } from '../adapters/temporal-server/choose-server.js';
import type { Plan } from '../core/plan.js';
import { drawGraph } from './draw-graph.js';
import { loadPipeline } from './load-plan.js';
import { note, printJson } from './output.js';
import { readStart } from './retry-basis.js';
import { evidenceRoots, isPlan, type RunRecord } from './run-record.js';
import { openSession, readSettings } from './session.js';
import { showRun } from './show-run.js';

/** Prints the graph of a pipeline file, or of a run with its states. Throws what `adit check` and `adit show` would tell. */
export async function showGraph(
  target: string,
  { json, ...flags }: ServerFlags & { readonly json?: boolean },
): Promise<void> {
  const { pipeline, run, mermaid } = isFile(target)
    ? await graphOfFile(target)
    : await graphOfRun(flags, target);
  if (json === true) printJson({ pipeline, run, mermaid });
  else process.stdout.write(mermaid);
}

interface Graph {
  readonly pipeline: string;
  readonly run: string | null;
  readonly mermaid: string;
}

/** A run id is no path, and has no such ending. */
function isFile(target: string): boolean {
  return /\.ya?ml$|[/\\]/i.test(target) || existsSync(target);
}

async function graphOfFile(file: string): Promise<Graph> {
  const { pipeline, warnings } = await loadPipeline(file);
  if (warnings !== '') note(`${warnings}\n`);
  return { pipeline: pipeline.name, run: null, mermaid: drawGraph(pipeline.steps, null) };
}

async function graphOfRun(flags: ServerFlags, runId: string): Promise<Graph> {
  const { view, remark }: RunRecord = await showRun(flags, runId);
  const { steps } = await planOf(flags, runId);
  if (remark !== undefined) note(remark);
  return { pipeline: view.pipeline, run: view.runId, mermaid: drawGraph(steps, view.steps) };
}

/** From the evidence; of a run that was started on another machine from the server. */
async function planOf(flags: ServerFlags, runId: string): Promise<Plan> {
  const roots = evidenceRoots((await readSettings()).stateDir);
  for (const root of roots) {
    const plan = await createEvidence(root)
      .readPlan(runId)
      .catch(() => null);
    if (isPlan(plan)) return plan;
  }
  const session = await openSession(flags);
  try {
    return (await readStart(session, runId, roots)).plan;
  } finally {
    await session.close();
  }
}

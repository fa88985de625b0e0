/**
 * Recorded histories must replay on the code of the working tree: a change that breaks one would wedge
 * the runs that are under way. They are never edited. To add one, record it with the released version:
 *
 *   ADIT_RECORD_HISTORIES=test/replay/histories npx vitest run --project integration run-pipeline
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import {
  DefaultLogger,
  Runtime,
  Worker,
  type WorkflowBundleWithSourceMap,
} from '@temporalio/worker';
import { beforeAll, describe, expect, test } from 'vitest';
import type { RunArgs } from '../../workflows/contract.js';
import { bundleOfWorkingTree } from '../support/workflow-bundle.js';

const folder = fileURLToPath(new URL('histories', import.meta.url));
const names = readdirSync(folder).filter((name) => /\.json(?:\.gz)?$/.test(name));

function readHistory(name: string): string {
  const content = readFileSync(path.join(folder, name));
  return (name.endsWith('.gz') ? gunzipSync(content) : content).toString('utf8');
}

let bundle: WorkflowBundleWithSourceMap;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  bundle = await bundleOfWorkingTree();
}, 60_000);

async function replay(text: string): Promise<void> {
  const history: unknown = JSON.parse(text);
  await Worker.runReplayHistory(
    { workflowBundle: { code: bundle.code } },
    history,
    workflowIdOf(text),
  );
}

/** A history does not hold its own workflow id; ours is the run id, which every step is sent. */
function workflowIdOf(text: string): string {
  const { events } = JSON.parse(text) as {
    events: Array<{ workflowExecutionStartedEventAttributes?: { workflowId?: string } }>;
  };
  return events[0]?.workflowExecutionStartedEventAttributes?.workflowId ?? '';
}

const WALKS = 'run-pipeline.v1.walks-conditions-branches-try-and-stop-as-they-nest.json';
const PARTS = 'run-pipeline.v1.run-two-deep-as-the-run-that-they-are-a-part-of-and-give-the.json';

/** The same history, of a plan whose third step is gone. */
function withoutThirdStep(text: string): string {
  const history = JSON.parse(text) as {
    events: Array<{
      workflowExecutionStartedEventAttributes: { input: { payloads: [{ data: string }] } };
    }>;
  };
  const [payload] = history.events[0]?.workflowExecutionStartedEventAttributes.input.payloads ?? [];
  if (payload === undefined) throw new Error('The history does not begin with its arguments.');
  const args = JSON.parse(Buffer.from(payload.data, 'base64').toString('utf8')) as RunArgs;
  const plan = { ...args.plan, steps: args.plan.steps.filter((_step, index) => index !== 2) };
  payload.data = Buffer.from(JSON.stringify({ ...args, plan })).toString('base64');
  return JSON.stringify(history);
}

describe('recorded histories', () => {
  test('are there', () => {
    expect(names.length).toBeGreaterThanOrEqual(14);
  });

  test.each(names)('%s replays', async (name) => {
    await replay(readHistory(name));
  });

  test.each([
    ['under another id', WALKS, (text: string) => text.replaceAll('"[2]/body"', '"[2]/other"')],
    ['of another type', WALKS, (text: string) => text.replaceAll('"test.step"', '"test.other"')],
    ['that is a part of the run', PARTS, (text: string) => text.replaceAll('/outer"', '/other"')],
    ['that the plan does not have', WALKS, withoutThirdStep],
  ])('one that was tampered with does not: a step %s', async (_how, name, tamper) => {
    const text = readHistory(name);
    const tampered = tamper(text);
    expect(tampered).not.toBe(text);
    await expect(replay(tampered)).rejects.toThrow(/ondeterminism/i);
  });
});

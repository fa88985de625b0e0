/** Answers of people that come too late, or are for something else: what the commands say, as text and as JSON. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createFolderStore, type Store } from '../../adapters/store/store.js';
import { sendAnswer } from '../../cli/answer-run.js';
import { openSession } from '../../cli/session.js';
import type { FileRef } from '../../compiler/values.js';
import type { ApproveStep, Plan } from '../../core/plan.js';
import { APPROVE_UPDATE, DECIDE_UPDATE } from '../../workflows/contract.js';
import { adit, type CliResult } from '../support/cli.js';
import { expr, lit, output, planOf, stepMaker } from '../support/plan-makers.js';
import { openRuns, untilStep, type Runs } from '../support/workflow-runs.js';

const step = stepMaker({
  timeoutMs: 60_000,
  heartbeatMs: 10_000,
  retry: { attempts: 1, firstMs: 10, factor: 1, mostMs: 10, never: [] },
});

const go: ApproveStep = {
  kind: 'approve',
  id: 'go',
  key: 'go',
  summary: lit('Publish?'),
  show: [['log', expr(output('make', 'log'))]],
  fields: [],
  quorum: 1,
  expires: lit('1h'),
};

/** Makes a file of this text, and asks whether to go on with it. */
const asksAbout = (text: string): Plan => planOf(step('make', { with: [['text', lit(text)]] }), go);

let runs: Runs;
let store: Store;

beforeAll(async () => {
  runs = await openRuns(inject('temporal').address);
  store = createFolderStore(path.join(runs.folder, 'store'));
});

afterAll(() => runs.close());

function call(...args: string[]): Promise<CliResult> {
  return adit(args, {
    stateDir: runs.folder,
    env: { TEMPORAL_ADDRESS: inject('temporal').address },
  });
}

/** The command refuses, and changes nothing: the error as JSON, and the same as text. */
async function expectRefusal(
  args: readonly string[],
  { code, message, hint }: { code: string; message: string; hint: string },
): Promise<void> {
  const [asJson, asText] = await Promise.all([call(...args, '--json'), call(...args)]);
  expect([args, asJson.exitCode, asText.exitCode]).toEqual([args, 1, 1]);
  const { error } = JSON.parse(asJson.stdout) as { error: Record<string, string> };
  expect(error).toEqual({
    code,
    message: expect.stringContaining(message) as string,
    hint: expect.stringContaining(hint) as string,
  });
  expect(asText.stdout).toBe('');
  expect(asText.stderr).toContain(`error: ${error['message']}\n${error['hint']}`);
}

async function digestOf(runId: string): Promise<string> {
  const { stdout } = await call('approve', runId, 'go', '--json');
  return (JSON.parse(stdout) as { digest: string }).digest;
}

test('an answer is for what was looked at, and for a run that is open', async () => {
  const made: FileRef[] = [];
  await runs.withRun(
    {
      plan: asksAbout('loss 0.25\n'),
      behaviour: async ({ text }) => {
        const log = await store.putBytes(String(text));
        made.push(log);
        return { log };
      },
    },
    async ({ handle, start }) => {
      const first = handle.workflowId;
      await untilStep(handle, 'go', ({ status }) => status === 'parked');
      const other = await start(asksAbout('loss 0.24\n'));
      const second = other.workflowId;
      await untilStep(other, 'go', ({ status }) => status === 'parked');
      const [seen, shown] = await Promise.all([digestOf(first), digestOf(second)]);
      expect(seen).not.toBe(shown);

      const answer = ['approve', second, 'go', '--approve'];
      await expectRefusal([...answer, '--digest', seen], {
        code: 'APPROVAL_CHANGED',
        message: `it names the digest ${seen}, and what go shows and asks has ${shown}`,
        hint: 'Look at it again',
      });
      // A byte of the file itself, behind the digest that the run shows.
      const file = await store.locate(made[1] as FileRef);
      const bytes = await readFile(file, 'utf8');
      await writeFile(file, bytes.replace('4', '5'));
      await expectRefusal(answer, {
        code: 'FILE_CHANGED',
        message: 'The file log cannot be shown:',
        hint: 'Answer where it can be looked at',
      });
      await writeFile(file, bytes);
      await expectRefusal(['decide', second, 'go', '--retry'], {
        code: 'STEP_NOT_PARKED',
        message: `The step go of the run "${second}" waits for approval, not for a decision.`,
        hint: `approve ${second} go`,
      });
      expect((await call(...answer, '--digest', shown)).exitCode).toBe(0);
      expect(await other.result()).toMatchObject({ status: 'succeeded' });

      const ended = {
        code: 'RUN_ENDED',
        message: `The run "${second}" has already ended.`,
        hint: `show ${second}`,
      };
      await expectRefusal([...answer, '--digest', shown], ended);
      await expectRefusal(['decide', second, 'make', '--retry'], ended);
      await expectRefusal(['decide', second], ended);
      await expectRefusal(['cancel', second, '--force'], ended);
      // It ended between the look and the answer: the server itself says so.
      const session = await openSession({ address: inject('temporal').address });
      try {
        for (const update of [DECIDE_UPDATE, APPROVE_UPDATE]) {
          const late = { id: 'late', step: 'go', action: 'approve', by: 'tester', digest: shown };
          const of = { runId: second, workflowId: second };
          await expect(sendAnswer(session, of, update, late)).rejects.toMatchObject({
            code: 'RUN_ENDED',
            message: ended.message,
          });
        }
      } finally {
        await session.close();
      }
      await handle.cancel();
    },
  );
});

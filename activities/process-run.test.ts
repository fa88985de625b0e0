import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Workspace } from '../compiler/values.js';
import type { StepError } from '../core/error.js';
import { startGitServer, type GitServer } from '../test/fakes/git-server.js';
import { createStepRig, type StepRig } from '../test/fakes/step-context.js';
import { createTask } from '../test/fakes/task.js';

import { processRun } from './process-run.js';
import { workspaceClone } from './workspace-clone.js';

describe('process.run', () => {
  let server: GitServer;
  let rig: StepRig;
  let workspace: Workspace;

  beforeAll(async () => {
    server = await startGitServer({
      'pack/train.py': 'rate = 1\n',
      'pack/committed.json': '{"heldout_ppl": 1.5}\n',
    });
  });
  afterAll(() => server.close());
  beforeEach(async () => {
    rig = createStepRig();
    ({ workspace } = await workspaceClone.run(
      { task: createTask({ repository: server.url }) },
      rig.context('source'),
    ));
  });
  afterEach(() => rig.close());

  const file = (name: string): string => path.join(rig.stateDir, name);
  type Changes = Parameters<StepRig['context']>[1];

  const run = (input: Parameters<typeof processRun.run>[0], changes: Changes = {}) =>
    processRun.run(input, rig.context('count', changes));

  it('returns the values that the command writes, each with its type', async () => {
    const result = await run({
      command: `echo working; printf '{"n": 3, "x": 1.5, "ok": true, "name": "a", "more": 1}' > $ADIT_OUTPUTS_FILE`,
      outputs: { n: 'int', x: 'number', ok: 'bool', name: 'string' },
    });
    expect(result).toMatchObject({
      exit_code: 0,
      outputs: { n: 3, x: 1.5, ok: true, name: 'a' },
    });
    expect((await rig.adapters.store.read(result.log)).toString()).toBe('working\n');
  });

  it('runs in the workspace, or in an empty directory of its own', async () => {
    const command = `pwd > ${file('pwd')}; ls -A | wc -l >> ${file('pwd')}`;
    await run({ command, workspace });
    expect(readFileSync(file('pwd'), 'utf8')).toMatch(new RegExp(`^${workspace.path}\n`));
    await run({ command }, { start: 2 });
    expect(readFileSync(file('pwd'), 'utf8')).toMatch(/\/count\/2\/work\n\s*0\n$/);
  });

  it.each([
    ['true', 'OUTPUT_MISSING', 'The command wrote no outputs; declared are n.'],
    ['echo "{}" > $ADIT_OUTPUTS_FILE', 'OUTPUT_MISSING', 'The command did not write its output n.'],
    [
      `echo '{"n": 1.5}' > $ADIT_OUTPUTS_FILE`,
      'STEP_OUTPUT_INVALID',
      'The output n is 1.5, which is no int.',
    ],
    [
      'echo garbage > $ADIT_OUTPUTS_FILE',
      'STEP_OUTPUT_INVALID',
      'What the command wrote to $ADIT_OUTPUTS_FILE is no JSON object.',
    ],
    ['exit 3', 'PROGRAM_FAILED', 'The command exited with status 3.'],
    ['no-such-program', 'PROGRAM_UNUSABLE', 'The command: a command was not found (status 127).'],
    ['/etc/passwd', 'PROGRAM_UNUSABLE', 'The command: a command cannot be executed (status 126).'],
  ])('fails for %s', async (command, code, message) => {
    await expect(run({ command, outputs: { n: 'int' } })).rejects.toMatchObject({
      code,
      message,
    });
  });

  it('finds what an earlier start of it left in the checkpoint directory', async () => {
    const command =
      'echo x >> $ADIT_CHECKPOINT_DIR/state; printf "{\\"n\\":%d}" $(wc -l < $ADIT_CHECKPOINT_DIR/state) > $ADIT_OUTPUTS_FILE';
    await run({ command, outputs: { n: 'int' } });
    const again = await run({ command, outputs: { n: 'int' } }, { start: 2, scheduledAtMs: 2 });
    expect(again.outputs).toEqual({ n: 2 });
  });

  it('says where the checkpoints are when the command fails, since one may be damaged', async () => {
    const command = `if [ -e $ADIT_CHECKPOINT_DIR/state ]; then grep -q good $ADIT_CHECKPOINT_DIR/state || { echo "bad checkpoint"; exit 4; }
else echo $ADIT_CHECKPOINT_DIR > ${file('place')}; echo garbage > $ADIT_CHECKPOINT_DIR/state; exit 3; fi`;
    for (const start of [1, 2]) {
      const place = (): string => readFileSync(file('place'), 'utf8').trim();
      const failed = run({ command }, { start, scheduledAtMs: start });
      const error = await failed.catch((reason: unknown) => reason as StepError);
      expect(error).toMatchObject({
        code: 'PROGRAM_FAILED',
        message: `The command exited with status ${start + 2}.`,
      });
      expect((error as StepError).hint).toMatch(
        new RegExp(
          ` The next start finds its checkpoints in ${place()}; remove one that is damaged\\.$`,
        ),
      );
    }
    for (const [index, command] of ['exit 3', 'rm -r $ADIT_CHECKPOINT_DIR; exit 3'].entries()) {
      const changes = { start: 3 + index, scheduledAtMs: 3 + index };
      await expect(run({ command }, changes)).rejects.toMatchObject({
        code: 'PROGRAM_FAILED',
        hint: expect.not.stringContaining('finds its checkpoints') as string,
      });
    }
  });

  it('refuses a path that is no workspace', async () => {
    await expect(
      run({ command: 'true', workspace: { ...workspace, path: '/etc' } }),
    ).rejects.toMatchObject({
      code: 'WORKSPACE_CHANGED',
    });
  });
});

import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Edit, Workspace } from '../compiler/values.js';
import { startGitServer, type GitServer } from '../test/fakes/git-server.js';
import { createStepRig, type StepRig } from '../test/fakes/step-context.js';
import { createTask } from '../test/fakes/task.js';
import { workspaceClone } from './workspace-clone.js';
import { workspaceEdit } from './workspace-edit.js';
import { workspaceFork } from './workspace-fork.js';
import { workspacePatch } from './workspace-patch.js';
import { workspaceSetup } from './workspace-setup.js';

describe('workspace steps', () => {
  let server: GitServer;
  let rig: StepRig;
  let workspace: Workspace;
  const task = createTask({ allowedPatchPaths: ['pack/train.py', 'pack/notes*'] });

  beforeAll(async () => {
    server = await startGitServer({
      'pack/train.py': "rate = 1\nmethod = 'round'\n-- old comment\n",
      'pack/latin': 'plain\n',
      'pack/notes.md': 'notes\n',
      'README.md': 'read me\n',
      '.gitignore': 'baseline.json\n',
    });
    server.git('rm', '--quiet', 'pack/latin');
    symlinkSync('train.py', path.join(server.workDir, 'pack', 'notes-link'));
    server.commit({ 'pack/notes-latin': 'plain\n' });
  });
  afterAll(() => server.close());
  beforeEach(async () => {
    rig = createStepRig();
    ({ workspace } = await workspaceClone.run(
      { task: { ...task, repository: server.url } },
      rig.context('source'),
    ));
  });
  afterEach(() => rig.close());

  const at = (name: string): string => path.join(workspace.path, name);
  const edit = (edits: Edit[], changes: Parameters<StepRig['context']>[1] = {}) =>
    workspaceEdit.run({ workspace, task, edits }, rig.context('edit', changes));
  const patch = (from: Workspace, of = task) =>
    workspacePatch.run({ workspace: from, task: of }, rig.context('patch'));
  const setup = (setupCommand: string, changes: Parameters<StepRig['context']>[1] = {}) =>
    workspaceSetup.run(
      { workspace, task: createTask({ setupCommand }) },
      rig.context('ready', changes),
    );

  describe('workspace.clone', () => {
    it("carries this host's queue", () => {
      expect(workspace).toMatchObject({
        queue: 'adit.host-1',
        commit: server.git('rev-parse', 'HEAD').trim(),
      });
    });

    it('refuses a repository that begins with a dash', async () => {
      const repository = '--upload-pack=touch${IFS}/tmp/pwned';
      await expect(
        workspaceClone.run({ task: { ...task, repository } }, rig.context('source')),
      ).rejects.toMatchObject({
        code: 'REPOSITORY_REFUSED',
        message: `The repository ${repository} begins with a dash, as an option does.`,
      });
    });

    it('says that a base_ref does not exist', async () => {
      await expect(
        workspaceClone.run(
          { task: { ...task, repository: server.url, baseRef: 'gone' } },
          rig.context('source'),
        ),
      ).rejects.toMatchObject({
        code: 'REF_NOT_FOUND',
        message: `${server.url} has no branch, tag or commit gone.`,
      });
    });

    it('refuses to begin when the disk is nearly full', async () => {
      const low = createStepRig({ ADIT_MIN_FREE_BYTES: String(Number.MAX_SAFE_INTEGER) });
      await expect(
        workspaceClone.run({ task: { ...task, repository: server.url } }, low.context('source')),
      ).rejects.toMatchObject({
        code: 'DISK_LOW',
        message: expect.stringMatching(
          / has \d+ bytes free; at least 9007199254740991 are needed\.$/,
        ) as string,
      });
      await low.close();
    });
  });

  describe('workspace.setup', () => {
    it('runs nothing when the task has no setup command', async () => {
      const result = await workspaceSetup.run({ workspace, task }, rig.context('ready'));
      expect(result).toEqual({ workspace, ran: false });
    });

    it('runs the command in the workspace; what it writes besides tracked files is no part of the tree', async () => {
      const result = await setup('pwd > baseline.json; echo "$HOME" >> baseline.json');
      expect(result).toEqual({ workspace, ran: true });
      expect(readFileSync(at('baseline.json'), 'utf8')).toBe(
        `${workspace.path}\n${workspace.path}\n`,
      );
    });

    it('returns a new tree when the command changes a tracked file', async () => {
      const result = await setup('echo more >> README.md');
      expect(result.workspace.tree).not.toBe(workspace.tree);
      expect(result.workspace.commit).toBe(workspace.commit);
    });

    it('starts a second try from the tree that it was handed', async () => {
      await expect(setup('echo more >> README.md; exit 3')).rejects.toMatchObject({
        code: 'SETUP_FAILED',
      });
      const again = await setup('cat README.md > baseline.json', { start: 2 });
      expect(readFileSync(at('baseline.json'), 'utf8')).toBe('read me\n');
      expect(again.workspace.tree).toBe(workspace.tree);
    });

    it('fails with the end of the output', async () => {
      await expect(setup('echo no such wheel >&2; exit 3')).rejects.toMatchObject({
        code: 'SETUP_FAILED',
        message: 'The setup command exited with status 3.',
        hint: expect.stringMatching(
          /^Its last output: no such wheel \(all of it: .*\/output\/log\)$/,
        ) as string,
      });
    });

    it('never lets git run what a setup command configures in the checkout', async () => {
      const witness = path.join(rig.stateDir, 'witness');
      const planted = [
        'git init --quiet .',
        `git config core.fsmonitor 'touch ${witness}'`,
        `git config diff.external 'touch ${witness}'`,
        `git config filter.evil.clean 'touch ${witness}; cat'`,
        `git config filter.evil.smudge 'touch ${witness}; cat'`,
        `mkdir -p .git/hooks && printf '#!/bin/sh\\ntouch ${witness}\\n' > .git/hooks/post-checkout && chmod +x .git/hooks/post-checkout`,
        'cp .git/config .gitconfig',
        "echo '* filter=evil' > .gitattributes",
      ].join('\n');
      const { workspace: ready } = await setup(planted);
      const { workspace: edited } = await workspaceEdit.run(
        {
          workspace: ready,
          task,
          edits: [{ path: 'pack/train.py', find: 'rate = 1', replace: 'rate = 2' }],
        },
        rig.context('edit'),
      );
      await workspaceFork.run({ workspace: edited }, rig.context('fork'));
      const { patch: made } = await patch(edited);
      expect(made.paths).toEqual(['pack/train.py']);
      expect(existsSync(witness)).toBe(false);
      server.git('-C', workspace.path, 'status');
      expect(existsSync(witness)).toBe(true);
    });
  });

  describe('workspace.edit', () => {
    it('replaces text that occurs exactly once, edit after edit', async () => {
      const result = await edit([
        { path: 'pack/train.py', find: 'rate = 1', replace: 'rate = $& 2' },
        { path: 'pack/train.py', find: '2\n', replace: '3\n' },
      ]);
      expect(result.changed).toEqual(['pack/train.py']);
      expect(result.workspace.tree).not.toBe(workspace.tree);
      expect(readFileSync(at('pack/train.py'), 'utf8')).toContain('rate = $& 3\n');
    });

    it('gives the same result when it is tried again after a crash half-way', async () => {
      const edits = [{ path: 'pack/train.py', find: 'rate = 1', replace: 'rate = 2' }];
      const first = await edit(edits);
      expect(await edit(edits, { firstAttempt: false })).toEqual(first);
    });

    it.each([
      [
        { path: 'README.md', find: 'read', replace: 'x' },
        'PATCH_OUTSIDE_SURFACE',
        'The edit of README.md is outside the surface of small-frontier.',
      ],
      [
        { path: 'pack/notes/../../x', find: 'a', replace: 'b' },
        'PATCH_OUTSIDE_SURFACE',
        'The edit of pack/notes/../../x is outside the surface of small-frontier.',
      ],
      [
        { path: 'pack/train.py', find: 'absent', replace: 'b' },
        'EDIT_NOT_APPLICABLE',
        'pack/train.py does not hold the text that edits[0] looks for.',
      ],
      [
        { path: 'pack/train.py', find: 'r', replace: 'b' },
        'EDIT_NOT_APPLICABLE',
        'pack/train.py holds the text that edits[0] looks for more than once.',
      ],
      [
        { path: 'pack/notes-link', find: 'rate', replace: 'b' },
        'EDIT_NOT_APPLICABLE',
        'pack/notes-link is a symbolic link.',
      ],
      [
        { path: 'pack/notes-none', find: 'rate', replace: 'b' },
        'EDIT_NOT_APPLICABLE',
        'pack/notes-none is no tracked file of the workspace.',
      ],
    ])('refuses %j', async (bad, code, message) => {
      await expect(edit([bad])).rejects.toMatchObject({ code, message });
      expect((await rig.adapters.git.look(workspace)).changed).toEqual([]);
    });

    it('does not write through a link that a command put in the way', async () => {
      const outside = path.join(rig.stateDir, 'outside');
      mkdirSync(outside);
      writeFileSync(path.join(outside, 'train.py'), 'mine\n');
      rmSync(at('pack'), { recursive: true });
      symlinkSync(outside, at('pack'));
      const edits = [{ path: 'pack/train.py', find: 'rate = 1', replace: 'rate = 2' }];
      await expect(edit(edits)).rejects.toMatchObject({ code: 'WORKSPACE_CHANGED' });
      await edit(edits, { firstAttempt: false });
      expect(readFileSync(path.join(outside, 'train.py'), 'utf8')).toBe('mine\n');
      expect(readFileSync(at('pack/train.py'), 'utf8')).toContain('rate = 2');
    });

    it('refuses a workspace whose tracked files were changed behind its back', async () => {
      writeFileSync(at('README.md'), 'other\n');
      await expect(
        edit([{ path: 'pack/train.py', find: 'rate = 1', replace: 'x' }]),
      ).rejects.toMatchObject({
        code: 'WORKSPACE_CHANGED',
        message: 'Tracked files were changed since the step that made this workspace: README.md.',
      });
    });
  });

  describe('workspace.patch', () => {
    const edited = async (
      find: string,
      replace: string,
      file = 'pack/train.py',
    ): Promise<Workspace> => (await edit([{ path: file, find, replace }])).workspace;

    it('builds a patch that applies to a clean clone of the commit', async () => {
      const from = await edited('rate = 1', 'rate = 2');
      const made = (await patch(from)).patch;
      expect(made).toMatchObject({
        commit: workspace.commit,
        tree: from.tree,
        paths: ['pack/train.py'],
      });
      const text = (await rig.adapters.store.read(made.file)).toString('utf8');
      expect(text.endsWith('\n')).toBe(true);
      const clean = path.join(rig.stateDir, 'clean');
      server.git('clone', '--quiet', server.servedDir, clean);
      const file = path.join(rig.stateDir, 'patch');
      writeFileSync(file, text);
      server.git('-C', clean, 'apply', file);
      expect(readFileSync(path.join(clean, 'pack/train.py'), 'utf8')).toContain('rate = 2\n');
    });

    it('is empty, and a file in the store, when nothing changed', async () => {
      const made = (await patch(workspace)).patch;
      expect(made.paths).toEqual([]);
      expect(made.file.sizeBytes).toBe(0);
      expect((await rig.adapters.store.read(made.file)).length).toBe(0);
    });

    it('refuses a change of a tracked file outside the surface, and names it', async () => {
      const from = await edited('rate = 1', 'rate = 2');
      writeFileSync(at('README.md'), 'other\n');
      await expect(patch(from)).rejects.toMatchObject({
        code: 'PATCH_OUTSIDE_SURFACE',
        message: 'Tracked files outside the surface of small-frontier are changed: README.md.',
      });
    });

    it('refuses what changed inside the surface after it was measured', async () => {
      const from = await edited('rate = 1', 'rate = 2');
      writeFileSync(at('pack/train.py'), 'rate = 3\n');
      await expect(patch(from)).rejects.toMatchObject({
        code: 'WORKSPACE_CHANGED',
        message:
          'Tracked files are not as they were when the workspace was measured: pack/train.py.',
      });
    });

    it('refuses new files inside the surface that no edit made, and shows those outside it', async () => {
      writeFileSync(at('helper.py'), 'x');
      mkdirSync(at('pack/__pycache__'));
      writeFileSync(at('pack/__pycache__/train.cpython-311.pyc'), 'x');
      await patch(workspace);
      expect(rig.statuses.at(-1)).toEqual({ leftOut: 'helper.py' });
      writeFileSync(at('pack/notes-new'), 'x');
      await expect(patch(workspace)).rejects.toMatchObject({
        code: 'WORKSPACE_CHANGED',
        message:
          'New files inside the surface of small-frontier are not part of the workspace: pack/notes-new.',
      });
    });

    it('refuses a link in place of a file of the surface', async () => {
      rmSync(at('pack/train.py'));
      symlinkSync('/etc/passwd', at('pack/train.py'));
      await expect(patch(workspace)).rejects.toMatchObject({
        code: 'PATCH_UNUSABLE',
        message: 'The patch would change symbolic links or submodules: pack/train.py.',
      });
    });

    it('refuses a patch that is larger than allowed', async () => {
      const from = await edited('rate = 1', 'rate = 2');
      await expect(patch(from, { ...task, maxPatchBytes: 100 })).rejects.toMatchObject({
        code: 'PATCH_TOO_LARGE',
        message: expect.stringMatching(
          /^The patch has \d+ bytes, at most 100 are allowed: a validator would reject it as patch_too_large\.$/,
        ) as string,
      });
    });

    it('refuses content that the validator misreads as a path', async () => {
      const from = await edited('-- old comment\n', '');
      await expect(patch(from)).rejects.toMatchObject({
        code: 'PATCH_OUTSIDE_SURFACE',
        message:
          'The validator reads these as paths outside the surface: old comment; a validator would reject it as disallowed_patch_paths.',
      });
    });

    it('refuses a patch that is not UTF-8', async () => {
      writeFileSync(at('pack/notes-latin'), Buffer.from('caf\xe9\n', 'latin1'));
      const { tree } = await rig.adapters.git.look(workspace);
      await expect(patch({ ...workspace, tree })).rejects.toMatchObject({
        code: 'PATCH_UNUSABLE',
        message: 'The patch is not UTF-8: a changed file is in another encoding.',
      });
    });
  });
});

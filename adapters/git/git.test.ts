import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  utimesSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startGitServer, type GitServer } from '../../test/fakes/git-server.js';
import { createTestHost, type TestHost } from '../../test/fakes/process-host.js';
import { createProcesses, type Processes } from '../processes/processes.js';
import { createGit, type Git, type WorkspacePlace } from './git.js';

const place = (stepPath: string, start = 1, scheduledAtMs = 1): WorkspacePlace => ({
  runId: 'run-1',
  stepPath,
  start,
  scheduledAtMs,
});

describe('git', () => {
  let server: GitServer;
  let stateDir: string;
  let git: Git;
  let host: TestHost;
  let processes: Processes;
  let first: string;

  beforeAll(async () => {
    server = await startGitServer({
      'pack/train.py': 'rate = 1\n',
      'pack/run.sh': 'echo\r\n',
      '.gitattributes': '*.sh text eol=crlf\n*.py filter=evil diff=evil\n',
      '.gitignore': 'ignored.txt\n',
      'README.md': 'read me\n',
    });
    first = server.git('rev-parse', 'HEAD').trim();
    server.git('tag', '--annotate', '--message', 'v1', 'v1');
    server.commit({ 'README.md': 'second\n' });
  });
  afterAll(() => server.close());

  beforeEach(() => {
    stateDir = mkdtempSync(path.join(tmpdir(), 'adit-git-'));
    host = createTestHost(stateDir);
    processes = createProcesses({ stateDir, server: null, startHost: host.startHost });
    git = gitOf(process.env['PATH'] ?? '');
  });
  afterEach(async () => {
    processes.close();
    await host.close();
    rmSync(stateDir, { recursive: true, force: true });
  });

  const gitOf = (searchPath: string): Git =>
    createGit({
      stateDir,
      searchPath,
      runCommand: (command, signal) => processes.command(command, signal),
    });

  const clone = (ref: string, at = place('source')) =>
    git.clone({ repository: server.url, ref, place: at });

  it('resolves a branch, an annotated tag and a full commit to a commit, and checks it out', async () => {
    const second = server.git('rev-parse', 'HEAD').trim();
    const branch = await clone('production');
    expect(branch.commit).toBe(second);
    expect(branch.path).toContain(path.join('workspaces', 'run-1', 'source', '1', 'checkout'));
    expect(readFileSync(path.join(branch.path, 'README.md'), 'utf8')).toBe('second\n');
    expect(branch.tree).toBe(server.git('rev-parse', 'HEAD^{tree}').trim());
    expect((await clone('v1', place('tag'))).commit).toBe(first);
    const byCommit = await clone(first, place('commit'));
    expect(byCommit.commit).toBe(first);
    expect(readFileSync(path.join(byCommit.path, 'README.md'), 'utf8')).toBe('read me\n');
  });

  it('keeps the git directory out of the checkout', async () => {
    const { path: checkout } = await clone('production');
    expect(readdirSync(checkout).sort()).toEqual([
      '.gitattributes',
      '.gitignore',
      'README.md',
      'pack',
    ]);
  });

  it('checks out exactly the bytes that git stores, whatever the attributes of the repository say', async () => {
    const workspace = await clone('production');
    const stored = server.git('cat-file', '-p', 'HEAD:pack/run.sh');
    expect(readFileSync(path.join(workspace.path, 'pack/run.sh'), 'utf8')).toBe(stored);
    expect(await git.look(workspace)).toEqual({ tree: workspace.tree, changed: [] });
  });

  it.each([
    ['--upload-pack=touch /tmp/x', 'begins with a dash'],
    ['ext::sh -c touch% /tmp/x', 'holds a blank'],
    ['ext::sh', 'is no http or https address'],
    ['file:///etc', 'is no http or https address'],
    ['ssh://git@example.org/x', 'is no http or https address'],
    ['git@example.org:x', 'is no http or https address'],
    ['/etc', 'is no http or https address'],
    ['http://example.org/x.git', 'is plain http to another machine'],
    ['https://10.0.0.1/x.git', 'names an address of a private network'],
    ['https://example.org/../x.git', 'holds a path that climbs'],
    ['https://example.org/x.git\n--option', 'holds a blank, control or non-ASCII character'],
  ])('refuses the repository %j before git sees it', async (repository, why) => {
    await expect(
      git.clone({ repository, ref: 'production', place: place('source') }),
    ).rejects.toMatchObject({
      code: 'REPOSITORY_REFUSED',
      message: expect.stringContaining(why) as string,
    });
  });

  it('does not repeat the credentials of an address', async () => {
    const repository = 'https://user:secret@example.org/x.git';
    await expect(git.clone({ repository, ref: 'x', place: place('source') })).rejects.toMatchObject(
      {
        code: 'REPOSITORY_REFUSED',
        message: expect.not.stringContaining('secret') as string,
      },
    );
  });

  it.each(['--upload-pack=x', '../x', '/abs', 'a b', 'a\u0000b', 'x.lock', 'a@{1}', 'a:b', ''])(
    'refuses the ref %j',
    async (ref) => {
      await expect(clone(ref)).rejects.toMatchObject({ code: 'REPOSITORY_REFUSED' });
    },
  );

  it('names a base_ref that does not exist', async () => {
    await expect(clone('no-such-branch')).rejects.toMatchObject({
      code: 'REF_NOT_FOUND',
      message: `${server.url} has no branch, tag or commit no-such-branch.`,
    });
    await expect(clone('0'.repeat(39) + '1')).rejects.toMatchObject({ code: 'REF_NOT_FOUND' });
  });

  it('says that a repository cannot be fetched', async () => {
    const repository = server.url.replace('task.git', 'none.git');
    await expect(git.clone({ repository, ref: 'x', place: place('source') })).rejects.toMatchObject(
      {
        code: 'REPOSITORY_UNAVAILABLE',
      },
    );
    expect(readdirSync(path.join(stateDir, 'repositories'))).toEqual([]);
  });

  it('gives up a clone that is cancelled, and rethrows the reason', async () => {
    const controller = new AbortController();
    const reason = new Error('cancelled');
    controller.abort(reason);
    await expect(
      git.clone({
        repository: server.url,
        ref: 'production',
        place: place('source'),
        signal: controller.signal,
      }),
    ).rejects.toBe(reason);
  });

  it('starts a repeated try clean', async () => {
    const workspace = await clone('production');
    writeFileSync(path.join(workspace.path, 'left-over'), 'x');
    const parent = path.dirname(path.dirname(workspace.path));
    mkdirSync(path.join(parent, '.1.half-made'));
    const again = await clone('production');
    expect(again).toEqual(workspace);
    expect(existsSync(path.join(again.path, 'left-over'))).toBe(false);
    expect(readdirSync(parent)).toEqual(['1']);
  });

  it('never lets an older attempt replace what a newer one made', async () => {
    await clone('production', place('source', 1, 200));
    await expect(clone('production', place('source', 1, 100))).rejects.toMatchObject({
      code: 'WORKSPACE_CHANGED',
    });
  });

  it('forks from the tree, edits included, and leaves untracked files behind', async () => {
    const source = await clone('production');
    const edited = await git.writeTracked(
      source,
      new Map([['pack/train.py', Buffer.from('rate = 2\n')]]),
    );
    expect(edited.tree).not.toBe(source.tree);
    writeFileSync(path.join(source.path, 'cache'), 'x');
    const fork = await git.fork({ workspace: edited, place: place('candidates#0/fork') });
    expect(fork).toMatchObject({ commit: source.commit, tree: edited.tree });
    expect(readFileSync(path.join(fork.path, 'pack/train.py'), 'utf8')).toBe('rate = 2\n');
    expect(existsSync(path.join(fork.path, 'cache'))).toBe(false);
    expect(await git.look(fork)).toEqual({ tree: fork.tree, changed: [] });
  });

  it('sees every kind of change of a tracked file, and restores it', async () => {
    const workspace = await clone('production');
    const at = (name: string): string => path.join(workspace.path, name);
    writeFileSync(at('pack/train.py'), 'rate = 3\n');
    rmSync(at('README.md'));
    symlinkSync('/etc/passwd', at('README.md'));
    rmSync(at('.gitignore'));
    writeFileSync(at('new.txt'), 'untracked\n');
    const look = await git.look(workspace);
    expect(look.changed).toEqual(['.gitignore', 'README.md', 'pack/train.py']);
    const now = { ...workspace, tree: look.tree };
    expect(await git.changes(now)).toEqual([
      { path: '.gitignore', before: '100644', after: null },
      { path: 'README.md', before: '100644', after: '120000' },
      { path: 'pack/train.py', before: '100644', after: '100644' },
    ]);
    await git.restore(workspace, look.changed);
    expect(await git.look(workspace)).toEqual({ tree: workspace.tree, changed: [] });
    expect(lstatSync(at('README.md')).isFile()).toBe(true);
  });

  it('takes a tracked folder that became a link for removed files, and does not follow it', async () => {
    const workspace = await clone('production');
    const outside = path.join(stateDir, 'outside');
    mkdirSync(outside);
    writeFileSync(path.join(outside, 'train.py'), 'secret\n');
    rmSync(path.join(workspace.path, 'pack'), { recursive: true });
    symlinkSync(outside, path.join(workspace.path, 'pack'));
    expect((await git.look(workspace)).changed).toEqual(['pack/run.sh', 'pack/train.py']);
    await git.restore(workspace, ['pack/run.sh', 'pack/train.py']);
    expect(readFileSync(path.join(outside, 'train.py'), 'utf8')).toBe('secret\n');
    expect(await git.look(workspace)).toEqual({ tree: workspace.tree, changed: [] });
  });

  it('makes a diff that applies to a clean copy of the commit and gives the same tree', async () => {
    const source = await clone('production');
    const edited = await git.writeTracked(
      source,
      new Map([['pack/train.py', Buffer.from('rate = 2\n')]]),
    );
    const diff = await git.diff(edited);
    expect(diff.toString()).toMatch(
      /^diff --git a\/pack\/train\.py b\/pack\/train\.py\nindex [0-9a-f]{40}\.\.[0-9a-f]{40} 100644\n--- a\/pack\/train\.py\n\+\+\+ b\/pack\/train\.py\n@@ -1 \+1 @@\n-rate = 1\n\+rate = 2\n$/,
    );
    expect(await git.tryPatch(source, diff)).toEqual({ tree: edited.tree });
    expect(await git.tryPatch(source, Buffer.from('garbage\n'))).toEqual({
      reason: expect.stringContaining('No valid patches') as string,
    });
  });

  it('lists untracked files that the checkout does not ignore', async () => {
    const workspace = await clone('production');
    writeFileSync(path.join(workspace.path, 'ignored.txt'), 'x');
    writeFileSync(path.join(workspace.path, 'pack/new.py'), 'x');
    expect(await git.untracked(workspace)).toEqual(['pack/new.py']);
  });

  it('never runs what a checkout configures: .git/config, filters, hooks, planted repositories', async () => {
    const workspace = await clone('production');
    const witness = path.join(stateDir, 'witness');
    const evil = `[core]\n\tfsmonitor = touch ${witness}\n\thooksPath = ${stateDir}/hooks\n\tsshCommand = touch ${witness}\n[filter "evil"]\n\tclean = touch ${witness}; cat\n\tsmudge = touch ${witness}; cat\n\tprocess = touch ${witness}\n\trequired = true\n[diff "evil"]\n\tcommand = touch ${witness}\n\ttextconv = touch ${witness}; cat\n[diff]\n\texternal = touch ${witness}\n`;
    const plant = (repository: string): void => {
      server.git('init', '--quiet', repository);
      writeFileSync(path.join(repository, '.git', 'config'), evil);
    };
    plant(workspace.path);
    plant(path.join(workspace.path, 'pack', 'nested'));
    writeFileSync(path.join(workspace.path, '.gitconfig'), evil);
    writeFileSync(path.join(workspace.path, '.gitattributes'), '* filter=evil diff=evil\n');
    writeFileSync(path.join(workspace.path, 'pack/train.py'), 'rate = 9\n');

    const look = await git.look(workspace);
    const now = { ...workspace, tree: look.tree };
    const diff = await git.diff(now);
    await git.tryPatch(now, diff);
    await git.changes(now);
    await git.untracked(now);
    await git.fork({ workspace: now, place: place('fork') });
    await git.writeTracked(now, new Map([['pack/train.py', Buffer.from('rate = 8\n')]]));
    await git.restore(workspace, look.changed);
    expect(existsSync(witness)).toBe(false);

    // The planted configuration does work: any git that obeys it leaves the witness.
    server.git('-C', workspace.path, 'status');
    expect(existsSync(witness)).toBe(true);
  });

  it('begins an operation anew when the host is lost in the middle of any of its commands', async () => {
    const workspace = await clone('production');
    writeFileSync(path.join(workspace.path, 'pack/train.py'), 'rate = 9\n');
    let commands = 0;
    let lostAt = 0;
    const unlucky = createGit({
      stateDir,
      searchPath: process.env['PATH'] ?? '',
      runCommand: async (command, signal) => {
        commands += 1;
        const running = processes.command(command, signal);
        return commands === lostAt ? (await Promise.all([running, host.lose()]))[0] : running;
      },
    });
    const work = async () => {
      const { tree } = await unlucky.look(workspace);
      const diff = await unlucky.diff({ ...workspace, tree });
      return { tree, diff: diff.toString(), tried: await unlucky.tryPatch(workspace, diff) };
    };
    const undisturbed = await work();
    expect(undisturbed.tried).toEqual({ tree: undisturbed.tree });
    const most = commands;
    for (lostAt = 1; lostAt <= most; lostAt += 1) {
      commands = 0;
      expect(await work()).toEqual(undisturbed);
    }
    expect(host.hosts.length).toBeGreaterThan(1);
    const gitDir = readdirSync(path.join(stateDir, 'repositories')).find((name) =>
      name.endsWith('.git'),
    );
    expect(readdirSync(path.join(stateDir, 'host', 'commands'))).toEqual([]);
    // What a git wrote there that was still ending is removed when it is old.
    const indexes = path.join(stateDir, 'repositories', gitDir ?? '', 'indexes');
    writeFileSync(path.join(indexes, 'left'), '');
    const longAgo = Date.now() / 1_000 - 7_200;
    for (const name of readdirSync(indexes)) {
      utimesSync(path.join(indexes, name), longAgo, longAgo);
    }
    await work();
    expect(readdirSync(indexes)).toEqual([]);
  });

  it('says that there is no git where it looks', async () => {
    await expect(gitOf('/no/such/folder:relative').version()).rejects.toMatchObject({
      code: 'PROGRAM_UNUSABLE',
      message: 'There is no git on /no/such/folder:relative.',
    });
  });

  it("passes nothing of the worker's environment to git", async () => {
    const trace = path.join(stateDir, 'trace');
    process.env['GIT_TRACE'] = trace;
    try {
      await clone('production');
    } finally {
      delete process.env['GIT_TRACE'];
    }
    expect(existsSync(trace)).toBe(false);
  });

  it('refuses a git directory whose configuration is not ours', async () => {
    const workspace = await clone('production');
    const repositories = path.join(stateDir, 'repositories');
    const gitDir = readdirSync(repositories).find((name) => name.endsWith('.git')) ?? '';
    writeFileSync(path.join(repositories, gitDir, 'config'), '[core]\n\tfsmonitor = touch x\n');
    await expect(git.look(workspace)).rejects.toMatchObject({ code: 'WORKSPACE_CHANGED' });
  });

  it('refuses a workspace that is not one of this host', async () => {
    const workspace = await clone('production');
    await expect(git.look({ ...workspace, path: '/etc' })).rejects.toMatchObject({
      code: 'WORKSPACE_CHANGED',
    });
    rmSync(workspace.path, { recursive: true });
    await expect(git.look(workspace)).rejects.toMatchObject({
      code: 'FILE_MISSING',
      message: `The workspace ${workspace.path} is gone.`,
    });
  });

  it('reads a file of the checkout only when it lies inside', async () => {
    const workspace = await clone('production');
    symlinkSync('/etc/passwd', path.join(workspace.path, 'link'));
    await expect(git.files.read(workspace.path, 'link', 1_000)).rejects.toMatchObject({
      code: 'WORKSPACE_CHANGED',
      message: expect.stringContaining('link leads out of the workspace') as string,
    });
    await expect(git.files.read(workspace.path, '../x', 10)).rejects.toMatchObject({
      code: 'REPOSITORY_REFUSED',
    });
    await expect(git.files.read(workspace.path, 'README.md', 3)).rejects.toMatchObject({
      code: 'WORKSPACE_CHANGED',
    });
    const socket = createServer().listen(path.join(workspace.path, 'socket'));
    await once(socket, 'listening');
    await expect(git.files.read(workspace.path, 'socket', 10)).rejects.toMatchObject({
      code: 'WORKSPACE_CHANGED',
      message: 'socket cannot be read (ENXIO).',
    });
    socket.close();
    expect(await git.files.read(workspace.path, 'none', 10)).toBeNull();
    expect((await git.files.read(workspace.path, 'README.md', 100))?.toString()).toBe('second\n');
  });
});

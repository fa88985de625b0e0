import type { Command } from 'commander';

interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  /** Loads the command's module and adds it to the program. */
  readonly register: (program: Command) => Promise<void>;
}

/** Every command, in the order of `adit --help`; a module is loaded only when its command is called. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'demo',
    summary:
      'Run a whole round on this machine: server, local network, worker, verified reward proof.',
    register: async (program) => (await import('./commands/demo.js')).registerDemo(program),
  },
  {
    name: 'dev',
    summary: 'Keep a Temporal server, a local network and a worker running.',
    register: async (program) => (await import('./commands/dev.js')).registerDev(program),
  },
  {
    name: 'init',
    summary: 'Write a first pipeline, a test of it, its inputs and the settings of a wallet.',
    register: async (program) => (await import('./commands/init.js')).registerInit(program),
  },
  {
    name: 'check',
    summary: 'Find every mistake in pipeline files, before they run.',
    register: async (program) => (await import('./commands/check.js')).registerCheck(program),
  },
  {
    name: 'fmt',
    summary: 'Format pipeline files and test files in place; comments and meaning stay.',
    register: async (program) => (await import('./commands/fmt.js')).registerFmt(program),
  },
  {
    name: 'test',
    summary: 'Run the tests of pipelines, without a server and in simulated time.',
    register: async (program) => (await import('./commands/test.js')).registerTest(program),
  },
  {
    name: 'plan',
    summary: 'Show what a run, or a retry, would do, and do nothing.',
    register: async (program) => (await import('./commands/plan.js')).registerPlan(program),
  },
  {
    name: 'rehearse',
    summary: 'Run a pipeline on a local network with faults, and check what became of it.',
    register: async (program) => (await import('./commands/rehearse.js')).registerRehearse(program),
  },
  {
    name: 'run',
    summary: 'Start a run of a pipeline, wait for its end and show its progress.',
    register: async (program) => (await import('./commands/run.js')).registerRun(program),
  },
  {
    name: 'watch',
    summary: 'Follow a run that is under way.',
    register: async (program) => (await import('./commands/watch.js')).registerWatch(program),
  },
  {
    name: 'list',
    summary: 'List runs.',
    register: async (program) => (await import('./commands/list.js')).registerList(program),
  },
  {
    name: 'show',
    summary: 'Show one run: its steps, outputs, error and evidence.',
    register: async (program) => (await import('./commands/show.js')).registerShow(program),
  },
  {
    name: 'logs',
    summary: 'Print what the programs of a run wrote, while they run and after.',
    register: async (program) => (await import('./commands/logs.js')).registerLogs(program),
  },
  {
    name: 'cancel',
    summary: 'Cancel a run; its `finally` steps still run.',
    register: async (program) => (await import('./commands/cancel.js')).registerCancel(program),
  },
  {
    name: 'retry',
    summary: 'Start a run of the same plan that reuses what an earlier one has done.',
    register: async (program) => (await import('./commands/retry.js')).registerRetry(program),
  },
  {
    name: 'decide',
    summary: 'Decide for a step that waits for a person.',
    register: async (program) => (await import('./commands/decide.js')).registerDecide(program),
  },
  {
    name: 'approve',
    summary: 'Approve or reject what a run shows, and list what waits for approval.',
    register: async (program) => (await import('./commands/approve.js')).registerApprove(program),
  },
  {
    name: 'ps',
    summary: 'List the programs of this machine, and its devices.',
    register: async (program) => (await import('./commands/ps.js')).registerPs(program),
  },
  {
    name: 'kill',
    summary: 'End the programs of a run on this machine.',
    register: async (program) => (await import('./commands/kill.js')).registerKill(program),
  },
  {
    name: 'extend',
    summary: "Move the time limit of a step's running program.",
    register: async (program) => (await import('./commands/extend.js')).registerExtend(program),
  },
  {
    name: 'hold',
    summary: 'Hold all effects of this state folder.',
    register: async (program) => (await import('./commands/hold.js')).registerHold(program),
  },
  {
    name: 'release',
    summary: 'Let go of the effects that are held.',
    register: async (program) => (await import('./commands/release.js')).registerRelease(program),
  },
  {
    name: 'prune',
    summary: 'Remove what ended runs left on the disk; the evidence stays.',
    register: async (program) => (await import('./commands/prune.js')).registerPrune(program),
  },
  {
    name: 'graph',
    summary: 'Draw a pipeline, or a run with its states, as a Mermaid flowchart.',
    register: async (program) => (await import('./commands/graph.js')).registerGraph(program),
  },
  {
    name: 'bundle',
    summary: 'Write the bundle of a run that has ended, for anyone to check.',
    register: async (program) => (await import('./commands/bundle.js')).registerBundle(program),
  },
  {
    name: 'verify',
    summary: 'Check a bundle offline: every byte, and what it claims.',
    register: async (program) => (await import('./commands/verify.js')).registerVerify(program),
  },
  {
    name: 'steps',
    summary: 'The reference of step types.',
    register: async (program) => (await import('./commands/steps.js')).registerSteps(program),
  },
  {
    name: 'schema',
    summary: 'Print the JSON Schema of pipeline files, for editors.',
    register: async (program) => (await import('./commands/schema.js')).registerSchema(program),
  },
  {
    name: 'completion',
    summary: 'Print a script that completes commands in bash, zsh or fish.',
    register: async (program) =>
      (await import('./commands/completion.js')).registerCompletion(program),
  },
  {
    name: 'doctor',
    summary: 'Check all that a run needs, each with its way out.',
    register: async (program) => (await import('./commands/doctor.js')).registerDoctor(program),
  },
  {
    name: 'worker',
    summary: 'Run a worker in the foreground.',
    register: async (program) => (await import('./commands/worker.js')).registerWorker(program),
  },
  {
    name: 'host',
    summary: 'Run the process host of this machine in the foreground.',
    register: async (program) => (await import('./commands/host.js')).registerHost(program),
  },
  {
    name: 'devnet',
    summary:
      'Run the local network (coordinator, validator, Pool, artifact host) in the foreground.',
    register: async (program) => (await import('./commands/devnet.js')).registerDevnet(program),
  },
];

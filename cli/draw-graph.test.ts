import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { STEP_TYPES } from '../activities/registry.js';
import { createEvidence } from '../adapters/evidence/evidence.js';
import { bindPipeline } from '../compiler/bind.js';
import { compilePipeline } from '../compiler/compile.js';
import type { Plan } from '../core/plan.js';
import { runCommand } from '../test/support/command.js';
import { drawGraph } from './draw-graph.js';

/** The plan of a pipeline with an input `go`. */
function planOf(steps: string): Plan {
  const text = `pipeline: drawn\ninputs: { go: { type: bool, default: true } }\nsteps:\n${steps}`;
  const { pipeline, source, diagnostics } = compilePipeline(text, 'drawn.yaml', STEP_TYPES);
  if (pipeline === null) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  const { plan } = bindPipeline(pipeline, {
    inputs: new Map(),
    network: { coordinator: '', hotkey: '' },
    sourceSha256: '0'.repeat(64),
    source,
  });
  if (plan === null) throw new Error('The inputs do not fit.');
  return plan;
}

function graphOf(steps: string): string[] {
  return drawGraph(planOf(steps).steps, null)
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '');
}

describe('a graph', () => {
  it('has a box for each step, an arrow to the next, and says under which condition it runs', () => {
    expect(
      graphOf(
        '  - { id: one, uses: round.preflight }\n  - { if: "inputs.go && 1 < 2", wait: 15m }\n  - { if: "!inputs.go", stop: { reason: "No \\"go\\"" } }\n',
      ),
    ).toEqual([
      'flowchart TD',
      '  s1["one<br/>round.preflight"]',
      '  s2(["wait 15m<br/>if inputs.go #38;#38; (1 #60; 2)"])',
      '  s1 --> s2',
      '  s3(["stop: No #34;go#34;<br/>if !inputs.go"])',
      '  s2 --> s3',
    ]);
  });

  it('has a frame for each block, and arrows for what branches need', () => {
    expect(
      graphOf(`  - id: all
    parallel:
      - { id: one, wait: 1s }
      - { id: two, needs: [one], wait: 2s }
  - foreach: "[1, 2]"
    as: item
    limit: 2
    steps: [{ wait: 3s }]
  - repeat: { limit: 3, until: "true" }
    steps: [{ wait: 4s }]
  - if: inputs.go
    then: [{ wait: 5s }]
    else: [{ wait: 6s }]
`),
    ).toEqual([
      'flowchart TD',
      '  subgraph s1 ["all: parallel"]',
      '    s2(["one<br/>wait 1s"])',
      '    s3(["two<br/>wait 2s"])',
      '    s2 --> s3',
      '  end',
      '  subgraph s4 ["foreach item in [1, 2], 2 at a time"]',
      '    s5(["wait 3s"])',
      '  end',
      '  s1 --> s4',
      '  subgraph s6 ["repeat until true, at most 3 times"]',
      '    s7(["wait 4s"])',
      '  end',
      '  s4 --> s6',
      '  subgraph s8 ["if inputs.go"]',
      '    subgraph s9 ["then"]',
      '      s10(["wait 5s"])',
      '    end',
      '    subgraph s11 ["else"]',
      '      s12(["wait 6s"])',
      '    end',
      '  end',
      '  s6 --> s8',
    ]);
  });

  it('shows when `catch` and `finally` run, approvals, and effects', () => {
    expect(
      graphOf(`  - id: guarded
    try:
      - { id: work, uses: process.run, with: { command: make } }
      - { id: asked, approve: "Go on?" }
    catch:
      - errors: [PROGRAM_FAILED]
        steps: [{ wait: 1s }]
    finally:
      - { uses: coordinator.cancel_claim, with: { claim: "\${{ null }}" } }
`),
    ).toEqual([
      'flowchart TD',
      '  subgraph s1 ["guarded: try"]',
      '    s2["work<br/>process.run"]',
      '    s3{{"asked<br/>approve: Go on?"}}',
      '    s2 --> s3',
      '    subgraph s4 ["catch PROGRAM_FAILED"]',
      '      s5(["wait 1s"])',
      '    end',
      '    s3 -. on failure .-> s4',
      '    subgraph s6 ["finally"]',
      '      s7[["coordinator.cancel_claim"]]',
      '    end',
      '    s3 -. whatever happens .-> s6',
      '  end',
    ]);
  });

  it('lets no text of a pipeline be anything but text', () => {
    const [, box] = graphOf('  - { stop: { reason: "a\\"] --> b; <img> #35; `c`" } }\n');
    expect(box).toBe('  s1(["stop: a#34;] --#62; b#59; #60;img#62; #35;35#59; #96;c#96;"])');
  });
});

describe('the graph of a run', () => {
  const plan = planOf(
    '  - { id: first, uses: round.preflight }\n  - id: many\n    foreach: "[1, 2, 3]"\n    as: item\n    steps: [{ id: work, uses: process.run, with: { command: make } }]\n  - { id: last, wait: 1s }\n',
  );

  it('has the state of each step, of one in items how many are in which', () => {
    const lines = drawGraph(plan.steps, [
      { path: 'first', status: 'succeeded' },
      { path: 'many', status: 'running' },
      { path: 'many#0/work', status: 'succeeded' },
      { path: 'many#1/work', status: 'failed' },
      { path: 'many#2/work', status: 'succeeded' },
    ]).split('\n');
    expect(lines).toContain('  s1["first<br/>round.preflight<br/>succeeded"]');
    expect(lines).toContain('    s3["work<br/>process.run<br/>1 failed, 2 succeeded"]');
    expect(lines).toContain('  s4(["last<br/>wait 1s<br/>pending"])');
    expect(lines).toContain('  class s1 succeeded');
    expect(lines).toContain('  class s3 failed');
    expect(lines.filter((line) => line.includes('classDef'))).toHaveLength(4);
  });

  describe('adit graph', () => {
    let stateDir: string;

    beforeEach(async () => {
      stateDir = await mkdtemp(path.join(tmpdir(), 'adit-graph-'));
      vi.stubEnv('ADIT_STATE_DIR', stateDir);
      vi.stubEnv('TEMPORAL_ADDRESS', '');
      vi.stubEnv('TEMPORAL_CONFIG_FILE', path.join(stateDir, 'none.toml'));
    });

    afterEach(async () => {
      vi.unstubAllEnvs();
      await rm(stateDir, { recursive: true, force: true });
    });

    it('draws a run from its evidence where no server is', async () => {
      const evidence = createEvidence(stateDir);
      const runId = 'drawn-20261121-101500-k3fq';
      await evidence.writePlan(runId, plan);
      await evidence.writeRun(runId, {
        runId,
        roundId: runId,
        pipeline: 'drawn',
        status: 'failed',
        stage: 'first',
        outputs: {},
        steps: [{ path: 'first', uses: 'round.preflight', status: 'failed', attempts: 1 }],
      });
      const { exitCode, stdout } = await runCommand('graph', runId);
      expect(exitCode).toBe(0);
      expect(stdout).toContain('s1["first<br/>round.preflight<br/>failed"]');
      const { stdout: json } = await runCommand('graph', runId, '--json');
      expect(JSON.parse(json)).toEqual({ pipeline: 'drawn', run: runId, mermaid: stdout });
    });

    it('draws a file, and tells the mistakes of one that does not check', async () => {
      const right = path.join(stateDir, 'a.yaml');
      await writeFile(right, 'pipeline: a\nsteps:\n  - { id: one, uses: round.preflight }\n');
      expect((await runCommand('graph', right)).stdout).toBe(
        'flowchart TD\n  s1["one<br/>round.preflight"]\n',
      );
      await writeFile(right, 'pipeline: a\nsteps:\n  - { uses: round.preflite }\n');
      const wrong = await runCommand('graph', right);
      expect(wrong.exitCode).toBe(2);
      expect(wrong.stderr).toContain('[STEP_TYPE_UNKNOWN]');
    });

    it('says of what is neither a file nor a run that there is no such thing', async () => {
      expect((await runCommand('graph', path.join(stateDir, 'none.yaml'))).exitCode).toBe(2);
      const { exitCode, stderr } = await runCommand('graph', 'none-20261121-101500-k3fq');
      expect(exitCode).toBe(1);
      expect(stderr).toContain('none-20261121-101500-k3fq');
    });
  });
});

/** What we ship must check: pipelines, the examples of step types, and the reference that is made of them. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { STEP_TYPES } from '../../activities/registry.js';
import { compilePipeline } from '../../compiler/compile.js';
import { printDiagnostic } from '../../compiler/diagnostic.js';
import { printReference } from '../../compiler/reference.js';

const root = join(import.meta.dirname, '../..');

function print(content: string, file: string, without: readonly string[] = []): string {
  const { diagnostics, source } = compilePipeline(content, file, STEP_TYPES);
  const told = diagnostics.filter(({ code }) => !without.includes(code));
  return told.map((diagnostic) => printDiagnostic(diagnostic, source)).join('\n\n');
}

describe('what is shipped', () => {
  for (const file of readdirSync(join(root, 'pipelines')).filter((name) => /(?<!\.test|\.rehearse)\.yaml$/.test(name))) {
    it(`pipelines/${file} has no mistake`, () => {
      expect(print(readFileSync(join(root, 'pipelines', file), 'utf8'), file)).toBe('');
    });
  }

  // The steps that examples refer to, with the ids that a round gives them.
  const round = readFileSync(join(root, 'pipelines/frontier-round.yaml'), 'utf8');
  const { pipeline } = compilePipeline(round, 'frontier-round.yaml', STEP_TYPES);

  it.each(STEP_TYPES.map((stepType) => [stepType.name, stepType.example] as const))(
    'the example of %s has no mistake',
    (name, example) => {
      expect(pipeline).not.toBeNull();
      expect(example).toContain(`uses: ${name}`);
      const lines = example.trim().split('\n');
      const text = `pipeline: example\n${HEAD}${lines.map((line) => `  ${line}`).join('\n')}\n`;
      expect(print(renameIds(text, lines), 'example.yaml', ['INPUT_UNUSED'])).toBe('');
    },
  );

  it('docs/steps.md is what the step types say', () => {
    const file = join(root, 'docs/steps.md');
    const expected = printReference(STEP_TYPES);
    if (process.env['UPDATE_DOCS'] === '1') writeFileSync(file, expected);
    expect(readFileSync(file, 'utf8')).toBe(expected);
  });
});

const T = 'task: "${{ steps.discover.task }}"';
const HEAD = `inputs:
  task: { type: string }
  threshold: { type: number, default: 0.02 }
  train: { type: string }
  summary: { type: string }
  recipe: { type: Recipe }
  recipes: { type: list<Recipe> }
steps:
  - { id: preflight, uses: round.preflight }
  - { id: discover, uses: coordinator.discover, with: { slug: a } }
  - { id: source, uses: workspace.clone, with: { ${T} } }
  - { id: fork, uses: workspace.fork, with: { workspace: "\${{ steps.source.workspace }}" } }
  - { id: ready, uses: workspace.setup, with: { ${T}, workspace: "\${{ steps.fork.workspace }}" } }
  - { id: edit, uses: workspace.edit, with: { ${T}, workspace: "\${{ steps.ready.workspace }}", edits: "\${{ inputs.recipe.edits }}" } }
  - { id: trained, uses: candidate.train, with: { ${T}, workspace: "\${{ steps.edit.workspace }}", command: make } }
  - { id: baseline, uses: task.benchmark, with: { ${T}, workspace: "\${{ steps.trained.workspace }}", artifact: "\${{ steps.trained.artifact }}" } }
  - { id: candidates, foreach: "[1]", collect: steps.measured.candidate, steps: [{ id: measured, uses: task.benchmark, with: { ${T}, workspace: "\${{ steps.trained.workspace }}", artifact: "\${{ steps.trained.artifact }}" } }] }
  - { id: best, uses: candidate.select, with: { baseline: "\${{ steps.baseline.candidate }}", candidates: "\${{ steps.candidates.results }}" } }
  - { id: patch, uses: workspace.patch, with: { ${T}, workspace: "\${{ steps.best.candidate.workspace }}" } }
  - { id: published, uses: artifact.publish, with: { artifact: "\${{ steps.best.candidate.artifact }}" } }
  - { id: verdict, uses: gate.evidence, with: { ${T}, baseline: "\${{ steps.baseline.candidate }}", candidate: "\${{ steps.best.candidate }}", patch: "\${{ steps.patch.patch }}", artifact: "\${{ steps.published.artifact }}", threshold: 0.1, summary: a } }
  - { id: claim, uses: coordinator.claim, with: { ${T}, description: a, verdict: "\${{ steps.verdict.verdict }}" } }
  - { id: submit, uses: coordinator.submit, with: { ${T}, claim: "\${{ steps.claim.claim }}", verdict: "\${{ steps.verdict.verdict }}", patch: "\${{ steps.patch.patch }}", artifact: "\${{ steps.published.artifact }}" } }
  - { id: acceptance, uses: coordinator.acceptance, with: { ${T}, submission: "\${{ steps.submit.submission }}" } }
`;

/** An example may have the id of a step above it; there it is another step, under another id. */
function renameIds(text: string, lines: readonly string[]): string {
  const id = /^- (?:\{ )?id: (\w+)/.exec(lines[0] ?? '')?.[1];
  return id === undefined || !HEAD.includes(`id: ${id},`)
    ? text
    : text.replace(new RegExp(`  - (\\{ )?id: ${id}$`, 'm'), '  - id: example');
}

import { innerBlocks } from '../core/inner-blocks.js';
import { jsonSizeBytes } from '../core/json-size.js';
import { MAX_PLAN_BYTES, type PlanStep } from '../core/plan.js';
import { checkPipeline, type CheckedPipeline } from './check.js';
import type { CalledFile } from './check-call.js';
import {
  createSource,
  Diagnostics,
  type Diagnostic,
  type Range,
  type Source,
} from './diagnostic.js';
import { parsePipeline } from './parse.js';
import type { CallStep } from './pipeline.js';
import {
  findNameProblem,
  looksLikePipeline,
  NO_FILES,
  type PipelineFile,
  type PipelineFiles,
} from './pipeline-files.js';
import type { StepSignature } from './step-signature.js';
import { warnOfSecrets } from './secret-literals.js';
import { suggest } from './suggest.js';
import { decodeFile, parseYaml } from './yaml.js';

export interface Compiled {
  /** Null when there is a mistake; warnings are none. */
  readonly pipeline: CheckedPipeline | null;
  /** Every mistake and every warning: those of the file in source order, then those of each file that is called, once. */
  readonly diagnostics: readonly Diagnostic[];
  /** The text that the places of the file refer to; empty when it is not text. */
  readonly source: Source;
  /** The file, then those that it calls, in the order in which they are first come by. */
  readonly files: readonly CompiledFile[];
}

export interface CompiledFile {
  readonly source: Source;
  /** As `PipelineFiles.identify` tells. */
  readonly identity: string | null;
  readonly diagnostics: readonly Diagnostic[];
}

/** Files one inside the other, the first included: each that runs is a workflow of its own. */
const MAX_DEPTH = 10;

/** Files that one pipeline calls, all in all. */
const MAX_FILES = 100;

/**
 * Checks a pipeline file completely, and those that it calls, which `files` reads. `file` is its name as the author
 * wrote it. Never throws for what a file holds: every mistake is a diagnostic.
 */
export function compilePipeline(
  content: Uint8Array | string,
  file: string,
  signatures: readonly StepSignature[],
  files: PipelineFiles = NO_FILES,
): Compiled {
  const compiler = new Compiler(signatures, files);
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  const { checked, source } = compiler.compile(bytes, file, files.identify(file));
  const diagnostics = compiler.files.flatMap((one) => one.diagnostics);
  return {
    pipeline: diagnostics.every(({ severity }) => severity === 'warning') ? checked : null,
    diagnostics,
    source,
    files: compiler.files,
  };
}

/** The text that the places of a diagnostic refer to. */
export function sourceOf({ files, source }: Compiled, { file }: Diagnostic): Source {
  return files.find((one) => one.source.file === file)?.source ?? source;
}

interface Open {
  readonly identity: string | null;
  readonly file: string;
}

class Compiler {
  readonly files: CompiledFile[] = [];
  readonly #signatures: readonly StepSignature[];
  readonly #reader: PipelineFiles;
  /** Those that call each other, up to the one at hand. */
  readonly #open: Open[] = [];
  readonly #called = new Map<string, CalledFile | null>();

  constructor(signatures: readonly StepSignature[], reader: PipelineFiles) {
    this.#signatures = signatures;
    this.#reader = reader;
  }

  compile(
    content: Uint8Array,
    file: string,
    identity: string | null,
  ): {
    checked: CheckedPipeline | null;
    inputsBroken: boolean;
    isBroken: boolean;
    isWhole: boolean;
    source: Source;
  } {
    const text = decodeFile(content);
    const source = createSource(file, typeof text === 'string' ? text : '');
    const diagnostics = new Diagnostics(source);
    // Its place in the order is that of the first call.
    const place = this.files.push({ source, identity, diagnostics: [] }) - 1;
    this.#open.push({ identity, file });
    let checked: CheckedPipeline | null = null;
    let inputsBroken = true;
    const called: (CalledFile | null)[] = [];
    if (typeof text === 'string') {
      const tree = parseYaml(text, diagnostics);
      const yamlErrors = diagnostics.size;
      const parsed = tree.root === null ? null : parsePipeline(tree.root, diagnostics);
      const opener = this.#opener(file, diagnostics);
      const open = (step: CallStep): CalledFile | null => {
        const opened = opener(step);
        called.push(opened);
        return opened;
      };
      checked = parsed === null ? null : checkPipeline(parsed, this.#signatures, diagnostics, open);
      warnOfSecrets(diagnostics);
      const isGuess = Number.isFinite(tree.brokenAt);
      inputsBroken = parsed === null || parsed.inputsBroken || isGuess;
      if (isGuess) keepReliable(tree.brokenAt, yamlErrors, diagnostics);
    } else {
      diagnostics.add(text.code, { start: 0, end: 0 }, text.message, text.hint);
    }
    this.#open.pop();
    const list = diagnostics.list();
    this.files[place] = { source, identity, diagnostics: list };
    const isBroken = diagnostics.size > 0;
    const isWhole = !isBroken && called.every((one) => one?.isWhole === true);
    return { checked, inputsBroken, isBroken, isWhole, source };
  }

  /** What opens the files that one file calls; what is wrong with a call is told at the name of the file. */
  #opener(file: string, diagnostics: Diagnostics): (step: CallStep) => CalledFile | null {
    let leftBytes = MAX_PLAN_BYTES;
    const known = new Map<string, ReturnType<PipelineFiles['read']>>();
    return ({ file: { value: name, range } }) => {
      const named = findNameProblem(name);
      if (named !== null) {
        diagnostics.add('PIPELINE_FILE', range, named.problem, named.hint);
        return null;
      }
      const read = known.get(name) ?? this.#reader.read(name, file);
      known.set(name, read);
      if ('problem' in read) {
        const near = nearest(name, read.near);
        const hint =
          near === null
            ? (read.hint ?? 'a name is relative to the file that calls it')
            : `did you mean \`${near}\`?`;
        diagnostics.add(
          'PIPELINE_FILE',
          range,
          `\`${name}\` cannot be called: ${read.problem}`,
          hint,
        );
        return null;
      }
      const called = this.#check(read, range, diagnostics);
      if (called?.isWhole !== true) return called;
      const fitted = leftBytes >= 0;
      leftBytes -= called.sizeBytes;
      if (leftBytes >= 0) return called;
      if (fitted) {
        diagnostics.add(
          'PLAN_TOO_LARGE',
          range,
          `with \`${name}\` the plan is larger than the ${MAX_PLAN_BYTES} bytes that can be started`,
          'a file that is called in many places is in the plan as often: call it in a `foreach`',
        );
      }
      return { ...called, pipeline: { ...called.pipeline, steps: [], outputs: [] } };
    };
  }

  /** A file is checked once, however often it is called; null when it cannot be, which is told. */
  #check(
    { identity, file, content, sha256 }: PipelineFile,
    range: Range,
    diagnostics: Diagnostics,
  ): CalledFile | null {
    const at = this.#open.findIndex((one) => one.identity === identity);
    if (at !== -1) {
      const round = [...this.#open.slice(at).map((one) => one.file), file];
      diagnostics.add(
        'PIPELINE_CYCLE',
        range,
        `these files call each other in a circle: ${round.join(' \u2192 ')}`,
        'to do something again and again write `repeat`',
      );
      return null;
    }
    const known = this.#called.get(identity);
    if (known !== undefined) return known;
    if (!looksLikePipeline(content)) {
      diagnostics.add(
        'PIPELINE_FILE',
        range,
        `\`${file}\` is no pipeline: no line of it begins with \`pipeline:\``,
        'name another file, or begin that one with `pipeline: its-name`',
      );
      return null;
    }
    const isDeep = this.#open.length >= MAX_DEPTH;
    if (isDeep || this.files.length > MAX_FILES) {
      diagnostics.add(
        'PIPELINE_DEPTH',
        range,
        isDeep
          ? `files call each other at most ${MAX_DEPTH} deep, the first one included`
          : `a pipeline calls at most ${MAX_FILES} files`,
        'put the steps of some of them into one file',
      );
      return null;
    }
    const { checked, inputsBroken, isBroken, isWhole } = this.compile(content, file, identity);
    const called =
      checked === null
        ? null
        : {
            pipeline: checked,
            sha256,
            inputsBroken,
            isBroken,
            isWhole,
            longestPath: longestPath(checked.steps),
            sizeBytes: !isWhole ? 0 : jsonSizeBytes(checked.steps) + jsonSizeBytes(checked.outputs),
          };
    this.#called.set(identity, called);
    return called;
  }
}

/** The file that was most likely meant; folder and ending say nothing of it. */
function nearest(name: string, files: readonly string[]): string | null {
  const stem = (file: string): string => file.replace(/^.*\//, '').replace(/\.ya?ml$/, '');
  const near = suggest(stem(name), files.map(stem));
  return files.find((file) => stem(file) === near) ?? null;
}

/** By the list: files that call others many times share the lists of those. */
const longestPaths = new WeakMap<readonly PlanStep[], number>();

/** Characters of the longest path in a list of steps, with the slash before it and room for what stands between. */
function longestPath(steps: readonly PlanStep[]): number {
  const known = longestPaths.get(steps);
  if (known !== undefined) return known;
  const lengths = steps.map((step) => {
    const inside = [
      ...innerBlocks(step).map((block) => longestPath(block.steps) + 9),
      ...(step.kind === 'pipeline' ? [longestPath(step.called.steps)] : []),
    ];
    return 1 + step.key.length + Math.max(0, ...inside);
  });
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
  longestPaths.set(steps, longest);
  return longest;
}

/**
 * After a syntax error the rest of the tree is a guess: what was said about it is dropped, and so is what
 * might only be missing because it stands further down.
 */
function keepReliable(brokenAt: number, yamlErrors: number, diagnostics: Diagnostics): void {
  let at = 0;
  diagnostics.retain((diagnostic, range) => {
    const isYaml = at++ < yamlErrors;
    const mayFollow = ['KEY_MISSING', 'NAME_UNKNOWN', 'STEP_KIND'].includes(diagnostic.code);
    return isYaml || diagnostic.severity === 'warning' || (range.end < brokenAt && !mayFollow);
  });
}

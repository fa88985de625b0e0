/**
 * Runs one test on the interpreter that runs pipelines: no server, no worker, and no time but simulated time.
 *
 * Invariants:
 * 1. Two runs of a test are the same, event by event: time is virtual, and chance is its mean.
 * 2. It ends: a run that waits for nobody's decision, or goes round in circles, is a failure of the test.
 */
import { evaluateTemplate, ExpressionError } from '../core/evaluate.js';
import type { Range } from '../compiler/diagnostic.js';
import { asksPerson, isStepErrorCode, STEP_ERRORS, type ErrorReport } from '../core/error.js';
import { interpret } from '../core/interpreter.js';
import { deadlinePassed } from '../core/run-deadline.js';
import type { Json, JsonObject } from '../core/json.js';
import type { OpenApproval } from '../core/open-approval.js';
import type { Powers, StepDecision, StepOutcome, StepRequest } from '../core/powers.js';
import type { RunResult, StepState } from '../core/run-state.js';
import { checkAssertions, type Course } from './check-assertions.js';
import { matches } from './step-names.js';
import { findProblem } from './step-outputs.js';
import type {
  AnswerTurn,
  DecisionTurn,
  Outcome,
  Stub,
  TestCase,
  TestFailure,
  TestFile,
} from './test-file.js';
import { Cancelled, VirtualTime } from './virtual-time.js';
import { exampleOutputs, outputsType } from './written-type.js';

/** Starts of steps in one test; a run whose state holds so many is refused long before. */
const MAX_STARTS = 10_000;

export interface TestResult extends Course {
  readonly test: TestCase;
  readonly failures: readonly TestFailure[];
  /** Null where the run did not come to an end. */
  readonly result: RunResult | null;
}

/** Ends a test that cannot go on. */
class TestEnd extends Error {
  readonly failure: TestFailure;

  constructor(failure: TestFailure) {
    super(failure.message);
    this.failure = failure;
  }
}

export async function runTest(file: TestFile, test: TestCase): Promise<TestResult> {
  const world = new World(file, test);
  const run = { runId: 'test', roundId: 'test' };
  let result: RunResult | null = null;
  let deadline: ErrorReport | undefined;
  const work = interpret(test.plan, { steps: {} }, run, world.powers).then(
    (ended) => {
      result = ended;
    },
    (error: unknown) => {
      if (!(error instanceof Cancelled)) world.fail(error);
      else if (deadline === undefined) result = { status: 'cancelled', outputs: {} };
      else result = { status: 'failed', outputs: {}, error: deadline };
    },
  );
  if (test.cancelAfterMs !== null)
    world.time.after(test.cancelAfterMs, () => world.time.cancelRun());
  const { deadlineMs } = test.plan;
  if (deadlineMs !== undefined)
    world.time.after(deadlineMs, () => {
      // A run that was cancelled before is cancelled, and not late.
      if (!world.time.isCancelled) deadline = deadlinePassed(test.startsAtMs + deadlineMs);
      world.time.cancelRun();
    });
  const hasEnded = await world.time.pass(work);
  const ended = result as RunResult | null;
  const tookMs = world.time.nowMs - test.startsAtMs;
  const { steps, order, shown } = world;
  const course: Course = { steps, order, shown, tookMs };
  const failures =
    world.failure !== null
      ? [world.failure]
      : !hasEnded || ended === null
        ? world.unanswered()
        : [...checkAssertions(file, test, ended, course), ...world.unused()];
  return { test, failures, result: ended, ...course };
}

class World {
  readonly time: VirtualTime;
  readonly powers: Powers;
  readonly order: string[] = [];
  readonly shown = new Map<string, JsonObject>();
  steps: ReadonlyMap<string, StepState> = new Map();
  failure: TestFailure | null = null;
  readonly #file: TestFile;
  readonly #test: TestCase;
  /** How many turns of a script were taken, by what its turns are counted by. */
  readonly #taken = new Map<unknown, Map<string, number>>();
  /** Run time of programs, by path. */
  readonly #ranMs = new Map<string, number>();
  /** Parked steps for which nobody decides, and approvals that nobody answers. */
  readonly #waiting = new Map<string, TestFailure>();

  constructor(file: TestFile, test: TestCase) {
    this.#file = file;
    this.#test = test;
    this.time = new VirtualTime(test.startsAtMs);
    this.powers = {
      runStep: (request) => this.#runStep(request),
      decide: (path, error, untilMs) => this.#decide(path, error, untilMs),
      approve: (approval) => this.#approve(approval),
      sleep: (ms) => this.time.sleep(ms),
      now: () => this.time.nowMs,
      random: () => 0.5,
      isCancellation: (error) => error instanceof Cancelled,
      shielded: (body, limit) => this.time.shielded(body, limit),
      scoped: (body) => this.time.scoped(body),
      changed: (steps) => {
        this.steps = steps;
      },
    };
  }

  /** What ended the run that was no end of a run; the first counts. */
  fail(error: unknown): void {
    if (error instanceof TestEnd) this.failure ??= error.failure;
    else {
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.failure ??= {
        kind: 'defect',
        message: 'the interpreter broke off, which is a defect of Adit',
        details: message.split('\n').slice(0, 5),
        range: this.#test.nameRange,
      };
    }
  }

  /** Why a run did not end. */
  unanswered(): TestFailure[] {
    const waiting = [...this.#waiting.values()];
    if (waiting.length > 0) return waiting;
    const failure = {
      kind: 'defect',
      message: 'the run waits for nothing and does not end, which is a defect of Adit',
      details: [],
      range: this.#test.nameRange,
    } as const;
    return [failure];
  }

  /** What the test itself says of steps and no step has taken: it tests less than it seems to. */
  unused(): TestFailure[] {
    const { stubs, decisions, approvals } = this.#test;
    return [
      ...stubs.flatMap((stub) => this.#unusedOf(stub, 'stub', 'started')),
      ...decisions.flatMap((script) => this.#unusedOf(script, 'decision', 'parked')),
      ...approvals.flatMap((script) => this.#unusedOf(script, 'approval', 'answered')),
    ];
  }

  #unusedOf(
    script: Pick<Stub, 'name' | 'nameRange' | 'own' | 'always'> & {
      readonly turns: readonly unknown[];
    },
    kind: 'stub' | 'decision' | 'approval',
    verb: string,
  ): TestFailure[] {
    if (!script.own) return [];
    const most = Math.max(0, ...(this.#taken.get(script)?.values() ?? []));
    const count = script.turns.length;
    if (script.always ? most > 0 : most >= count) return [];
    const what = { stub: 'outcome', decision: 'decision', approval: 'answer' }[kind];
    const message =
      most === 0
        ? `\`${script.name}\` was never ${kind === 'approval' ? 'asked' : verb}, so this says nothing`
        : `\`${script.name}\` was ${verb} ${times(most)}, and there are ${count} ${what}s`;
    const details = ['what is only there for other tests stands under the key of the file'];
    return [{ kind, message, details: most === 0 ? details : [], range: script.nameRange }];
  }

  /** Takes the next turn of the first script that means the path; undefined without one, null when it has no more. */
  #take<Turn>(
    scripts: readonly (Pick<Stub, 'pattern' | 'always'> & { readonly turns: readonly Turn[] })[],
    path: string,
  ): Turn | null | undefined {
    const script = scripts.find(({ pattern }) => matches(pattern, path));
    if (script === undefined) return undefined;
    const counts = this.#taken.get(script) ?? new Map<string, number>();
    this.#taken.set(script, counts);
    const key = this.#file.names.turnKey(path);
    const at = counts.get(key) ?? 0;
    counts.set(key, at + 1);
    return (script.always ? script.turns[0] : script.turns[at]) ?? null;
  }

  async #runStep(request: StepRequest): Promise<StepOutcome> {
    this.time.interrupt();
    this.order.push(request.path);
    if (this.order.length > MAX_STARTS)
      throw this.#end('stub', `the run goes round in circles: ${MAX_STARTS} steps were started`, [
        'an outcome that is no list is there every time: write `[…]` to bound it',
      ]);
    const outcome = this.#take(this.#test.stubs, request.path);
    if (outcome === undefined) throw this.#unstubbed(request);
    if (outcome === null) throw this.#exhausted(request);
    const invalid = this.#checkInput(request);
    if (invalid !== null) return invalid;
    return await this.#comeTo(outcome, request);
  }

  /** The boundary of a step checks what it is given before it runs. */
  #checkInput({ uses, input }: StepRequest): StepOutcome | null {
    const parsed = this.#file.signatures.get(uses)?.input.safeParse(input);
    if (parsed === undefined || parsed.success) return null;
    const [issue] = parsed.error.issues;
    const place = issue?.path.map(String).join('.') || 'value';
    const message = `${uses}: ${place}: ${issue?.message ?? 'is not valid'}`;
    return toFailed({ code: 'STEP_INPUT_INVALID', message });
  }

  /** Lets the time of an outcome pass, as long as the step has it. */
  async #comeTo({ delayMs, end, range }: Outcome, request: StepRequest): Promise<StepOutcome> {
    const { limitMs, report } = limitOf(request, this.#ranMs.get(request.path) ?? 0);
    const isInTime = delayMs === 0 || delayMs < limitMs;
    const beganMs = this.time.nowMs;
    try {
      if (delayMs > 0) await this.time.sleep(isInTime ? delayMs : limitMs);
    } finally {
      const ranMs = this.#ranMs.get(request.path) ?? 0;
      this.#ranMs.set(request.path, ranMs + this.time.nowMs - beganMs);
    }
    if (!isInTime) return toFailed(report);
    if (end.kind === 'outputs') {
      return { kind: 'succeeded', outputs: end.value ?? this.#compute(end, request, range) };
    }
    const { code, message, hint, retryAfterMs, askForMs } = end;
    return {
      ...toFailed({
        code,
        message: message ?? `The test ends ${request.path} with ${code}.`,
        ...(hint === null ? {} : { hint }),
      }),
      ...(retryAfterMs === null ? {} : { retryAfterMs }),
      ...(askForMs === null ? {} : { askUntilMs: this.time.nowMs + askForMs }),
    };
  }

  /** Outputs that read what the step was given. */
  #compute(
    { template, type }: Outcome['end'] & { kind: 'outputs' },
    { path, uses, input, start }: StepRequest,
    range: Range,
  ): JsonObject {
    const signature = this.#file.signatures.get(uses);
    let value: Json;
    try {
      value = evaluateTemplate(template, { values: this.#file.values, input, start });
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      const message = `the outputs of \`${path}\` cannot be computed: ${error.message}`;
      throw this.#end('stub', message, [`input is ${JSON.stringify(input).slice(0, 300)}`], range);
    }
    if (signature === undefined) return {};
    const checked = findProblem(value, type, signature);
    if ('outputs' in checked) return checked.outputs;
    const details = checked.issues
      .slice(0, 5)
      .map((issue) => `${issue.path.map(String).join('.') || 'value'}: ${issue.message}`);
    throw this.#end('stub', `${uses} cannot return what \`${path}\` is given here`, details, range);
  }

  #unstubbed({ path, uses }: StepRequest): TestEnd {
    const named = this.#file.names.at(path);
    const signature = this.#file.signatures.get(uses);
    const { step } = named ?? { step: null };
    const name = this.#file.names.nameOf(path);
    const example =
      step?.kind === 'step' && signature !== undefined
        ? exampleOutputs(outputsType(step, signature))
        : '{}';
    return this.#end(
      'stub',
      `the step \`${path}\` (${uses}) was started, and nothing says what it gives`,
      [
        'add to `steps`, with values of your own:',
        `  ${/^[\w/]+$/.test(name) ? name : `'${name}'`}: { outputs: ${example} }`,
      ],
    );
  }

  #exhausted({ path, start }: StepRequest): TestEnd {
    const stub = this.#test.stubs.find(({ pattern }) => matches(pattern, path));
    const count = stub?.turns.length ?? 0;
    return this.#end(
      'stub',
      `the step \`${path}\` was started once more (start ${start}) than its ${count} ${count === 1 ? 'outcome' : 'outcomes'}`,
      ['add an outcome; one that is no list is there every time'],
      stub?.nameRange,
    );
  }

  #decide(path: string, error: ErrorReport, untilMs: number | null): Promise<StepDecision | null> {
    const turn = this.#take<DecisionTurn>(this.#test.decisions, path);
    return this.time.wait<StepDecision | null>((resolve) => {
      const leftMs = untilMs === null ? null : untilMs - this.time.nowMs;
      const isLate =
        leftMs !== null && (turn === null || turn === undefined || turn.afterMs >= leftMs);
      if (isLate) return this.time.after(Math.max(0, leftMs), () => resolve(null));
      if (turn !== null && turn !== undefined)
        return this.time.after(turn.afterMs, () => resolve(toDecision(turn)));
      this.#waiting.set(path, this.#undecided(path, error, turn === null));
      return () => this.#waiting.delete(path);
    });
  }

  /** People answer what is shown, one after the other, until it is over or its time is. */
  async #approve(approval: OpenApproval): Promise<void> {
    const { path, expiresMs, asked, state } = approval;
    this.shown.set(path, asked.show);
    let given = 0;
    while (!approval.isOver) {
      const turn = this.#nextAnswer(path, given);
      const leftMs = expiresMs === null ? Infinity : Math.max(0, expiresMs - this.time.nowMs);
      if (expiresMs !== null && (turn === null || turn.afterMs >= leftMs))
        return await this.time.sleep(leftMs);
      if (turn === null) return await this.#waitForNobody(approval);
      given += 1;
      await this.time.sleep(turn.afterMs);
      const { range, afterMs: _, ...said } = turn;
      const answer = { ...said, digest: state.digest };
      const problem = approval.problemOf(answer, this.time.nowMs);
      if (problem !== null)
        throw this.#end(
          'approval',
          `the answer of ${said.by} is refused: ${problem.message}`,
          [problem.hint],
          range,
        );
      approval.take(answer, new Date(this.time.nowMs).toISOString());
    }
  }

  /** An answer that is no list is there once for each approval. */
  #nextAnswer(path: string, given: number): AnswerTurn | null {
    const { approvals } = this.#test;
    const script = approvals.find(({ pattern }) => matches(pattern, path));
    if (script?.always === true && given > 0) return null;
    return this.#take<AnswerTurn>(approvals, path) ?? null;
  }

  #waitForNobody(approval: OpenApproval): Promise<void> {
    const { path } = approval;
    return this.time.wait<void>(() => {
      this.#waiting.set(path, this.#unapproved(approval));
      return () => this.#waiting.delete(path);
    });
  }

  #unapproved({ path, asked, state: { approved, quorum } }: OpenApproval): TestFailure {
    const name = this.#file.names.nameOf(path);
    const needed = asked.fields.filter((field) => field.required && field.default === undefined);
    const fields = needed.map((field) => `${field.name}: …`).join(', ');
    const answer = needed.length === 0 ? 'approve' : `approve: { ${fields} }`;
    const people = Array.from({ length: quorum }, (_, at) => `{ ${answer}, by: person-${at + 1} }`);
    const one = needed.length === 0 ? answer : `{ ${answer} }`;
    const example = quorum === 1 ? one : `[${people.join(', ')}]`;
    return {
      kind: 'approval',
      message: `the run waits for approval of \`${path}\`, and nobody answers`,
      details: [
        `it has ${approved.length} of ${quorum}, and without \`expires\` it waits without end`,
        `add to \`approvals\`: \`${/^\w+$/.test(name) ? name : `'${name}'`}: ${example}\`, or \`reject\``,
      ],
      range: this.#test.nameRange,
    };
  }

  #undecided(path: string, { code, message }: ErrorReport, isAgain: boolean): TestFailure {
    const name = this.#file.names.nameOf(path);
    const again = isAgain ? 'once more, ' : '';
    return {
      kind: 'decision',
      message: `the run waits ${again}for a decision about \`${path}\`, and the test gives none`,
      details: [
        `it is parked with ${code}: ${message}`,
        `add to \`decisions\`: \`${name}: ${isAgain ? '[…, fail]' : 'fail'}\`, or \`retry\`, or \`{ value: { … } }\``,
        ...(asksPerson(code)
          ? []
          : ['the step parks since it has an effect, or `on_failure: ask`']),
      ],
      range: this.#test.nameRange,
    };
  }

  /** The first such end is the failure of the test, whatever the interpreter makes of it. */
  #end(
    kind: TestFailure['kind'],
    message: string,
    details: readonly string[],
    range: Range = this.#test.nameRange,
  ): TestEnd {
    const end = new TestEnd({ kind, message, details, range });
    this.fail(end);
    return end;
  }
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}

function toDecision({ action, outputs }: DecisionTurn): StepDecision {
  return action === 'value' ? { action, outputs: outputs ?? {} } : { action };
}

function toFailed(error: ErrorReport): StepOutcome & { kind: 'failed' } {
  const { code } = error;
  const retryable = isStepErrorCode(code) && STEP_ERRORS[code].retryable;
  return { kind: 'failed', error, retryable };
}

/** How long this start may take, and the error that its end would be: as the server and the host keep the time. */
function limitOf(
  { path, options, remainingMs, program }: StepRequest,
  ranMs: number,
): { limitMs: number; report: ErrorReport } {
  const leftMs =
    program === undefined ? (remainingMs ?? options.timeoutMs) : program.timeoutMs - ranMs;
  const { attemptTimeoutMs } = options;
  if (attemptTimeoutMs !== undefined && attemptTimeoutMs < leftMs) {
    const message = `${path} did not end within its attempt timeout of ${attemptTimeoutMs} ms.`;
    return { limitMs: attemptTimeoutMs, report: { code: 'ATTEMPT_TIMEOUT', message } };
  }
  const code = program === undefined ? 'STEP_TIMEOUT' : 'PROGRAM_TIMEOUT';
  const message = `${path} did not end within its timeout of ${options.timeoutMs} ms.`;
  return { limitMs: leftMs, report: { code, message } };
}

/**
 * What nvidia-smi says. It hangs when a driver hangs, prints what it likes, and may be absent: then there is no
 * answer but a sentence that says why, and never an error.
 */
import { spawn } from 'node:child_process';

export interface Gpu {
  /** `GPU-…`, as CUDA_VISIBLE_DEVICES takes it too. */
  readonly uuid: string;
  /** As nvidia-smi counts. */
  readonly index: string;
}

/** A process that computes on a GPU. */
export interface GpuUse {
  readonly uuid: string;
  readonly pid: number;
}

export type SmiAnswer<T> = { readonly found: T } | { readonly remark: string };

const DEFAULT_TIMEOUT_MS = 10_000;
const MOST_OUTPUT_BYTES = 1024 * 1024;
const MOST_GPUS = 1024;

export async function queryGpus(timeoutMs = DEFAULT_TIMEOUT_MS): Promise<SmiAnswer<Gpu[]>> {
  const answer = await runSmi('--query-gpu=index,uuid', timeoutMs);
  if ('remark' in answer) return answer;
  const gpus = new Map<string, Gpu>();
  for (const line of answer.found) {
    const match = /^(\d{1,4}), (GPU-[0-9A-Za-z-]{1,80})$/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined || gpus.size >= MOST_GPUS) {
      return nonsense(line);
    }
    gpus.set(match[2], { index: match[1], uuid: match[2] });
  }
  return { found: [...gpus.values()] };
}

export async function queryGpuUses(timeoutMs = DEFAULT_TIMEOUT_MS): Promise<SmiAnswer<GpuUse[]>> {
  const answer = await runSmi('--query-compute-apps=gpu_uuid,pid', timeoutMs);
  if ('remark' in answer) return answer;
  const uses: GpuUse[] = [];
  for (const line of answer.found) {
    const match = /^(GPU-[0-9A-Za-z-]{1,80}), (\d{1,10})$/.exec(line);
    if (match?.[1] === undefined) return nonsense(line);
    uses.push({ uuid: match[1], pid: Number(match[2]) });
  }
  return { found: uses };
}

function nonsense(line: string): { readonly remark: string } {
  return { remark: `nvidia-smi printed what is no answer: ${JSON.stringify(line.slice(0, 80))}.` };
}

/** The lines of its output. */
function runSmi(query: string, timeoutMs: number): Promise<SmiAnswer<string[]>> {
  return new Promise((resolve) => {
    const child = spawn('nvidia-smi', [query, '--format=csv,noheader'], {
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const pieces: Buffer[] = [];
    let sizeBytes = 0;
    const end = (answer: SmiAnswer<string[]>): void => {
      clearTimeout(timer);
      // Not waited for: one that hangs in its driver cannot be killed.
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
      child.stdout?.destroy();
      child.unref();
      resolve(answer);
    };
    const timer = setTimeout(
      () => end({ remark: `nvidia-smi did not answer within ${timeoutMs / 1_000} s.` }),
      timeoutMs,
    );
    child.stdout?.on('data', (piece: Buffer) => {
      sizeBytes += piece.length;
      pieces.push(piece);
      if (sizeBytes > MOST_OUTPUT_BYTES) {
        end({ remark: `nvidia-smi printed more than ${MOST_OUTPUT_BYTES} bytes.` });
      }
    });
    child.once('error', (error: NodeJS.ErrnoException) =>
      end({
        remark:
          error.code === 'ENOENT'
            ? 'nvidia-smi is not there, so this host has no GPUs to lease.'
            : `nvidia-smi cannot be started: ${error.code ?? 'unknown error'}.`,
      }),
    );
    child.once('close', (code) => {
      const lines = Buffer.concat(pieces)
        .toString('utf8')
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line !== '');
      end(
        code === 0
          ? { found: lines }
          : {
              remark: `nvidia-smi ended with ${code ?? 'a signal'}: ${JSON.stringify((lines[0] ?? '').slice(0, 120))}.`,
            },
      );
    });
  });
}

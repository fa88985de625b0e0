/**
 * The key of an encrypted hotkey file: Argon2i over the password (protocol 1.9). It costs seconds and up
 * to half a gigabyte, so it runs in a worker thread; the thread that polls Temporal never blocks.
 */
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';

export interface Argon2Cost {
  readonly operations: number;
  readonly memoryBytes: number;
}

/** The two costs that writers use, in the order in which to try them (protocol 1.9). */
export const KEYFILE_COSTS: readonly Argon2Cost[] = [
  { operations: 8, memoryBytes: 536_870_912 }, // upstream Bittensor wallet
  { operations: 6, memoryBytes: 134_217_728 }, // SN94-BitSota's own wallet class
];

const SALT_HEX = '137183dff15a09bc9c90b5518739e9b1';

// Plain JavaScript, since a thread starts from compiled files and from sources under test alike; the
// module comes as a path because a thread made from text has no place to resolve it from.
const THREAD = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { argon2i } = require(workerData.hashWasm);
  argon2i({
    password: workerData.password,
    salt: workerData.salt,
    iterations: workerData.operations,
    memorySize: workerData.memoryBytes / 1024,
    parallelism: 1,
    hashLength: 32,
    outputType: 'binary',
  }).then((key) => parentPort.postMessage(key));
`;

/** 32 bytes of Argon2i v1.3 with the fixed salt of key files. */
export async function deriveKeyfileKey(
  password: Uint8Array,
  cost: Argon2Cost,
): Promise<Uint8Array> {
  const worker = new Worker(THREAD, {
    eval: true,
    // Nothing of our own options or environment concerns the thread.
    execArgv: [],
    env: {},
    workerData: {
      ...cost,
      password: new Uint8Array(password),
      salt: new Uint8Array(Buffer.from(SALT_HEX, 'hex')),
      hashWasm: createRequire(import.meta.url).resolve('hash-wasm'),
    },
  });
  return new Promise((resolve, reject) => {
    worker.once('message', (key: Uint8Array) => resolve(key));
    worker.once('error', reject);
    worker.once('exit', (code) =>
      reject(new Error(`The thread that derives a key ended with ${code}.`)),
    );
  });
}

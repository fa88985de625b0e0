// Preloaded into both workers: what a worker with real dependencies holds. Not into the host, which inherits NODE_OPTIONS.
const { isMainThread } = require('node:worker_threads');

if (isMainThread && /worker(\/main)?\.m?js$/.test(process.argv[1] ?? '')) {
  const wanted = Number(process.env.ADIT_BENCH_BALLAST_BYTES);
  globalThis.ballast = Buffer.alloc(wanted, 1);
}

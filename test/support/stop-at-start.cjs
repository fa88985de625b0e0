// Preloaded into a process that is to be traced: names its threads and stops until the tracer is there.
const { readdirSync, stat, writeFileSync } = require('node:fs');

const before = new Set(readdirSync('/proc/self/task'));
// The first asynchronous call makes the pool, which has one thread (UV_THREADPOOL_SIZE).
stat('/', () => {});
const pool = readdirSync('/proc/self/task').filter((thread) => !before.has(thread));
writeFileSync(process.env.ADIT_TEST_THREADS, JSON.stringify({ main: process.pid, pool }));
process.kill(process.pid, 'SIGSTOP');

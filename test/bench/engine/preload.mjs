// Adds the step types of the engine's benchmark to a shipped worker (`node --import`). Node preloads into threads as well,
// and the thread of the workflows would load all of Adit, which it does for no user.
import { isMainThread } from 'node:worker_threads';

if (isMainThread) await import('./steps.mjs');

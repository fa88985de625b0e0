/**
 * What the workflows of a worker share: modules that are loaded once, with the sandbox, and not again for each run. The
 * interpreter's code then also stays warm from one run to the next.
 *
 * Only for modules that keep no state and do nothing when they are loaded: all of `core/`. What is loaded here is
 * frozen.
 */
import '../core/carried-state.js';
import '../core/interpreter.js';
import '../core/notice.js';
import '../core/run-deadline.js';
import '../core/run-view.js';

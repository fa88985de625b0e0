/** What this machine offers to a process host, for `adit doctor`: asked where no host runs that could tell. */
export { probeContainment } from '../../host/containment.js';
export { assertLocalDisk } from '../../host/disk.js';

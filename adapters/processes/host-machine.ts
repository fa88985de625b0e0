/** What is known of a process host's machine without asking a host: by `adit doctor`, and by a worker for its queue. */
export { probeContainment } from '../../host/containment.js';
export { assertLocalDisk } from '../../host/disk.js';
export { openHostId } from '../../host/host-id.js';
export { readBuild } from '../../host/read-build.js';

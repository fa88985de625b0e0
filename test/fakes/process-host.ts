/** A process host inside the process of a test, started when it is first needed. */
import { startHost, type HostOptions, type RunningHost } from '../../host/host.js';

export interface TestHost {
  /** For `createProcesses`. */
  readonly startHost: () => Promise<void>;
  /** Every host that was started, in order. */
  readonly hosts: readonly RunningHost[];
  /** Ends the host that runs; its programs go on. */
  lose(): Promise<void>;
  /** Ends the host and its programs. */
  close(): Promise<void>;
}

export function createTestHost(stateDir: string, options: Partial<HostOptions> = {}): TestHost {
  const hosts: RunningHost[] = [];
  const start = async (): Promise<void> => {
    // The weakest containment is the quickest, and the same wherever the tests run.
    hosts.push(await startHost({ stateDir, containment: 'processGroup', gpus: [], ...options }));
  };
  return {
    startHost: start,
    hosts,
    async lose() {
      await hosts.at(-1)?.stop({ leavePrograms: true });
    },
    async close() {
      await Promise.all(hosts.map((host) => host.stop({ leavePrograms: false })));
    },
  };
}

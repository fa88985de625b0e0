import { createTextMask } from '../adapters/secrets/text-mask.js';
import { formatDuration } from '../core/duration.js';
import type { JsonObject } from '../core/json.js';
import { deviceLines, hostHead, hostToJson } from './host-words.js';
import { listPrograms, listUnhosted, reachHosts, type UnhostedProgram } from './hosts.js';
import { clean, note, paint, print, printJson } from './output.js';
import { secretFiles } from './known-secrets.js';
import { ownName } from './own-name.js';
import { programToJson, programWords } from './program-words.js';
import { readSettings } from './session.js';
import { table } from './table.js';

/** `adit ps`: the hosts of this machine, their devices and programs. */
export async function showPrograms(json: boolean): Promise<void> {
  const settings = await readSettings();
  const { stateDir } = settings;
  const reached = await reachHosts(stateDir, createTextMask(secretFiles(settings)));
  try {
    const { hosts, remarks } = reached;
    const programs = await listPrograms(hosts);
    const unhosted = await listUnhosted(reached);
    if (json) {
      printJson({
        hosts: hosts.map(hostToJson),
        programs: programs.map(({ host, program }) => ({
          ...programToJson(program),
          host: host.info.hostId,
        })),
        unhosted: unhosted.map(unhostedToJson),
      });
    } else if (hosts.length === 0 && unhosted.length === 0) {
      print(`No process host runs for ${stateDir}, and no program does.`);
    } else {
      for (const host of hosts) {
        print(hostHead(host));
        print(`  ${clean(host.info.promise)}`);
        for (const line of deviceLines(host)) print(line);
      }
      if (hosts.length > 0) print();
      if (programs.length === 0 && unhosted.length === 0) print('No program runs.');
      else if (programs.length > 0) {
        const rows = programs.map(({ program }) => [
          program.state === 'running' ? paint.cyan(program.state) : paint.yellow(program.state),
          clean(program.runId),
          clean(program.stepPath),
          programWords(program, Date.now()),
        ]);
        print(table(rows));
      }
      printUnhosted(unhosted);
    }
    for (const remark of remarks) note(clean(remark));
  } finally {
    reached.close();
  }
}

/** Programs whose host does not answer: nothing here can end them, but they are there. */
function printUnhosted(unhosted: readonly UnhostedProgram[]): void {
  if (unhosted.length === 0) return;
  const rows = unhosted.map(({ runId, stepPath, start, pid, startedAtMs }) => [
    paint.yellow('no host'),
    clean(runId),
    clean(stepPath),
    [
      ...(pid === null ? [] : [`process ${pid}`]),
      ...(start > 1 ? [`start ${start}`] : []),
      `since ${formatDuration(Math.max(0, Date.now() - startedAtMs))}`,
    ].join(', '),
  ]);
  print(table(rows));
  print(
    `Their process host does not answer; they go on. The next one takes them over: a worker that needs it starts it, and so does \`${ownName()} host\`.`,
  );
}

function unhostedToJson({
  stateDir,
  runId,
  stepPath,
  start,
  pid,
  startedAtMs,
  log,
}: UnhostedProgram): JsonObject {
  const startedAt = new Date(startedAtMs).toISOString();
  return { stateDir, runId, step: stepPath, start, pid, startedAt, log };
}

/** `adit bundle`: the bundle of a run as one file. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { ChainDamaged, packBundle, type PackedBundle } from '../adapters/bundle/pack-bundle.js';
import { createEvidence } from '../adapters/evidence/evidence.js';
import { createFolderStore } from '../adapters/store/store.js';
import { StepError } from '../core/error.js';
import { stepFolderName } from '../core/step-folder.js';
import type { BundleCommandOptions } from './commands/bundle.js';
import { CliFailure, EXIT } from './failure.js';
import { holdsSecret, spellings } from './holds-secret.js';
import { readKnownSecrets } from './known-secrets.js';
import { listenForInterruption } from './interruption.js';
import { clean, note, paint, print, printJson } from './output.js';
import { ownName } from './own-name.js';
import { evidenceRoots } from './run-record.js';
import { readSettings } from './session.js';

/** Throws CliFailure BUNDLE_NONE, BUNDLE_DAMAGED, FILE_EXISTS, FILE_UNWRITABLE, SECRETS_FOUND, SECRETS_UNREADABLE, INTERRUPTED. */
export async function writeBundle(runId: string, options: BundleCommandOptions): Promise<void> {
  const settings = await readSettings();
  const secrets = await readKnownSecrets(settings);
  if (secrets.unreadable.length > 0) {
    throw new CliFailure(
      'SECRETS_UNREADABLE',
      `${secrets.unreadable.join(', ')} cannot be read: whether a file of the bundle holds that secret cannot be told.`,
      { hint: 'Run the command as who may read it.' },
    );
  }
  const { root, chain } = await findChain(evidenceRoots(settings.stateDir), runId);
  const out = path.resolve(options.out ?? `${stepFolderName(runId)}.tar`);
  if (existsSync(out)) throw isThere(out);
  // The worker that wrote it may have been told of fewer secrets than this command.
  if (spellings(secrets.literals).some((secret) => chain.includes(secret))) {
    throw new CliFailure(
      'SECRETS_FOUND',
      `The records of the run "${runId}" hold a secret that the settings name now; nothing was written.`,
      { hint: 'Change the secret: it lies in the evidence folder of the run.' },
    );
  }
  const interruption = listenForInterruption(() => 'The bundle was not written.');
  const packed = await pack(
    { chain, store: createFolderStore(path.join(root, 'store')), out },
    {
      withArtifacts: options.artifacts,
      holdsSecret: (file, sizeBytes) => holdsSecret(file, sizeBytes, secrets.literals),
      signal: interruption.signal,
    },
    runId,
  ).finally(() => interruption.dispose());
  report(out, packed, options);
}

async function findChain(
  roots: readonly string[],
  runId: string,
): Promise<{ readonly root: string; readonly chain: Buffer }> {
  for (const root of roots) {
    const chain = await createEvidence(root)
      .readChain(runId)
      .catch(() => null);
    if (chain !== null) return { root, chain };
  }
  throw new CliFailure('BUNDLE_NONE', `There is no bundle of the run "${runId}" on this machine.`, {
    hint: `A run leaves one when it ends, in its evidence folder on the machine of the worker that recorded the end; see ${ownName()} show.`,
  });
}

function isThere(out: string): CliFailure {
  return new CliFailure('FILE_EXISTS', `${out} is there already.`, {
    hint: 'Give another file with --out, or remove it.',
    exitCode: EXIT.usage,
  });
}

async function pack(
  ...[what, how, runId]: [...Parameters<typeof packBundle>, string]
): Promise<PackedBundle> {
  try {
    return await packBundle(what, how);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof CliFailure) throw error;
    if (code === 'EEXIST') throw isThere(what.out);
    if (code !== undefined && !(error instanceof StepError)) {
      throw new CliFailure('FILE_UNWRITABLE', `${what.out} cannot be written: ${code}.`, {
        hint: 'Name another file with --out; an unfinished one is not left behind.',
      });
    }
    if (!(error instanceof ChainDamaged)) throw error;
    throw new CliFailure(
      'BUNDLE_DAMAGED',
      `The bundle of the run "${runId}" was changed after its end: ${error.message}.`,
      { hint: 'Nothing was written. The other files of its evidence folder may still be whole.' },
    );
  }
}

function report(out: string, packed: PackedBundle, { json }: BundleCommandOptions): void {
  const { root, sizeBytes } = packed;
  const absent = packed.absent.map(({ file, why }) => ({
    sha256: file.file,
    sizeBytes: file.sizeBytes,
    role: file.role,
    why,
  }));
  if (json === true) {
    printJson({ file: out, root, sizeBytes, absent });
    return;
  }
  for (const { sha256, role, why } of absent) note(`not in it (${why}): ${role} ${sha256}`);
  print(`${clean(out)}  ${sizeBytes} bytes`);
  print(`root: ${paint.bold(root)}`);
}

/** JSON files that are whole or not there, whenever the machine stops. */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import {
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  type FileHandle,
} from 'node:fs/promises';
import path from 'node:path';
import { errorMessage } from '../../core/error.js';
import { isJsonObject, type JsonObject } from '../../core/json.js';

/** Replaces the file; whole or not at all, and on the disk before it returns. */
export async function writeJson(file: string, value: object): Promise<void> {
  await writeText(file, toText(value));
}

/** As `writeJson`, for any text. */
export async function writeText(file: string, text: string): Promise<void> {
  await replace(file, await writeTemporary(file, text));
  await syncFolder(path.dirname(file));
}

/** As `writeJson`, but a file that holds just that already is left as it is. */
export async function keepJson(file: string, value: object): Promise<void> {
  const before = await readFile(file, 'utf8').catch(() => null);
  if (before !== toText(value)) await writeJson(file, value);
}

function toText(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

async function replace(file: string, temporary: string): Promise<void> {
  try {
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Makes the file, durable when it returns; false, and nothing changed, when it is there already. */
export async function createJson(file: string, value: object): Promise<boolean> {
  const temporary = await writeTemporary(file, toText(value));
  try {
    // Unlike a rename it fails when the name is taken, and unlike an exclusive open it is never half a file.
    await link(temporary, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  await syncFolder(path.dirname(file));
  return true;
}

/** Null when there is no file, or no object in it. Throws SyntaxError, which names the file, for what is not JSON. */
export async function readJson(file: string): Promise<JsonObject | null> {
  let text: string;
  try {
    // Who opens a pipe without a writer waits, and with that thread the end of the process.
    text = await readFile(file, {
      encoding: 'utf8',
      flag: constants.O_RDONLY | constants.O_NONBLOCK,
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const value = parse(text, file);
  return isJsonObject(value) ? value : null;
}

/** Null when there is no file. */
export async function openToRead(file: string): Promise<FileHandle | null> {
  try {
    // Who opens a pipe without a writer waits, and with that thread the end of the process.
    return await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** The names in a folder; none when there is no folder. */
export async function listFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(`${file} is damaged: ${errorMessage(error)}`, { cause: error });
  }
}

async function writeTemporary(file: string, text: string): Promise<string> {
  const temporary = `${file}.${randomUUID()}.tmp`;
  const handle = await openNew(temporary);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } catch (error) {
    // On a full disk each try would leave one behind.
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  return temporary;
}

/** The folder is made where it is missing, which it seldom is. */
async function openNew(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'wx');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    await mkdir(path.dirname(file), { recursive: true });
    return open(file, 'wx');
  }
}

/** A new name is only durable once its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * The devnet's state: one SQLite file in its home, so that a restart goes on where it was.
 *
 * Records are kept as JSON with every number as it came (a result of `149312.0` is relayed as such).
 */
import path from 'node:path';
import Database from 'libsql';
import { parseJson, writeJson } from '../auth/json-numbers.js';

type Connection = InstanceType<typeof Database>;

/** Raised with every change of the stored form; a file of another version is refused. */
const SCHEMA_VERSION = 1;

export interface DocumentTable<T extends { readonly id: string }> {
  insert(document: T): T;
  /** Writes the whole record again. Throws when there is none with its id. */
  replace(document: T): T;
  get(id: string): T | null;
  /** Records whose text members equal those given, in the order in which they were made. */
  list(where?: { readonly [K in keyof T]?: string | undefined }): T[];
}

export interface DevnetDatabase {
  table<T extends { readonly id: string }>(name: string): DocumentTable<T>;
  /** A stored value, or null. */
  readValue(key: string): unknown;
  writeValue(key: string, value: unknown): void;
  /** True the first time that this signature is seen. */
  rememberSignature(signature: string): boolean;
  /** Leaves these tables without records. */
  empty(tables: readonly string[]): void;
  /** All or nothing. Not to be nested. */
  transact<R>(change: () => R): R;
  close(): void;
}

/** Opens or makes `devnet.sqlite` in the folder. */
export function openDatabase(home: string): DevnetDatabase {
  const file = path.join(home, 'devnet.sqlite');
  const connection = new Database(file);
  connection.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
  connection.exec(`
    CREATE TABLE IF NOT EXISTS value (key TEXT PRIMARY KEY, body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS signature (text TEXT PRIMARY KEY);
  `);
  const version = readValue(connection, 'schema_version');
  if (version === null) writeValue(connection, 'schema_version', SCHEMA_VERSION);
  else if (version !== SCHEMA_VERSION) {
    connection.close();
    throw new Error(
      `${file} is of version ${String(version)}, this devnet reads version ${SCHEMA_VERSION}`,
    );
  }
  return {
    table: (name) => openTable(connection, name),
    readValue: (key) => readValue(connection, key),
    writeValue: (key, value) => {
      writeValue(connection, key, value);
    },
    rememberSignature: (signature) =>
      connection.prepare('INSERT OR IGNORE INTO signature (text) VALUES (?)').run(signature)
        .changes === 1,
    empty: (tables) => {
      for (const name of tables) {
        openTable(connection, name);
        connection.exec(`DELETE FROM ${name}`);
      }
    },
    transact: (change) => connection.transaction(change)(),
    close: () => {
      connection.close();
    },
  };
}

function readValue(connection: Connection, key: string): unknown {
  const row = connection.prepare('SELECT body FROM value WHERE key = ?').get(key);
  return row === undefined ? null : parseJson(bodyOf(row));
}

function writeValue(connection: Connection, key: string, value: unknown): void {
  connection
    .prepare(
      'INSERT INTO value (key, body) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body',
    )
    .run(key, writeJson(value));
}

function openTable<T extends { readonly id: string }>(
  connection: Connection,
  name: string,
): DocumentTable<T> {
  if (!/^[a-z_]+$/.test(name)) throw new RangeError(`not a table name: ${name}`);
  connection.exec(
    `CREATE TABLE IF NOT EXISTS ${name} (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL)`,
  );
  // Only this table's own writers put records there, so their form is known.
  const read = (row: unknown): T => parseJson(bodyOf(row)) as T;
  return {
    insert: (document) => {
      connection
        .prepare(`INSERT INTO ${name} (id, body) VALUES (?, ?)`)
        .run(document.id, writeJson(document));
      return document;
    },
    replace: (document) => {
      const { changes } = connection
        .prepare(`UPDATE ${name} SET body = ? WHERE id = ?`)
        .run(writeJson(document), document.id);
      if (changes !== 1) throw new Error(`no record ${document.id} in ${name}`);
      return document;
    },
    get: (id) => {
      const row = connection.prepare(`SELECT body FROM ${name} WHERE id = ?`).get(id);
      return row === undefined ? null : read(row);
    },
    list: (where = {}) => {
      const filters = Object.entries(where).filter(([, value]) => value !== undefined);
      const condition = filters.map(() => 'json_extract(body, ?) = ?').join(' AND ') || 'TRUE';
      const values = filters.flatMap(([member, value]) => [`$.${member}`, value]);
      return connection
        .prepare(`SELECT body FROM ${name} WHERE ${condition} ORDER BY seq`)
        .all(...values)
        .map(read);
    },
  };
}

function bodyOf(row: unknown): string {
  if (typeof row === 'object' && row !== null && 'body' in row && typeof row.body === 'string')
    return row.body;
  throw new Error('a row without a body');
}

import { Connection, type ConnectionOptions } from '@temporalio/client';
import type { ServerChoice } from './choose-server.js';
import { TemporalServerError } from './server-error.js';

const CONNECT_TIMEOUT_MS = 5_000;
/** gRPC status of a namespace that is not there. */
const GRPC_NOT_FOUND = 5;

/**
 * Connects to the chosen server and asks for its namespace. Throws TemporalServerError when it does not
 * answer: never a move to another server.
 */
export async function connectTo(choice: ServerChoice): Promise<Connection> {
  let connection: Connection;
  try {
    connection = await Connection.connect({
      ...choice.connectionOptions,
      connectTimeout: CONNECT_TIMEOUT_MS,
    });
  } catch (error) {
    throw new TemporalServerError(
      'SERVER_UNREACHABLE',
      `The Temporal server at ${choice.address} (${choice.origin}) does not answer: ${reason(error)}`,
      choice.source === 'dev' || choice.source === 'demo'
        ? 'Look at its log in the state folder, or start `adit dev` again.'
        : 'Start it, or correct the address; Adit never moves to another server by itself.',
    );
  }
  try {
    await connection.withDeadline(Date.now() + CONNECT_TIMEOUT_MS, () =>
      connection.workflowService.describeNamespace({ namespace: choice.namespace }),
    );
  } catch (error) {
    await connection.close();
    if ((error as { code?: unknown }).code === GRPC_NOT_FOUND) {
      throw new TemporalServerError(
        'SERVER_NAMESPACE_MISSING',
        `The Temporal server at ${choice.address} has no namespace "${choice.namespace}".`,
        'Create it, or name another by --namespace or TEMPORAL_NAMESPACE.',
      );
    }
    throw new TemporalServerError(
      'SERVER_UNREACHABLE',
      `The Temporal server at ${choice.address} (${choice.origin}) refuses namespace "${choice.namespace}": ${reason(error)}`,
      'Check the credentials of the profile or of the TEMPORAL_* variables.',
    );
  }
  return connection;
}

/** Options without TLS or credentials, for a server on this machine. */
export function plainOptions(address: string): ConnectionOptions {
  return { address, tls: false };
}

function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.trim().split('\n', 1)[0]?.slice(0, 300) ?? '';
}

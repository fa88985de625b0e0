import type { Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';

const RPC_TIMEOUT_MS = 5_000;
const DAY_MS = 86_400_000;

/** How long an embedded server keeps closed runs, in days. */
export const RETENTION_DAYS = 90;

/** Lets the server keep closed runs for `days`. Returns the days that it then says it keeps them. */
export async function setRetention(
  connection: Connection,
  namespace: string,
  days: number,
): Promise<number> {
  const service = connection.workflowService;
  const within = <T>(call: () => Promise<T>): Promise<T> =>
    connection.withDeadline(Date.now() + RPC_TIMEOUT_MS, call);
  await within(() =>
    service.updateNamespace({
      namespace,
      config: { workflowExecutionRetentionTtl: msToTs(days * DAY_MS) },
    }),
  );
  const described = await within(() => service.describeNamespace({ namespace }));
  return Number(described.config?.workflowExecutionRetentionTtl?.seconds ?? 0) / 86_400;
}

/** `INDEXED_VALUE_TYPE_KEYWORD` of Temporal's API. */
const KEYWORD = 2;

export type SearchAttributesOutcome =
  { readonly registered: true } | { readonly registered: false; readonly reason: string };

/**
 * Registers the search attributes (all of type Keyword) that the namespace lacks. A server that does not
 * let us (Temporal Cloud, a restricted role, all columns taken) is no error: runs go without them.
 */
export async function registerSearchAttributes(
  connection: Connection,
  namespace: string,
  names: readonly string[],
): Promise<SearchAttributesOutcome> {
  const service = connection.operatorService;
  const within = <T>(call: () => Promise<T>): Promise<T> =>
    connection.withDeadline(Date.now() + RPC_TIMEOUT_MS, call);
  try {
    const known = (await within(() => service.listSearchAttributes({ namespace })))
      .customAttributes;
    const wrong = names.find(
      (name) => known[name] !== undefined && (known[name] as number) !== KEYWORD,
    );
    if (wrong !== undefined)
      return { registered: false, reason: `${wrong} is there with another type than Keyword` };
    const missing = names.filter((name) => known[name] === undefined);
    if (missing.length > 0) {
      await within(() =>
        service.addSearchAttributes({
          namespace,
          searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD])),
        }),
      );
    }
    return { registered: true };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { registered: false, reason: reason.trim().split('\n', 1)[0]?.slice(0, 200) ?? '' };
  }
}

/** Waits for all of them, whatever one of them comes to; then throws as the first that has failed. */
export async function settleAll(all: readonly Promise<unknown>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(all)) {
    if (outcome.status === 'rejected') throw outcome.reason;
  }
}

// What Adit is compared with: workflows as an expert writes them by hand.
import { proxyActivities } from '@temporalio/workflow';

const { noop, mark, pause } = proxyActivities({
  startToCloseTimeout: '1m',
  retry: { initialInterval: '1s', maximumAttempts: 3 },
});

export async function chain(length) {
  const { value: first, startedAt } = await mark({ value: 0 });
  let value = first;
  for (let done = 1; done < length; done += 1) ({ value } = await noop({ value }));
  return { value, startedAt };
}

export async function fanOut(items, limit) {
  const results = [];
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await pause({ value: items[index] });
    }
  };
  await Promise.all(Array.from({ length: limit }, lane));
  return results.map(({ running }) => running);
}

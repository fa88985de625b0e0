import { setCurrentDetails } from '@temporalio/workflow';

/**
 * Sets a run's current details to a text that is made whenever somebody asks for it, and then is of that moment.
 *
 * Made after each change it would cost a long run more than the steps themselves. The SDK keeps the details until its
 * metadata query answers with them as JSON, so a value that is made into JSON late is as good as a text; an integration
 * test asks for them as the Temporal UI does.
 */
export function setLazyDetails(text: () => string): void {
  const details: unknown = { toJSON: text };
  setCurrentDetails(details as string);
}

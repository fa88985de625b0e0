import { z } from 'zod';
import { artifactSchema } from '../compiler/values.js';
import { StepError } from '../core/error.js';
import { defineStep } from './step-type.js';

export const artifactPublish = defineStep({
  name: 'artifact.publish',
  summary:
    'Uploads an artifact to the configured https place, under its digest, and fetches it back to compare.',
  input: z.object({
    artifact: artifactSchema.describe('The artifact to publish.'),
  }),
  output: z.object({
    artifact: artifactSchema.describe('The same artifact with its public address.'),
  }),
  defaults: {
    timeout: '2h',
    heartbeat: '20s',
    retry: { attempts: 5, first: '2s', factor: 2, most: '1m' },
  },
  errors: [
    'SETTING_MISSING',
    'SETTING_INVALID',
    'FILE_MISSING',
    'FILE_CHANGED',
    'ARTIFACT_HOST_UNAVAILABLE',
    'ARTIFACT_UNSUITABLE',
  ],
  example: `
- id: published
  uses: artifact.publish
  with:
    artifact: \${{ steps.best.candidate.artifact }}
`,
  run: async ({ artifact }, { adapters, firstAttempt, progress, signal }) => {
    const { artifactHost, store } = adapters;
    const file = await store.locate(artifact.file);
    const uri = artifactHost.address(artifact.file.sha256);
    const published = (): Promise<void> => artifactHost.verify(uri, artifact.file, signal);

    // A try before this one may have uploaded it all and died before it could say so.
    if (firstAttempt || !(await isSuitable(published))) {
      progress({ uploading: artifact.file.sizeBytes });
      await artifactHost.publish(file, artifact.file, signal);
      progress({ fetchingBack: artifact.file.sizeBytes });
      await published();
    }
    return { artifact: { file: artifact.file, uri } };
  },
});

async function isSuitable(verify: () => Promise<void>): Promise<boolean> {
  try {
    await verify();
    return true;
  } catch (error) {
    if (error instanceof StepError && error.code === 'ARTIFACT_UNSUITABLE') return false;
    throw error;
  }
}

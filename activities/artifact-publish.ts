import { z } from 'zod';
import { artifactSchema } from '../compiler/values.js';
import { StepError } from '../core/error.js';
import { effect, type Probed } from './effect.js';
import { defineStep } from './step-type.js';

/** An object's name is its digest, so that a second upload changes nothing: there is nothing to wait for. */
const AT_ONCE = { windowMs: 0, lagMs: 0 };

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
    'EFFECTS_HELD',
    'ARTIFACT_HOST_UNAVAILABLE',
    'ARTIFACT_UNSUITABLE',
  ],
  madeOf: { artifact: 'artifact' },
  example: `
- id: published
  uses: artifact.publish
  with:
    artifact: \${{ steps.best.candidate.artifact }}
`,
  run: async ({ artifact }, context) => {
    const { artifactHost, store } = context.adapters;
    const { progress, signal } = context;
    const file = await store.locate(artifact.file);
    const uri = artifactHost.address(artifact.file.sha256);
    const verify = (): Promise<void> => artifactHost.verify(uri, artifact.file, signal);
    await effect<string>(context, {
      what: 'publication',
      hotkey: '',
      intent: { uri, sizeBytes: artifact.file.sizeBytes },
      sentSha256: artifact.file.sha256,
      settle: AT_ONCE,
      probe: async (): Promise<Probed<string>> => {
        try {
          await verify();
          return { kind: 'found', value: uri };
        } catch (error) {
          if (!(error instanceof StepError) || error.code !== 'ARTIFACT_UNSUITABLE') throw error;
          return { kind: 'absent', certain: true, reason: error.message };
        }
      },
      act: async (sending) => {
        progress({ uploading: artifact.file.sizeBytes });
        await sending.begin(Date.now());
        await artifactHost.publish(file, artifact.file, signal);
        progress({ fetchingBack: artifact.file.sizeBytes });
        await artifactHost.verifyUpload(uri, artifact.file, signal);
        return uri;
      },
      judge: () => 'unclear',
      evidence: (address) => ({ uri: address }),
    });
    return { artifact: { file: artifact.file, uri } };
  },
});

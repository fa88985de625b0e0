import type { PipelineFiles } from '../../compiler/pipeline-files.js';

/** Files of one folder that is on no disk, by their names, as `./name` calls them. */
export function filesInMemory(files: ReadonlyMap<string, string>): PipelineFiles {
  return {
    identify: (file) => file,
    read(name) {
      const file = name.replace('./', '');
      const content = files.get(file);
      if (content === undefined) return { problem: 'there is no such file', near: [] };
      return {
        identity: file,
        file,
        content: new TextEncoder().encode(content),
        sha256: '0'.repeat(64),
      };
    },
  };
}

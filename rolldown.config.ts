/**
 * What `tsc` has compiled into `build/` becomes the programs of `dist/`: a few files each, with the packages that they
 * use inside. Node spends more time on finding and opening hundreds of small files than on running them.
 */
import { existsSync, readFileSync } from 'node:fs';
import { defineConfig, type OutputOptions, type Plugin, type RolldownOptions } from 'rolldown';

/** A native library, which finds its binary from where it lies. */
const NATIVE = /^libsql$/;
/** One large file each already, and read for `adit fmt` alone. */
const PRETTIER = /^prettier\//;
/** The SDK's worker cannot be bundled (native library, a thread of its own), and must meet each of these once in a process. */
const TEMPORAL = /^(@temporalio\/|nexus-rpc$)/;

/** Takes along what `tsc` knows of the sources, so that `node --enable-source-maps` shows their lines. */
const sourceMapsOfTsc: Plugin = {
  name: 'source-maps-of-tsc',
  load(id) {
    if (id.includes('/node_modules/') || !existsSync(`${id}.map`)) return null;
    return { code: readFileSync(id, 'utf8'), map: readFileSync(`${id}.map`, 'utf8') };
  },
};

/** The half megabyte of protobuf descriptors as text: `JSON.parse` takes half the time of the same object literal. */
const descriptorsAsText: Plugin = {
  name: 'descriptors-as-text',
  transform: {
    filter: { id: /@temporalio\/proto\/protos\/json-module\.js$/ },
    handler(code) {
      const literal = /(?<=\.addJSON\()\{[^]*\}(?=\);)/.exec(code)?.[0];
      if (literal === undefined) throw new Error('@temporalio/proto has no descriptors any more.');
      const text = JSON.stringify(JSON.parse(literal));
      return {
        code: code.replace(literal, () => `JSON.parse(${JSON.stringify(text)})`),
        map: null,
      };
    },
  },
};

function programs(options: {
  readonly entries: readonly string[];
  readonly chunks: string;
  readonly external: readonly RegExp[];
}): RolldownOptions & { output: OutputOptions } {
  return {
    input: Object.fromEntries(options.entries.map((name) => [name, `build/${name}.js`])),
    platform: 'node',
    // Such as of a package that is not installed: it would be missed only when the program runs.
    onLog: (level, log, report) => report(level === 'warn' ? 'error' : level, log),
    external: [...options.external],
    plugins: [sourceMapsOfTsc, descriptorsAsText],
    output: {
      dir: 'build/dist',
      format: 'esm',
      entryFileNames: '[name].js',
      chunkFileNames: `${options.chunks}/[name].js`,
      sourcemap: true,
      sourcemapExcludeSources: true,
      // It will lie a folder higher: the build puts it in place of `dist/` when it is whole.
      sourcemapPathTransform: (source) => source.replace('../', ''),
    },
  };
}

export default defineConfig([
  programs({ entries: ['cli/main'], chunks: 'cli/chunks', external: [NATIVE, PRETTIER] }),
  programs({
    entries: [
      'worker/main',
      'host/main',
      'devnet/main',
      'devnet/validator/main',
      'rehearse/preload/record-journal',
      // For a worker with further step types (`node --import`): they must meet its own registry and errors.
      'activities/registry',
      'core/error',
    ],
    chunks: 'chunks',
    external: [NATIVE, TEMPORAL],
  }),
]);

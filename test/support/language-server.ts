/** The language server of editors (redhat-developer/yaml-language-server), spoken to as an editor does. */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import {
  CompletionRequest,
  createProtocolConnection,
  DidOpenTextDocumentNotification,
  ExitNotification,
  HoverRequest,
  InitializedNotification,
  InitializeRequest,
  PublishDiagnosticsNotification,
  ShutdownRequest,
  StreamMessageReader,
  StreamMessageWriter,
  type CompletionItem,
  type Diagnostic,
} from 'vscode-languageserver-protocol/node';

/** A document as an editor has it open; `‸` in its text is where the cursor stands. */
export interface OpenDocument {
  /** What can be written at the cursor. */
  complete(): Promise<readonly CompletionItem[]>;
  /** What is told about what stands at the cursor, as Markdown; empty for nothing. */
  hover(): Promise<string>;
  /** What is underlined. */
  readonly diagnostics: Promise<readonly Diagnostic[]>;
}

export interface LanguageServer {
  /** `file` is where it would lie; it need not be there. Each has a name of its own. */
  open(file: string, text: string): Promise<OpenDocument>;
  close(): Promise<void>;
}

/** Starts a server that knows no schema but those that files name themselves. */
export async function startLanguageServer(): Promise<LanguageServer> {
  const program = createRequire(import.meta.url).resolve(
    'yaml-language-server/bin/yaml-language-server',
  );
  const child = spawn(process.execPath, [program, '--stdio'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const connection = createProtocolConnection(
    new StreamMessageReader(child.stdout),
    new StreamMessageWriter(child.stdin),
  );
  const waiting = new Map<string, (diagnostics: readonly Diagnostic[]) => void>();
  connection.onNotification(PublishDiagnosticsNotification.type, ({ uri, diagnostics }) => {
    waiting.get(uri)?.(diagnostics);
  });
  // An editor without settings of its own: nothing comes from a catalogue in the internet.
  connection.onRequest('workspace/configuration', ({ items }: { items: { section: string }[] }) =>
    items.map(({ section }) =>
      section === 'yaml'
        ? { validate: true, completion: true, hover: true, schemaStore: { enable: false } }
        : {},
    ),
  );
  connection.onRequest('client/registerCapability', () => null);
  connection.listen();
  await connection.sendRequest(InitializeRequest.type, {
    processId: process.pid,
    rootUri: null,
    capabilities: {
      workspace: { configuration: true },
      textDocument: {
        completion: { completionItem: { snippetSupport: true, documentationFormat: ['markdown'] } },
        hover: { contentFormat: ['markdown'] },
        publishDiagnostics: {},
      },
    },
  });
  await connection.sendNotification(InitializedNotification.type, {});

  return {
    async open(file, text) {
      const uri = pathToFileURL(file).href;
      const at = text.indexOf('‸');
      const before = text.slice(0, Math.max(at, 0)).split('\n');
      const position = { line: before.length - 1, character: before.at(-1)?.length ?? 0 };
      const diagnostics = new Promise<readonly Diagnostic[]>((resolve) =>
        waiting.set(uri, resolve),
      );
      const written = at < 0 ? text : text.slice(0, at) + text.slice(at + 1);
      await connection.sendNotification(DidOpenTextDocumentNotification.type, {
        textDocument: { uri, languageId: 'yaml', version: 1, text: written },
      });
      const place = { textDocument: { uri }, position };
      return {
        diagnostics,
        complete: async () => {
          const found = await connection.sendRequest(CompletionRequest.type, place);
          return Array.isArray(found) ? found : (found?.items ?? []);
        },
        hover: async () => {
          const found = await connection.sendRequest(HoverRequest.type, place);
          const contents = found?.contents;
          return typeof contents === 'object' && 'value' in contents ? contents.value : '';
        },
      };
    },
    async close() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await connection.sendRequest(ShutdownRequest.type);
      await connection.sendNotification(ExitNotification.type);
      await ended;
      connection.dispose();
    },
  };
}

/** A receiver of webhooks that can be away at first: its port is its own from the beginning. */
import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Notice } from '../../core/notice.js';

interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly notice: Notice;
}

export interface WebhookReceiver {
  readonly url: string;
  /** Those that it answered with a success, in order. */
  readonly received: readonly Received[];
  /** The ids of all that it was told, in order, whatever it answered. */
  readonly heard: readonly string[];
  /** What it answers, if not 204; null: nothing, ever. */
  answer: { readonly status: number; readonly headers?: Record<string, string> } | null;
  open(): Promise<void>;
  close(): Promise<void>;
}

/** Nobody listens until it is opened. */
export async function createWebhookReceiver(): Promise<WebhookReceiver> {
  const received: Received[] = [];
  const heard: string[] = [];
  let server: Server | null = null;
  let port = 0;
  const receiver: WebhookReceiver = {
    get url() {
      return `http://127.0.0.1:${port}/hooks/very-secret-token?key=hidden`;
    },
    received,
    heard,
    answer: { status: 204 },
    async open() {
      server = createServer((request, response) => {
        let body = '';
        request.on('data', (chunk: Buffer) => (body += chunk.toString()));
        request.on('end', () => {
          heard.push(String(request.headers['webhook-id']));
          if (receiver.answer === null) return;
          const { status, headers = {} } = receiver.answer;
          if (status < 300)
            received.push({
              headers: request.headers,
              body,
              notice: JSON.parse(body) as Notice,
            });
          response.writeHead(status, headers).end();
        });
      });
      const opened = server;
      await new Promise<void>((resolve) => opened.listen(port, '127.0.0.1', resolve));
      port = (opened.address() as AddressInfo).port;
    },
    async close() {
      const closing = server;
      if (closing === null) return;
      server = null;
      closing.closeAllConnections();
      await new Promise((resolve) => closing.close(resolve));
    },
  };
  // A port that was just free is hardly given to somebody else at once.
  await receiver.open();
  await receiver.close();
  return receiver;
}

/** The signature as a receiver computes it by Standard Webhooks. */
export function signatureOf({ headers, body }: Received, secret: Buffer | string): string {
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`;
  return `v1,${createHmac('sha256', secret).update(signed).digest('base64')}`;
}

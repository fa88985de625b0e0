/** A real https server for tests, with a certificate made at its start. */
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import { generate } from 'selfsigned';

export interface HttpsServer {
  /** `https://localhost:<port>`. */
  readonly origin: string;
  /** PEM text of the certificate that a client has to trust. */
  readonly ca: string;
  readonly close: () => Promise<void>;
}

export async function startHttpsServer(listener: RequestListener): Promise<HttpsServer> {
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] },
    ],
  });
  const server = createServer({ key, cert }, listener);
  await new Promise<void>((resolve) => {
    server.listen(0, 'localhost', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') {
    throw new Error('The test server has no port.');
  }
  return {
    origin: `https://localhost:${address.port}`,
    ca: cert,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

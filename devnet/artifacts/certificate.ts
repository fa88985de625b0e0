import { X509Certificate } from 'node:crypto';
import { chmod, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { generate } from 'selfsigned';

const DAY_MS = 86_400_000;

export interface Certificate {
  readonly key: string;
  readonly cert: string;
  /** What a client that should trust the host is pointed at. */
  readonly certFile: string;
}

/** The certificate in the folder, made at first start for 127.0.0.1 and localhost; its key stays there. */
export async function ensureCertificate(home: string): Promise<Certificate> {
  const keyFile = path.join(home, 'artifacts-key.pem');
  const certFile = path.join(home, 'artifacts-ca.pem');
  try {
    const [key, cert] = await Promise.all([readFile(keyFile, 'utf8'), readFile(certFile, 'utf8')]);
    if (new Date(new X509Certificate(cert).validTo).getTime() > Date.now() + DAY_MS)
      return { key, cert, certFile };
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOENT') throw error;
  }
  const made = await generate([{ name: 'commonName', value: 'adit devnet artifact host' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - DAY_MS),
    notAfterDate: new Date(Date.now() + 3_650 * DAY_MS),
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', digitalSignature: true, keyCertSign: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 7, ip: '127.0.0.1' },
          { type: 2, value: 'localhost' },
        ],
      },
    ],
  });
  await writeFile(`${keyFile}.new`, made.private, { mode: 0o600 });
  await chmod(`${keyFile}.new`, 0o600);
  await writeFile(`${certFile}.new`, made.cert);
  await rename(`${keyFile}.new`, keyFile);
  await rename(`${certFile}.new`, certFile);
  return { key: made.private, cert: made.cert, certFile };
}

// Certificates of devices and of the authorities above them, made with OpenSSL's command.

import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after } from 'node:test';

import { rest } from './clients.mjs';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'downlink-certificates-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
let made = 0;

const KEYS = {
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
  p384: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:secp384r1'],
  ed25519: ['-newkey', 'ed25519'],
  rsa: ['-newkey', 'rsa:2048'],
};
const AUTHORITY = 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n';
const CLIENT = 'basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n';

function openssl(...words) {
  execFileSync('openssl', words, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** A path for a new file. */
function fresh(ending) {
  made += 1;
  return path.join(folder, `${made}.${ending}`);
}

/** OpenSSL's form of a subject; ids of devices may hold what separates its parts. */
function subject(commonName) {
  return `/CN=${commonName.replace(/[\\/+]/g, '\\$&')}`;
}

function read(certificateFile, keyFile) {
  const cert = fs.readFileSync(certificateFile, 'utf8');
  const { fingerprint, fingerprint256 } = new X509Certificate(cert);
  const bare = (digits) => digits.replaceAll(':', '');
  return { cert, key: fs.readFileSync(keyFile, 'utf8'), sha1: bare(fingerprint), sha256: bare(fingerprint256) };
}

/** A certificate that only its thumbprint speaks for, with its key and both thumbprints. */
export function selfSigned(commonName, kind = 'ec') {
  const [cert, key] = [fresh('pem'), fresh('key')];
  openssl('req', '-x509', ...KEYS[kind], '-nodes', '-days', '2', '-subj', subject(commonName), '-keyout', key, '-out', cert);
  return read(cert, key);
}

/** The same without extensions, which makes it X.509 version 1 with most releases of OpenSSL. */
export function withoutExtensions(commonName) {
  const [cert, key, request] = [fresh('pem'), fresh('key'), fresh('csr')];
  openssl('req', '-new', ...KEYS.ec, '-nodes', '-subj', subject(commonName), '-keyout', key, '-out', request);
  openssl('x509', '-req', '-in', request, '-signkey', key, '-days', '2', '-out', cert);
  return read(cert, key);
}

/** A certificate authority that signs devices, other authorities and proofs. */
export class Authority {
  #cert = fresh('pem');
  #key = fresh('key');
  /** The certificates between this one and the root, this one first; what a device must send. */
  #chain = '';

  constructor(commonName, parent = null) {
    this.commonName = commonName;
    if (parent) {
      this.#signBy(parent, commonName, AUTHORITY, [this.#cert, this.#key]);
      this.#chain = this.pem + parent.#chain;
    } else {
      const extensions = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign'];
      openssl(
        'req', '-x509', ...KEYS.ec, '-nodes', '-days', '2', '-subj', subject(commonName), ...extensions,
        '-keyout', this.#key, '-out', this.#cert,
      );
    }
  }

  get pem() {
    return fs.readFileSync(this.#cert, 'utf8');
  }

  /** A device's certificate with those above it up to the root, the same alone, and its key. */
  issue(commonName, { kind = 'ec', extensions = CLIENT } = {}) {
    const files = [fresh('pem'), fresh('key')];
    this.#signBy(this, commonName, extensions, files, kind);
    const own = read(...files);
    return { ...own, leaf: own.cert, cert: own.cert + this.#chain };
  }

  #signBy(parent, commonName, extensions, [cert, key], kind = 'ec') {
    const [request, extensionFile] = [fresh('csr'), fresh('ext')];
    fs.writeFileSync(extensionFile, extensions);
    openssl('req', '-new', ...KEYS[kind], '-nodes', '-subj', subject(commonName), '-keyout', key, '-out', request);
    openssl(
      'x509', '-req', '-in', request, '-CA', parent.#cert, '-CAkey', parent.#key, '-set_serial', String(1000 + made),
      '-days', '1', '-extfile', extensionFile, '-out', cert,
    );
  }
}

/** Registers an authority under `name`, and proves that its key is held. */
export async function trust(hub, name, authority) {
  const at = `/admin/certificates/${name}`;
  await rest(hub, 'PUT', at, 'iothubowner', { certificate: authority.pem });
  const { body } = await rest(hub, 'POST', `${at}/verificationCode`, 'iothubowner');
  const proof = authority.issue(body.verificationCode);
  await rest(hub, 'POST', `${at}/verify`, 'iothubowner', { certificate: proof.leaf });
}

/** Has the hub forget an authority. */
export async function distrust(hub, name) {
  await rest(hub, 'DELETE', `/admin/certificates/${name}`, 'iothubowner');
}

// The OpenID Connect server of tests/sdk/oidc, and credentials that it gives tokens to.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { eventually } from './waiting.mjs';

const PROGRAM = fileURLToPath(new URL('../../oidc/issuer.mjs', import.meta.url));
/** The audience that the SDKs' tokens have at the original service. */
const SERVICE = 'https://iothubs.azure.net';

export class Issuer {
  #process;
  #facts;

  /** Starts an issuer on a free port; `folder` is its own. */
  static async start(name) {
    const issuer = new Issuer();
    const folder = path.join(process.env.DOWNLINK_SUITE_ROOT, name);
    fs.mkdirSync(folder, { recursive: true });
    const log = fs.openSync(path.join(folder, 'log'), 'a');
    issuer.#process = spawn(process.execPath, [PROGRAM, folder], { stdio: ['pipe', log, log] });
    fs.closeSync(log);
    const facts = path.join(folder, 'issuer.json');
    await eventually(() => {
      if (issuer.#process.exitCode !== null) throw new Error(`the issuer ended; its log is in ${folder}`);
      return fs.existsSync(facts);
    }, 'the issuer to start');
    issuer.#facts = JSON.parse(fs.readFileSync(facts, 'utf8'));
    /** Settings of a hub that trusts this issuer. */
    issuer.settings = path.join(folder, 'oidc.toml');
    return issuer;
  }

  /** Ends it; it would end with its standard input too. */
  async stop() {
    this.#process.stdin.end();
    if (this.#process.exitCode === null) await once(this.#process, 'exit');
  }

  /** Makes new keys; the old ones are no longer published. */
  async rotate() {
    const answer = await fetch(this.#facts.rotate, { method: 'POST' });
    if (!answer.ok) throw new Error(`the issuer answered ${answer.status}`);
  }

  /** A credential, as the SDKs take it, of one of the issuer's clients. */
  credential(client, resource = SERVICE) {
    return new Credential(this.#facts, client, resource);
  }
}

/** What a user writes to bring tokens of his own issuer: the scope that the SDK asks for is not it. */
class Credential {
  #facts;
  #form;
  /** The tokens it was given, the newest last. */
  given = [];

  constructor(facts, client, resource) {
    this.#facts = facts;
    this.#form = { grant_type: 'client_credentials', client_id: client, client_secret: facts.secret, resource };
  }

  async getToken() {
    const answer = await fetch(this.#facts.token, { method: 'POST', body: new URLSearchParams(this.#form) });
    const body = await answer.json();
    if (!answer.ok) throw new Error(`the issuer answered ${answer.status}: ${JSON.stringify(body)}`);
    const token = { token: body.access_token, expiresOnTimestamp: Date.now() + body.expires_in * 1000 };
    this.given.push(token);
    return token;
  }
}

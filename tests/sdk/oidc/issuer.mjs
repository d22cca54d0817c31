// An OpenID Connect server for one suite: `node issuer.mjs FOLDER`, on a free port of 127.0.0.1.
//
// Once it answers, FOLDER holds `oidc.toml`, the settings of a hub that trusts it, and
// `issuer.json`, which says where it is. Clients get tokens by client_credentials for the resource
// they name (RFC 8707): it is the audience. `POST /rotate` makes new keys; the old ones are gone.
// It ends with its standard input, so that none outlives the suite that started it.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

import Provider from 'oidc-provider';

/** The audience for which the SDKs ask tokens of the original service. */
const SERVICE = 'https://iothubs.azure.net';
const SECRET = 'secret-of-the-test-issuer';

/** What each client may do, how its tokens are signed, and how many seconds they last. */
const CLIENTS = {
  contributor: { roles: ['IoT Hub Data Contributor'], alg: 'RS256', seconds: 3600 },
  reader: { roles: ['IoT Hub Data Reader'], alg: 'ES256', seconds: 3600 },
  'registry-writer': { roles: ['IoT Hub Registry Contributor'], alg: 'RS256', seconds: 3600 },
  'twin-writer': { roles: ['IoT Hub Twin Contributor'], alg: 'ES256', seconds: 3600 },
  sender: { roles: ['sender'], alg: 'ES256', seconds: 3600 },
  nobody: { roles: [], alg: 'RS256', seconds: 3600 },
  brief: { roles: ['IoT Hub Data Contributor'], alg: 'ES256', seconds: 6 },
};

const folder = process.argv[2];
if (!folder) throw new Error('usage: node issuer.mjs FOLDER');

const server = http.createServer((request, response) => answer(request, response));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;
let provider = makeProvider();

fs.writeFileSync(path.join(folder, 'oidc.toml'), `\
[[oidc.issuers]]
issuer = "${issuer}"
allow_http = true
clock_skew = "0s"
# Keys are changed by a test, and not by strangers.
unknown_key_interval = "1s"

[oidc.issuers.mapping]
"IoT Hub Data Contributor" = ["Microsoft.Devices/IotHubs/*"]
"IoT Hub Data Reader" = ["Microsoft.Devices/IotHubs/*/read"]
"IoT Hub Registry Contributor" = ["Microsoft.Devices/IotHubs/devices/*"]
"IoT Hub Twin Contributor" = ["Microsoft.Devices/IotHubs/twins/*"]
sender = ["Microsoft.Devices/IotHubs/cloudToDeviceMessages/send/action"]
`);
const facts = JSON.stringify({ issuer, token: `${issuer}/token`, rotate: `${issuer}/rotate`, secret: SECRET });
const temporary = path.join(folder, 'issuer.json.new');
fs.writeFileSync(temporary, facts);
fs.renameSync(temporary, path.join(folder, 'issuer.json'));

process.stdin.resume();
process.stdin.once('end', () => process.exit(0));

function answer(request, response) {
  if (request.method === 'POST' && request.url === '/rotate') {
    provider = makeProvider();
    response.writeHead(204).end();
    return;
  }
  provider.callback()(request, response);
}

function makeProvider() {
  return new Provider(issuer, {
    clients: Object.keys(CLIENTS).map((client_id) => ({
      client_id,
      client_secret: SECRET,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_post',
    })),
    jwks: { keys: [key('RS256', 'rsa', { modulusLength: 2048 }), key('ES256', 'ec', { namedCurve: 'P-256' })] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => SERVICE,
        getResourceServerInfo: (_context, audience, client) => {
          const { alg, seconds } = CLIENTS[client.clientId];
          return {
            scope: '',
            audience,
            accessTokenTTL: seconds,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg } },
          };
        },
      },
    },
    extraTokenClaims: (_context, token) => ({ roles: CLIENTS[token.clientId].roles }),
  });
}

function key(alg, kind, options) {
  const { privateKey } = generateKeyPairSync(kind, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${randomUUID()}` };
}

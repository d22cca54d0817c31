// Devices that prove themselves by certificates (auth.md §5).

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import { Authority, distrust, selfSigned, trust, withoutExtensions } from './support/certificates.mjs';
import { device, inboxOf, message, register, registry, service, settled } from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { connectRaw } from './support/raw-mqtt.mjs';
import { PROTOCOLS, TRANSPORTS, over } from './support/transports.mjs';
import { eventually, within } from './support/waiting.mjs';

const hub = new Hub('node-x509.downlink.test');
let backEnd;

before(async () => {
  await hub.start();
  backEnd = await service(hub);
});
after(() => hub.stop());

/** Makes an identity that proves itself by certificates. */
async function registerX509(authentication, deviceId = `x509-${randomUUID()}`) {
  await registry(hub).create({ deviceId, authentication });
  return deviceId;
}

function byThumbprints(primaryThumbprint, secondaryThumbprint = primaryThumbprint) {
  return { type: 'selfSigned', x509Thumbprint: { primaryThumbprint, secondaryThumbprint } };
}

/** A device client that shows a certificate; it closes before the hub stops. */
async function clientWith({ cert, key }, deviceId, Transport) {
  const client = await device(hub, `HostName=${hub.hostName};DeviceId=${deviceId};x509=true`, Transport);
  await client.setOptions({ cert, key });
  return client;
}

/** Opens the device with a certificate and has messages, telemetry and its twin pass. */
async function assertServed(certificate, deviceId, Transport) {
  const client = await clientWith(certificate, deviceId, Transport);
  await within(client.open(), 'the device to be connected');
  const inbox = inboxOf(client);
  await settled(client);
  await backEnd.send(deviceId, message('hello'));
  assert.equal((await inbox.next('the message')).data.toString(), 'hello');
  await within(client.sendEvent(message('telemetry')), 'the telemetry to be taken');
  await client.close();
}

/** Asserts the SDK's unauthorized error; over AMQP it comes with the first link. */
async function assertRefused(client) {
  const use = async () => {
    await client.open();
    await client.sendEvent(message('x'));
  };
  await assert.rejects(within(use(), 'a refusal'), (error) => {
    assert.equal(error.name, 'UnauthorizedError', error.message);
    return true;
  });
}

/** Has the hub trust an authority, and waits until the door knows: it asks a few times in a second. */
async function trustSoon(authority, deviceId) {
  await trust(hub, authority.commonName, authority);
  const { cert, key } = authority.issue(deviceId);
  const opens = async () => {
    const client = await clientWith({ cert, key }, deviceId, PROTOCOLS[0]);
    try {
      await client.open();
      return true;
    } catch (error) {
      if (error.name !== 'UnauthorizedError') throw error;
      return false;
    } finally {
      await client.close();
    }
  };
  await eventually(opens, `devices of ${authority.commonName} to be believed`);
}

over(TRANSPORTS, 'a certificate opens its device by either thumbprint, primary or secondary', async (Transport) => {
  const [one, other] = [selfSigned('anything'), selfSigned('anything else', 'rsa')];
  for (const authentication of [byThumbprints(one.sha1, other.sha256), byThumbprints(other.sha1.toLowerCase(), one.sha256)]) {
    const deviceId = await registerX509(authentication);
    await assertServed(one, deviceId, Transport);
    await assertServed(other, deviceId, Transport);
  }
});

test('certificates of every kind of key, and of version 1, open their devices', async () => {
  const made = ['ec', 'p384', 'ed25519', 'rsa'].map((kind) => selfSigned('device', kind));
  for (const certificate of [...made, withoutExtensions('device')]) {
    const deviceId = await registerX509(byThumbprints(certificate.sha256));
    await assertServed(certificate, deviceId, PROTOCOLS[0]);
  }
});

over(TRANSPORTS, 'a certificate with another thumbprint is refused with the SDK\'s unauthorized error', async (Transport) => {
  const deviceId = await registerX509(byThumbprints(selfSigned('device').sha1));
  await assertRefused(await clientWith(selfSigned('device'), deviceId, Transport));
});

over(PROTOCOLS, 'a new thumbprint ends the connection of the old certificate', async (Transport) => {
  const [older, newer] = [selfSigned('device'), selfSigned('device')];
  const deviceId = await registerX509(byThumbprints(older.sha256));
  const client = await clientWith(older, deviceId, Transport);
  client.setRetryPolicy({ shouldRetry: () => false, nextRetryTimeout: () => 0 });
  await within(client.open(), 'the device to be connected');
  inboxOf(client);
  await settled(client);
  const gone = once(client, 'disconnect');
  await registry(hub).update({ deviceId, status: 'enabled', authentication: byThumbprints(newer.sha256) });
  await within(gone, 'the hub to end the connection');
  await assertRefused(await clientWith(older, deviceId, Transport));
  await assertServed(newer, deviceId, Transport);
});

over(TRANSPORTS, 'a token does not open a device with certificates', async (Transport) => {
  const deviceId = await registerX509(byThumbprints(selfSigned('device').sha1));
  const key = Buffer.alloc(32, 1).toString('base64');
  await assertRefused(await device(hub, `HostName=${hub.hostName};DeviceId=${deviceId};SharedAccessKey=${key}`, Transport));
});

over(PROTOCOLS, 'a certificate does not open a device with keys', async (Transport) => {
  const { deviceId } = await register(hub);
  await assertRefused(await clientWith(selfSigned(deviceId), deviceId, Transport));
});

test('a certificate beside the token of a device with keys counts for nothing', async () => {
  const identity = await register(hub);
  const { cert, key } = selfSigned('whatever');
  const raw = await connectRaw(hub, identity, { cert, key });
  assert.equal(raw.connack.returnCode, 0);
});

over(TRANSPORTS, 'a certificate of a trusted authority opens the device that its subject names', async (Transport) => {
  const own = new Authority(`root-${Transport.name}`);
  const lower = new Authority('Between', own);
  const deviceId = await registerX509({ type: 'certificateAuthority' });
  await assertRefused(await clientWith(own.issue(deviceId), deviceId, Transport));
  await trustSoon(own, deviceId);
  await assertServed(own.issue(deviceId), deviceId, Transport);
  await assertServed(lower.issue(deviceId, { kind: 'rsa' }), deviceId, Transport);
  await assertRefused(await clientWith(lower.issue(`${deviceId}0`), deviceId, Transport));
  await assertRefused(await clientWith(selfSigned(deviceId), deviceId, Transport));
  const impostor = new Authority(own.commonName);
  await assertRefused(await clientWith(impostor.issue(deviceId), deviceId, Transport));
  const forServers = { extensions: 'extendedKeyUsage=serverAuth\n' };
  await assertRefused(await clientWith(own.issue(deviceId, forServers), deviceId, Transport));
});

over(PROTOCOLS, 'an authority that is removed takes its devices along', async (Transport) => {
  // An intermediate may be registered without the root above it.
  const plant = new Authority(`plant-${Transport.name}`, new Authority('Root'));
  const deviceId = await registerX509({ type: 'certificateAuthority' });
  await trustSoon(plant, deviceId);
  const client = await clientWith(plant.issue(deviceId), deviceId, Transport);
  client.setRetryPolicy({ shouldRetry: () => false, nextRetryTimeout: () => 0 });
  await within(client.open(), 'the device to be connected');
  inboxOf(client);
  await settled(client);
  const gone = once(client, 'disconnect');
  await distrust(hub, plant.commonName);
  await within(gone, 'the hub to end the connection');
  await assertRefused(await clientWith(plant.issue(deviceId), deviceId, Transport));
});

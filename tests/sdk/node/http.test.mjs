// Devices over HTTPS (http-device.md), with the HTTP transport of the device SDK.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import {
  DeviceClient, Http, Mqtt, common, connect, feedbackOf, inboxOf, message, register, registry, rest,
  service, unsettledOf,
} from './support/clients.mjs';
import { selfSigned } from './support/certificates.mjs';
import { Hub } from './support/hub.mjs';
import { QUICK_FEEDBACK, SHORT_LOCK } from './support/settings.mjs';
import { within } from './support/waiting.mjs';

const hub = new Hub('node-http.downlink.test', { ...QUICK_FEEDBACK, ...SHORT_LOCK });
let backEnd;
let feedback;

before(async () => {
  await hub.start();
  backEnd = await service(hub);
  feedback = await feedbackOf(backEnd);
});
after(() => hub.stop());

/** A device client over HTTP that looks for messages every second, once somebody listens. */
async function http(connectionString) {
  const client = DeviceClient.fromConnectionString(connectionString, Http);
  client.on('error', () => {});
  await client.setOptions({ http: { receivePolicy: { interval: 1 } } });
  hub.beforeStop(() => client.close());
  await within(client.open(), 'the device to be open');
  return client;
}

test('telemetry with every property is accepted, one by one and in a batch', async () => {
  const identity = await register(hub);
  const client = await http(identity.connectionString);
  const reading = message('{"temperature":21}', { messageId: 'reading-1', properties: { room: 'attic', tempAlert: 'true' } });
  reading.correlationId = 'run-7';
  reading.contentType = 'application/json';
  reading.contentEncoding = 'utf-8';
  const sent = await within(client.sendEvent(reading), 'the telemetry to be accepted');
  assert.equal(sent.transportObj.statusCode, 204);

  const batch = [0, 1, 2].map((n) => message(Buffer.from([n, 0xff, 0]), { properties: { n: String(n) } }));
  const all = await within(client.sendEventBatch(batch), 'the batch to be accepted');
  assert.equal(all.transportObj.statusCode, 204);
});

test('a message that is too large is refused as such and the next one is accepted', async () => {
  const identity = await register(hub);
  const client = await http(identity.connectionString);
  const tooLarge = new common.Message(Buffer.alloc(256 * 1024 + 1));
  await assert.rejects(client.sendEvent(tooLarge), { name: 'MessageTooLargeError' });
  await within(client.sendEvent(new common.Message('still here')), 'the next one');
});

test('a polling device gets every message with every property the sender set, in order', async () => {
  const identity = await register(hub);
  for (const data of ['one', 'two']) await backEnd.send(identity.deviceId, message(data));
  const expiry = new Date(Date.now() + 600_000);
  // The SDK reads bodies over HTTP as text, whatever they are.
  const sent = message('grüezi', {
    messageId: 'command-1', expiry: expiry.getTime(), properties: { color: 'red & white', 'a.b': 'x=y/?#+%' },
  });
  sent.correlationId = 'order-7';
  await backEnd.send(identity.deviceId, sent);

  const inbox = inboxOf(await http(identity.connectionString));
  const [one, two, got] = await inbox.take(3, 'the messages', 30_000);
  assert.deepEqual([one.data.toString(), two.data.toString()], ['one', 'two']);
  assert.equal(got.data.toString(), 'grüezi');
  assert.equal(got.messageId, 'command-1');
  assert.equal(got.correlationId, 'order-7');
  assert.equal(got.to, `/devices/${identity.deviceId}/messages/devicebound`);
  assert.equal(new Date(got.expiryTimeUtc).getTime(), expiry.getTime());
  // Over HTTP the SDK leaves the prefix of the header in the name.
  assert.equal(got.properties.getValue('iothub-app-color'), 'red & white');
  assert.equal(got.properties.getValue('iothub-app-a.b'), 'x=y/?#+%');
});

test('complete, reject and abandon do what they say, and once', async () => {
  const identity = await register(hub);
  const client = await http(identity.connectionString);
  const inbox = unsettledOf(client);
  const send = async (data) => {
    const sent = message(data, { messageId: randomUUID(), ack: 'full' });
    await backEnd.send(identity.deviceId, sent);
    return [sent.messageId, await inbox.next(data, 30_000)];
  };
  const [completed, first] = await send('complete me');
  await within(client.complete(first), 'complete');
  assert.equal((await feedback.about(completed)).statusCode, 'Success');
  await assert.rejects(client.complete(first), (error) => error.response.statusCode === 412);

  const [rejected, second] = await send('reject me');
  await within(client.reject(second), 'reject');
  assert.equal((await feedback.about(rejected)).statusCode, 'Rejected');

  const [abandoned, third] = await send('abandon me');
  await within(client.abandon(third), 'abandon');
  const again = await inbox.next('the message again', 30_000);
  assert.equal(again.messageId, abandoned);
  await within(client.complete(again), 'complete');
  assert.equal((await feedback.about(abandoned)).statusCode, 'Success');
});

test('what a device holds over HTTPS is invisible over MQTT until it is given back', async () => {
  const identity = await register(hub);
  const client = await http(identity.connectionString);
  const held = unsettledOf(client);
  await backEnd.send(identity.deviceId, message('held'));
  const message1 = await held.next('the message', 30_000);
  client.removeAllListeners('message');

  const inbox = inboxOf(await connect(hub, identity.connectionString, Mqtt));
  await backEnd.send(identity.deviceId, message('second'));
  assert.equal((await inbox.next('the second message')).data.toString(), 'second');
  await within(client.abandon(message1), 'abandon');
  assert.equal((await inbox.next('the first message')).data.toString(), 'held');
});

test('a wrong key is unauthorized, and a method finds no device over HTTPS', async () => {
  const identity = await register(hub);
  const other = await register(hub);
  const wrong = other.connectionString.replace(other.deviceId, identity.deviceId);
  const stranger = await http(wrong);
  await assert.rejects(stranger.sendEvent(new common.Message('x')), { name: 'UnauthorizedError' });

  const client = await http(identity.connectionString);
  inboxOf(client);
  await within(client.sendEvent(new common.Message('x')), 'telemetry');
  const call = rest(hub, 'POST', `/twins/${identity.deviceId}/methods`, 'service', {
    methodName: 'm', responseTimeoutInSeconds: 5,
  });
  await assert.rejects(call, (error) => error.response.statusCode === 404);
});

test('a device that proves itself by a certificate sends and receives, and another certificate is refused', async () => {
  const deviceId = `x509-${randomUUID()}`;
  const [own, other] = [selfSigned(deviceId), selfSigned(deviceId)];
  const x509Thumbprint = { primaryThumbprint: own.sha256, secondaryThumbprint: own.sha256 };
  await registry(hub).create({ deviceId, authentication: { type: 'selfSigned', x509Thumbprint } });
  const connectionString = `HostName=${hub.hostName};DeviceId=${deviceId};x509=true`;
  const withCertificate = async ({ cert, key }) => {
    const client = await http(connectionString);
    // Without word of polling the transport says nothing when it is done.
    client.setOptions({ cert, key }).catch(() => {});
    return client;
  };
  const client = await withCertificate(own);
  await within(client.sendEvent(new common.Message('x')), 'telemetry');
  const inbox = inboxOf(client);
  await backEnd.send(deviceId, message('hello'));
  assert.equal((await inbox.next('the message', 30_000)).data.toString(), 'hello');
  const stranger = await withCertificate(other);
  await assert.rejects(stranger.sendEvent(new common.Message('x')), { name: 'UnauthorizedError' });
});

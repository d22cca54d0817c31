// Cloud-to-device messages between the service SDK and devices (c2d.md, mqtt.md §8).

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import {
  common, connect, feedbackOf, inboxOf, message, register, registry, rest, service,
} from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { bagOf, connectRaw, subscribeToMessages } from './support/raw-mqtt.mjs';
import { QUICK_FEEDBACK, SHORT_LOCK, THREE_DELIVERIES } from './support/settings.mjs';
import { PROTOCOLS, TRANSPORTS, over } from './support/transports.mjs';
import { eventually, within } from './support/waiting.mjs';

const hub = new Hub('node-c2d.downlink.test', { ...QUICK_FEEDBACK, ...SHORT_LOCK, ...THREE_DELIVERIES });
let backEnd;
let feedback;

before(async () => {
  await hub.start();
  backEnd = await service(hub);
  feedback = await feedbackOf(backEnd);
});
after(() => hub.stop());

over(TRANSPORTS, 'a connected device gets the message with every property the sender set', async (Transport) => {
  const identity = await register(hub);
  const inbox = inboxOf(await connect(hub, identity.connectionString, Transport));
  const expiry = new Date(Date.now() + 600_000);
  const sent = message(Buffer.from([0, 1, 2, 0xff]), {
    messageId: 'command-1',
    expiry: expiry.getTime(),
    properties: { color: 'red & white', 'a.b': 'x=y/?#+%', greeting: 'grüezi' },
  });
  sent.correlationId = 'order-7';
  sent.contentType = 'application/octet-stream';
  sent.contentEncoding = 'utf-8';
  await backEnd.send(identity.deviceId, sent);

  const got = await inbox.next('the message');
  assert.deepEqual([...got.data], [0, 1, 2, 0xff]);
  assert.equal(got.messageId, 'command-1');
  assert.equal(got.correlationId, 'order-7');
  assert.equal(got.contentType, 'application/octet-stream');
  assert.equal(got.contentEncoding, 'utf-8');
  assert.equal(got.to, `/devices/${identity.deviceId}/messages/devicebound`);
  assert.equal(new Date(got.expiryTimeUtc).getTime(), expiry.getTime());
  assert.equal(got.properties.getValue('color'), 'red & white');
  assert.equal(got.properties.getValue('a.b'), 'x=y/?#+%');
  assert.equal(got.properties.getValue('greeting'), 'grüezi');
});

over(PROTOCOLS, 'a message id that looks like a uuid arrives as the same text', async (Transport) => {
  const identity = await register(hub);
  const inbox = inboxOf(await connect(hub, identity.connectionString, Transport));
  const messageId = '4c6ce1a5-7b3c-4b0e-9d0a-0d8b8f6d3a11';
  await backEnd.send(identity.deviceId, message('x', { messageId }));
  assert.equal((await inbox.next('the message')).messageId, messageId);
});

over(PROTOCOLS, 'an empty message arrives empty', async (Transport) => {
  const identity = await register(hub);
  const inbox = inboxOf(await connect(hub, identity.connectionString, Transport));
  await backEnd.send(identity.deviceId, message(''));
  assert.equal((await inbox.next('the message')).data.length, 0);
});

over(PROTOCOLS, 'twenty messages sent while the device is offline arrive in order when it connects', async (Transport) => {
  const identity = await register(hub);
  for (let n = 0; n < 20; n += 1) await backEnd.send(identity.deviceId, message(`command ${n}`));
  const offline = await registry(hub).get(identity.deviceId);
  assert.equal(offline.responseBody.cloudToDeviceMessageCount, 20);

  const inbox = inboxOf(await connect(hub, identity.connectionString, Transport));
  const got = await inbox.take(20, 'queued messages');
  assert.deepEqual(got.map((each) => each.data.toString()), [...Array(20).keys()].map((n) => `command ${n}`));
  await eventually(async () => {
    const { responseBody } = await registry(hub).get(identity.deviceId);
    return responseBody.cloudToDeviceMessageCount === 0;
  }, 'the queue to be empty');
});

test('a message that is never acknowledged is delivered three times and then dead-lettered', async () => {
  const identity = await register(hub);
  const raw = await connectRaw(hub, identity, { acknowledges: () => false });
  await subscribeToMessages(raw.client, identity.deviceId);
  const sent = message('again', { ack: 'negative' });
  await backEnd.send(identity.deviceId, sent);

  const deliveries = await raw.packets.take(3, 'deliveries', 30_000);
  assert.deepEqual(deliveries.map((packet) => packet.dup), [false, true, true]);
  for (const packet of deliveries) assert.equal(bagOf(packet.topic)['$.mid'], sent.messageId);

  const record = await feedback.about(sent.messageId, 30_000);
  assert.equal(record.statusCode, 'DeliveryCountExceeded');
  assert.equal(record.deviceId, identity.deviceId);
  assert.equal(record.deviceGenerationId, identity.generationId);
  assert.equal(raw.packets.size, 0, 'no fourth delivery');
});

test('a message is redelivered to the next connection when the first one breaks before PUBACK', async () => {
  const identity = await register(hub);
  const first = await connectRaw(hub, identity, { acknowledges: () => false });
  await subscribeToMessages(first.client, identity.deviceId);
  const sent = message('survives', { ack: 'full' });
  await backEnd.send(identity.deviceId, sent);
  assert.equal((await first.packets.next('the first delivery')).dup, false);
  first.client.stream.destroy();
  await within(first.closed, 'the connection to break');

  const second = await connectRaw(hub, identity);
  const redelivered = await second.packets.next('the second delivery');
  assert.equal(redelivered.dup, true);
  assert.equal(bagOf(redelivered.topic)['$.mid'], sent.messageId);
  assert.equal((await feedback.about(sent.messageId)).statusCode, 'Success');
});

test('a persisted session gets its messages without subscribing again', async () => {
  const identity = await register(hub);
  const first = await connectRaw(hub, identity);
  assert.equal(first.connack.sessionPresent, false);
  assert.equal(await subscribeToMessages(first.client, identity.deviceId, 2), 1, 'QoS 2 is granted as 1');
  await new Promise((resolve) => first.client.end(false, {}, resolve));

  await backEnd.send(identity.deviceId, message('while away'));
  const second = await connectRaw(hub, identity);
  assert.equal(second.connack.sessionPresent, true);
  assert.equal((await second.packets.next('the message')).payload.toString(), 'while away');
});

over(PROTOCOLS, 'an expired message is reported as Expired and never delivered', async (Transport) => {
  const identity = await register(hub);
  const sent = message('too late', { ack: 'full', expiry: Date.now() + 1500 });
  await backEnd.send(identity.deviceId, sent);
  const record = await feedback.about(sent.messageId, 30_000);
  assert.equal(record.statusCode, 'Expired');
  assert.equal(record.deviceId, identity.deviceId);

  await backEnd.send(identity.deviceId, message('in time'));
  const inbox = inboxOf(await connect(hub, identity.connectionString, Transport));
  assert.equal((await inbox.next('the later message')).data.toString(), 'in time');
});

over(TRANSPORTS, 'ack full reports Success once the device has completed the message', async (Transport) => {
  const identity = await register(hub);
  const inbox = inboxOf(await connect(hub, identity.connectionString, Transport));
  const before = Date.now();
  const sent = message('do it', { ack: 'full' });
  await backEnd.send(identity.deviceId, sent);
  await inbox.next('the message');

  const record = await feedback.about(sent.messageId);
  assert.equal(record.statusCode, 'Success');
  assert.equal(record.description, 'Success');
  assert.equal(record.deviceId, identity.deviceId);
  assert.equal(record.deviceGenerationId, identity.generationId);
  const outcomeAt = Date.parse(record.enqueuedTimeUtc);
  assert.ok(outcomeAt >= before - 1000 && outcomeAt <= Date.now() + 1000, record.enqueuedTimeUtc);
});

over(PROTOCOLS, 'the ack mode decides which outcomes are reported', async (Transport) => {
  const identity = await register(hub);
  const inbox = inboxOf(await connect(hub, identity.connectionString, Transport));
  const silent = ['none', 'negative'].map((ack) => message(ack, { ack }));
  const spoken = message('positive', { ack: 'positive' });
  for (const each of [...silent, spoken]) await backEnd.send(identity.deviceId, each);
  await inbox.take(3, 'messages');
  // Outcomes leave in order, so once the last one is reported the first two never will be.
  assert.equal((await feedback.about(spoken.messageId)).statusCode, 'Success');
  for (const each of silent) {
    await assert.rejects(feedback.about(each.messageId, 600), /waited/);
  }
});

test('the fifty-first message is refused with the SDK\'s queue depth error', async () => {
  const identity = await register(hub);
  for (let n = 0; n < 50; n += 1) await backEnd.send(identity.deviceId, message(`${n}`));
  await assert.rejects(backEnd.send(identity.deviceId, message('one too many')), (error) => {
    assert.equal(error.name, 'DeviceMaximumQueueDepthExceededError', error.message);
    return true;
  });
  const inbox = inboxOf(await connect(hub, identity.connectionString));
  const got = await inbox.take(50, 'the accepted messages');
  assert.equal(got.at(-1).data.toString(), '49');
});

over(PROTOCOLS, 'a purge empties the queue, counts what it removed and reports it as Purged', async (Transport) => {
  const identity = await register(hub);
  const sent = [1, 2, 3].map((n) => message(`${n}`, { ack: 'full' }));
  for (const each of sent) await backEnd.send(identity.deviceId, each);
  const { status, body } = await rest(hub, 'DELETE', `/devices/${identity.deviceId}/commands`);
  assert.equal(status, 200);
  assert.deepEqual(body, { totalMessagesPurged: 3, deviceId: identity.deviceId, moduleId: null });
  for (const each of sent) assert.equal((await feedback.about(each.messageId)).statusCode, 'Purged');

  await backEnd.send(identity.deviceId, message('after the purge'));
  const inbox = inboxOf(await connect(hub, identity.connectionString, Transport));
  assert.equal((await inbox.next('the later message')).data.toString(), 'after the purge');
});

test('a message to an unknown device is refused with the SDK\'s not-found error', async () => {
  await assert.rejects(backEnd.send('nobody', message('x')), (error) => {
    assert.equal(error.name, 'DeviceNotFoundError', error.message);
    return true;
  });
  // The link and its connection live on.
  const identity = await register(hub);
  const inbox = inboxOf(await connect(hub, identity.connectionString));
  await backEnd.send(identity.deviceId, message('still here'));
  assert.equal((await inbox.next('the message')).data.toString(), 'still here');
});

over(PROTOCOLS, 'a message to a disabled device is refused and what was queued flows once it is enabled', async (Transport) => {
  const identity = await register(hub);
  await backEnd.send(identity.deviceId, message('queued before'));
  await registry(hub).update({ ...identity, status: 'disabled' });
  await assert.rejects(backEnd.send(identity.deviceId, message('x')), (error) => {
    assert.equal(error.name, 'DeviceNotFoundError', error.message);
    return true;
  });
  await registry(hub).update({ ...identity, status: 'enabled' });
  const inbox = inboxOf(await connect(hub, identity.connectionString, Transport));
  assert.equal((await inbox.next('the message')).data.toString(), 'queued before');
});

over(TRANSPORTS, 'a message over 64 KiB is refused and one just under it arrives whole', async (Transport) => {
  const identity = await register(hub);
  const inbox = inboxOf(await connect(hub, identity.connectionString, Transport));
  await assert.rejects(backEnd.send(identity.deviceId, message(Buffer.alloc(64 * 1024 + 1))), (error) => {
    assert.equal(error.name, 'MessageTooLargeError', error.message);
    return true;
  });
  const large = Buffer.alloc(63 * 1024, 7);
  await backEnd.send(identity.deviceId, message(large));
  assert.ok(large.equals((await inbox.next('the large message')).data));
});

over(PROTOCOLS, 'a device that was deleted and made again does not get its predecessor\'s messages', async (Transport) => {
  const first = await register(hub);
  await backEnd.send(first.deviceId, message('for the old one'));
  await registry(hub).delete(first.deviceId);
  const second = await register(hub, first.deviceId);
  assert.notEqual(second.generationId, first.generationId);

  await backEnd.send(second.deviceId, message('for the new one'));
  const inbox = inboxOf(await connect(hub, second.connectionString, Transport));
  assert.equal((await inbox.next('a message')).data.toString(), 'for the new one');
});

over(TRANSPORTS, 'a telemetry message from the device is accepted', async (Transport) => {
  const identity = await register(hub);
  const client = await connect(hub, identity.connectionString, Transport);
  const result = await client.sendEvent(new common.Message(JSON.stringify({ temperature: 21 })));
  assert.equal(result.constructor.name, 'MessageEnqueued');
});

test('a publish to a topic outside the contract ends the connection', async () => {
  const identity = await register(hub);
  const raw = await connectRaw(hub, identity);
  raw.client.publish('devices/someone-else/messages/events/', 'x', { qos: 1 });
  await within(raw.closed, 'the hub to close the connection');
  assert.equal(raw.client.connected, false);
});

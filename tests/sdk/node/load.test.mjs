// The service SDK sends as fast as its user asks it to.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Amqp, connect, inboxOf, message, register, service } from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { DEEP_QUEUE } from './support/settings.mjs';
import { within } from './support/waiting.mjs';

const hub = new Hub('node-load.downlink.test', DEEP_QUEUE);

before(() => hub.start());
after(() => hub.stop());

test('ten thousand sends without a pause are all accepted and arrive in order', async () => {
  const identity = await register(hub);
  const backEnd = await service(hub);
  // The SDK attaches its link on the first send; later ones share it.
  await backEnd.send(identity.deviceId, message('0'));
  const sends = [];
  for (let n = 1; n < 10_000; n += 1) sends.push(backEnd.send(identity.deviceId, message(`${n}`)));
  await within(Promise.all(sends), 'ten thousand acceptances', 120_000);

  const inbox = inboxOf(await connect(hub, identity.connectionString));
  const got = await inbox.take(10_000, 'ten thousand messages', 120_000);
  assert.deepEqual(got.map((each) => Number(each.data)), [...Array(10_000).keys()]);
});

test('ten thousand sends to a hundred connected devices arrive in each device\'s order', async () => {
  const backEnd = await service(hub);
  const devices = await Promise.all([...Array(100)].map(() => register(hub)));
  const inboxes = await Promise.all(
    devices.map(async (identity) => inboxOf(await connect(hub, identity.connectionString))),
  );
  await backEnd.send(devices[0].deviceId, message('warm-up'));
  await inboxes[0].next('the warm-up');
  const sends = [];
  for (let n = 0; n < 10_000; n += 1) {
    sends.push(backEnd.send(devices[n % 100].deviceId, message(`${Math.floor(n / 100)}`)));
  }
  await within(Promise.all(sends), 'ten thousand acceptances', 120_000);
  for (const inbox of inboxes) {
    const got = await inbox.take(100, 'a device\'s messages', 60_000);
    assert.deepEqual(got.map((each) => Number(each.data)), [...Array(100).keys()]);
  }
});

test('a device on AMQP sends ten thousand events without a pause', async () => {
  const identity = await register(hub);
  const client = await connect(hub, identity.connectionString, Amqp);
  // More than the 2,047 that the SDK's AMQP library can have without an answer at once.
  const sends = [...Array(10_000).keys()].map((n) => client.sendEvent(message(`{"n":${n}}`)));
  await within(Promise.all(sends), 'ten thousand acceptances', 120_000);
});

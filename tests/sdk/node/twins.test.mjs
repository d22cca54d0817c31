// Device twins between the service SDK and devices (twins.md, mqtt.md §11).

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { connect, register, registry, settled, twins } from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { PROTOCOLS, TRANSPORTS, over } from './support/transports.mjs';
import { Inbox } from './support/waiting.mjs';

const hub = new Hub('node-twins.downlink.test');
let backEnd;

before(async () => {
  await hub.start();
  backEnd = twins(hub);
});
after(() => hub.stop());

async function twinOf(deviceId) {
  return (await backEnd.getTwin(deviceId)).responseBody;
}

async function desire(deviceId, desired, etag = '*') {
  return (await backEnd.updateTwin(deviceId, { properties: { desired } }, etag)).responseBody;
}

/** A connected device's twin and the desired changes it hears of, subscription in place. */
async function listen(identity, Transport) {
  const client = await connect(hub, identity.connectionString, Transport);
  const twin = await client.getTwin();
  const changes = new Inbox();
  const known = twin.properties.desired.$version;
  twin.on('properties.desired', (delta) => {
    if (delta.$version > known) changes.push(structuredClone(delta));
  });
  await settled(client);
  return { client, twin, changes };
}

function report(twin, patch) {
  return new Promise((resolve, reject) => {
    twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
  });
}

test('a new device has an empty twin with the first versions', async () => {
  const identity = await register(hub);
  const twin = await twinOf(identity.deviceId);
  assert.equal(twin.deviceId, identity.deviceId);
  assert.equal(twin.etag, 'AAAAAAAAAAE=');
  assert.equal(twin.version, 2);
  assert.equal(twin.status, 'enabled');
  assert.equal(twin.properties.desired.$version, 1);
  assert.equal(twin.properties.reported.$version, 1);
  assert.equal(twin.deviceEtag, identity.etag);
  assert.ok(!('generationId' in twin), 'a twin has no generation id');
});

over(TRANSPORTS, 'a desired change reaches the device, which reports, and the back-end reads it', async (Transport) => {
  const identity = await register(hub);
  const { twin, changes } = await listen(identity, Transport);
  const patched = await desire(identity.deviceId, { interval: 30, mode: { fan: 'low' } });
  assert.equal(patched.properties.desired.$version, 2);
  assert.equal(patched.version, 3);
  assert.equal(patched.etag, 'AAAAAAAAAAI=');

  const delta = await changes.next('the desired change');
  assert.deepEqual(delta, { interval: 30, mode: { fan: 'low' }, $version: 2 });
  await report(twin, { interval: delta.interval, ready: true });

  const read = await twinOf(identity.deviceId);
  assert.equal(read.properties.reported.interval, 30);
  assert.equal(read.properties.reported.ready, true);
  assert.equal(read.properties.reported.$version, 2);
  assert.equal(read.properties.desired.$metadata.interval.$lastUpdatedVersion, 2);
  assert.match(read.properties.reported.$metadata.interval.$lastUpdated, /^\d{4}-.*Z$/);
  assert.equal(read.version, 4);
});

over(PROTOCOLS, 'changes arrive in the order of their versions', async (Transport) => {
  const identity = await register(hub);
  const { changes } = await listen(identity, Transport);
  for (let n = 0; n < 20; n += 1) await desire(identity.deviceId, { n });
  const got = await changes.take(20, 'desired changes');
  assert.deepEqual(got.map((delta) => delta.n), [...Array(20).keys()]);
  assert.deepEqual(got.map((delta) => delta.$version), [...Array(20).keys()].map((n) => n + 2));
});

over(PROTOCOLS, 'null deletes a property and the device is told so', async (Transport) => {
  const identity = await register(hub);
  await desire(identity.deviceId, { keep: 1, drop: 2, nest: { leaf: 3 } });
  const { changes } = await listen(identity, Transport);
  const after = await desire(identity.deviceId, { drop: null, nest: { leaf: null } });
  assert.ok(!('drop' in after.properties.desired));
  assert.deepEqual(after.properties.desired.nest, {});
  assert.equal(after.properties.desired.keep, 1);
  assert.deepEqual(await changes.next('the change'), { drop: null, nest: { leaf: null }, $version: 3 });
});

over(PROTOCOLS, 'a change made while the device is offline is found by reading the twin, and is not replayed', async (Transport) => {
  const identity = await register(hub);
  for (const n of [1, 2, 3]) await desire(identity.deviceId, { n });
  const { twin, changes } = await listen(identity, Transport);
  assert.equal(twin.properties.desired.n, 3);
  assert.equal(twin.properties.desired.$version, 4);
  await desire(identity.deviceId, { n: 4 });
  assert.deepEqual(await changes.next('the only change'), { n: 4, $version: 5 });
});

test('a stale etag is refused with the SDK\'s etag error and changes nothing', async () => {
  const identity = await register(hub);
  const { etag } = await twinOf(identity.deviceId);
  await desire(identity.deviceId, { n: 1 }, etag);
  await assert.rejects(desire(identity.deviceId, { n: 2 }, etag), (error) => {
    assert.equal(error.name, 'InvalidEtagError', error.message);
    assert.equal(error.response.statusCode, 412);
    assert.equal(error.response.headers['iothub-errorcode'], 'PreconditionFailed');
    return true;
  });
  assert.equal((await twinOf(identity.deviceId)).properties.desired.n, 1);
});

test('the SDK\'s twin object updates with the etag it holds', async () => {
  const identity = await register(hub);
  const twin = await twinOf(identity.deviceId);
  await twin.update({ tags: { site: 'zrh' } });
  await twin.update({ tags: { floor: 3 } });
  const read = await twinOf(identity.deviceId);
  assert.deepEqual({ ...read.tags }, { site: 'zrh', floor: 3 });
  assert.equal(read.properties.desired.$version, 1, 'tags do not move the desired version');
});

over(PROTOCOLS, 'tags never reach the device', async (Transport) => {
  const identity = await register(hub);
  await backEnd.updateTwin(identity.deviceId, { tags: { secret: 'x' } }, '*');
  const { twin } = await listen(identity, Transport);
  assert.ok(!('tags' in twin.properties));
  assert.ok(!JSON.stringify(twin.properties).includes('secret'));
});

test('the back-end cannot write what the device reports', async () => {
  const identity = await register(hub);
  const { twin } = await listen(identity);
  await report(twin, { level: 1 });
  await backEnd.updateTwin(identity.deviceId, { properties: { reported: { level: 99 } } }, '*');
  assert.equal((await twinOf(identity.deviceId)).properties.reported.level, 1);
});

over(PROTOCOLS, 'a reported patch that breaks a rule fails on the device and leaves its connection up', async (Transport) => {
  const identity = await register(hub);
  const { twin } = await listen(identity, Transport);
  await assert.rejects(report(twin, { text: 'x'.repeat(33 * 1024) }));
  await report(twin, { text: 'short' });
  assert.equal((await twinOf(identity.deviceId)).properties.reported.text, 'short');
});

test('desired properties over their limits are bad arguments', async () => {
  const identity = await register(hub);
  const deep = {};
  let level = deep;
  for (let n = 0; n < 11; n += 1) level = level[`l${n}`] = {};
  for (const bad of [{ 'a.b': 1 }, { 'a b': 1 }, { big: 2 ** 52 }, { text: 'x'.repeat(4097) }, deep]) {
    await assert.rejects(desire(identity.deviceId, bad), (error) => {
      assert.equal(error.name, 'ArgumentError', error.message);
      assert.equal(error.response.headers['iothub-errorcode'], 'ArgumentInvalid');
      return true;
    });
  }
  assert.equal((await twinOf(identity.deviceId)).properties.desired.$version, 1);
});

test('the twin of an unknown device gives the SDK\'s not-found error', async () => {
  await assert.rejects(backEnd.getTwin('nobody'), (error) => {
    assert.equal(error.name, 'DeviceNotFoundError', error.message);
    return true;
  });
});

test('a policy without service connect may not read twins', async () => {
  const identity = await register(hub);
  await assert.rejects(registry(hub).getTwin(identity.deviceId), (error) => {
    assert.equal(error.name, 'UnauthorizedError', error.message);
    return true;
  });
});

// Device identities through the service SDK (registry.md §1, §2).

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { iothub, registry, rest } from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { eventually } from './support/waiting.mjs';

const hub = new Hub('node-registry.downlink.test');

before(() => hub.start());
after(() => hub.stop());

const newId = () => `device-${randomUUID()}`;
const keyLength = (key) => Buffer.from(key, 'base64').length;

test('a device made without keys gets two different ones from the hub', async () => {
  const deviceId = newId();
  const { responseBody: made } = await registry(hub).create({ deviceId });
  assert.equal(made.deviceId, deviceId);
  assert.equal(made.status, 'enabled');
  assert.equal(made.connectionState, 'Disconnected');
  assert.equal(made.authentication.type, 'sas');
  const { primaryKey, secondaryKey } = made.authentication.symmetricKey;
  assert.equal(keyLength(primaryKey), 32);
  assert.equal(keyLength(secondaryKey), 32);
  assert.notEqual(primaryKey, secondaryKey);
  assert.match(made.generationId, /^\d+$/);

  const { responseBody: read } = await registry(hub).get(deviceId);
  assert.deepEqual(read.authentication, made.authentication);
  assert.equal(read.etag, made.etag);
});

test('a device keeps the keys its maker chose', async () => {
  const keys = ['primary', 'secondary'].map((word) => Buffer.from(word.padEnd(32, '.')).toString('base64'));
  const { responseBody: made } = await registry(hub).create({
    deviceId: newId(),
    status: 'disabled',
    statusReason: 'not yet shipped',
    authentication: { symmetricKey: { primaryKey: keys[0], secondaryKey: keys[1] } },
  });
  assert.deepEqual({ ...made.authentication.symmetricKey }, { primaryKey: keys[0], secondaryKey: keys[1] });
  assert.equal(made.status, 'disabled');
  assert.equal(made.statusReason, 'not yet shipped');
});

test('making the same device twice gives the SDK\'s already-exists error', async () => {
  const deviceId = newId();
  await registry(hub).create({ deviceId });
  await assert.rejects(registry(hub).create({ deviceId }), (error) => {
    assert.equal(error.name, 'DeviceAlreadyExistsError', error.message);
    assert.equal(error.response.headers['iothub-errorcode'], 'DeviceAlreadyExists');
    return true;
  });
});

test('an update replaces the identity and moves its etag', async () => {
  const deviceId = newId();
  const { responseBody: made } = await registry(hub).create({ deviceId });
  const { responseBody: updated } = await registry(hub).update({
    ...made, status: 'disabled', statusReason: 'lost',
  });
  assert.equal(updated.status, 'disabled');
  assert.equal(updated.statusReason, 'lost');
  assert.notEqual(updated.etag, made.etag);
  assert.equal(updated.generationId, made.generationId);
  assert.deepEqual(updated.authentication.symmetricKey, made.authentication.symmetricKey);
});

test('a deleted device is gone and may be made again with a new generation', async () => {
  const deviceId = newId();
  const { responseBody: first } = await registry(hub).create({ deviceId });
  const { httpResponse } = await registry(hub).delete(deviceId);
  assert.equal(httpResponse.statusCode, 204);
  await assert.rejects(registry(hub).get(deviceId), (error) => {
    assert.equal(error.name, 'DeviceNotFoundError', error.message);
    assert.equal(error.response.headers['iothub-errorcode'], 'DeviceNotFound');
    return true;
  });
  const { responseBody: second } = await registry(hub).create({ deviceId });
  assert.notEqual(second.generationId, first.generationId);
});

test('a list and the statistics hold the devices that were made', async () => {
  const ids = [newId(), newId(), newId()];
  const { responseBody: before } = await registry(hub).getRegistryStatistics();
  for (const deviceId of ids.slice(1)) await registry(hub).create({ deviceId });
  await registry(hub).create({ deviceId: ids[0], status: 'disabled' });

  const { responseBody: listed } = await registry(hub).list();
  const names = listed.map((device) => device.deviceId);
  for (const deviceId of ids) assert.ok(names.includes(deviceId));

  await eventually(async () => {
    const { responseBody: now } = await registry(hub).getRegistryStatistics();
    return (
      now.totalDeviceCount === before.totalDeviceCount + 3 &&
      now.enabledDeviceCount === before.enabledDeviceCount + 2 &&
      now.disabledDeviceCount === before.disabledDeviceCount + 1
    );
  }, 'the statistics to count three more');
});

test('an id with every allowed character is made, read and deleted', async () => {
  const deviceId = "a-1:.+%_#*?!(),=@;$'z";
  await registry(hub).create({ deviceId });
  const { responseBody: read } = await registry(hub).get(deviceId);
  assert.equal(read.deviceId, deviceId);
  await registry(hub).delete(deviceId);
});

test('an id with a character outside the alphabet is a bad argument', async () => {
  await assert.rejects(registry(hub).create({ deviceId: 'with space' }), (error) => {
    assert.equal(error.name, 'ArgumentError', error.message);
    return true;
  });
});

test('ids differ by case', async () => {
  const name = randomUUID();
  await registry(hub).create({ deviceId: `Case-${name}` });
  await registry(hub).create({ deviceId: `case-${name}` });
  const { responseBody: read } = await registry(hub).get(`Case-${name}`);
  assert.equal(read.deviceId, `Case-${name}`);
});

test('a policy that may only read is refused a write with the SDK\'s unauthorized error', async () => {
  const reader = iothub.Registry.fromConnectionString(hub.policy('registryRead'));
  const { responseBody: listed } = await reader.list();
  assert.ok(Array.isArray(listed));
  await assert.rejects(reader.create({ deviceId: newId() }), (error) => {
    assert.equal(error.name, 'UnauthorizedError', error.message);
    return true;
  });
});

test('a wrong policy key is refused with the SDK\'s unauthorized error', async () => {
  const wrong = hub.policy('iothubowner').replace(/SharedAccessKey=.*/, `SharedAccessKey=${'A'.repeat(43)}=`);
  await assert.rejects(iothub.Registry.fromConnectionString(wrong).list(), (error) => {
    assert.equal(error.name, 'UnauthorizedError', error.message);
    return true;
  });
  // Over AMQP the SDK wraps its unauthorized error in one that says it could not connect.
  await assert.rejects(iothub.Client.fromConnectionString(wrong).open(), (error) => {
    assert.equal(error.amqpError.name, 'UnauthorizedError', error.message);
    return true;
  });
});

test('the demo device of the first start is registered', async () => {
  const { responseBody: demo } = await registry(hub).get(hub.facts.device.id);
  assert.ok(hub.facts.device.connectionString.includes(demo.authentication.symmetricKey.primaryKey));
  assert.ok(hub.facts.device.connectionString.includes(`HostName=${hub.hostName}`));
});

test('what the hub does not do yet is answered with the catalogue\'s error, not with silence', async () => {
  const notYet = [
    ['POST', '/jobs/create', { type: 'export' }],
    ['GET', '/configurations/configuration-1'],
  ];
  for (const [method, path, body] of notYet) {
    await assert.rejects(rest(hub, method, path, 'iothubowner', body), (error) => {
      assert.equal(error.response?.statusCode, 403, `${method} ${path}: ${error.message}`);
      assert.equal(error.response.headers['iothub-errorcode'], 'OperationNotAvailableInCurrentTier');
      return true;
    });
  }
  const upload = rest(hub, 'POST', `/devices/${hub.facts.device.id}/files`, 'iothubowner', { blobName: 'x' });
  await assert.rejects(upload, (error) => {
    assert.equal(error.response?.statusCode, 400, error.message);
    assert.equal(error.response.headers['iothub-errorcode'], 'DefaultStorageEndpointNotConfigured');
    return true;
  });
});

// Modules, bulk writes, keys and scopes through the service SDK (registry.md §2.1, §3, §4).

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import {
  Amqp, connect, connectionStringOf, inboxOf, iothub, register, registry, rest, settled, twins,
} from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { within } from './support/waiting.mjs';

const hub = new Hub('node-identities.downlink.test', { 'registry.max_modules_per_device': 3 });
let identities;

before(async () => {
  await hub.start();
  identities = registry(hub);
});
after(() => hub.stop());

const newId = () => `device-${randomUUID()}`;

async function newDevice(spec = {}) {
  const deviceId = newId();
  return (await identities.create({ deviceId, ...spec })).responseBody;
}

/** Asserts that a call ends with the status and, in the header, the name of the catalogue. */
async function refused(call, status, name) {
  await assert.rejects(call, (error) => {
    assert.equal(error.response?.statusCode, status, error.message);
    assert.equal(error.response.headers['iothub-errorcode'], name);
    return true;
  });
}

test('a module is made, read, listed, updated and removed', async () => {
  const { deviceId } = await newDevice();
  const moduleId = 'pump';
  const { responseBody: made, httpResponse } = await identities.addModule({ deviceId, moduleId, managedBy: 'me' });
  assert.equal(httpResponse.statusCode, 200);
  assert.equal(httpResponse.headers.etag, undefined);
  assert.deepEqual([made.deviceId, made.moduleId, made.managedBy], [deviceId, moduleId, 'me']);
  assert.equal(made.status, undefined);
  const { primaryKey, secondaryKey } = made.authentication.symmetricKey;
  assert.ok(primaryKey && secondaryKey && primaryKey !== secondaryKey);

  const { responseBody: read } = await identities.getModule(deviceId, moduleId);
  assert.deepEqual(read, made);
  const { responseBody: listed } = await identities.getModulesOnDevice(deviceId);
  assert.deepEqual(listed, [made]);

  const { responseBody: updated } = await identities.updateModule({ ...read, managedBy: 'you' });
  assert.equal(updated.managedBy, 'you');
  assert.deepEqual(updated.authentication, made.authentication);
  assert.equal(updated.generationId, made.generationId);
  await refused(identities.updateModule(read), 412, 'PreconditionFailed');
  const { responseBody: forced } = await identities.updateModule({ deviceId, moduleId }, true);
  assert.equal(forced.managedBy, null);
  assert.notDeepEqual(forced.authentication, made.authentication);

  // With a module in the place of its id, the SDK keeps no promise.
  const remove = promisify(identities.removeModule.bind(identities));
  await refused(remove(read), 412, 'PreconditionFailed');
  await remove(forced);
  await refused(identities.getModule(deviceId, moduleId), 404, 'ModuleNotFound');
  await refused(identities.removeModule(deviceId, moduleId), 404, 'ModuleNotFound');
});

test('a module that is there, a fourth one of three and a system module are refused', async () => {
  const { deviceId } = await newDevice();
  const add = (moduleId) => identities.addModule({ deviceId, moduleId });
  for (const moduleId of ['a', 'b']) await add(moduleId);
  await assert.rejects(add('a'), (error) => {
    assert.equal(error.response.statusCode, 409);
    assert.equal(JSON.parse(error.responseBody).errorCode, 409301);
    return true;
  });
  await add('c');
  await refused(add('d'), 413, 'TooManyModulesOnDevice');
  await refused(add('$mine'), 400, 'ArgumentInvalid');
});

test('modules of a missing or disabled device are out of reach of a policy', async () => {
  const { deviceId } = await newDevice({ status: 'disabled' });
  for (const id of [newId(), deviceId]) {
    await refused(identities.getModulesOnDevice(id), 401, 'IotHubUnauthorizedAccess');
    await refused(identities.addModule({ deviceId: id, moduleId: 'm' }), 401, 'IotHubUnauthorizedAccess');
  }
});

test('an Edge device has its system modules and a scope that leaves name', async () => {
  const edge = await newDevice({ capabilities: { iotEdge: true } });
  assert.equal(edge.deviceScope, `ms-azure-iot-edge://${edge.deviceId}-${edge.generationId}`);
  const { responseBody: modules } = await identities.getModulesOnDevice(edge.deviceId);
  assert.deepEqual(modules.map((module) => [module.moduleId, module.managedBy, module.authentication.type]), [
    ['$edgeAgent', 'iotEdge', 'none'],
    ['$edgeHub', 'iotEdge', 'none'],
  ]);
  const { responseBody: leaf } = await identities.create({ deviceId: newId(), deviceScope: edge.deviceScope });
  assert.equal(leaf.deviceScope, edge.deviceScope);
  assert.deepEqual(leaf.parentScopes, [edge.deviceScope]);
  const { responseBody: again } = await identities.update(leaf);
  assert.equal(again.deviceScope, edge.deviceScope);
  const { responseBody: twin } = await twins(hub).getTwin(leaf.deviceId);
  assert.deepEqual([twin.deviceScope, twin.parentScopes], [edge.deviceScope, [edge.deviceScope]]);
  const { responseBody: alone } = await identities.update({ ...leaf, deviceScope: '' });
  assert.equal(alone.deviceScope, undefined);

  const stranger = `ms-azure-iot-edge://${newId()}-1`;
  await refused(identities.update({ ...leaf, deviceScope: stranger }), 400, 'InvalidDeviceScope');
  await refused(identities.update({ ...edge, deviceScope: '' }), 400, 'InvalidDeviceScope');
  const child = await newDevice({ capabilities: { iotEdge: true }, parentScopes: [edge.deviceScope] });
  assert.deepEqual(child.parentScopes, [edge.deviceScope]);
  const { responseBody: plain } = await identities.update({ ...edge, capabilities: { iotEdge: false } });
  assert.equal(plain.deviceScope, undefined);
  assert.deepEqual((await identities.getModulesOnDevice(edge.deviceId)).responseBody, []);
});

test('many devices are added, updated and removed at once', async () => {
  const devices = Array.from({ length: 100 }, () => ({ deviceId: newId() }));
  const { responseBody: added } = await identities.addDevices(devices);
  assert.deepEqual(added, { isSuccessful: true, errors: [], warnings: [] });
  const { responseBody: first } = await identities.get(devices[0].deviceId);
  const { responseBody: second } = await identities.get(devices[1].deviceId);

  const changed = [{ ...first, status: 'disabled' }, { ...second, statusReason: 'lost' }];
  const { responseBody: updated } = await identities.updateDevices(changed, false);
  assert.equal(updated.isSuccessful, true);
  const { responseBody: read } = await identities.get(first.deviceId);
  assert.deepEqual([read.status, read.authentication], ['disabled', first.authentication]);
  const { responseBody: forced } = await identities.updateDevices(changed, true);
  assert.equal(forced.isSuccessful, true);

  const { responseBody: removed } = await identities.removeDevices(devices, true);
  assert.equal(removed.isSuccessful, true);
  await refused(identities.get(first.deviceId), 404, 'DeviceNotFound');
});

test('items that fail are told one by one and the others are done', async () => {
  const there = await newDevice();
  const fresh = { deviceId: newId() };
  const twice = { deviceId: newId() };
  await assert.rejects(identities.addDevices([there, fresh, twice, twice]), (error) => {
    assert.equal(error.response.statusCode, 400);
    assert.equal(error.response.headers.iothuberrorcode, 'BulkRegistryOperationFailure');
    const { isSuccessful, errors } = JSON.parse(error.responseBody);
    assert.equal(isSuccessful, false);
    assert.deepEqual(errors.map(({ deviceId, errorCode, errorStatus }) => [deviceId, errorCode, errorStatus]), [
      [there.deviceId, 409001, 'DeviceAlreadyExists'],
      [twice.deviceId, 400011, 'DeviceDefinedMultipleTimes'],
      [twice.deviceId, 400011, 'DeviceDefinedMultipleTimes'],
    ]);
    return true;
  });
  const { responseBody: read } = await identities.get(fresh.deviceId);
  await identities.update(read);
  await assert.rejects(identities.removeDevices([read], false), (error) => {
    assert.equal(JSON.parse(error.responseBody).errors[0].errorStatus, 'PreconditionFailed');
    return true;
  });
  const tooMany = Array.from({ length: 101 }, () => ({ id: newId(), importMode: 'create' }));
  await refused(rest(hub, 'POST', '/devices', 'registryReadWrite', tooMany), 413, 'TooManyDevices');
  await refused(rest(hub, 'POST', '/devices', 'registryRead', []), 401, 'IotHubUnauthorizedAccess');
});

test('twins are written at once, with new devices and alone', async () => {
  const id = newId();
  const write = (items) => rest(hub, 'POST', '/devices', 'registryReadWrite', items);
  const create = { id, importMode: 'create', tags: { site: 'zrh' }, properties: { desired: { rate: 10 } } };
  assert.equal((await write([create])).body.isSuccessful, true);
  const { responseBody: twin } = await twins(hub).getTwin(id);
  assert.deepEqual([twin.tags, twin.properties.desired.rate], [{ site: 'zrh' }, 10]);
  const patch = { id, importMode: 'updateTwinIfMatchETag', twinETag: twin.etag, tags: { floor: 3 } };
  assert.equal((await write([patch])).body.isSuccessful, true);
  await assert.rejects(write([patch]), (error) => {
    assert.equal(JSON.parse(error.responseBody).errors[0].errorStatus, 'PreconditionFailed');
    return true;
  });
  const { responseBody: patched } = await twins(hub).getTwin(id);
  assert.deepEqual(patched.tags, { site: 'zrh', floor: 3 });
});

test('keys are regenerated, and what was signed with the old ones ends', async () => {
  const device = await register(hub);
  const client = await connect(hub, device.connectionString, Amqp);
  inboxOf(client);
  await settled(client);
  const gone = once(client, 'disconnect');
  const regenerate = (policyKey, devices) =>
    rest(hub, 'POST', '/devices/keys/regenerate', 'registryReadWrite', { policyKey, devices });
  const { body, status } = await regenerate('both', [{ id: device.deviceId }]);
  assert.equal(status, 200);
  await within(gone, 'the device to be cut off');
  const { responseBody: read } = await identities.get(device.deviceId);
  const { primaryKey, secondaryKey } = read.authentication.symmetricKey;
  assert.deepEqual(body.rotatedKeys, [{ id: device.deviceId, moduleId: null, primaryKey, secondaryKey }]);
  assert.notEqual(primaryKey, device.authentication.symmetricKey.primaryKey);
  await client.close();
  await connect(hub, connectionStringOf(hub, read));

  const some = await regenerate('primaryKey', [{ id: device.deviceId }, { id: newId() }]);
  assert.equal(some.status, 207);
  assert.deepEqual(some.body.errors.map((error) => error.errorStatus), ['DeviceNotFound']);
  await refused(regenerate('tertiaryKey', []), 400, 'InvalidPolicyKey');
});

test('a policy without the right to write makes no modules', async () => {
  const { deviceId } = await newDevice();
  const reader = iothub.Registry.fromConnectionString(hub.policy('registryRead'));
  assert.deepEqual((await reader.getModulesOnDevice(deviceId)).responseBody, []);
  await assert.rejects(reader.addModule({ deviceId, moduleId: 'm' }), (error) => {
    assert.equal(error.name, 'UnauthorizedError', error.message);
    return true;
  });
});

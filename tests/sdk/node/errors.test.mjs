// What the SDK makes of failures (errors-limits.md §2, §4): those that can be made to happen, and
// every cause of the catalogue with the body that a hub answers.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { common, iothub, register, registry, rest, service, twins } from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { within } from './support/waiting.mjs';

const require = createRequire(import.meta.url);
const { RestApiClient } = require('azure-iot-http-base');
const { translateError } = require('azure-iothub/dist/amqp_service_errors.js');

const hub = new Hub('node-errors.downlink.test');
before(() => hub.start());
after(() => hub.stop());

const catalogue = JSON.parse(fs.readFileSync(new URL('../catalogue.json', import.meta.url), 'utf8'));

const BY_STATUS = {
  400: 'ArgumentError',
  401: 'UnauthorizedError',
  403: 'TooManyDevicesError',
  404: 'Error',
  409: 'DeviceAlreadyExistsError',
  412: 'InvalidEtagError',
  429: 'ThrottlingError',
  500: 'InternalServerError',
  502: 'BadDeviceResponseError',
  503: 'ServiceUnavailableError',
  504: 'GatewayTimeoutError',
};

const BY_CONDITION = {
  'amqp:internal-error': 'InternalServerError',
  'amqp:link:message-size-exceeded': 'MessageTooLargeError',
  'amqp:not-found': 'DeviceNotFoundError',
  'amqp:not-implemented': 'NotImplementedError',
  'amqp:not-allowed': 'InvalidOperationError',
  'amqp:resource-limit-exceeded': 'DeviceMaximumQueueDepthExceededError',
  'amqp:unauthorized-access': 'UnauthorizedError',
  'com.microsoft:argument-error': 'ArgumentError',
  'com.microsoft:device-already-exists': 'DeviceAlreadyExistsError',
  'com.microsoft:device-container-throttled': 'ThrottlingError',
  'com.microsoft:iot-hub-suspended': 'IoTHubSuspendedError',
  'com.microsoft:iot-hub-not-found-error': 'IotHubNotFoundError',
  'com.microsoft:message-lock-lost': 'DeviceMessageLockLostError',
  'com.microsoft:precondition-failed': 'PreconditionFailedError',
  'com.microsoft:quota-exceeded': 'IotHubQuotaExceededError',
  'com.microsoft:timeout': 'ServiceUnavailableError',
  'amqp:link:detach-forced': 'ServiceUnavailableError',
};

test('every cause over HTTPS is the error that the SDK has for its status, with its text', () => {
  assert.ok(catalogue.length > 150);
  for (const { name, status, classic, nested } of catalogue) {
    const headers = { 'iothub-errorcode': name };
    const error = RestApiClient.translateError(classic, { statusCode: status, headers });
    const expected = name === 'DeviceNotFound' ? 'DeviceNotFoundError' : BY_STATUS[status] ?? 'Error';
    assert.equal(error.name, expected, name);
    if (name !== 'ModuleAlreadyExistsOnDevice' && status !== 404) {
      assert.equal(error.message, 'the test refuses', name);
    }
    const called = RestApiClient.translateError(nested, { statusCode: status, headers });
    assert.equal(called.name, BY_STATUS[status] ?? 'Error', name);
  }
});

test('every cause over AMQP is an error that the SDK has, and comes again only where it passes', () => {
  for (const { name, condition, isRetryable } of catalogue) {
    const error = translateError('text', { condition, description: 'text' });
    assert.equal(error.name, BY_CONDITION[condition], `${name}: ${condition}`);
    if (error.name === 'ServiceUnavailableError' || error.name === 'ThrottlingError') {
      assert.ok(isRetryable, name);
    }
  }
});

test('failures that happen are the errors that the SDK has for them', async () => {
  const made = await register(hub);
  const { deviceId } = made;
  const nobody = `nobody-${randomUUID()}`;
  const { responseBody: twin } = await twins(hub).getTwin(deviceId);
  const reader = iothub.Registry.fromConnectionString(hub.policy('registryRead'));
  const call = { methodName: 'm', responseTimeoutInSeconds: 5 };
  const calls = iothub.Client.fromConnectionString(hub.policy('service'));
  for (const [what, failing, name, code] of [
    ['an unknown device', () => registry(hub).get(nobody), 'DeviceNotFoundError', 'DeviceNotFound'],
    ['the same device again', () => registry(hub).create({ deviceId }), 'DeviceAlreadyExistsError', 'DeviceAlreadyExists'],
    ['a bad id', () => registry(hub).create({ deviceId: 'a b' }), 'ArgumentError', 'ArgumentInvalid'],
    ['no right', () => reader.delete(deviceId), 'UnauthorizedError', 'IotHubUnauthorizedAccess'],
    ['an unknown twin', () => twins(hub).getTwin(nobody), 'DeviceNotFoundError', 'DeviceNotFound'],
    ['a twin of an unknown module', () => twins(hub).getModuleTwin(deviceId, 'm'), 'DeviceNotFoundError', 'DeviceNotFound'],
    ['a stale etag', () => twins(hub).updateTwin(deviceId, { tags: { a: 1 } }, `${twin.etag}x`), 'InvalidEtagError', 'PreconditionFailed'],
    ['a bad key in a twin', () => twins(hub).updateTwin(deviceId, { tags: { 'a.b': 1 } }, '*'), 'ArgumentError', 'ArgumentInvalid'],
    ['a call to an unknown device', () => calls.invokeDeviceMethod(nobody, call), 'Error', 'DeviceNotFound'],
    ['a call to a device that is away', () => calls.invokeDeviceMethod(deviceId, call), 'Error', 'DeviceNotOnline'],
    ['a call that names no method', () => rest(hub, 'POST', `/twins/${deviceId}/methods`, 'service', {}), 'ArgumentError', 'ArgumentInvalid'],
    ['an unknown path', () => rest(hub, 'GET', '/nothing', 'service'), 'Error', 'GenericNotFound'],
    ['a method that the path does not take', () => rest(hub, 'POST', `/twins/${deviceId}`, 'service', {}), 'Error', 'GenericMethodNotAllowed'],
  ]) {
    await assert.rejects(within(failing(), what), (error) => {
      assert.equal(error.name, name, `${what}: ${error.message}`);
      assert.equal(error.response.headers['iothub-errorcode'], code, what);
      const { status } = catalogue.find((row) => row.name === code);
      assert.equal(error.response.statusCode, status, what);
      return true;
    });
  }
});

test('failures of a send are the errors that the SDK has for them', async () => {
  const { deviceId } = await register(hub);
  const client = await service(hub);
  const send = (to, message) => within(client.send(to, message), 'an answer');
  await assert.rejects(send(`nobody-${randomUUID()}`, new common.Message('m')), { name: 'DeviceNotFoundError' });
  const large = new common.Message(Buffer.alloc(70 * 1024));
  await assert.rejects(send(deviceId, large), { name: 'MessageTooLargeError' });
  for (let sent = 0; sent < 50; sent += 1) await send(deviceId, new common.Message(`${sent}`));
  await assert.rejects(send(deviceId, new common.Message('one too many')), {
    name: 'DeviceMaximumQueueDepthExceededError',
  });
});

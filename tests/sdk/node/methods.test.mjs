// Direct methods between the service SDK and devices (methods.md).

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { connect, register, registry, service, settled } from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { connectRaw } from './support/raw-mqtt.mjs';
import { PROTOCOLS, TRANSPORTS, over } from './support/transports.mjs';
import { Inbox, within } from './support/waiting.mjs';

const hub = new Hub('node-methods.downlink.test');
let backEnd;

before(async () => {
  await hub.start();
  backEnd = await service(hub);
});
after(() => hub.stop());

/** Calls a method and returns what the device said. */
async function invoke(deviceId, parameters) {
  const { result } = await backEnd.invokeDeviceMethod(deviceId, { responseTimeoutInSeconds: 10, ...parameters });
  return result;
}

/** Asserts that a call fails with an HTTP status, an error number and its name. */
async function assertFails(call, status, number, name) {
  const error = await call.then(
    (answer) => assert.fail(`the call succeeded: ${JSON.stringify(answer)}`),
    (failure) => failure,
  );
  assert.equal(error.response?.statusCode, status, error.message);
  assert.equal(error.response.headers['iothub-errorcode'], name);
  const body = JSON.parse(error.responseBody);
  assert.equal(body.ExceptionMessage, '');
  const inner = JSON.parse(body.Message);
  assert.equal(inner.errorCode, number);
  assert.equal(inner.info ?? null, null);
  assert.match(inner.timestampUtc, /Z$/);
  return error;
}

over(TRANSPORTS, 'a method call carries its payload to the device and its answer back', async (Transport) => {
  const identity = await register(hub);
  const client = await connect(hub, identity.connectionString, Transport);
  const calls = new Inbox();
  client.onDeviceMethod('reboot', (request, response) => {
    calls.push(request);
    response.send(200, { rebooted: true, after: request.payload.delay }, () => {});
  });
  await settled(client);

  const answer = await invoke(identity.deviceId, { methodName: 'reboot', payload: { delay: 3 } });
  assert.deepEqual(answer, { status: 200, payload: { rebooted: true, after: 3 } });
  const request = await calls.next('the request');
  assert.equal(request.methodName, 'reboot');
  assert.deepEqual(request.payload, { delay: 3 });
});

over(PROTOCOLS, 'every kind of JSON value travels both ways unchanged', async (Transport) => {
  const identity = await register(hub);
  const client = await connect(hub, identity.connectionString, Transport);
  client.onDeviceMethod('echo', (request, response) => response.send(200, request.payload, () => {}));
  await settled(client);
  const values = [null, true, 0, -7.25, 'grüezi', '', [1, [2, 'x']], { a: { b: [null, {}] } }];
  for (const payload of values) {
    const answer = await invoke(identity.deviceId, { methodName: 'echo', payload });
    assert.deepEqual(answer, { status: 200, payload });
  }
});

over(PROTOCOLS, 'a call without a payload may be answered without one', async (Transport) => {
  const identity = await register(hub);
  const client = await connect(hub, identity.connectionString, Transport);
  const calls = new Inbox();
  client.onDeviceMethod('bare', (request, response) => {
    calls.push(request);
    response.send(204, () => {});
  });
  await settled(client);
  const answer = await invoke(identity.deviceId, { methodName: 'bare' });
  assert.deepEqual(answer, { status: 204, payload: null });
  assert.equal((await calls.next('the request')).payload ?? null, null);
});

over(PROTOCOLS, 'a status the device chose reaches the caller inside a successful answer', async (Transport) => {
  const identity = await register(hub);
  const client = await connect(hub, identity.connectionString, Transport);
  client.onDeviceMethod('refuse', (_request, response) => response.send(503, 'busy', () => {}));
  await settled(client);
  const answer = await invoke(identity.deviceId, { methodName: 'refuse' });
  assert.deepEqual(answer, { status: 503, payload: 'busy' });
});

over(PROTOCOLS, 'ten calls at once to one device each get their own answer', async (Transport) => {
  const identity = await register(hub);
  const client = await connect(hub, identity.connectionString, Transport);
  const waiting = [];
  client.onDeviceMethod('square', (request, response) => {
    waiting.push(() => response.send(200, request.payload ** 2, () => {}));
    // Answered in reverse, once all have come.
    if (waiting.length === 10) waiting.reverse().forEach((answer) => answer());
  });
  await settled(client);
  const numbers = [...Array(10).keys()];
  const answers = await Promise.all(
    numbers.map((payload) => invoke(identity.deviceId, { methodName: 'square', payload })),
  );
  assert.deepEqual(answers.map((answer) => answer.payload), numbers.map((n) => n ** 2));
});

test('a method on an offline device fails at once with the not-online error', async () => {
  const identity = await register(hub);
  const started = Date.now();
  const call = invoke(identity.deviceId, { methodName: 'reboot', connectTimeoutInSeconds: 0 });
  const error = await assertFails(call, 404, 404103, 'DeviceNotOnline');
  assert.equal(error.message, 'Not found');
  assert.ok(Date.now() - started < 1000, `took ${Date.now() - started} ms`);
});

test('a method on an offline device fails with the not-online error after the connect timeout', async () => {
  const identity = await register(hub);
  const started = Date.now();
  const call = invoke(identity.deviceId, { methodName: 'reboot', connectTimeoutInSeconds: 2 });
  await assertFails(call, 404, 404103, 'DeviceNotOnline');
  const took = Date.now() - started;
  assert.ok(took >= 1900 && took < 4000, `took ${took} ms`);
});

over(PROTOCOLS, 'a device that connects within the connect timeout gets the call', async (Transport) => {
  const identity = await register(hub);
  const call = invoke(identity.deviceId, { methodName: 'wake', connectTimeoutInSeconds: 9 });
  const client = await connect(hub, identity.connectionString, Transport);
  client.onDeviceMethod('wake', (_request, response) => response.send(200, 'awake', () => {}));
  assert.deepEqual(await call, { status: 200, payload: 'awake' });
});

over(PROTOCOLS, 'a connected device without a method handler counts as not online', async (Transport) => {
  const identity = await register(hub);
  await settled(await connect(hub, identity.connectionString, Transport));
  await assertFails(invoke(identity.deviceId, { methodName: 'reboot' }), 404, 404103, 'DeviceNotOnline');
});

over(PROTOCOLS, 'a device that does not answer in time gives the SDK\'s gateway timeout error', async (Transport) => {
  const identity = await register(hub);
  const client = await connect(hub, identity.connectionString, Transport);
  const calls = new Inbox();
  client.onDeviceMethod('slow', (_request, response) => calls.push(response));
  await settled(client);
  const started = Date.now();
  const call = invoke(identity.deviceId, { methodName: 'slow', responseTimeoutInSeconds: 5 });
  const error = await assertFails(call, 504, 504101, 'GatewayTimeout');
  assert.equal(error.name, 'GatewayTimeoutError', error.message);
  assert.ok(Date.now() - started <= 5200, `took ${Date.now() - started} ms`);

  // The late answer reaches nobody, and the next call gets its own.
  const late = await calls.next('the first request');
  const second = invoke(identity.deviceId, { methodName: 'slow' });
  const next = await calls.next('the second request');
  await new Promise((resolve) => late.send(200, 'late', resolve));
  await new Promise((resolve) => next.send(200, 'in time', resolve));
  assert.deepEqual(await second, { status: 200, payload: 'in time' });
});

test('a call fails at once when the device\'s connection breaks', async () => {
  const identity = await register(hub);
  const raw = await connectRaw(hub, identity);
  await new Promise((resolve) => raw.client.subscribe('$iothub/methods/POST/#', { qos: 0 }, resolve));
  const started = Date.now();
  const call = invoke(identity.deviceId, { methodName: 'reboot', responseTimeoutInSeconds: 60 });
  const request = await raw.packets.next('the request');
  assert.match(request.topic, /^\$iothub\/methods\/POST\/reboot\/\?\$rid=[0-9a-zA-Z-]+$/);
  raw.client.stream.destroy();
  await assertFails(call, 404, 404104, 'DeviceConnectionClosedRemotely');
  assert.ok(Date.now() - started < 5000, `took ${Date.now() - started} ms`);
});

test('a method on an unknown device gives the device-not-found number', async () => {
  await assertFails(invoke('nobody', { methodName: 'reboot' }), 404, 404001, 'DeviceNotFound');
});

test('a method on a disabled device gives the device-not-found number', async () => {
  const identity = await register(hub);
  await registry(hub).update({ ...identity, status: 'disabled' });
  await assertFails(invoke(identity.deviceId, { methodName: 'reboot' }), 404, 404001, 'DeviceNotFound');
});

test('a connect timeout longer than the response timeout is a bad argument', async () => {
  const identity = await register(hub);
  const call = invoke(identity.deviceId, {
    methodName: 'reboot', responseTimeoutInSeconds: 10, connectTimeoutInSeconds: 20,
  });
  const error = await assertFails(call, 400, 400004, 'ArgumentInvalid');
  assert.equal(error.name, 'ArgumentError', error.message);
});

over(TRANSPORTS, 'a payload over 128 KiB is too large and one under it arrives', async (Transport) => {
  const identity = await register(hub);
  const client = await connect(hub, identity.connectionString, Transport);
  client.onDeviceMethod('size', (request, response) => response.send(200, request.payload.length, () => {}));
  await settled(client);
  const call = invoke(identity.deviceId, { methodName: 'size', payload: 'x'.repeat(129 * 1024) });
  await assertFails(call, 413, 413001, 'MessageTooLarge');
  const answer = await invoke(identity.deviceId, { methodName: 'size', payload: 'x'.repeat(120 * 1024) });
  assert.equal(answer.payload, 120 * 1024);
});

test('a call in flight fails when another connection takes the device over', async () => {
  const identity = await register(hub);
  const first = await connectRaw(hub, identity);
  await new Promise((resolve) => first.client.subscribe('$iothub/methods/POST/#', { qos: 0 }, resolve));
  const call = invoke(identity.deviceId, { methodName: 'reboot', responseTimeoutInSeconds: 60 });
  const failed = assertFails(call, 400, 400027, 'ConnectionForcefullyClosedOnNewConnection');
  await first.packets.next('the request');
  await connectRaw(hub, identity);
  await within(first.closed, 'the first connection to be closed');
  await failed;
});

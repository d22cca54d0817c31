// Modules as clients, what a device is told after an absence, watching, digital twins (twins.md, methods.md).

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import fs from 'node:fs';
import https from 'node:https';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { connect, iothub, policyToken, register, registry, service, settled, twins } from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { connectRaw } from './support/raw-mqtt.mjs';
import { PROTOCOLS, TRANSPORTS, over } from './support/transports.mjs';
import { Inbox, within } from './support/waiting.mjs';

const { ModuleClient } = createRequire(import.meta.url)('azure-iot-device');

const DESIRED = '$iothub/twin/PATCH/properties/desired/';
const hub = new Hub('node-moduleclients.downlink.test');
let backEnd;
let methods;

before(async () => {
  await hub.start();
  backEnd = twins(hub);
  methods = await service(hub);
});
after(() => hub.stop());

/** Makes a device with a module, and returns their ids with the module's connection string. */
async function registerModule() {
  const { deviceId } = await register(hub);
  const moduleId = `module-${randomUUID()}`;
  await registry(hub).addModule({ deviceId, moduleId });
  const { responseBody } = await registry(hub).getModule(deviceId, moduleId);
  const key = responseBody.authentication.symmetricKey.primaryKey;
  const connectionString = `HostName=${hub.hostName};DeviceId=${deviceId};ModuleId=${moduleId};SharedAccessKey=${key}`;
  return { deviceId, moduleId, connectionString };
}

async function connectModule(connectionString, Transport) {
  const client = ModuleClient.fromConnectionString(connectionString, Transport);
  await client.setOptions({ ca: hub.caFile });
  client.on('error', () => {});
  hub.beforeStop(() => client.close());
  await within(client.open(), 'the module to be connected');
  return client;
}

function desire(deviceId, desired) {
  return backEnd.updateTwin(deviceId, { properties: { desired } }, '*');
}

async function failureOf(call) {
  return call.then((answer) => assert.fail(`the call succeeded: ${JSON.stringify(answer)}`), (failure) => failure);
}

over(TRANSPORTS, 'a module has a twin of its own, beside that of its device', async (Transport) => {
  const { deviceId, moduleId, connectionString } = await registerModule();
  const client = await connectModule(connectionString, Transport);
  const twin = await client.getTwin();
  const changes = new Inbox();
  twin.on('properties.desired', (delta) => {
    if (delta.$version > 1) changes.push(structuredClone(delta));
  });
  await settled(client);
  const patch = { properties: { desired: { rate: 5 } }, tags: { site: 'zrh' } };
  const { responseBody: written } = await backEnd.updateModuleTwin(deviceId, moduleId, patch, '*');
  assert.equal(written.moduleId, moduleId);
  assert.deepEqual(await changes.next('the change'), { rate: 5, $version: 2 });
  await new Promise((resolve, reject) => {
    twin.properties.reported.update({ rate: 5 }, (error) => (error ? reject(error) : resolve()));
  });

  const { responseBody: read } = await backEnd.getModuleTwin(deviceId, moduleId);
  assert.deepEqual([read.deviceId, read.moduleId, read.status], [deviceId, moduleId, 'enabled']);
  assert.equal(read.properties.reported.rate, 5);
  assert.equal(read.properties.desired.$metadata.rate.$lastUpdatedVersion, 2);
  assert.deepEqual(read.tags, { site: 'zrh' });
  const { responseBody: owner } = await backEnd.getTwin(deviceId);
  assert.equal(owner.version, 2, 'the twin of the device is another');
});

over(PROTOCOLS, 'a method of a module is called and answered', async (Transport) => {
  const { deviceId, moduleId, connectionString } = await registerModule();
  const client = await connectModule(connectionString, Transport);
  client.onMethod('double', (request, response) => response.send(200, request.payload * 2, () => {}));
  await settled(client);
  const call = { methodName: 'double', payload: 21, responseTimeoutInSeconds: 10 };
  const { result } = await methods.invokeDeviceMethod(deviceId, moduleId, call);
  assert.deepEqual(result, { status: 200, payload: 42 });
});

test('what is asked of a module that does not exist fails as the contract says', async () => {
  const { deviceId } = await register(hub);
  const twin = await failureOf(backEnd.getModuleTwin(deviceId, 'nothing'));
  assert.equal(twin.response.statusCode, 404);
  assert.equal(twin.response.headers['iothub-errorcode'], 'DeviceNotFound');
  const call = { methodName: 'reboot', responseTimeoutInSeconds: 5 };
  const method = await failureOf(methods.invokeDeviceMethod(deviceId, 'nothing', call));
  assert.equal(method.response.headers['iothub-errorcode'], 'ModuleNotFound');
  assert.equal(method.response.headers['downlink-cause'], 'unknown-module');
});

test('each cause of a failed call stands beside its code', async () => {
  const identity = await register(hub);
  const call = { methodName: 'reboot', responseTimeoutInSeconds: 5 };
  const causeOf = async (deviceId) => {
    const { response } = await failureOf(methods.invokeDeviceMethod(deviceId, call));
    return [response.headers['iothub-errorcode'], response.headers['downlink-cause']];
  };
  assert.deepEqual(await causeOf('nobody'), ['DeviceNotFound', 'unknown-device']);
  assert.deepEqual(await causeOf(identity.deviceId), ['DeviceNotOnline', 'never-connected']);
  const client = await connect(hub, identity.connectionString);
  assert.deepEqual(await causeOf(identity.deviceId), ['DeviceNotOnline', 'not-subscribed']);
  client.onDeviceMethod('reboot', () => {});
  await settled(client);
  assert.deepEqual(await causeOf(identity.deviceId), ['GatewayTimeout', 'timed-out']);
  // A client that is sent away tries again for minutes.
  await client.close();
  assert.deepEqual(await causeOf(identity.deviceId), ['DeviceNotOnline', 'offline']);
  await registry(hub).update({ deviceId: identity.deviceId, status: 'disabled' });
  assert.deepEqual(await causeOf(identity.deviceId), ['DeviceNotFound', 'disabled']);
});

/** A plain MQTT client and the desired changes it hears of, as version and body. */
async function listenRaw(identity, options) {
  const { client, packets, connack, closed } = await connectRaw(hub, identity, options);
  const next = async (what) => {
    const { topic, payload } = await packets.find((packet) => packet.topic?.startsWith(DESIRED), what);
    return [Number(topic.split('$version=')[1]), JSON.parse(payload)];
  };
  const subscribe = (filter) =>
    new Promise((resolve, reject) => {
      client.subscribe(filter, { qos: 0 }, (error) => (error ? reject(error) : resolve()));
    });
  const leave = async () => {
    client.end();
    await within(closed, 'the connection to close');
  };
  return { next, subscribe, leave, connack };
}

test('a device that names its version is told every change since, in order', async () => {
  const identity = await register(hub);
  for (const n of [2, 3, 4]) await desire(identity.deviceId, { n });
  const device = await listenRaw(identity);
  await device.subscribe(`${DESIRED}?$version=2`);
  await desire(identity.deviceId, { n: 5 });
  for (const n of [3, 4, 5]) assert.deepEqual(await device.next(`change ${n}`), [n, { n, $version: n }]);
});

test('a device whose session is stored is told what it missed, and the whole section when that is too much', async () => {
  const identity = await register(hub);
  const first = await listenRaw(identity);
  await first.subscribe(`${DESIRED}#`);
  await desire(identity.deviceId, { a: 1 });
  assert.deepEqual(await first.next('the change'), [2, { a: 1, $version: 2 }]);
  await first.leave();
  await desire(identity.deviceId, { a: null });
  await desire(identity.deviceId, { b: 1 });

  const second = await listenRaw(identity);
  assert.equal(second.connack.sessionPresent, true);
  assert.deepEqual(await second.next('the first it missed'), [3, { a: null, $version: 3 }]);
  assert.deepEqual(await second.next('the second it missed'), [4, { b: 1, $version: 4 }]);
  await second.leave();
  for (let n = 0; n < 20; n += 1) await desire(identity.deviceId, { n });

  const third = await listenRaw(identity);
  assert.deepEqual(await third.next('the whole section'), [24, { b: 1, n: 19, $version: 24 }]);
  await desire(identity.deviceId, { last: true });
  assert.deepEqual(await third.next('the next'), [25, { last: true, $version: 25 }]);
});

test('a back-end watches a twin by server-sent events', async () => {
  const { deviceId } = await register(hub);
  const events = new Inbox();
  const path = `/twins/${deviceId}/events?api-version=2021-04-12`;
  const headers = { Authorization: policyToken(hub, 'service', 600) };
  const request = https.get({ host: hub.hostName, path, headers, ca: fs.readFileSync(hub.caFile) });
  hub.beforeStop(async () => request.destroy());
  request.on('error', () => {});
  request.on('response', (response) => {
    assert.equal(response.headers['content-type'], 'text/event-stream');
    let unread = '';
    response.setEncoding('utf8').on('data', (chunk) => {
      const parts = (unread + chunk).split('\n\n');
      unread = parts.pop();
      for (const part of parts) if (part.includes('data: ')) events.push(part);
    });
  });
  const next = async () => {
    const event = await events.next('an event');
    return [event.match(/^id: (\d+)$/m)[1], JSON.parse(event.match(/^data: (.*)$/m)[1])];
  };
  const [version, twin] = await next();
  assert.deepEqual([version, twin.deviceId], ['2', deviceId]);
  await desire(deviceId, { rate: 7 });
  const [changed, after_] = await next();
  assert.deepEqual([changed, after_.properties.desired.rate], ['3', 7]);
  await registry(hub).delete(deviceId);
  assert.match(await events.next('the end'), /^event: end$/m);
});

test('a digital twin is read, wished for and commanded by the SDK', async () => {
  const identity = await register(hub);
  const credentials = new iothub.IoTHubTokenCredentials(hub.policy('service'));
  const digital = new iothub.DigitalTwinClient(credentials);
  const read = await digital.getDigitalTwin(identity.deviceId);
  assert.equal(read.$dtId, identity.deviceId);
  assert.deepEqual(read.$metadata, { $model: '' });

  const patch = [{ op: 'add', path: '/targetTemperature', value: 42 }];
  await digital.updateDigitalTwin(identity.deviceId, patch);
  const { responseBody: twin } = await backEnd.getTwin(identity.deviceId);
  assert.equal(twin.properties.desired.targetTemperature, 42);

  const client = await connect(hub, identity.connectionString);
  client.onDeviceMethod('thermostat1*reboot', (request, response) => response.send(202, { in: request.payload }, () => {}));
  await settled(client);
  const answer = await digital.invokeComponentCommand(identity.deviceId, 'thermostat1', 'reboot', 3);
  assert.equal(answer.xMsCommandStatuscode, 202);
  assert.deepEqual(answer.body ?? answer._response.parsedBody, { in: 3 });
});

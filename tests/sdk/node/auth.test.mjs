// Who may connect, who wins, and what survives a new token (auth.md, mqtt.md §3, §4).

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import {
  DeviceClient, connect, connectionStringOf, device, deviceToken, inboxOf, message, register, registry,
  service, settled,
} from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { connectRaw, subscribeToMessages } from './support/raw-mqtt.mjs';
import { PROTOCOLS, TRANSPORTS, over } from './support/transports.mjs';
import { eventually, within } from './support/waiting.mjs';

const hub = new Hub('node-auth.downlink.test');
let backEnd;

before(async () => {
  await hub.start();
  backEnd = await service(hub);
});
after(() => hub.stop());

const wrongKey = Buffer.alloc(32, 1).toString('base64');

async function assertRefused(connectionString, Transport) {
  const client = await device(hub, connectionString, Transport);
  await assert.rejects(within(client.open(), 'a refusal'), (error) => {
    assert.equal(error.name, 'UnauthorizedError', error.message);
    return true;
  });
}

over(TRANSPORTS, 'a device with a wrong key is refused with the SDK\'s unauthorized error', async (Transport) => {
  const { deviceId } = await register(hub);
  await assertRefused(`HostName=${hub.hostName};DeviceId=${deviceId};SharedAccessKey=${wrongKey}`, Transport);
});

over(PROTOCOLS, 'an unknown device is refused with the SDK\'s unauthorized error', async (Transport) => {
  await assertRefused(`HostName=${hub.hostName};DeviceId=nobody;SharedAccessKey=${wrongKey}`, Transport);
});

over(PROTOCOLS, 'a disabled device is refused and may connect again once enabled', async (Transport) => {
  const identity = await register(hub);
  await registry(hub).update({ ...identity, status: 'disabled' });
  await assertRefused(identity.connectionString, Transport);
  await registry(hub).update({ ...identity, status: 'enabled' });
  await connect(hub, identity.connectionString, Transport);
});

test('disabling a device closes its connection', async () => {
  const identity = await register(hub);
  const raw = await connectRaw(hub, identity);
  await registry(hub).update({ ...identity, status: 'disabled' });
  await within(raw.closed, 'the hub to close the connection');
});

test('deleting a device closes its connection', async () => {
  const identity = await register(hub);
  const raw = await connectRaw(hub, identity);
  await registry(hub).delete(identity.deviceId);
  await within(raw.closed, 'the hub to close the connection');
});

over(PROTOCOLS, 'the key of one device does not open another', async (Transport) => {
  const [one, other] = [await register(hub), await register(hub)];
  await assertRefused(connectionStringOf(hub, { ...one, deviceId: other.deviceId }), Transport);
});

over(PROTOCOLS, 'the secondary key opens the device too', async (Transport) => {
  const identity = await register(hub);
  const { primaryKey, secondaryKey } = identity.authentication.symmetricKey;
  await connect(hub, identity.connectionString.replace(primaryKey, secondaryKey), Transport);
});

over(PROTOCOLS, 'a policy with device connect opens any device', async (Transport) => {
  const { deviceId } = await register(hub);
  const policy = hub.policy('device').replace(/^HostName=[^;]*;/, '');
  await connect(hub, `HostName=${hub.hostName};DeviceId=${deviceId};${policy}`, Transport);
});

over(PROTOCOLS, 'a policy without device connect carries no device', async (Transport) => {
  const { deviceId } = await register(hub);
  const policy = hub.policy('service').replace(/^HostName=[^;]*;/, '');
  const client = await device(hub, `HostName=${hub.hostName};DeviceId=${deviceId};${policy}`, Transport);
  // On AMQP the token is good for something, but not for a device's link.
  const use = async () => {
    await client.open();
    await client.sendEvent(message('x'));
  };
  await assert.rejects(within(use(), 'a refusal'), (error) => {
    assert.equal(error.name, 'UnauthorizedError', error.message);
    return true;
  });
});

over(PROTOCOLS, 'an expired token is refused', async (Transport) => {
  const identity = await register(hub);
  const client = DeviceClient.fromSharedAccessSignature(deviceToken(hub, identity, -3600), Transport);
  await client.setOptions({ ca: hub.caFile });
  await assert.rejects(within(client.open(), 'a refusal'), { name: 'UnauthorizedError' });
});

over(PROTOCOLS, 'an id with every character that a connection string and a topic leave free connects and gets a message', async (Transport) => {
  const identity = await register(hub, `odd-:._*!(),=@$'id-${Transport.name}`);
  const inbox = inboxOf(await connect(hub, identity.connectionString, Transport));
  await backEnd.send(identity.deviceId, message('hello'));
  assert.equal((await inbox.next('the message')).data.toString(), 'hello');
});

test('a second connection with the same id takes over and gets what follows', async () => {
  const identity = await register(hub);
  const first = await connectRaw(hub, identity);
  await subscribeToMessages(first.client, identity.deviceId);
  const second = await connectRaw(hub, identity);
  await within(first.closed, 'the first connection to be closed');
  assert.equal(second.connack.sessionPresent, true);

  await backEnd.send(identity.deviceId, message('to the newer one'));
  assert.equal((await second.packets.next('the message')).payload.toString(), 'to the newer one');
  assert.equal(first.packets.size, 0);
  const { responseBody } = await registry(hub).get(identity.deviceId);
  assert.equal(responseBody.connectionState, 'Connected');
});

over(PROTOCOLS, 'a new token keeps the subscriptions although the SDK does not subscribe again', async (Transport) => {
  const identity = await register(hub);
  const client = DeviceClient.fromSharedAccessSignature(deviceToken(hub, identity, 60), Transport);
  await client.setOptions({ ca: hub.caFile });
  hub.beforeStop(() => client.close());
  await client.open();
  const inbox = inboxOf(client);
  client.onDeviceMethod('ping', (_request, response) => response.send(200, 'pong', () => {}));
  await settled(client);

  const renewed = once(client, '_sharedAccessSignatureUpdated');
  client.updateSharedAccessSignature(deviceToken(hub, identity, 120));
  await within(renewed, 'the new token to be in use');

  await backEnd.send(identity.deviceId, message('after the renewal'));
  assert.equal((await inbox.next('the message')).data.toString(), 'after the renewal');
  const { result } = await backEnd.invokeDeviceMethod(identity.deviceId, { methodName: 'ping' });
  assert.deepEqual(result, { status: 200, payload: 'pong' });
});

test('a device on MQTT that renews its short-lived token by itself misses no message', async () => {
  const identity = await register(hub);
  const client = await device(hub, identity.connectionString);
  // A new token, and with it a new connection, every second.
  await client.setOptions({ tokenRenewal: { tokenValidTimeInSeconds: 10, tokenRenewalMarginInSeconds: 9 } });
  await client.open();
  const inbox = inboxOf(client);
  await settled(client);
  const end = Date.now() + 3500;
  const sent = [];
  while (Date.now() < end) {
    sent.push(`command ${sent.length}`);
    await backEnd.send(identity.deviceId, message(sent.at(-1)));
    await inbox.find((each) => each.data.toString() === sent.at(-1), sent.at(-1));
  }
  assert.ok(sent.length > 3, `${sent.length} messages crossed the renewals`);
});

over(PROTOCOLS, 'the connection state follows the device', async (Transport) => {
  const identity = await register(hub);
  const stateIs = (state) =>
    eventually(async () => {
      const { responseBody } = await registry(hub).get(identity.deviceId);
      return responseBody.connectionState === state;
    }, `the state ${state}`);
  const client = await connect(hub, identity.connectionString, Transport);
  // A device that opened a connection and no link is nobody yet on AMQP.
  inboxOf(client);
  await stateIs('Connected');
  await client.close();
  await stateIs('Disconnected');
});

// Tokens that end while their client is connected: who renews them goes on, who does not is cut off and comes back
// with another one (auth.md §3.5, mqtt.md §4, amqp.md §3.4).

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';

import {
  DeviceClient, Http, KeyProvider, Mqtt, MqttWs, common, deviceToken, inboxOf, iothub, message, policyToken, register,
  service, settled,
} from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { TRANSPORTS, over } from './support/transports.mjs';
import { eventually, within } from './support/waiting.mjs';

/** Seconds for which the hub takes a token after its end, since clocks differ. */
const SKEW = 300;
/** What opened with a token ends just after that, so that the token opens nothing any more. */
const GRACE = `${SKEW + 1}s`;
/** Seconds until a token of these tests is refused, and seconds from one to the next. */
const LIFE = 3;
const RENEWAL = 2;

const hub = new Hub('node-expiry.downlink.test', { 'mqtt.token_grace': GRACE, 'amqp.token_grace': GRACE });
let backEnd;

before(async () => {
  await hub.start();
  backEnd = await service(hub);
});
after(() => hub.stop());

const isMqtt = (Transport) => [Mqtt, MqttWs].includes(Transport);
const briefToken = (identity) => deviceToken(hub, identity, LIFE - SKEW);

/** Opens a client, which over HTTP looks for messages every second. */
async function opened(client, Transport) {
  client.on('error', () => {});
  await client.setOptions(Transport === Http ? { http: { receivePolicy: { interval: 1 } } } : { ca: hub.caFile });
  hub.beforeStop(() => client.close());
  await within(client.open(), 'the device to be connected');
  return client;
}

const openedWith = (token, Transport) => opened(DeviceClient.fromSharedAccessSignature(token, Transport), Transport);

const assertRefused = (promise) => assert.rejects(within(promise, 'a refusal'), { name: 'UnauthorizedError' });

/** Waits until telemetry is refused: a device over HTTP hears of nothing unless it asks. */
function refusalOf(client) {
  const isRefused = (error) => {
    assert.equal(error.name, 'UnauthorizedError', error.message);
    return true;
  };
  return eventually(() => client.sendEvent(message('x')).then(() => false, isRefused), 'the token to end');
}

async function assertGets(inbox, { deviceId }, text) {
  await backEnd.send(deviceId, message(text));
  assert.equal((await inbox.next(text)).data.toString(), text);
}

function answer(client, methodName) {
  client.onDeviceMethod(methodName, (_request, response) => response.send(200, 'done', () => {}));
}

async function assertAnswers({ deviceId }, methodName) {
  const { result } = await backEnd.invokeDeviceMethod(deviceId, { methodName });
  assert.deepEqual(result, { status: 200, payload: 'done' });
}

/**
 * A client that signs a token every two seconds, each good for three; `afterEach` is called after each of three
 * renewals, of which the last comes after the first token has ended.
 */
async function acrossRenewals(identity, Transport, start, afterEach) {
  const provider = KeyProvider.fromConnectionString(identity.connectionString, LIFE - SKEW, LIFE - RENEWAL - SKEW);
  const client = await opened(DeviceClient.fromAuthenticationProvider(provider, Transport), Transport);
  const { sharedAccessSignature: first } = await provider.getDeviceCredentials();
  const inbox = await start(client);
  for (const round of [1, 2, 3]) {
    await within(once(provider, 'newTokenAvailable'), `renewal ${round}`);
    await afterEach(client, inbox, round);
  }
  return first;
}

describe('tokens that end', { concurrency: true }, () => {
  over(TRANSPORTS, 'a device that renews its tokens gets messages and calls when the first has ended', async (Transport) => {
    const identity = await register(hub);
    const start = async (client) => {
      const inbox = inboxOf(client);
      answer(client, 'start');
      await settled(client);
      return inbox;
    };
    const first = await acrossRenewals(identity, Transport, start, async (client, inbox, round) => {
      // On MQTT a new token is a new connection, and the SDK holds this back until it has one.
      await settled(client);
      await assertGets(inbox, identity, `command ${round}`);
      await assertAnswers(identity, 'start');
      await within(client.sendEvent(message('x')), 'telemetry');
    });
    await assertRefused(openedWith(first, Transport));
  });

  test('a device that renews its tokens gets messages when the first has ended, over Http', async () => {
    const identity = await register(hub);
    const first = await acrossRenewals(identity, Http, inboxOf, async (client, inbox, round) => {
      await assertGets(inbox, identity, `command ${round}`);
      await within(client.sendEvent(message('x')), 'telemetry');
    });
    const late = await openedWith(first, Http);
    await assertRefused(late.sendEvent(message('x')));
  });

  over(TRANSPORTS, 'a device whose token ends is cut off, and comes back with another to what it missed', async (Transport) => {
    const identity = await register(hub);
    const client = await openedWith(briefToken(identity), Transport);
    // With its usual policy the SDK tries to come back with the only token it has, on MQTT for minutes. A new token
    // that meets such a try has it connect over and over, and acknowledge messages that it hands to nobody.
    client.setRetryPolicy(new common.NoRetry());
    const lost = once(client, 'disconnect');
    let inbox = inboxOf(client);
    answer(client, 'start');
    await settled(client);
    await assertGets(inbox, identity, 'in time');
    await assertAnswers(identity, 'start');

    const [{ transportObj: error }] = await within(lost, 'the token to end');
    // MQTT has no word for it.
    assert.equal(error.name, isMqtt(Transport) ? 'NotConnectedError' : 'UnauthorizedError', error.message);
    await backEnd.send(identity.deviceId, message('while away'));
    const renewed = once(client, '_sharedAccessSignatureUpdated');
    client.updateSharedAccessSignature(deviceToken(hub, identity));
    await within(renewed, 'the new token to be in use');
    await within(client.open(), 'the device to be connected again');
    if (!isMqtt(Transport)) {
      // The SDK gave up its links, and takes them up again for another listener and for one more method.
      client.removeAllListeners('message');
      inbox = inboxOf(client);
    }
    answer(client, 'stop');
    await settled(client);
    assert.equal((await inbox.next('the message it missed')).data.toString(), 'while away');
    await assertGets(inbox, identity, 'after it');
    for (const methodName of ['start', 'stop']) await assertAnswers(identity, methodName);
    await within(client.sendEvent(message('x')), 'telemetry');
  });

  test('a device whose token ends is refused, and comes back with another to what it missed, over Http', async () => {
    const identity = await register(hub);
    const client = await openedWith(briefToken(identity), Http);
    await within(client.sendEvent(message('x')), 'telemetry');
    const inbox = inboxOf(client);
    await assertGets(inbox, identity, 'in time');

    await refusalOf(client);
    await backEnd.send(identity.deviceId, message('while away'));
    client.updateSharedAccessSignature(deviceToken(hub, identity));
    assert.equal((await inbox.next('the message it missed')).data.toString(), 'while away');
    await within(client.sendEvent(message('x')), 'telemetry');
  });

  over([iothub.Amqp, iothub.AmqpWs], 'a back-end whose token ends is cut off, and the next one sends on', async (Transport) => {
    const identity = await register(hub);
    const connect = (seconds) => {
      const client = iothub.Client.fromSharedAccessSignature(policyToken(hub, 'service', seconds), Transport);
      hub.beforeStop(() => client.close());
      return client;
    };
    const ended = connect(LIFE - SKEW);
    await within(ended.open(), 'the back-end to be connected');
    const lost = once(ended, 'disconnect');
    await ended.send(identity.deviceId, message('in time'));
    await within(lost, 'the token to end');
    await assert.rejects(within(ended.open(), 'a refusal'), (error) => {
      // The AMQP client of the SDK wraps what the hub said, in its own words or the hub's.
      const said = error.amqpError ?? error;
      assert.match(said.condition ?? said.name, /^(UnauthorizedError|amqp:unauthorized-access)$/, error.message);
      return true;
    });

    const inbox = inboxOf(await opened(DeviceClient.fromConnectionString(identity.connectionString, Mqtt)));
    assert.equal((await inbox.next('the message')).data.toString(), 'in time');
    const next = connect(3600);
    await within(next.open(), 'the next back-end to be connected');
    await next.send(identity.deviceId, message('after it'));
    assert.equal((await inbox.next('the message')).data.toString(), 'after it');
  });
});

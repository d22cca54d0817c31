// The network breaks; the SDKs find their way back by themselves, and nothing is lost (amqp.md §4.5).

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before } from 'node:test';

import {
  connect, deviceToken, feedbackOf, inboxOf, iothub, message, policyToken, register, service, settled, twins,
} from './support/clients.mjs';
import { Hub, addressOf } from './support/hub.mjs';
import { Network } from './support/proxy.mjs';
import { attachReceiver, attachSender, dataMessage, devicebound, openRaw } from './support/raw-amqp.mjs';
import { DEEP_QUEUE, QUICK_FEEDBACK, SHORT_LOCK } from './support/settings.mjs';
import { TRANSPORTS, inTurn } from './support/transports.mjs';
import { Inbox, eventually, within } from './support/waiting.mjs';

const NAME = 'node-cut.downlink.test';
/** Where the hub is; its name leads to the network in front of it. */
const INSIDE = '127.0.1.33';

const hub = new Hub(NAME, { ...DEEP_QUEUE, ...QUICK_FEEDBACK, ...SHORT_LOCK }, INSIDE);
const network = new Network(addressOf(NAME), INSIDE);

before(async () => {
  await network.start();
  await hub.start();
});
after(async () => {
  await hub.stop();
  await network.stop();
});

/** Breaks every connection, and heals the network when `during` is done and somebody has tried in vain. */
async function cut(during) {
  network.cut();
  await eventually(() => network.connections === 0, 'the connections to break');
  await during();
  await eventually(() => network.refused >= 2, 'tries to connect');
  network.heal();
}

/** Calls REST again when the SDK used a connection that had been cut while it was idle. */
async function persistently(call) {
  return eventually(
    () => call().catch((error) => {
      if (error.code !== 'ECONNRESET') throw error;
      return null;
    }),
    'an answer',
  );
}

/** A connection that goes around the network that breaks. */
async function openAround(token) {
  const raw = await openRaw(hub, { host: INSIDE });
  const { status, description } = await raw.putToken(token);
  assert.equal(status, 200, description);
  return raw;
}

/** A back-end behind the broken part of the network, which sends a command every few milliseconds. */
async function steadySender(deviceId) {
  const raw = await openAround(policyToken(hub, 'service'));
  const { send } = await attachSender(await raw.session(), '/messages/devicebound');
  const sent = [];
  let isStopped = false;
  const running = (async () => {
    while (!isStopped) {
      await send(dataMessage(`${sent.length}`, { to: devicebound(deviceId) }));
      sent.push(`${sent.length}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await raw.close();
    return sent;
  })();
  return {
    /** Returns what was accepted. */
    stop() {
      isStopped = true;
      return running;
    },
  };
}

inTurn(TRANSPORTS, 'a device whose network breaks comes back by itself and misses nothing', async (Transport) => {
  const identity = await register(hub);
  const backEnd = await service(hub);
  backEnd.on('disconnect', () => {});
  const client = await connect(hub, identity.connectionString, Transport);
  const inbox = inboxOf(client);
  client.onDeviceMethod('ping', (_request, response) => response.send(200, 'pong', () => {}));
  const twin = await client.getTwin();
  const changes = new Inbox();
  twin.on('properties.desired', (delta) => changes.push(structuredClone(delta)));
  await changes.next('the properties of the start');
  await settled(client);
  const commands = await steadySender(identity.deviceId);
  await inbox.next('the first command');

  const telemetry = [];
  for (const round of [1, 2]) {
    // Both ways something is under way when the network breaks.
    telemetry.push(client.sendEvent(message(`under way ${round}`)));
    await cut(() => telemetry.push(client.sendEvent(message(`while down ${round}`))));
    const { result } = await persistently(() =>
      backEnd.invokeDeviceMethod(identity.deviceId, {
        methodName: 'ping', connectTimeoutInSeconds: 25, responseTimeoutInSeconds: 30,
      }),
    );
    assert.deepEqual(result, { status: 200, payload: 'pong' });
    await eventually(async () => {
      const desired = { now: Date.now() };
      await persistently(() => twins(hub).updateTwin(identity.deviceId, { properties: { desired } }, '*'));
      return changes.size > 0;
    }, 'a desired change to be heard again');
    await changes.take(changes.size);
  }
  await within(Promise.all(telemetry), 'all telemetry to be accepted', 30_000);
  const missing = new Set(await commands.stop());
  missing.delete('0');
  while (missing.size > 0) {
    missing.delete((await inbox.next(`${missing.size} more commands`, 30_000)).data.toString());
  }
});

inTurn([iothub.Amqp, iothub.AmqpWs], 'a back-end whose network breaks sends on by itself and misses no feedback', async (Transport) => {
  const identity = await register(hub);
  const around = await openAround(deviceToken(hub, identity));
  const { deliveries } = await attachReceiver(await around.session(), devicebound(identity.deviceId), {
    credit_window: 100, autoaccept: true,
  });
  const backEnd = await service(hub, Transport);
  const first = await feedbackOf(backEnd);
  const send = (each) => backEnd.send(identity.deviceId, each);
  const sent = [...Array(12).keys()].map((n) => message(`${n}`, { ack: 'full' }));
  await send(sent[0]);
  await first.about(sent[0].messageId);

  const told = once(backEnd, 'disconnect');
  // Accepted before the break; its feedback is on its way. No send is: the service SDK's own error
  // handling overflows its stack when a connection breaks under an unsettled one.
  await send(sent[1]);
  const underWay = [];
  await cut(async () => {
    await within(told, 'the application to be told');
    underWay.push(...sent.slice(2, 7).map(send));
  });
  underWay.push(...sent.slice(7).map(send));
  await within(Promise.all(underWay), 'all commands to be accepted', 30_000);
  const missing = new Set(sent.map((each) => each.messageId));
  while (missing.size > 0) {
    missing.delete((await deliveries.next(`${missing.size} more commands`, 30_000)).message.message_id);
  }

  // The SDK's receiver does not outlive its connection; the application asks for another.
  const second = await feedbackOf(backEnd);
  for (const { messageId } of sent.slice(2)) {
    assert.equal((await second.about(messageId, 30_000)).statusCode, 'Success');
  }
  // The next back-end would share the feedback with this one.
  await backEnd.close();
});

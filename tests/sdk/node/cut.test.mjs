// The network breaks; the SDKs find their way back by themselves, and nothing is lost (amqp.md §4.5).

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import {
  connect, feedbackOf, inboxOf, iothub, message, policyToken, register, service, settled, twins,
} from './support/clients.mjs';
import { Hub, addressOf } from './support/hub.mjs';
import { Network } from './support/proxy.mjs';
import { attachSender, dataMessage, devicebound, openRaw } from './support/raw-amqp.mjs';
import { DEEP_QUEUE, QUICK_FEEDBACK, SHORT_LOCK } from './support/settings.mjs';
import { TRANSPORTS, over } from './support/transports.mjs';
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

/** Breaks every connection, keeps the network down until `during` is done, and heals it. */
async function cut(during = () => {}) {
  await eventually(() => network.connections > 0, 'something to cut');
  network.cut();
  await eventually(() => network.connections === 0, 'the connections to break');
  await during();
  network.heal();
}

/** A back-end behind the broken part of the network, which sends a command every few milliseconds. */
async function steadySender(deviceId) {
  const raw = await openRaw(hub, { host: INSIDE });
  await raw.putToken(policyToken(hub, 'service'));
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

over(TRANSPORTS, 'a device whose network breaks comes back by itself and misses nothing', async (Transport) => {
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
    const { result } = await backEnd.invokeDeviceMethod(identity.deviceId, {
      methodName: 'ping', connectTimeoutInSeconds: 25, responseTimeoutInSeconds: 30,
    });
    assert.deepEqual(result, { status: 200, payload: 'pong' });
    await eventually(async () => {
      await twins(hub).updateTwin(identity.deviceId, { properties: { desired: { now: Date.now() } } }, '*');
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

over([iothub.Amqp, iothub.AmqpWs], 'a back-end whose network breaks sends on by itself and misses no feedback', async (Transport) => {
  const identity = await register(hub);
  const inbox = inboxOf(await connect(hub, identity.connectionString));
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
  while (missing.size > 0) missing.delete((await inbox.next(`${missing.size} commands`, 30_000)).messageId);

  // The SDK's receiver does not outlive its connection; the application asks for another.
  const second = await feedbackOf(backEnd);
  for (const { messageId } of sent.slice(2)) {
    assert.equal((await second.about(messageId, 30_000)).statusCode, 'Success');
  }
});

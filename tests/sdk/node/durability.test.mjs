// What the hub has accepted survives its sudden death (c2d.md §4, design.md §3).

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import readline from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import {
  common, connect, feedbackOf, inboxOf, message, register, registry, service, twins,
} from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { connectRaw, subscribeToMessages } from './support/raw-mqtt.mjs';
import { DEEP_QUEUE, QUICK_FEEDBACK, SHORT_LOCK } from './support/settings.mjs';
import { TRANSPORTS, inTurn } from './support/transports.mjs';
import { within } from './support/waiting.mjs';

const hub = new Hub('node-durability.downlink.test', {
  ...DEEP_QUEUE, ...QUICK_FEEDBACK, ...SHORT_LOCK,
});

before(() => hub.start());
after(() => hub.stop());

/** Ends the hub without a warning and starts it on the same data. */
async function crash() {
  await hub.kill();
  await hub.start();
}

/** A service client of the process that is about to be killed. */
async function doomedService() {
  const client = await service(hub);
  client.setRetryPolicy(new common.NoRetry());
  client.on('disconnect', () => {});
  return client;
}

test('messages accepted before a SIGKILL arrive in order after the restart', async () => {
  const identity = await register(hub);
  const backEnd = await doomedService();
  for (let n = 0; n < 50; n += 1) await backEnd.send(identity.deviceId, message(`${n}`));
  await crash();

  const inbox = inboxOf(await connect(hub, identity.connectionString));
  const got = await inbox.take(50, 'the accepted messages');
  assert.deepEqual(got.map((each) => each.data.toString()), [...Array(50).keys()].map(String));
});

test('a SIGKILL in the middle of a burst loses nothing that was acknowledged to the sender', async () => {
  const identity = await register(hub);
  const program = fileURLToPath(new URL('./support/burst.mjs', import.meta.url));
  const sender = spawn(process.execPath, [program, hub.policy('service'), identity.deviceId, '5000'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = once(sender, 'exit');
  const accepted = new Set();
  const lines = readline.createInterface({ input: sender.stdout });
  const printed = once(lines, 'close');
  const enough = new Promise((resolve) => {
    lines.on('line', (line) => {
      accepted.add(line);
      if (accepted.size === 500) resolve();
    });
  });
  await within(enough, 'five hundred acceptances', 30_000);
  await hub.kill();
  sender.kill();
  await Promise.all([ended, printed]);
  assert.ok(accepted.size < 5000, 'the hub died in the middle');
  await hub.start();

  const inbox = inboxOf(await connect(hub, identity.connectionString));
  const missing = new Set(accepted);
  while (missing.size > 0) {
    missing.delete((await inbox.next(`${missing.size} more accepted messages`)).data.toString());
  }
});

test('a message in a device\'s hands at a SIGKILL is delivered again after the restart', async () => {
  const identity = await register(hub);
  const backEnd = await doomedService();
  const raw = await connectRaw(hub, identity, { acknowledges: () => false });
  await subscribeToMessages(raw.client, identity.deviceId);
  await backEnd.send(identity.deviceId, message('held'));
  await raw.packets.next('the first delivery');
  await crash();

  // The session, and with it the subscription, survived too. The lock lapses by itself.
  const again = await connectRaw(hub, identity);
  assert.equal(again.connack.sessionPresent, true);
  const packet = await again.packets.next('the second delivery', 20_000);
  assert.equal(packet.payload.toString(), 'held');
});

test('identities, twins and feedback survive a SIGKILL', async () => {
  const identity = await register(hub);
  const backEnd = await doomedService();
  const client = await connect(hub, identity.connectionString);
  const inbox = inboxOf(client);
  const sent = message('report me', { ack: 'full' });
  await backEnd.send(identity.deviceId, sent);
  await inbox.next('the message');
  const { responseBody: twin } = await twins(hub).updateTwin(
    identity.deviceId, { tags: { site: 'zrh' }, properties: { desired: { n: 1 } } }, '*',
  );
  await client.close();
  await crash();

  const { responseBody: read } = await registry(hub).get(identity.deviceId);
  assert.deepEqual(read.authentication.symmetricKey, { ...identity.authentication.symmetricKey });
  assert.equal(read.generationId, identity.generationId);
  const { responseBody: twinAfter } = await twins(hub).getTwin(identity.deviceId);
  assert.equal(twinAfter.etag, twin.etag);
  assert.equal(twinAfter.properties.desired.n, 1);
  assert.equal(twinAfter.tags.site, 'zrh');
  const feedback = await feedbackOf(await service(hub));
  assert.equal((await feedback.about(sent.messageId, 30_000)).statusCode, 'Success');
});

inTurn(TRANSPORTS, 'a device and a back-end find a hub that was started again by themselves', async (Transport) => {
  const identity = await register(hub);
  const backEnd = await service(hub);
  backEnd.on('disconnect', () => {});
  const client = await connect(hub, identity.connectionString, Transport);
  const inbox = inboxOf(client);
  client.onDeviceMethod('ping', (_request, response) => response.send(200, 'pong', () => {}));
  await backEnd.send(identity.deviceId, message('before'));
  await inbox.next('the message before');
  await hub.restart();

  await within(backEnd.send(identity.deviceId, message('after')), 'the back-end to be back', 30_000);
  // The end may have overtaken the device's word on the first message, which then comes again.
  await inbox.find((each) => each.data.toString() === 'after', 'the message after', 30_000);
  const { result } = await backEnd.invokeDeviceMethod(identity.deviceId, {
    methodName: 'ping', connectTimeoutInSeconds: 25, responseTimeoutInSeconds: 30,
  });
  assert.deepEqual(result, { status: 200, payload: 'pong' });
});

test('a second start keeps the connection strings of the first', async () => {
  const before = hub.facts;
  await hub.stop();
  await hub.start();
  assert.deepEqual(hub.facts.policies, before.policies);
  assert.deepEqual(hub.facts.device, before.device);
});

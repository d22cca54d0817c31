// Devices on AMQP: what MQTT cannot do, and what the SDK does not show (amqp.md §2 to §7).

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';

import {
  Amqp, DeviceClient, connect, device, deviceToken, feedbackOf, inboxOf, message, policyToken, register,
  registry, service, settled, twins, unsettledOf,
} from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import {
  attachReceiver, attachSender, bytesOf, dataMessage, devicebound, events, isAccepted, lockTokenOf, openRaw, rhea,
  textOf,
} from './support/raw-amqp.mjs';
import { connectRaw, subscribeToMessages } from './support/raw-mqtt.mjs';
import { QUICK_FEEDBACK, SHORT_GRACE, SHORT_LOCK } from './support/settings.mjs';
import { AMQP, over } from './support/transports.mjs';
import { Inbox, eventually, within } from './support/waiting.mjs';

/** The hub's name in user names and feedback: the first label of its host name. */
const HUB_NAME = 'node-amqp';
const BATCH_FORMAT = 0x80013700;

const hub = new Hub('node-amqp.downlink.test', { ...QUICK_FEEDBACK, ...SHORT_LOCK, ...SHORT_GRACE });
let backEnd;
let feedback;

before(async () => {
  await hub.start();
  backEnd = await service(hub);
  feedback = await feedbackOf(backEnd);
});
after(() => hub.stop());

/** A raw connection on which the identities' tokens have been put. */
async function authorized(...identities) {
  const raw = await openRaw(hub);
  const answers = await Promise.all(identities.map((identity) => raw.putToken(deviceToken(hub, identity))));
  for (const { status, description } of answers) assert.equal(status, 200, description);
  return raw;
}

/** A new device with a connection and a session of its own. */
async function rawDevice() {
  const identity = await register(hub);
  const raw = await authorized(identity);
  return { identity, raw, session: await raw.session() };
}

/** Waits until the hub has worked off everything this connection has sent. */
async function answered(raw, identity) {
  await raw.putToken(deviceToken(hub, identity));
}

describe('settlement', { concurrency: 8 }, () => {
  over(AMQP, 'an abandoned message comes again and may be completed then', async (Transport) => {
    const identity = await register(hub);
    const client = await connect(hub, identity.connectionString, Transport);
    const inbox = unsettledOf(client);
    const sent = message('again', { ack: 'full' });
    await backEnd.send(identity.deviceId, sent);

    await client.abandon(await inbox.next('the first delivery'));
    const second = await inbox.next('the second delivery');
    assert.equal(second.messageId, sent.messageId);
    assert.equal(second.data.toString(), 'again');
    await client.complete(second);
    assert.equal((await feedback.about(sent.messageId)).statusCode, 'Success');
    assert.equal(inbox.size, 0);
  });

  over(AMQP, 'a rejected message never comes again and is reported as Rejected', async (Transport) => {
    const identity = await register(hub);
    const client = await connect(hub, identity.connectionString, Transport);
    const inbox = unsettledOf(client);
    const sent = message('no', { ack: 'negative' });
    await backEnd.send(identity.deviceId, sent);

    await client.reject(await inbox.next('the message'));
    const record = await feedback.about(sent.messageId);
    assert.equal(record.statusCode, 'Rejected');
    assert.equal(record.description, 'Rejected');
    assert.equal(record.deviceId, identity.deviceId);
    assert.equal(record.deviceGenerationId, identity.generationId);
    const { responseBody } = await registry(hub).get(identity.deviceId);
    assert.equal(responseBody.cloudToDeviceMessageCount, 0);
  });

  test('each released delivery raises the count and gets a lock token of its own', async () => {
    const { identity, session } = await rawDevice();
    const { deliveries } = await attachReceiver(session, devicebound(identity.deviceId), { credit_window: 10 });
    const sent = message('count me', { ack: 'full', properties: { color: 'red' } });
    await backEnd.send(identity.deviceId, sent);

    const got = [];
    for (let n = 0; n < 4; n += 1) {
      const delivered = await deliveries.next(`delivery ${n}`);
      got.push(delivered);
      if (n < 3) delivered.delivery.release();
      else delivered.delivery.accept();
    }
    const annotations = got.map((each) => each.message.message_annotations);
    const first = annotations[0]['iothub-deliverycount'];
    assert.deepEqual(annotations.map((each) => each['iothub-deliverycount'] - first), [0, 1, 2, 3]);
    assert.equal(new Set(got.map(lockTokenOf)).size, 4);
    for (const each of got) {
      assert.equal(each.delivery.tag.length, 16);
      assert.match(lockTokenOf(each), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      assert.ok(!each.delivery.remote_settled);
      assert.equal(textOf(each), 'count me');
      assert.equal(each.message.message_id, sent.messageId);
      assert.equal(each.message.to, devicebound(identity.deviceId));
      assert.equal(each.message.application_properties.color, 'red');
    }
    assert.equal(new Set(annotations.map((each) => Number(each['x-opt-sequence-number']))).size, 1);
    assert.ok(Math.abs(annotations[0]['iothub-enqueuedtime'] - Date.now()) < 60_000);
    assert.equal((await feedback.about(sent.messageId)).statusCode, 'Success');
  });

  test('a modified delivery is an abandoned one, or a rejected one when it is undeliverable here', async () => {
    const { identity, session } = await rawDevice();
    const { deliveries } = await attachReceiver(session, devicebound(identity.deviceId), { credit_window: 10 });
    const sent = message('modified', { ack: 'full' });
    await backEnd.send(identity.deviceId, sent);
    (await deliveries.next('the first delivery')).delivery.modified({ delivery_failed: true });
    (await deliveries.next('the second delivery')).delivery.modified({ undeliverable_here: true });
    assert.equal((await feedback.about(sent.messageId)).statusCode, 'Rejected');
  });

  test('a client that settles second is told that its outcome holds', async () => {
    const { identity, session } = await rawDevice();
    const { link, deliveries } = await attachReceiver(session, devicebound(identity.deviceId), {
      credit_window: 10, rcv_settle_mode: 1,
    });
    assert.equal(link.rcv_settle_mode, 1, 'the hub echoes the mode');
    const wanted = [];
    for (const [outcome, status] of [['accept', 'Success'], ['reject', 'Rejected']]) {
      const sent = message(outcome, { ack: 'full' });
      await backEnd.send(identity.deviceId, sent);
      const { delivery } = await deliveries.next(outcome);
      const answer = once(link, 'settled');
      delivery[outcome]();
      const [context] = await within(answer, 'the hub to settle too');
      assert.equal(context.delivery.id, delivery.id);
      assert.ok(isAccepted(context.delivery), 'whatever the outcome was');
      wanted.push([sent.messageId, status]);
    }
    for (const [id, status] of wanted) assert.equal((await feedback.about(id)).statusCode, status);
  });

  test('what was in hand when the link goes comes again to the next one, uncounted as abandoned', async () => {
    const { identity, raw, session } = await rawDevice();
    const { deliveries } = await attachReceiver(session, devicebound(identity.deviceId), { credit_window: 10 });
    for (const n of [0, 1, 2]) await backEnd.send(identity.deviceId, message(`${n}`));
    const held = await deliveries.take(3, 'deliveries');
    raw.destroy();

    const again = await authorized(identity);
    const next = await attachReceiver(await again.session(), devicebound(identity.deviceId), { credit_window: 10 });
    const got = await next.deliveries.take(3, 'deliveries again');
    assert.deepEqual(got.map(textOf), ['0', '1', '2']);
    assert.ok(!held.map(lockTokenOf).includes(lockTokenOf(got[0])));
  });
});

describe('a link\'s bounds', () => {
  test('a device gets exactly as many messages as it gave credit for', async () => {
    const { identity, raw, session } = await rawDevice();
    for (let n = 0; n < 5; n += 1) await backEnd.send(identity.deviceId, message(`${n}`));
    const { link, deliveries } = await attachReceiver(session, devicebound(identity.deviceId));
    await answered(raw, identity);
    assert.equal(deliveries.size, 0, 'nothing without credit');

    link.add_credit(2);
    const first = await deliveries.take(2, 'two messages');
    for (const { delivery } of first) delivery.accept();
    await answered(raw, identity);
    assert.equal(deliveries.size, 0, 'no third one');

    link.add_credit(3);
    const rest = await deliveries.take(3, 'three messages');
    assert.deepEqual([...first, ...rest].map(textOf), ['0', '1', '2', '3', '4']);
  });

  test('a drained link uses its credit up', async () => {
    const { identity, session } = await rawDevice();
    await backEnd.send(identity.deviceId, message('the only one'));
    const { link, deliveries } = await attachReceiver(session, devicebound(identity.deviceId));
    const drained = once(link, 'receiver_drained');
    link.drain = true;
    link.add_credit(10);
    await within(drained, 'the hub to drain');
    assert.equal(link.credit, 0);
    assert.equal(link.delivery_count, 10);
    assert.equal(textOf(await deliveries.next('the message')), 'the only one');
  });

  test('a 60 KB message arrives whole at a client whose frames are small', async () => {
    const identity = await register(hub);
    const raw = await openRaw(hub, { max_frame_size: 4096 });
    await raw.putToken(deviceToken(hub, identity));
    const { deliveries } = await attachReceiver(await raw.session(), devicebound(identity.deviceId), {
      credit_window: 10,
    });
    const large = Buffer.alloc(60 * 1024, 'downlink ');
    await backEnd.send(identity.deviceId, message(large));
    assert.ok(large.equals(bytesOf(await deliveries.next('the message'))));
  });

  test('telemetry may come in batches, and one that is too large is refused without the link', async () => {
    const { identity, session } = await rawDevice();
    const { send } = await attachSender(session, events(identity.deviceId));
    const inner = [1, 2, 3].map((n) => rhea.message.encode(dataMessage(`{"n":${n}}`, { message_id: `m${n}` })));
    await send(rhea.message.encode({ body: rhea.message.data_sections(inner) }), BATCH_FORMAT);
    await assert.rejects(send(dataMessage(Buffer.alloc(257 * 1024))), (error) => {
      assert.equal(error.condition, 'amqp:link:message-size-exceeded', error.message);
      return true;
    });
    await send(dataMessage('{"n":4}'));
  });
});

describe('addresses and rights', () => {
  const foreign = [
    ['/devices/x/nonsense', 'amqp:not-found'],
    ['nonsense', 'amqp:not-found'],
    [devicebound('someone-else'), 'amqp:unauthorized-access'],
    ['/messages/serviceBound/feedback', 'amqp:unauthorized-access'],
  ];

  test('an address the hub does not have, or the token does not cover, is refused cleanly', async () => {
    const { identity, session, raw } = await rawDevice();
    for (const [address, condition] of foreign) {
      for (const attach of [attachReceiver, attachSender]) {
        await assert.rejects(attach(session, address), (error) => {
          // A back-end's address gives a device nothing, whichever way the link goes.
          assert.ok(['amqp:not-found', condition].includes(error.condition), `${address}: ${error.message}`);
          return true;
        });
      }
    }
    const { deliveries } = await attachReceiver(session, devicebound(identity.deviceId), { credit_window: 1 });
    await backEnd.send(identity.deviceId, message('still here'));
    assert.equal(textOf(await deliveries.next('the message')), 'still here');
    await answered(raw, identity);
  });

  test('before a token there is nothing but the place to put one', async () => {
    const identity = await register(hub);
    const raw = await openRaw(hub);
    const session = await raw.session();
    await assert.rejects(attachReceiver(session, devicebound(identity.deviceId)), {
      condition: 'amqp:unauthorized-access',
    });
    assert.equal((await raw.putToken(deviceToken(hub, identity, -3600))).status, 401);
    const { deviceId } = await register(hub);
    assert.equal((await raw.putToken(deviceToken(hub, { ...identity, deviceId }))).status, 401);
    assert.equal((await raw.putToken(deviceToken(hub, identity))).status, 200);
    await attachReceiver(session, devicebound(identity.deviceId));
  });

  test('an address may be a URI of any case', async () => {
    const { identity, session } = await rawDevice();
    const address = `amqps://${hub.hostName}:5671/Devices/${identity.deviceId}/messages/deviceBound`;
    const { deliveries } = await attachReceiver(session, address, { credit_window: 1 });
    await backEnd.send(identity.deviceId, message('hello'));
    assert.equal(textOf(await deliveries.next('the message')), 'hello');
  });

  test('an id of odd characters may stand in an address as it is or encoded', async () => {
    const identity = await register(hub, `a%b+c$d=e#f?g@h-${randomUUID()}`);
    const raw = await authorized(identity);
    for (const id of [identity.deviceId, encodeURIComponent(identity.deviceId)]) {
      const session = await raw.session();
      const { link, deliveries, ended } = await attachReceiver(session, devicebound(id), {
        credit_window: 1, autoaccept: true,
      });
      await backEnd.send(identity.deviceId, message(id));
      assert.equal(textOf(await deliveries.next('the message')), id);
      link.close();
      await within(ended, 'the hub to detach too');
    }
  });

  test('a device may sign in with a password', async () => {
    const identity = await register(hub);
    const raw = await openRaw(hub, {
      username: `${identity.deviceId}@sas.${HUB_NAME}`, password: deviceToken(hub, identity),
    });
    const session = await raw.session();
    const { deliveries } = await attachReceiver(session, devicebound(identity.deviceId), { credit_window: 1 });
    await backEnd.send(identity.deviceId, message('hello'));
    assert.equal(textOf(await deliveries.next('the message')), 'hello');
    const { send } = await attachSender(session, events(identity.deviceId));
    await send(dataMessage('{}'));
  });

  test('a wrong password opens no connection', async () => {
    const { deviceId } = await register(hub);
    const other = await register(hub);
    const opening = openRaw(hub, {
      username: `${deviceId}@sas.${HUB_NAME}`, password: deviceToken(hub, { ...other, deviceId }),
    });
    await assert.rejects(opening, (error) => !/waited/.test(error.message));
  });
});

describe('many devices on one connection', () => {
  const LINK = 'TelemetryReceiverLink';

  /** Attaches a device as the C# SDK's pool does: a session each, the same link names in all of them. */
  async function ride(raw, identity) {
    const session = await raw.session();
    const telemetry = await attachSender(session, events(identity.deviceId), { name: 'TelemetrySenderLink' });
    const messages = await attachReceiver(session, devicebound(identity.deviceId), {
      name: LINK, credit_window: 10, autoaccept: true,
    });
    return { identity, telemetry, messages };
  }

  test('fifty devices share a connection, and the end of one leaves forty-nine', async () => {
    const identities = await Promise.all([...Array(50)].map(() => register(hub)));
    const raw = await authorized(...identities);
    const riders = await Promise.all(identities.map((identity) => ride(raw, identity)));
    const sendAll = (some, data) =>
      Promise.all(some.map(({ identity }) => backEnd.send(identity.deviceId, message(`${data} ${identity.deviceId}`))));
    const getAll = async (some, data) => {
      for (const { identity, messages } of some) {
        assert.equal(textOf(await messages.deliveries.next(`the message of ${identity.deviceId}`)), `${data} ${identity.deviceId}`);
      }
    };
    await sendAll(riders, 'hello');
    await getAll(riders, 'hello');

    const [unlucky, ...rest] = riders;
    await registry(hub).delete(unlucky.identity.deviceId);
    const faults = await within(Promise.all([unlucky.telemetry.ended, unlucky.messages.ended]), 'the links to be detached');
    for (const fault of faults) assert.equal(fault.condition, 'amqp:not-found', fault.message);

    await sendAll(rest, 'still');
    await getAll(rest, 'still');
    await within(Promise.all(rest.map(({ telemetry }) => telemetry.send(dataMessage('{}')))), 'telemetry of all');
  });

  test('a token of a policy with device connect carries any device', async () => {
    const identities = await Promise.all([1, 2, 3].map(() => register(hub)));
    const raw = await openRaw(hub);
    assert.equal((await raw.putToken(policyToken(hub, 'device'))).status, 200);
    const riders = await Promise.all(identities.map((identity) => ride(raw, identity)));
    for (const { identity, messages } of riders) {
      await backEnd.send(identity.deviceId, message('hello'));
      assert.equal(textOf(await messages.deliveries.next('the message')), 'hello');
    }
  });

  test('one link name may be used again right after its detach', async () => {
    const { identity, session } = await rawDevice();
    for (let n = 0; n < 5; n += 1) {
      const { link, ended } = await attachReceiver(session, devicebound(identity.deviceId), { name: LINK });
      link.close();
      await within(ended, 'the hub to detach too');
    }
  });
});

describe('one device, one client', { concurrency: 8 }, () => {
  over(AMQP, 'the newer of two clients wins, and the older one is told and stays away', async (Transport) => {
    const identity = await register(hub);
    const older = await connect(hub, identity.connectionString, Transport);
    const olderInbox = inboxOf(older);
    await settled(older);
    const gone = once(older, 'disconnect');
    const newer = await connect(hub, identity.connectionString, Transport);
    const newerInbox = inboxOf(newer);
    await within(gone, 'the older client to be disconnected');
    await backEnd.send(identity.deviceId, message('for the newer'));
    assert.equal((await newerInbox.next('the message')).data.toString(), 'for the newer');
    assert.equal(olderInbox.size, 0);
  });

  test('a newer session of a device takes the older one\'s links, on the same connection too', async () => {
    const { identity, raw, session } = await rawDevice();
    const older = await attachReceiver(session, devicebound(identity.deviceId), { credit_window: 1 });
    const newer = await attachReceiver(await raw.session(), devicebound(identity.deviceId), { credit_window: 1 });
    assert.equal((await within(older.ended, 'the older link to end')).condition, 'amqp:link:stolen');
    await backEnd.send(identity.deviceId, message('for the newer'));
    assert.equal(textOf(await newer.deliveries.next('the message')), 'for the newer');
  });

  test('the newer client wins whichever protocol the two speak', async () => {
    const identity = await register(hub);
    const first = await connectRaw(hub, identity);
    await subscribeToMessages(first.client, identity.deviceId);
    const raw = await authorized(identity);
    const second = await attachReceiver(await raw.session(), devicebound(identity.deviceId), { credit_window: 1 });
    await within(first.closed, 'the client on MQTT to be closed');
    await backEnd.send(identity.deviceId, message('for AMQP'));
    const delivered = await second.deliveries.next('the message on AMQP');
    assert.equal(textOf(delivered), 'for AMQP');

    const third = await connectRaw(hub, identity);
    assert.equal((await within(second.ended, 'the link on AMQP to end')).condition, 'amqp:link:stolen');
    // What the client on AMQP had in hand goes to the one on MQTT.
    assert.equal((await third.packets.next('the message on MQTT')).payload.toString(), 'for AMQP');
  });

  over(AMQP, 'a device that is disabled is disconnected as unauthorized', async (Transport) => {
    const identity = await register(hub);
    const client = await connect(hub, identity.connectionString, Transport);
    inboxOf(client);
    await settled(client);
    const gone = once(client, 'disconnect');
    await registry(hub).update({ ...identity, status: 'disabled' });
    const [{ transportObj: error }] = await within(gone, 'the client to be disconnected');
    assert.equal(error.name, 'UnauthorizedError', error.message);
  });

  over(AMQP, 'a device that is deleted is disconnected as not found', async (Transport) => {
    const identity = await register(hub);
    const client = await connect(hub, identity.connectionString, Transport);
    inboxOf(client);
    await settled(client);
    const gone = once(client, 'disconnect');
    await registry(hub).delete(identity.deviceId);
    const [{ transportObj: error }] = await within(gone, 'the client to be disconnected');
    assert.equal(error.name, 'DeviceNotFoundError', error.message);
  });

  test('a device whose keys are replaced is detached as unauthorized', async () => {
    const { identity, session } = await rawDevice();
    const { ended } = await attachReceiver(session, devicebound(identity.deviceId));
    const key = (letter) => Buffer.alloc(32, letter).toString('base64');
    await registry(hub).update({
      ...identity, authentication: { symmetricKey: { primaryKey: key('a'), secondaryKey: key('b') } },
    });
    const fault = await within(ended, 'the link to be detached');
    assert.equal(fault.condition, 'amqp:unauthorized-access', fault.message);
  });
});

describe('methods and twins on the wire', () => {
  test('a call carries its id as a uuid, and one that nobody can answer any more fails at once', async () => {
    const { identity, raw, session } = await rawDevice();
    const address = `/devices/${identity.deviceId}/methods/devicebound`;
    const answers = await attachSender(session, address);
    const calls = await attachReceiver(session, address, { credit_window: 10, autoaccept: true });
    const invoke = (methodName) =>
      backEnd.invokeDeviceMethod(identity.deviceId, { methodName, payload: { a: 1 }, responseTimeoutInSeconds: 60 });

    const call = invoke('echo');
    const request = await calls.deliveries.next('the request');
    assert.equal(request.message.application_properties['IoThub-methodname'], 'echo');
    assert.equal(request.message.correlation_id.length, 16);
    assert.equal(textOf(request), '{"a":1}');
    await answers.send(
      dataMessage('{"b":2}', {
        correlation_id: request.message.correlation_id,
        application_properties: { 'IoThub-status': rhea.types.wrap_int(201) },
      }),
    );
    assert.deepEqual((await call).result, { status: 201, payload: { b: 2 } });

    const started = Date.now();
    const orphan = assert.rejects(invoke('orphan'), (error) => {
      assert.equal(error.response.statusCode, 404, error.message);
      assert.equal(error.response.headers['iothub-errorcode'], 'DeviceConnectionClosedRemotely');
      return true;
    });
    await calls.deliveries.next('the second request');
    raw.destroy();
    await orphan;
    assert.ok(Date.now() - started < 5000, `took ${Date.now() - started} ms`);
  });

  test('desired changes come from PUT until DELETE, and a twin request is answered in its own types', async () => {
    const { identity, session } = await rawDevice();
    const address = `/devices/${identity.deviceId}/twin`;
    const properties = { 'com.microsoft:channel-correlation-id': 'twin:1', 'com.microsoft:api-version': '2021-04-12' };
    const requests = await attachSender(session, address, { properties, snd_settle_mode: 1 });
    const replies = await attachReceiver(session, address, {
      properties, snd_settle_mode: 1, credit_window: 100, autoaccept: true,
    });
    const ask = async (operation, resource, body = ' ') => {
      const id = `${operation} ${Math.random()}`;
      const message_annotations = resource ? { operation, resource } : { operation };
      requests.link.send(dataMessage(body, { correlation_id: id, message_annotations }));
      return replies.deliveries.find((each) => each.message.correlation_id === id, `the reply to ${operation}`);
    };
    const status = (reply) => reply.message.message_annotations.status;
    const DESIRED = '/notifications/twin/properties/desired';
    const desire = (n) => twins(hub).updateTwin(identity.deviceId, { properties: { desired: { n } } }, '*');

    const got = await ask('GET');
    assert.equal(status(got), 200);
    assert.equal(got.delivery.remote_settled, true);
    assert.deepEqual(JSON.parse(textOf(got)), { desired: { $version: 1 }, reported: { $version: 1 } });

    assert.equal(status(await ask('PUT', DESIRED)), 200);
    await desire(1);
    const heard = await replies.deliveries.next('the change');
    assert.equal(heard.message.correlation_id, undefined);
    assert.equal(heard.message.message_annotations.resource, '/properties/desired');
    assert.deepEqual(JSON.parse(textOf(heard)), { n: 1, $version: 2 });

    assert.equal(status(await ask('DELETE', DESIRED)), 200);
    await desire(2);
    assert.equal(status(await ask('PUT', DESIRED)), 200);
    await desire(3);
    assert.equal(JSON.parse(textOf(await replies.deliveries.next('the next change'))).n, 3);

    const reported = await ask('PATCH', '/properties/reported', '{"level":7}');
    assert.ok([200, 204].includes(status(reported)));
    assert.equal(Number(reported.message.message_annotations.version), 2);
    assert.equal(bytesOf(reported).length, 0);
    const refused = await ask('PATCH', '/properties/reported', '{"level":');
    assert.equal(status(refused), 400);
    assert.equal(typeof JSON.parse(textOf(refused)), 'object');
    const { responseBody } = await twins(hub).getTwin(identity.deviceId);
    assert.equal(responseBody.properties.reported.level, 7);
  });
});

describe('what time does', { concurrency: 8 }, () => {
  test('a message nobody settles comes again when its lock lapses', async () => {
    const identity = await register(hub);
    const client = await connect(hub, identity.connectionString, Amqp);
    const inbox = unsettledOf(client);
    const sent = message('held', { ack: 'full' });
    await backEnd.send(identity.deviceId, sent);
    const first = await inbox.next('the first delivery');
    const second = await inbox.next('the second delivery', 20_000);
    assert.equal(second.messageId, sent.messageId);
    // The SDK does not know that this one is lost; the hub does not count it.
    await client.complete(first);
    await client.complete(second);
    assert.equal((await feedback.about(sent.messageId)).statusCode, 'Success');
  });

  test('an outcome after the lock has lapsed is answered with lock lost', async () => {
    const { identity, session } = await rawDevice();
    const { link, deliveries } = await attachReceiver(session, devicebound(identity.deviceId), {
      credit_window: 10, rcv_settle_mode: 1,
    });
    await backEnd.send(identity.deviceId, message('held'));
    const first = await deliveries.next('the first delivery');
    const second = await deliveries.next('the second delivery', 20_000);
    const count = (each) => each.message.message_annotations['iothub-deliverycount'];
    assert.equal(count(second), count(first) + 1);
    assert.notEqual(lockTokenOf(first), lockTokenOf(second));

    const answers = new Inbox();
    link.on('settled', (context) => answers.push(context.delivery));
    first.delivery.accept();
    const late = await answers.next('the answer to the late outcome');
    assert.equal(late.remote_state.error.condition, 'com.microsoft:message-lock-lost');
    second.delivery.accept();
    assert.ok(isAccepted(await answers.next('the answer in time')));
  });

  test('links end as unauthorized with their token, and those of others on the connection do not', async () => {
    const [short, long] = [await register(hub), await register(hub)];
    const raw = await authorized(long);
    assert.equal((await raw.putToken(deviceToken(hub, short, 2))).status, 200);
    const session = await raw.session();
    const ending = await attachReceiver(session, devicebound(short.deviceId));
    const staying = await attachReceiver(await raw.session(), devicebound(long.deviceId), { credit_window: 1 });
    const fault = await within(ending.ended, 'the token to end');
    assert.equal(fault.condition, 'amqp:unauthorized-access');
    assert.match(fault.description, /Token Invalid/i);

    await backEnd.send(long.deviceId, message('still here'));
    assert.equal(textOf(await staying.deliveries.next('the message')), 'still here');
    await assert.rejects(attachReceiver(session, devicebound(short.deviceId)), { condition: 'amqp:unauthorized-access' });
    assert.equal((await raw.putToken(deviceToken(hub, short))).status, 200);
    await attachReceiver(session, devicebound(short.deviceId));
  });

  test('a renewed token keeps the links it replaces another for', async () => {
    const identity = await register(hub);
    const raw = await openRaw(hub);
    const renew = async () => assert.equal((await raw.putToken(deviceToken(hub, identity, 3))).status, 200);
    await renew();
    const session = await raw.session();
    const { deliveries, ended } = await attachReceiver(session, devicebound(identity.deviceId), {
      credit_window: 1000, autoaccept: true,
    });
    const telemetry = await attachSender(session, events(identity.deviceId));
    // The first token ends within this time, and its grace.
    const end = Date.now() + 6000;
    let renewal = Date.now() + 1000;
    let sent = 0;
    for (; Date.now() < end; sent += 1) {
      if (Date.now() > renewal) {
        await renew();
        renewal = Date.now() + 1000;
      }
      await backEnd.send(identity.deviceId, message(`${sent}`));
      assert.equal(textOf(await deliveries.next('the message')), `${sent}`);
      await telemetry.send(dataMessage(`${sent}`));
    }
    assert.ok(sent > 10, `${sent} messages crossed the renewals`);
    const fault = await Promise.race([ended, answered(raw, identity)]);
    assert.equal(fault, undefined, 'the link lives on');
  });

  over(AMQP, 'a client renews its short-lived token by itself and loses neither messages nor its connection', async (Transport) => {
    const identity = await register(hub);
    const client = await device(hub, identity.connectionString, Transport);
    // Each token would end within the test without the next one.
    await client.setOptions({ tokenRenewal: { tokenValidTimeInSeconds: 3, tokenRenewalMarginInSeconds: 2 } });
    await client.open();
    let connections = 0;
    client.on('connect', () => { connections += 1; });
    const inbox = inboxOf(client);
    const end = Date.now() + 6500;
    let sent = 0;
    for (; Date.now() < end; sent += 1) {
      await backEnd.send(identity.deviceId, message(`${sent}`));
      assert.equal((await inbox.next('the message')).data.toString(), `${sent}`);
      await client.sendEvent(message(`${sent}`));
    }
    assert.equal(connections, 0, 'no second connection');
    assert.equal(inbox.size, 0, 'nothing came twice');
  });

  test('a client whose token ends is disconnected as unauthorized', async () => {
    const identity = await register(hub);
    const client = DeviceClient.fromSharedAccessSignature(deviceToken(hub, identity, 3), Amqp);
    await client.setOptions({ ca: hub.caFile });
    hub.beforeStop(() => client.close());
    await client.open();
    inboxOf(client);
    const [{ transportObj: error }] = await within(once(client, 'disconnect'), 'the token to end');
    assert.equal(error.name, 'UnauthorizedError', error.message);
  });

  test('a connection that was opened with a password ends with it', async () => {
    const identity = await register(hub);
    const raw = await openRaw(hub, {
      username: `${identity.deviceId}@sas.${HUB_NAME}`, password: deviceToken(hub, identity, 2),
    });
    await attachReceiver(await raw.session(), devicebound(identity.deviceId));
    const fault = await within(raw.closed, 'the connection to be closed');
    assert.equal(fault.condition, 'amqp:unauthorized-access', fault.message);
  });

  test('a device that takes no part any more is Disconnected', async () => {
    const { identity, session } = await rawDevice();
    const { link } = await attachReceiver(session, devicebound(identity.deviceId));
    const stateIs = (state) =>
      eventually(async () => {
        const { responseBody } = await registry(hub).get(identity.deviceId);
        return responseBody.connectionState === state;
      }, `the state ${state}`);
    await stateIs('Connected');
    link.close();
    await stateIs('Disconnected');
  });
});

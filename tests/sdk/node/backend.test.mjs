// Back-ends on AMQP (amqp.md §8, §3.4).

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import {
  Amqp, Mqtt, connect, feedbackOf, inboxOf, iothub, message, policyToken, register, service,
} from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import {
  attachReceiver, attachSender, dataMessage, devicebound, isAccepted, lockTokenOf, openRaw, textOf,
} from './support/raw-amqp.mjs';
import { QUICK_FEEDBACK, SHORT_GRACE } from './support/settings.mjs';
import { inTurn } from './support/transports.mjs';
import { Inbox, within } from './support/waiting.mjs';

/** The hub's name in user names and feedback: the first label of its host name. */
const HUB_NAME = 'node-amqpback';
const COMMANDS = '/messages/devicebound';
const FEEDBACK = '/messages/serviceBound/feedback';
const FILES = '/messages/serviceBound/filenotifications';

const hub = new Hub('node-amqpback.downlink.test', { ...QUICK_FEEDBACK, ...SHORT_GRACE });

before(() => hub.start());
after(() => hub.stop());

/** A raw connection with the token of the policy for back-ends. */
async function authorized(seconds) {
  const raw = await openRaw(hub);
  const { status, description } = await raw.putToken(policyToken(hub, 'service', seconds));
  assert.equal(status, 200, description);
  return raw;
}

/** A command as back-ends put it on the wire. */
function command(deviceId, data, fields = {}) {
  return dataMessage(data, { to: devicebound(encodeURIComponent(deviceId)), ...fields });
}

/** Asks for feedback of every outcome. */
const ASKING = { application_properties: { 'iothub-ack': 'full' } };

/** The records of a delivery on the feedback link. */
const recordsOf = (delivered) => JSON.parse(textOf(delivered));

const SERVICES = [iothub.Amqp, iothub.AmqpWs];

describe('the service SDK', () => {
  inTurn(SERVICES, 'a command is sent, answered with feedback, and refused with the SDK\'s own errors', async (Transport) => {
    const identity = await register(hub);
    const backEnd = await service(hub, Transport);
    const feedback = await feedbackOf(backEnd);
    const inbox = inboxOf(await connect(hub, identity.connectionString, Amqp));
    const sent = message('do it', { ack: 'full', properties: { color: 'red' } });
    await backEnd.send(identity.deviceId, sent);
    const got = await inbox.next('the message');
    assert.equal(got.data.toString(), 'do it');
    assert.equal(got.properties.getValue('color'), 'red');
    assert.equal((await feedback.about(sent.messageId)).statusCode, 'Success');

    await assert.rejects(backEnd.send('nobody', message('x')), (error) => {
      assert.equal(error.name, 'DeviceNotFoundError', error.message);
      return true;
    });
    await assert.rejects(backEnd.send(identity.deviceId, message(Buffer.alloc(65 * 1024))), (error) => {
      assert.equal(error.name, 'MessageTooLargeError', error.message);
      return true;
    });
    await backEnd.send(identity.deviceId, message('after the refusals'));
    assert.equal((await inbox.next('the message')).data.toString(), 'after the refusals');
    await backEnd.close();
  });

  inTurn(SERVICES, 'a wrong policy key opens no client', async (Transport) => {
    const wrong = hub.policy('service').replace(/SharedAccessKey=.*/, `SharedAccessKey=${'A'.repeat(43)}=`);
    await assert.rejects(within(iothub.Client.fromConnectionString(wrong, Transport).open(), 'a refusal'), (error) => {
      assert.ok(error.amqpError, error.message);
      assert.equal(error.amqpError.name, 'UnauthorizedError', error.message);
      return true;
    });
  });

  inTurn(SERVICES, 'a receiver of file notifications attaches and stays silent', async (Transport) => {
    const backEnd = await service(hub, Transport);
    const { result: receiver } = await backEnd.getFileNotificationReceiver();
    receiver.on('message', () => assert.fail('nobody uploads files'));
    await backEnd.send((await register(hub)).deviceId, message('the connection works'));
    await backEnd.close();
  });

  test('a thousand commands on one link reach fifty devices, each in its order', async () => {
    const COUNT = 1000;
    const backEnd = await service(hub);
    const devices = await Promise.all([...Array(50)].map(() => register(hub)));
    const inboxes = await Promise.all(
      devices.map(async ({ connectionString }, n) => inboxOf(await connect(hub, connectionString, n % 2 ? Amqp : Mqtt))),
    );
    await backEnd.send(devices[0].deviceId, message('warm-up'));
    await inboxes[0].next('the warm-up');
    const sends = [...Array(COUNT).keys()].map((n) => backEnd.send(devices[n % 50].deviceId, message(`${n}`)));
    await within(Promise.all(sends), 'a thousand acceptances', 60_000);
    for (const [position, inbox] of inboxes.entries()) {
      const got = await inbox.take(COUNT / 50, `the commands of device ${position}`, 60_000);
      assert.deepEqual(got.map((each) => Number(each.data)), [...Array(COUNT / 50).keys()].map((n) => n * 50 + position));
      assert.equal(inbox.size, 0);
    }
  });
});

describe('one link', () => {
  test('refusals in the middle of a burst concern their own command only', async () => {
    const { deviceId } = await register(hub);
    const { send } = await attachSender(await (await authorized()).session(), COMMANDS);
    const fates = [
      [command(deviceId, '0'), null],
      [command('nobody', '1'), 'amqp:not-found'],
      [command(deviceId, '2'), null],
      [dataMessage('3'), 'amqp:not-allowed'],
      [command(deviceId, '4', { to: 'nonsense' }), 'amqp:not-allowed'],
      [command(deviceId, Buffer.alloc(65 * 1024)), 'amqp:link:message-size-exceeded'],
      [command(deviceId, '6', { absolute_expiry_time: Date.now() - 1000 }), 'amqp:not-allowed'],
      [command(deviceId, '7', { application_properties: { 'iothub-ack': 'perhaps' } }), 'com.microsoft:argument-error'],
      [command(deviceId, '8'), null],
    ];
    const outcomes = await Promise.allSettled(fates.map(([each]) => send(each)));
    assert.deepEqual(outcomes.map(({ reason }) => reason?.condition ?? null), fates.map(([, condition]) => condition));

    const identity = await register(hub);
    const full = await Promise.allSettled([...Array(51).keys()].map((n) => send(command(identity.deviceId, `${n}`))));
    assert.deepEqual(full.filter(({ status }) => status === 'fulfilled').length, 50);
    assert.equal(full.at(-1).reason.condition, 'amqp:resource-limit-exceeded');
  });

  test('a back-end without the right to send gets no link', async () => {
    const raw = await openRaw(hub);
    assert.equal((await raw.putToken(policyToken(hub, 'registryRead'))).status, 200);
    const session = await raw.session();
    for (const attaching of [attachSender(session, COMMANDS), attachReceiver(session, FEEDBACK)]) {
      await assert.rejects(attaching, { condition: 'amqp:unauthorized-access' });
    }
  });

  test('a back-end may sign in with a password and its addresses may be URIs', async () => {
    const { deviceId } = await register(hub);
    const raw = await openRaw(hub, { username: `service@sas.root.${HUB_NAME}`, password: policyToken(hub, 'service') });
    const session = await raw.session();
    const { send } = await attachSender(session, `amqps://${hub.hostName}:5671/messages/deviceBound`);
    await send(command(deviceId, 'x', { to: `amqps://${hub.hostName}${devicebound(deviceId)}` }));
    await attachReceiver(session, FEEDBACK.toLowerCase());
    await attachReceiver(session, FILES, { credit_window: 1 });
  });
});

describe('feedback receivers', () => {
  /** A receiver of feedback on a connection of its own. */
  async function receiver(options, deliveries) {
    const raw = await authorized();
    return { raw, ...(await attachReceiver(await raw.session(), FEEDBACK, options, deliveries)) };
  }

  test('two receivers share the feedback, and what one releases comes again to either', async () => {
    const identity = await register(hub);
    const deliveries = new Inbox();
    const receivers = [await receiver({ credit_window: 10 }, deliveries), await receiver({ credit_window: 10 }, deliveries)];
    const inbox = inboxOf(await connect(hub, identity.connectionString, Amqp));
    const backEnd = await service(hub);
    const sent = message('x', { ack: 'full' });
    await backEnd.send(identity.deviceId, sent);
    await inbox.next('the message');

    const isAboutIt = (each) => recordsOf(each).some(({ originalMessageId }) => originalMessageId === sent.messageId);
    const next = () => deliveries.find(isAboutIt, 'the feedback');
    const first = await next();
    assert.equal(first.delivery.tag.length, 16);
    assert.equal(first.message.content_type, 'application/vnd.microsoft.iothub.feedback.json');
    assert.equal(Buffer.from(first.message.user_id).toString(), HUB_NAME);
    assert.ok(Math.abs(first.message.message_annotations['iothub-enqueuedtime'] - Date.now()) < 60_000);
    assert.match(textOf(first), /^[\x20-\x5b\x5d-\x7e]*$/);
    first.delivery.release();
    const second = await next();
    assert.notEqual(lockTokenOf(second), lockTokenOf(first));
    second.delivery.accept();
    await Promise.all(receivers.map(({ raw }) => raw.close()));
  });

  test('a receiver without credit stays attached, and gets one batch for one credit', async () => {
    const identity = await register(hub);
    const { link, deliveries, ended } = await receiver({ rcv_settle_mode: 1 });
    const inbox = inboxOf(await connect(hub, identity.connectionString));
    const backEnd = await service(hub);
    const sent = message('x', { ack: 'full' });
    await backEnd.send(identity.deviceId, sent);
    await inbox.next('the message');
    const settledByHub = new Promise((resolve) => link.on('settled', resolve));
    link.add_credit(1);
    const got = await deliveries.next('the feedback');
    assert.ok(recordsOf(got).some(({ originalMessageId }) => originalMessageId === sent.messageId), textOf(got));
    got.delivery.accept();
    const { delivery } = await within(settledByHub, 'the hub to settle too');
    assert.ok(isAccepted(delivery));
    link.close();
    assert.equal((await within(ended, 'the hub to detach too')).condition, undefined);
  });
});

describe('tokens', { concurrency: 4 }, () => {
  test('a renewed token keeps the link while commands flow', async () => {
    const { deviceId, connectionString } = await register(hub);
    const inbox = inboxOf(await connect(hub, connectionString, Amqp));
    const raw = await authorized(3);
    const { send, ended } = await attachSender(await raw.session(), COMMANDS);
    // The first token ends within this time, and its grace.
    const end = Date.now() + 6000;
    let renewal = Date.now() + 1000;
    let sent = 0;
    for (; Date.now() < end; sent += 1) {
      if (Date.now() > renewal) {
        assert.equal((await raw.putToken(policyToken(hub, 'service', 3))).status, 200);
        renewal = Date.now() + 1000;
      }
      await send(command(deviceId, `${sent}`));
      assert.equal((await inbox.next('the command')).data.toString(), `${sent}`);
    }
    assert.ok(sent > 10, `${sent} commands crossed the renewals`);
    const last = await Promise.race([ended, raw.putToken(policyToken(hub, 'service'))]);
    assert.equal(last.status, 200, 'the link lives on');
  });

  test('without renewal every link of the back-end is detached as unauthorized', async () => {
    const raw = await authorized(2);
    const session = await raw.session();
    const links = await Promise.all([
      attachSender(session, COMMANDS),
      attachReceiver(session, FEEDBACK),
      attachReceiver(session, FILES),
    ]);
    for (const { ended } of links) {
      const fault = await within(ended, 'the link to be detached');
      assert.equal(fault.condition, 'amqp:unauthorized-access', fault.message);
    }
    assert.equal((await raw.putToken(policyToken(hub, 'service'))).status, 200);
    await attachSender(session, COMMANDS);
  });

  test('a password cannot be renewed, so its connection ends with it', async () => {
    const raw = await openRaw(hub, { username: `service@sas.root.${HUB_NAME}`, password: policyToken(hub, 'service', 2) });
    await attachSender(await raw.session(), COMMANDS);
    const fault = await within(raw.closed, 'the connection to be closed');
    assert.equal(fault.condition, 'amqp:unauthorized-access', fault.message);
  });

  test('a client with a token of its own is told when it has ended', async () => {
    const { deviceId } = await register(hub);
    const client = iothub.Client.fromSharedAccessSignature(policyToken(hub, 'service', 2));
    await client.open();
    const gone = new Promise((resolve) => client.on('disconnect', resolve));
    await client.send(deviceId, message('in time'));
    await within(gone, 'the client to be disconnected');
  });
});

// Back-ends with tokens of an issuer of the user's own (auth.md §6): the SDK's `fromTokenCredential`.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { connect, feedbackOf, inboxOf, iothub, message, register, settled } from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { Issuer } from './support/issuer.mjs';
import { QUICK_FEEDBACK, SHORT_GRACE } from './support/settings.mjs';
import { eventually, within } from './support/waiting.mjs';

const hub = new Hub('node-oidc.downlink.test', { ...QUICK_FEEDBACK, ...SHORT_GRACE });
const AMQP = [iothub.Amqp, iothub.AmqpWs];
let issuer;

before(async () => {
  issuer = await Issuer.start('node-issuer');
  hub.environment = { DOWNLINK_CONFIG: issuer.settings };
  await hub.start();
});
after(async () => {
  await hub.stop();
  await issuer.stop();
});

const registryOf = (credential) => iothub.Registry.fromTokenCredential(hub.hostName, credential);

/** The SDK's service client, not opened; it closes before the hub stops. */
function serviceOf(credential, Transport = iothub.Amqp) {
  const client = iothub.Client.fromTokenCredential(hub.hostName, credential, Transport);
  hub.beforeStop(() => client.close());
  return client;
}

async function opened(credential, Transport) {
  const client = serviceOf(credential, Transport);
  await within(client.open(), 'the back-end to be connected');
  return client;
}

/** Asserts that a call over REST fails with this status and name of an error. */
async function assertFails(call, status, name) {
  const error = await call.then(
    () => assert.fail('the call succeeded'),
    (failure) => failure,
  );
  assert.equal(error.response?.statusCode, status, error.message);
  assert.equal(error.response.headers['iothub-errorcode'], name);
  return error;
}

const assertUnauthorized = (promise) =>
  assert.rejects(within(promise, 'a refusal'), (error) => {
    // The AMQP client of the SDK wraps what the hub said, in its own words or the hub's.
    const said = error.amqpError ?? error;
    assert.match(said.name ?? said.condition, /^(UnauthorizedError|amqp:unauthorized-access)$/, error.message);
    return true;
  });

/** Resolves when the SDK's client has lost its connection, which it gives up with any link. */
const lossOf = (client) => new Promise((resolve) => client.once('disconnect', resolve));

test('a token with the right to everything opens registry, twins and methods', async () => {
  const registry = registryOf(issuer.credential('contributor'));
  const deviceId = `device-${randomUUID()}`;
  await registry.create({ deviceId });
  const { responseBody: identity } = await registry.get(deviceId);
  assert.equal(identity.deviceId, deviceId);
  const { responseBody: patched } = await registry.updateTwin(deviceId, { tags: { floor: 2 } }, '*');
  assert.equal(patched.tags.floor, 2);
  const { responseBody: twin } = await registry.getTwin(deviceId);
  assert.equal(twin.tags.floor, 2);
  await registry.delete(deviceId);

  const { deviceId: called, connectionString } = await register(hub);
  const device = await connect(hub, connectionString);
  device.onDeviceMethod('reboot', (request, response) => response.send(200, request.payload, () => {}));
  await settled(device);
  const backEnd = serviceOf(issuer.credential('contributor'));
  const { result } = await backEnd.invokeDeviceMethod(called, { methodName: 'reboot', payload: { delay: 3 } });
  assert.deepEqual(result, { status: 200, payload: { delay: 3 } });
});

for (const Transport of AMQP) {
  test(`a token opens sends and feedback over ${Transport.name}`, async () => {
    const { deviceId, connectionString } = await register(hub);
    const inbox = inboxOf(await connect(hub, connectionString));
    const backEnd = await opened(issuer.credential('contributor'), Transport);
    const feedback = await feedbackOf(backEnd);
    const sent = message('by bearer', { ack: 'full' });
    await backEnd.send(deviceId, sent);
    assert.equal((await inbox.next('the message')).data.toString(), 'by bearer');
    assert.equal((await feedback.about(sent.messageId)).statusCode, 'Success');
    // Records go to one reader of several.
    await backEnd.close();
  });
}

test('a token without the action is refused with 403, whatever else it allows', async () => {
  const { deviceId } = await register(hub);
  const refused = 'GenericForbidden';
  const reader = registryOf(issuer.credential('reader'));
  assert.equal((await reader.get(deviceId)).responseBody.deviceId, deviceId);
  await reader.getTwin(deviceId);
  await assertFails(reader.create({ deviceId: `device-${randomUUID()}` }), 403, refused);
  await assertFails(reader.delete(deviceId), 403, refused);
  await assertFails(reader.updateTwin(deviceId, { tags: {} }, '*'), 403, refused);
  const twinWriter = registryOf(issuer.credential('twin-writer'));
  await twinWriter.updateTwin(deviceId, { tags: { floor: 1 } }, '*');
  await assertFails(twinWriter.get(deviceId), 403, refused);
  const registryWriter = registryOf(issuer.credential('registry-writer'));
  await registryWriter.get(deviceId);
  await assertFails(registryWriter.getTwin(deviceId), 403, refused);
  await assertFails(registryOf(issuer.credential('nobody')).get(deviceId), 403, refused);
  const call = serviceOf(issuer.credential('sender')).invokeDeviceMethod(deviceId, { methodName: 'reboot' });
  await assertFails(call, 403, refused);
});

test('over AMQP a token opens the links of its actions alone', async () => {
  const { deviceId, connectionString } = await register(hub);
  const inbox = inboxOf(await connect(hub, connectionString));
  const sender = await opened(issuer.credential('sender'));
  await sender.send(deviceId, message('allowed'));
  assert.equal((await inbox.next('the message')).data.toString(), 'allowed');
  const lost = lossOf(sender);
  // The SDK takes the answer to its attach for a yes, and hears of the no that follows.
  await sender.getFeedbackReceiver().catch(() => {});
  await within(lost, 'the link to be refused');
  const reader = await opened(issuer.credential('reader'));
  await assertUnauthorized(reader.send(deviceId, message('not allowed')));
});

test('a token for another audience, and one of an issuer that is not trusted, open nothing', async () => {
  const { deviceId } = await register(hub);
  const stranger = await Issuer.start('node-stranger');
  const credentials = [
    issuer.credential('contributor', 'https://other.test'),
    stranger.credential('contributor'),
    { getToken: async () => ({ token: 'a.b.c', expiresOnTimestamp: Date.now() + 3_600_000 }) },
  ];
  for (const credential of credentials) {
    const error = await assertFails(registryOf(credential).get(deviceId), 401, 'IotHubUnauthorized');
    assert.equal(error.name, 'UnauthorizedError');
    for (const Transport of AMQP) await assertUnauthorized(serviceOf(credential, Transport).open());
  }
  await stranger.stop();
});

test('a token for the name of the hub is one for the hub', async () => {
  const { deviceId } = await register(hub);
  const registry = registryOf(issuer.credential('reader', `https://${hub.hostName}`));
  assert.equal((await registry.get(deviceId)).responseBody.deviceId, deviceId);
});

test('a back-end goes on over AMQP while the SDK renews tokens that last seconds', async () => {
  const { deviceId, connectionString } = await register(hub);
  const inbox = inboxOf(await connect(hub, connectionString));
  const credential = issuer.credential('brief');
  const backEnd = await opened(credential);
  let isCut = false;
  backEnd.on('disconnect', () => { isCut = true; });
  const feedback = await feedbackOf(backEnd);
  await backEnd.send(deviceId, message('first'));
  await inbox.next('the first message');
  // The fourth token is given after the first has ended, with its grace.
  await eventually(() => credential.given.length >= 4, 'tokens to be renewed', 30_000);
  assert.ok(Date.now() > credential.given[0].expiresOnTimestamp + 1_000);
  const sent = message('second', { ack: 'full' });
  await backEnd.send(deviceId, sent);
  assert.equal((await inbox.next('the second message')).data.toString(), 'second');
  assert.equal((await feedback.about(sent.messageId)).statusCode, 'Success');
  assert.equal(isCut, false);
  await backEnd.close();
});

test('a token that is not renewed ends the link it was for', async () => {
  const { deviceId } = await register(hub);
  const brief = issuer.credential('brief');
  const token = await brief.getToken();
  // The SDK renews by what the credential tells it, which is not true here.
  const credential = { getToken: async () => ({ ...token, expiresOnTimestamp: Date.now() + 3_600_000 }) };
  const backEnd = await opened(credential);
  await backEnd.send(deviceId, message('in time'));
  await within(lossOf(backEnd), 'the link to end');
  assert.ok(Date.now() >= token.expiresOnTimestamp - 1_000);
  await assertFails(registryOf(credential).get(deviceId), 401, 'IotHubUnauthorized');
});

test('new keys of the issuer are taken without a restart and the old ones no longer', async () => {
  const { deviceId } = await register(hub);
  const old = await issuer.credential('reader').getToken();
  const before = registryOf({ getToken: async () => old });
  await before.get(deviceId);
  await issuer.rotate();
  await registryOf(issuer.credential('reader')).get(deviceId);
  await registryOf(issuer.credential('contributor')).get(deviceId);
  await assertFails(before.get(deviceId), 401, 'IotHubUnauthorized');
});

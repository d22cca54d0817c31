// The SDKs' own clients, opened against a hub and closed with it.

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';

import { Inbox, within } from './waiting.mjs';

const require = createRequire(import.meta.url);
export const { Client: DeviceClient, SharedAccessKeyAuthenticationProvider: KeyProvider } = require('azure-iot-device');
export const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
export const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
export const { Http } = require('azure-iot-device-http');
export const iothub = require('azure-iothub');
export const common = require('azure-iot-common');

/** Makes an identity with keys chosen by the hub, and returns it with its connection string. */
export async function register(hub, deviceId = `device-${randomUUID()}`) {
  const { responseBody } = await registry(hub).create({ deviceId });
  return { ...responseBody, deviceId, connectionString: connectionStringOf(hub, responseBody) };
}

export function connectionStringOf(hub, { deviceId, authentication }) {
  const key = authentication.symmetricKey.primaryKey;
  return `HostName=${hub.hostName};DeviceId=${deviceId};SharedAccessKey=${key}`;
}

/** The SDK's registry client, with the right to write identities. */
export function registry(hub) {
  return iothub.Registry.fromConnectionString(hub.policy('registryReadWrite'));
}

/** The SDK's registry client, with the right to read and write twins. */
export function twins(hub) {
  return iothub.Registry.fromConnectionString(hub.policy('service'));
}

/** The SDK's service client, opened; it closes before the hub stops. */
export async function service(hub, Transport = iothub.Amqp) {
  const client = iothub.Client.fromConnectionString(hub.policy('service'), Transport);
  hub.beforeStop(() => client.close());
  await within(client.open(), 'the back-end to be connected');
  return client;
}

/** The SDK's device client, not opened; it closes before the hub stops. */
export async function device(hub, connectionString, Transport = Mqtt) {
  const client = DeviceClient.fromConnectionString(connectionString, Transport);
  await client.setOptions({ ca: hub.caFile });
  client.on('error', () => {});
  hub.beforeStop(() => client.close());
  return client;
}

/** A device client that is open. */
export async function connect(hub, connectionString, Transport = Mqtt) {
  const client = await device(hub, connectionString, Transport);
  await within(client.open(), 'the device to be connected');
  return client;
}

/** The C2D messages a device client gets; whoever takes one settles it. */
export function unsettledOf(client) {
  const inbox = new Inbox();
  client.on('message', (message) => inbox.push(message));
  return inbox;
}

/** Completes every C2D message a device client gets, and keeps it. */
export function inboxOf(client) {
  const inbox = new Inbox();
  client.on('message', (message) => client.complete(message, () => inbox.push(message)));
  return inbox;
}

/**
 * Waits until the hub has seen everything this device client asked for so far: subscriptions have
 * no answer that the SDK shows, but the hub reads one connection in order, and a twin has one.
 */
export async function settled(client) {
  await client.getTwin();
}

/** A C2D message that asks for feedback, with an id of its own. */
export function message(data, { messageId = randomUUID(), ack = 'none', expiry, properties = {} } = {}) {
  const made = new common.Message(data);
  made.messageId = messageId;
  made.ack = ack;
  if (expiry !== undefined) made.expiryTimeUtc = expiry;
  for (const [name, value] of Object.entries(properties)) made.properties.add(name, value);
  return made;
}

/** Reads feedback through the SDK's receiver and completes each batch. */
export async function feedbackOf(serviceClient) {
  const inbox = new Inbox();
  const { result: receiver } = await serviceClient.getFeedbackReceiver();
  receiver.on('message', (batch) => {
    receiver.complete(batch, () => {});
    for (const record of JSON.parse(batch.data.toString('utf8'))) inbox.push(record);
  });
  return {
    /** The record of one message. */
    about: (messageId, patience) =>
      inbox.find((record) => record.originalMessageId === messageId, `feedback of ${messageId}`, patience),
  };
}

/** A token for `resource`, a host name or a path below it, valid for `seconds`. */
export function token(resource, keyName, key, seconds = 3600) {
  const expiry = Math.floor(Date.now() / 1000) + seconds;
  return common.SharedAccessSignature.create(encodeURIComponent(resource), keyName, key, expiry).toString();
}

/** A device token for an identity, valid for `seconds`. */
export function deviceToken(hub, { deviceId, authentication }, seconds) {
  return token(`${hub.hostName}/devices/${deviceId}`, null, authentication.symmetricKey.primaryKey, seconds);
}

/** A token of a shared access policy for the whole hub, valid for `seconds`. */
export function policyToken(hub, name, seconds) {
  const [, keyName, key] = hub.policy(name).match(/;SharedAccessKeyName=([^;]+);SharedAccessKey=([^;]+)/);
  return token(hub.hostName, keyName, key, seconds);
}

/** Calls a REST path that the SDK has no function for, with the SDK's own token. */
export function rest(hub, method, path, policy = 'service', body = undefined) {
  const client = iothub.Registry.fromConnectionString(hub.policy(policy))._restApiClient;
  const headers = body === undefined ? {} : { 'Content-Type': 'application/json; charset=utf-8' };
  const target = `${path}?api-version=2021-04-12`;
  return new Promise((resolve, reject) => {
    client.executeApiCall(method, target, headers, body, (error, result, response) =>
      error ? reject(error) : resolve({ body: result, status: response.statusCode }),
    );
  });
}

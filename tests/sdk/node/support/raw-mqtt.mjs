// The MQTT library inside the device SDK, for what the SDK never does: withholding a PUBACK.

import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';

import { deviceToken } from './clients.mjs';
import { Inbox, within } from './waiting.mjs';

const require = createRequire(import.meta.url);
const mqtt = require('mqtt');

/**
 * Connects as `identity` with a plain MQTT client that acknowledges only while `acknowledges()`
 * says so, with a client certificate if one is given, and returns it with the C2D packets it gets and the CONNACK.
 */
export async function connectRaw(hub, identity, { acknowledges = () => true, clean = false, cert, key } = {}) {
  const client = mqtt.connect(`mqtts://${hub.hostName}:8883`, {
    ca: fs.readFileSync(hub.caFile),
    cert,
    key,
    clientId: identity.deviceId,
    username: `${hub.hostName}/${identity.deviceId}/?api-version=2021-04-12`,
    password: deviceToken(hub, identity),
    clean,
    protocolVersion: 4,
    reconnectPeriod: 0,
    resubscribe: false,
  });
  const packets = new Inbox();
  // The library sends the PUBACK when this callback gets no error.
  client.handleMessage = (packet, done) => {
    packets.push(packet);
    done(acknowledges(packet) ? null : new Error('withheld'));
  };
  client.on('error', () => {});
  hub.beforeStop(() => new Promise((resolve) => client.end(true, {}, resolve)));
  const [connack] = await within(once(client, 'connect'), 'CONNACK');
  const closed = once(client, 'close');
  return { client, packets, connack, closed };
}

/** Subscribes to a device's C2D topic and returns the granted QoS. */
export function subscribeToMessages(client, deviceId, qos = 1) {
  return new Promise((resolve, reject) => {
    client.subscribe(`devices/${deviceId}/messages/devicebound/#`, { qos }, (error, granted) =>
      error ? reject(error) : resolve(granted[0].qos),
    );
  });
}

/** The property bag of a C2D topic, decoded. */
export function bagOf(topic) {
  const pairs = topic.split('/')[4].split('&');
  return Object.fromEntries(pairs.map((pair) => pair.split('=').map(decodeURIComponent)));
}

// One scenario on several transports.

import { describe, test } from 'node:test';

import { Amqp, AmqpWs, Mqtt, MqttWs } from './clients.mjs';

/** Both protocols of devices: for what a device's protocol might change. */
export const PROTOCOLS = [Mqtt, Amqp];

/** Both protocols, as they are and over WebSockets: for the core of what a device does. */
export const TRANSPORTS = [Mqtt, MqttWs, Amqp, AmqpWs];

/** AMQP, as it is and over WebSockets: for what MQTT cannot do. */
export const AMQP = [Amqp, AmqpWs];

/** Makes one test for each transport out of `scenario`, which is handed the SDK's class. They run at once. */
export function over(transports, title, scenario) {
  describe(title, { concurrency: transports.length }, () => {
    for (const Transport of transports) test(`over ${Transport.name}`, () => scenario(Transport));
  });
}

/** The same, one after the other: for scenarios that change what their hub's other clients see. */
export function inTurn(transports, title, scenario) {
  for (const Transport of transports) test(`${title}, over ${Transport.name}`, () => scenario(Transport));
}

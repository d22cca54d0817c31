// One scenario on several transports.

import { test } from 'node:test';

import { Amqp, AmqpWs, Mqtt, MqttWs } from './clients.mjs';

/** Both protocols of devices: for what a device's protocol might change. */
export const PROTOCOLS = [Mqtt, Amqp];

/** Both protocols, as they are and over WebSockets: for the core of what a device does. */
export const TRANSPORTS = [Mqtt, MqttWs, Amqp, AmqpWs];

/** AMQP, as it is and over WebSockets: for what MQTT cannot do. */
export const AMQP = [Amqp, AmqpWs];

/** Makes one test for each transport out of `scenario`, which is handed the SDK's class. */
export function over(transports, title, scenario) {
  for (const Transport of transports) test(`${title}, over ${Transport.name}`, () => scenario(Transport));
}

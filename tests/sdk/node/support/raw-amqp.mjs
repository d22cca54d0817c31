// The AMQP library inside the SDKs, for what the SDKs never do or do not show: credit, delivery
// counts and tags, many identities on one connection, several sessions, other settle modes.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';

import { Inbox, within } from './waiting.mjs';

const require = createRequire(import.meta.url);
export const rhea = require('rhea');

/** What the hub said when it ended a link, a session or a connection. */
class AmqpFault extends Error {
  constructor(error, what) {
    super(`${what}: ${error?.condition ?? 'no error'} ${error?.description ?? ''}`);
    this.condition = error?.condition;
    this.description = error?.description;
  }
}

/** An open AMQP connection of rhea; `options` are rhea's, for instance `username` and `password`. */
export async function openRaw(hub, options = {}) {
  const container = rhea.create_container();
  container.on('error', () => {});
  const connection = container.connect({
    transport: 'tls', host: hub.hostName, hostname: hub.hostName, servername: hub.hostName, port: 5671,
    ca: fs.readFileSync(hub.caFile), reconnect: false, ...options,
  });
  const raw = new RawConnection(connection);
  hub.beforeStop(() => raw.close());
  const opened = once(connection, 'connection_open');
  await within(Promise.race([opened, raw.closed.then((fault) => Promise.reject(fault))]), 'Open of the hub');
  return raw;
}

export class RawConnection {
  #connection;
  #cbs;

  constructor(connection) {
    this.#connection = connection;
    /** Resolves with the fault once the hub has closed the connection or it broke. */
    this.closed = new Promise((resolve) => {
      connection.on('connection_error', () => {});
      connection.on('connection_close', () => resolve(new AmqpFault(connection.error, 'the connection was closed')));
      connection.on('disconnected', (context) => resolve(new AmqpFault(context.error, 'the connection broke')));
    });
  }

  /** Begins a session. */
  async session() {
    const session = this.#connection.create_session();
    session.on('session_error', () => {});
    session.on('session_close', () => {});
    session.open();
    await within(once(session, 'session_open'), 'Begin of the hub');
    return session;
  }

  /** Puts a token and returns the status code and the description of the hub's answer. */
  async putToken(token, { name = 'any', type = 'servicebus.windows.net:sastoken' } = {}) {
    this.#cbs ??= this.#openCbs();
    const { sender, replies } = await this.#cbs;
    const id = randomUUID();
    sender.send({
      message_id: id,
      to: '$cbs',
      reply_to: 'cbs',
      application_properties: { operation: 'put-token', type, name },
      body: token,
    });
    const reply = await replies.find(({ message }) => message.correlation_id === id, 'the answer to put-token');
    const { 'status-code': status, 'status-description': description } = reply.message.application_properties;
    return { status, description };
  }

  async #openCbs() {
    const session = await this.session();
    const { link: sender } = await attachSender(session, '$cbs');
    const { deliveries: replies } = await attachReceiver(session, '$cbs', { autoaccept: true, credit_window: 1000 });
    return { sender, replies };
  }

  async close() {
    if (this.#connection.is_closed()) return;
    this.#connection.close();
    await this.closed;
  }

  /** Ends the connection without a word. */
  destroy() {
    this.#connection.socket.destroy();
  }
}

/**
 * Attaches a link that receives. Nothing is accepted and no credit is given unless `options` say so.
 * `deliveries` has what came; `ended` resolves with the fault of the hub's detach.
 */
export async function attachReceiver(session, address, options = {}, deliveries = new Inbox()) {
  const link = session.attach_receiver({ source: address, credit_window: 0, autoaccept: false, ...options });
  link.on('message', ({ message, delivery }) => deliveries.push({ message, delivery }));
  const ended = endOf(link, 'receiver', address);
  await opened(link, 'receiver', 'source', address, ended);
  return { link, deliveries, ended };
}

/** Attaches a link that sends. `send` resolves when the hub accepts, and rejects with its error. */
export async function attachSender(session, address, options = {}) {
  const link = session.attach_sender({ target: address, ...options });
  const waiting = new Map();
  const settle = ({ delivery }) => {
    const waiter = waiting.get(delivery);
    if (!waiter) return;
    waiting.delete(delivery);
    const { remote_state: state } = delivery;
    if (isAccepted(delivery)) waiter.resolve();
    else waiter.reject(new AmqpFault(state?.error, `the message was not accepted but ${state?.constructor.composite_type}`));
  };
  link.on('settled', settle);
  const ended = endOf(link, 'sender', address);
  ended.then((fault) => waiting.forEach((waiter) => waiter.reject(fault)));
  await opened(link, 'sender', 'target', address, ended);
  if (!link.sendable()) await within(once(link, 'sendable'), `credit on ${address}`);
  const send = (message, format) =>
    new Promise((resolve, reject) => {
      waiting.set(link.send(message, undefined, format), { resolve, reject });
    });
  return { link, send, ended };
}

function endOf(link, kind, address) {
  return new Promise((resolve) => {
    link.on(`${kind}_error`, () => {});
    link.on(`${kind}_close`, () => resolve(new AmqpFault(link.error, `${address} was detached`)));
  });
}

/** Waits for the hub's attach. A refusal is an attach without the terminus, and then a detach. */
async function opened(link, kind, terminus, address, ended) {
  await within(Promise.race([once(link, `${kind}_open`), ended]), `attach of ${address}`);
  if (!link[terminus]?.address) throw await within(ended, `the reason why ${address} is refused`);
}

/** Whether the hub's last word on a delivery is that it accepts. */
export function isAccepted({ remote_state: state }) {
  return state?.constructor.composite_type === 'accepted';
}

/** The lock token in a delivery's tag, as text: a GUID in .NET's order of bytes (amqp.md §5.1). */
export function lockTokenOf({ delivery }) {
  const hex = Buffer.from(delivery.tag).toString('hex');
  const swap = (from, to) => hex.slice(from, to).match(/../g).reverse().join('');
  return [swap(0, 8), swap(8, 12), swap(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** The bytes of a message's body. */
export function bytesOf({ message }) {
  return message.body?.content ?? Buffer.alloc(0);
}

/** The text of a message's body. */
export function textOf(delivered) {
  return bytesOf(delivered).toString();
}

/** A message with one data section. */
export function dataMessage(data, fields = {}) {
  return { body: rhea.message.data_section(Buffer.from(data)), ...fields };
}

/** The address of a device's messages, and where a device sends telemetry. */
export const devicebound = (deviceId) => `/devices/${deviceId}/messages/devicebound`;
export const events = (deviceId) => `/devices/${deviceId}/messages/events`;

// A Downlink process of one suite: its address, its data, its life and its death.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { eventually, within } from './waiting.mjs';

/** Milliseconds a hub has to start; in the split form it is eight processes and their stores. */
const START_PATIENCE = 60_000;
const HOSTS = new URL('../../hosts.txt', import.meta.url);

/** The folder that holds the data of every suite's hub, made by run.mjs. */
const root = process.env.DOWNLINK_SUITE_ROOT;

/** Reads the loopback address that `name` has in tests/sdk/hosts.txt. */
export function addressOf(name) {
  const line = fs
    .readFileSync(fileURLToPath(HOSTS), 'utf8')
    .split('\n')
    .find((entry) => entry.endsWith(` ${name}`));
  if (!line) throw new Error(`${name} is not in tests/sdk/hosts.txt`);
  return line.split(' ')[0];
}

export class Hub {
  #process = null;
  #closers = [];
  /** Variables of its process besides those of the suite. */
  environment = {};

  /**
   * @param {string} hostName a name of tests/sdk/hosts.txt
   * @param {object} settings configuration keys and values for `--set`
   * @param {string} address where it listens, when that is not where its name leads
   */
  constructor(hostName, settings = {}, address = addressOf(hostName)) {
    this.hostName = hostName;
    this.address = address;
    this.settings = settings;
    this.data = path.join(root, hostName);
    this.log = path.join(root, `${hostName}.log`);
  }

  /** Starts the server and waits until it has said where it is. */
  async start() {
    const connect = path.join(this.data, 'connect.json');
    fs.rmSync(connect, { force: true });
    const log = fs.openSync(this.log, 'a');
    const sets = Object.entries(this.settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
    const server = spawn(
      process.env.DOWNLINK_BIN,
      [
        'dev', '--data', this.data, '--host', this.hostName, '--listen', this.address,
        '--grpc-port', '0', '--metrics-port', '0', ...sets,
      ],
      { stdio: ['ignore', log, log], cwd: root, env: { ...process.env, ...this.environment } },
    );
    fs.closeSync(log);
    this.#process = server;
    // A test run that ends early must not leave a server on the suite's address.
    const killAtExit = () => server.kill('SIGKILL');
    process.once('exit', killAtExit);
    server.once('exit', () => process.off('exit', killAtExit));
    await eventually(() => {
      if (server.exitCode !== null) {
        throw new Error(`the server ended with ${server.exitCode}:\n${this.#lastWords()}`);
      }
      return isComplete(connect);
    }, `${this.hostName} to start`, START_PATIENCE);
    this.facts = JSON.parse(fs.readFileSync(connect, 'utf8'));
    this.caFile = path.resolve(root, this.facts.caFile);
    for (const port of [this.facts.ports.mqtts, this.facts.ports.amqps, this.facts.ports.https]) {
      await eventually(() => accepts(this.address, port), `port ${port} of ${this.hostName}`);
    }
  }

  /** Asks the server to end, and returns its exit code. */
  async stop() {
    await Promise.allSettled(this.#closers.splice(0).map((close) => within(close(), 'a client', 5000)));
    return this.#end('SIGTERM');
  }

  /** Stops the server in order and starts it again; clients are left to find it. */
  async restart() {
    const exitCode = await this.#end('SIGTERM');
    if (exitCode !== 0) throw new Error(`${this.hostName} ended with ${exitCode}`);
    await this.start();
  }

  /** Ends the server without a warning. */
  async kill() {
    await this.#end('SIGKILL');
    // A hub of several processes is gone a moment after the one that started them.
    for (const port of [this.facts.ports.mqtts, this.facts.ports.amqps, this.facts.ports.https]) {
      await eventually(async () => !(await accepts(this.address, port)), `port ${port} of ${this.hostName} to close`);
    }
    // Nobody can say goodbye to a dead server: its clients are closed, not waited for.
    for (const close of this.#closers.splice(0)) close().catch(() => {});
  }

  /** Calls `close` before the server is stopped. */
  beforeStop(close) {
    this.#closers.push(close);
  }

  /** The connection string of a shared access policy. */
  policy(name) {
    const found = this.facts.policies[name];
    if (!found) throw new Error(`connect.json has no policy ${name}`);
    return found;
  }

  async #end(signal) {
    const server = this.#process;
    if (!server || server.exitCode !== null || server.signalCode !== null) return server?.exitCode;
    server.kill(signal);
    await within(once(server, 'exit'), `${this.hostName} to end after ${signal}`);
    return server.exitCode;
  }

  #lastWords() {
    return fs.readFileSync(this.log, 'utf8').split('\n').slice(-20).join('\n');
  }
}

function isComplete(file) {
  try {
    JSON.parse(fs.readFileSync(file, 'utf8'));
    return true;
  } catch {
    return false;
  }
}

async function accepts(host, port) {
  const socket = net.connect({ host, port });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

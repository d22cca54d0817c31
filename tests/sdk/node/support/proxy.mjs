// The network between clients and a hub, which a test can break.

import { once } from 'node:events';
import net from 'node:net';

const PORTS = [443, 5671, 8883];

export class Network {
  #servers = [];
  #sockets = new Set();
  #isDown = false;
  /** Connections that were tried while the network was down. */
  refused = 0;

  /** Carries bytes from the SDKs' ports at `outside` to the same ports at `inside`. */
  constructor(outside, inside) {
    this.outside = outside;
    this.inside = inside;
  }

  async start() {
    this.#servers = await Promise.all(
      PORTS.map(async (port) => {
        const server = net.createServer((client) => this.#carry(client, port));
        server.listen(port, this.outside);
        await once(server, 'listening');
        return server;
      }),
    );
  }

  /** Number of connections that are being carried. */
  get connections() {
    return this.#sockets.size / 2;
  }

  /** Breaks every connection and refuses new ones until `heal`. */
  cut() {
    this.#isDown = true;
    this.refused = 0;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  heal() {
    this.#isDown = false;
  }

  async stop() {
    this.cut();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }

  #carry(client, port) {
    if (this.#isDown) {
      this.refused += 1;
      client.resetAndDestroy();
      return;
    }
    const hub = net.connect({ host: this.inside, port });
    for (const [one, other] of [[client, hub], [hub, client]]) {
      this.#sockets.add(one);
      one.setNoDelay(true);
      one.on('error', () => {});
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  }
}

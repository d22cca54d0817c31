"""Stands between AMQP clients and a hub, and keeps what each client sends, one file a connection.

It answers TLS with the hub's own development certificate, so the clients need no other setting than
the ones they have. A file begins with a zero byte, the length of the script the fuzz target's
caller has (none), and goes on with the client's bytes.

    downlink dev --data DIR --listen 127.0.0.2 --host NAME --amqps-port 5672
    python3 record.py DIR 127.0.0.2:5671 127.0.0.2:5672 OUT PREFIX
"""

import asyncio
import itertools
import ssl
import sys
from pathlib import Path

NO_SCRIPT = b"\0"
READ_BYTES = 65536


async def carry(reader, writer, keep):
    """Copies one direction until it ends, and hands each piece to `keep`."""
    try:
        while piece := await reader.read(READ_BYTES):
            keep(piece)
            writer.write(piece)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def main(data, listen, hub, out, prefix):
    data, out = Path(data), Path(out)
    towards_clients = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    towards_clients.load_cert_chain(data / "server.pem", data / "server.key")
    towards_hub = ssl.create_default_context(cafile=data / "ca.pem")
    towards_hub.check_hostname = False
    numbers = itertools.count(1)

    async def on_connection(client_reader, client_writer):
        path = out / f"{prefix}-{next(numbers)}.bin"
        host, port = hub.split(":")
        hub_reader, hub_writer = await asyncio.open_connection(host, int(port), ssl=towards_hub)
        with path.open("wb") as file:
            file.write(NO_SCRIPT)
            await asyncio.gather(
                carry(client_reader, hub_writer, file.write),
                carry(hub_reader, client_writer, lambda _: None),
            )
        print(f"{path}: {path.stat().st_size} bytes", flush=True)

    host, port = listen.split(":")
    server = await asyncio.start_server(on_connection, host, int(port), ssl=towards_clients)
    await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))

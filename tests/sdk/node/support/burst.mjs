// A sender in a process of its own: `node burst.mjs CONNECTION_STRING DEVICE COUNT` sends COUNT messages
// without a pause and prints the data of each one that the hub has accepted.
//
// Its own process, because the service SDK overflows its stack when a connection breaks under many
// unsettled sends, which is what the durability tests do to it.

import { iothub, message } from './clients.mjs';

const [connectionString, deviceId, count] = process.argv.slice(2);
const client = iothub.Client.fromConnectionString(connectionString);
const send = (data) => client.send(deviceId, message(data)).then(() => process.stdout.write(`${data}\n`));

await client.open();
await send('burst 0');
for (let n = 1; n < Number(count); n += 1) send(`burst ${n}`).catch(() => {});

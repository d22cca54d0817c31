// Queries by the service SDK (registry.md §5).

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { connect, register, rest, twins } from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { eventually } from './support/waiting.mjs';

const hub = new Hub('node-queries.downlink.test');
/** Tag that the devices of this suite share. */
const site = `site-${randomUUID()}`;
/** What stands in a tag of one device each: none of it may be anything but data. */
const HOSTILE = [
  "'; DROP TABLE twins; --",
  "' OR '1'='1",
  '" OR ""="',
  '\\',
  "\\' OR 1=1 OR '",
  '$1 {0} %s ? :x',
  '[[tags]] */ --',
  'é😀\u2028',
];
let backEnd;
/** Ids of the devices, in the order of their registration. */
const ids = [];

before(async () => {
  await hub.start();
  backEnd = twins(hub);
  for (let n = 0; n < 25; n += 1) ids.push((await register(hub)).deviceId);
  await Promise.all(
    ids.map((id, n) =>
      backEnd.updateTwin(
        id,
        {
          tags: { site, n, floor: n % 3, 'odd-name': n, ...(n < HOSTILE.length && { text: HOSTILE[n] }) },
          properties: { desired: { rate: n / 2 } },
        },
        '*',
      ),
    ),
  );
});
after(() => hub.stop());

const mine = `tags.site = '${site}'`;
const quoted = (text) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

/** Every row of a query, page by page, and how many pages there were. */
async function all(text, pageSize) {
  const query = backEnd.createQuery(text, pageSize);
  const pages = [];
  do {
    const { result, message } = await query.next(query.continuationToken ?? undefined);
    assert.ok(result.length > 0 || pages.length === 0, 'a page after others is empty');
    pages.push(result);
    pages.type = message.headers['x-ms-item-type'];
  } while (query.hasMoreResults);
  return Object.assign(pages.flat(), { pages: pages.length, type: pages.type });
}

async function refusal(text) {
  const failure = await backEnd
    .createQuery(text)
    .next()
    .then(
      ({ result }) => assert.fail(`it was answered: ${JSON.stringify(result)}`),
      (error) => error,
    );
  assert.equal(failure.response.statusCode, 400);
  assert.equal(failure.response.headers['iothub-errorcode'], 'ArgumentInvalid');
  return failure;
}

test('three pages of twins come in the order of registration, each twin once', async () => {
  const query = backEnd.createQuery(`SELECT * FROM devices WHERE ${mine}`, 10);
  const sizes = [];
  const seen = [];
  while (query.hasMoreResults) {
    const { result, message } = await query.nextAsTwin();
    assert.equal(message.headers['x-ms-item-type'], 'Twin');
    sizes.push(result.length);
    seen.push(...result);
  }
  assert.deepEqual(sizes, [10, 10, 5]);
  assert.deepEqual(seen.map((twin) => twin.deviceId), ids);
  assert.equal(seen[3].tags.n, 3);
  assert.equal(seen[3].properties.desired.rate, 1.5);
  // A twin of a result can be written, as one that was read.
  await seen[3].update({ tags: { touched: true } });
  assert.equal((await backEnd.getTwin(ids[3])).responseBody.tags.touched, true);
});

test('a twin that is found is the twin that is read', async () => {
  for (const deviceId of [ids[0], ids[20]]) {
    const { result } = await backEnd.createQuery(`SELECT * FROM devices WHERE deviceId = '${deviceId}'`).next();
    const { body } = await rest(hub, 'GET', `/twins/${deviceId}`);
    assert.equal(JSON.stringify(result[0]), JSON.stringify(typeof body === 'string' ? JSON.parse(body) : body));
  }
});

test('a full last page is followed by none', async () => {
  const rows = await all(`SELECT deviceId FROM devices WHERE ${mine}`, 5);
  assert.equal(rows.pages, 5);
  assert.equal(rows.length, 25);
});

test('selections have names, aliases and values as they were written', async () => {
  const rows = await all(
    `SELECT DEVICEID, tags.[[odd-name]], tags.n * 2 AS twice, properties.desired.rate FROM devices d WHERE ${mine} AND d.tags.n IN [2, 3]`,
  );
  assert.equal(rows.type, 'Raw');
  assert.deepEqual([...rows], [
    { deviceId: ids[2], 'odd-name': 2, twice: 4, rate: 1 },
    { deviceId: ids[3], 'odd-name': 3, twice: 6, rate: 1.5 },
  ]);
});

test('groups are counted and numbers summed', async () => {
  const rows = await all(`SELECT tags.floor AS floor, COUNT() AS n, MAX(tags.n) AS most FROM devices WHERE ${mine} GROUP BY tags.floor`);
  const byFloor = rows.sort((a, b) => a.floor - b.floor);
  assert.deepEqual([...byFloor], [
    { floor: 0, n: 9, most: 24 },
    { floor: 1, n: 8, most: 22 },
    { floor: 2, n: 8, most: 23 },
  ]);
  const [{ n }] = await all(`SELECT COUNT() AS n FROM devices WHERE ${mine}`);
  assert.equal(n, 25);
});

test('TOP bounds the whole result', async () => {
  const rows = await all(`SELECT TOP 7 deviceId FROM devices WHERE ${mine}`, 3);
  assert.deepEqual(rows.map(({ deviceId }) => deviceId), ids.slice(0, 7));
});

test('who is connected is found, and what devices report', async () => {
  const identity = await register(hub);
  const client = await connect(hub, identity.connectionString);
  const twin = await client.getTwin();
  const condition = `deviceId = '${identity.deviceId}'`;
  await new Promise((resolve, reject) => {
    twin.properties.reported.update({ battery: 12, modes: ['eco', 'day'] }, (error) => (error ? reject(error) : resolve()));
  });
  const found = await all(`SELECT deviceId FROM devices WHERE ${condition} AND properties.reported.battery < 20 AND ARRAY_CONTAINS(properties.reported.modes, 'day')`);
  assert.equal(found.length, 1);
  await eventually(
    async () => (await all(`SELECT * FROM devices WHERE ${condition} AND connectionState = 'Connected'`)).length === 1,
    'the device to be found connected',
  );
});

test('errors name the character where the query goes wrong', async () => {
  for (const [text, place] of [
    ['SELECT * FRO devices', "character 10: expected FROM, found 'FRO'"],
    ['SELECT * FROM devices WHERE tags.a = ', 'character 38'],
    ['SELECT * FROM devices ORDER BY deviceId', 'there is no ORDER BY'],
    [`SELECT * FROM devices WHERE tags.a = '${'x'.repeat(8192)}'`, '8192 characters'],
  ]) {
    const failure = await refusal(text);
    assert.ok(failure.responseBody.includes(place), failure.responseBody);
  }
});

test('what stands between quotes is data, and what does not is no query', async () => {
  for (const [n, text] of HOSTILE.entries()) {
    const rows = await all(`SELECT deviceId FROM devices WHERE ${mine} AND tags.text = ${quoted(text)}`);
    assert.deepEqual([...rows], [{ deviceId: ids[n] }], text);
    const starts = await all(`SELECT deviceId FROM devices WHERE ${mine} AND STARTS_WITH(tags.text, ${quoted(text)})`);
    const beginning = ids.filter((_, at) => HOSTILE[at]?.startsWith(text));
    assert.deepEqual(starts.map(({ deviceId }) => deviceId), beginning, text);
    const none = await all(`SELECT deviceId FROM devices WHERE tags.[[${text.replaceAll(']]', '')}]] = 1`);
    assert.equal(none.length, 0);
  }
  await refusal("SELECT * FROM devices; DELETE FROM twins");
  await refusal("SELECT * FROM devices WHERE tags.a = '' UNION SELECT * FROM policies");
  await refusal('SELECT * FROM policies');
  assert.equal((await all(`SELECT COUNT() AS n FROM devices WHERE ${mine}`))[0].n, 25);
});

test('a continuation is bound to its query', async () => {
  const text = `SELECT deviceId FROM devices WHERE ${mine}`;
  const first = backEnd.createQuery(text, 10);
  // An empty one asks for the first page (registry.md §5.1).
  const { result } = await first.next('');
  assert.equal(result[0].deviceId, ids[0]);
  const again = await backEnd.createQuery(text, 10).next(first.continuationToken);
  assert.equal(again.result[0].deviceId, ids[10]);
  for (const [query, continuation] of [
    [`${text} `, first.continuationToken],
    [text, 'made-up'],
    [text, 'x'.repeat(4000)],
  ]) {
    await assert.rejects(backEnd.createQuery(query, 10).next(continuation), (error) => {
      assert.equal(error.response.statusCode, 400);
      return true;
    });
  }
});

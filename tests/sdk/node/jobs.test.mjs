// Jobs by the service SDK: twin updates and method calls for many devices (registry.md §6, §5.3).

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { connect, iothub, register, settled, twins } from './support/clients.mjs';
import { Hub } from './support/hub.mjs';
import { eventually } from './support/waiting.mjs';

const hub = new Hub('node-jobs.downlink.test', {
  'jobs.max_active': 4, 'jobs.poll_interval': '100ms', 'jobs.lease': '5s', 'jobs.device_rate': 20,
});
let jobs;
let backEnd;

before(async () => {
  await hub.start();
  jobs = iothub.JobClient.fromConnectionString(hub.policy('service'));
  backEnd = twins(hub);
});
after(() => hub.stop());

const newId = () => `job-${randomUUID()}`;
const inAnHour = () => new Date(Date.now() + 3_600_000);

async function find(jobId) {
  return (await jobs.getJob(jobId)).jobStatus;
}

/** Waits until a job is over. */
async function ended(jobId) {
  return eventually(async () => {
    const job = await find(jobId);
    return ['completed', 'failed', 'cancelled'].includes(job.status) && job;
  }, `the end of ${jobId}`);
}

/** Registers devices that share a tag of their own, and returns them with the condition that names them. */
async function fleet(count) {
  const mark = randomUUID();
  const identities = await Promise.all(Array.from({ length: count }, () => register(hub)));
  await Promise.all(identities.map(({ deviceId }) => backEnd.updateTwin(deviceId, { tags: { mark } }, '*')));
  return { identities, condition: `tags.mark = '${mark}'` };
}

/** Asserts that a call fails with an HTTP status and a name of the catalogue. */
async function assertFails(call, status, name) {
  const error = await call.then(
    (answer) => assert.fail(`the call succeeded: ${JSON.stringify(answer)}`),
    (failure) => failure,
  );
  assert.equal(error.response?.statusCode, status, error.message);
  assert.equal(error.response.headers['iothub-errorcode'], name);
}

/** All rows of a query. */
async function rows(query) {
  const reader = backEnd.createQuery(query, 2);
  const found = [];
  while (reader.hasMoreResults) found.push(...(await reader.next()).result);
  return found;
}

test('a twin job changes the twins that its condition names and no others', async () => {
  const { identities, condition } = await fleet(3);
  const other = await register(hub);
  const device = await connect(hub, identities[0].connectionString);
  const twin = await device.getTwin();
  const told = new Promise((resolve) => {
    twin.on('properties.desired.rate', resolve);
  });
  await settled(device);
  const jobId = newId();
  const patch = { etag: '*', tags: { ring: 2 }, properties: { desired: { rate: 10 } } };
  const { jobStatus: created } = await jobs.scheduleTwinUpdate(jobId, condition, patch, new Date(), 60);
  assert.equal(created.jobId, jobId);
  assert.equal(created.type, 'scheduleUpdateTwin');
  assert.equal(created.queryCondition, condition);
  assert.equal(created.maxExecutionTimeInSeconds, 60);

  const job = await ended(jobId);
  assert.equal(job.status, 'completed');
  assert.deepEqual(job.deviceJobStatistics, {
    deviceCount: 3, failedCount: 0, succeededCount: 3, runningCount: 0, pendingCount: 0,
  });
  assert.deepEqual(job.updateTwin, patch);
  assert.ok(Date.parse(job.endTime) >= Date.parse(job.createdTime));
  assert.equal(await told, 10);
  for (const { deviceId } of identities) {
    const changed = (await backEnd.getTwin(deviceId)).responseBody;
    assert.equal(changed.tags.ring, 2);
    assert.equal(changed.properties.desired.rate, 10);
  }
  const untouched = (await backEnd.getTwin(other.deviceId)).responseBody;
  assert.equal(untouched.tags?.ring, undefined);
});

test('a method job keeps the answer of each device, and devices that are away fail', async () => {
  const { identities, condition } = await fleet(2);
  const [online, offline] = identities;
  const client = await connect(hub, online.connectionString);
  client.onDeviceMethod('reboot', (request, response) => {
    response.send(207, { after: request.payload.delay }, () => {});
  });
  await settled(client);
  const jobId = newId();
  const call = { methodName: 'reboot', payload: { delay: 3 }, responseTimeoutInSeconds: 10 };
  await jobs.scheduleDeviceMethod(jobId, condition, call, new Date(), 60);
  const job = await ended(jobId);
  assert.equal(job.status, 'completed');
  const { deviceCount, succeededCount, failedCount } = job.deviceJobStatistics;
  assert.deepEqual([deviceCount, succeededCount, failedCount], [2, 1, 1]);
  assert.equal(job.cloudToDeviceMethod.methodName, 'reboot');

  const found = await rows(`SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '${jobId}'`);
  assert.equal(found.length, 2);
  const [done, failed] = [online, offline].map(({ deviceId }) => found.find((row) => row.deviceId === deviceId));
  assert.equal(done.status, 'completed');
  assert.equal(done.jobType, 'scheduleDeviceMethod');
  assert.deepEqual(done.outcome.deviceMethodResponse, { status: 207, payload: { after: 3 } });
  assert.equal(failed.status, 'failed');
  assert.ok(!('outcome' in failed));
  assert.match(JSON.stringify(failed.error), /404103|DeviceNotOnline/);
  for (const row of found) {
    assert.ok(!('type' in row) && !('startTime' in row), 'no second name of a member');
    assert.ok(Date.parse(row.endTimeUtc) >= Date.parse(row.startTimeUtc));
  }
});

test('a job for a list of ids, for nobody, and for all', async () => {
  const { identities } = await fleet(2);
  const list = identities.map(({ deviceId }) => `'${deviceId}'`).join(', ');
  for (const [condition, expected] of [
    [`deviceId IN [${list}]`, 2],
    ["deviceId = 'nobody'", 0],
    ['*', null],
  ]) {
    const jobId = newId();
    await jobs.scheduleTwinUpdate(jobId, condition, { etag: '*', tags: { seen: jobId } }, new Date(), 60);
    const job = await ended(jobId);
    assert.equal(job.status, 'completed', condition);
    const count = job.deviceJobStatistics.succeededCount;
    assert.ok(expected === null ? count >= 2 : count === expected, `${condition}: ${count}`);
  }
});

test('a bad condition fails the job and says where', async () => {
  const jobId = newId();
  const { jobStatus: created } = await jobs.scheduleTwinUpdate(jobId, "tags.site = ", { etag: '*', tags: { a: 1 } });
  assert.equal(created.status, 'queued');
  const job = await ended(jobId);
  assert.equal(job.status, 'failed');
  assert.match(job.failureReason, /character \d+/);
});

test('a scheduled job waits, is listed, and is cancelled once', async () => {
  const jobId = newId();
  const { jobStatus: created } = await jobs.scheduleTwinUpdate(
    jobId, '*', { etag: '*', tags: { never: true } }, inAnHour(), 60,
  );
  assert.equal(created.status, 'scheduled');
  const listed = [];
  const reader = jobs.createQuery('ScheduleUpdateTwin', 'Scheduled', 1);
  while (reader.hasMoreResults) listed.push(...(await reader.next()).result);
  assert.ok(listed.some((job) => job.jobId === jobId));
  assert.ok(listed.every((job) => job.status === 'scheduled'));

  const { jobStatus: cancelled } = await jobs.cancelJob(jobId);
  assert.equal(cancelled.status, 'cancelled');
  assert.equal((await find(jobId)).status, 'cancelled');
  await assertFails(jobs.cancelJob(jobId), 405, 'OperationNotAllowedInCurrentState');
});

test('jobs are refused by the codes of the contract', async () => {
  const patch = { etag: '*', tags: { a: 1 } };
  const taken = newId();
  await jobs.scheduleTwinUpdate(taken, '*', patch, inAnHour(), 60);
  await assertFails(jobs.scheduleTwinUpdate(taken, '*', patch, inAnHour(), 60), 409, 'JobAlreadyExists');
  await assertFails(jobs.scheduleTwinUpdate('Not_An_Id', '*', patch), 400, 'ArgumentInvalid');
  const tooLate = new Date(Date.now() + 169 * 3_600_000);
  await assertFails(jobs.scheduleTwinUpdate(newId(), '*', patch, tooLate, 60), 400, 'ArgumentInvalid');
  await assertFails(jobs.scheduleTwinUpdate(newId(), '*', { etag: '*', tags: { 'a.b': 1 } }), 400, 'ArgumentInvalid');
  const call = { methodName: 'm', payload: 'x'.repeat(140_000), responseTimeoutInSeconds: 10 };
  await assertFails(jobs.scheduleDeviceMethod(newId(), '*', call), 400, 'ArgumentInvalid');
  await assertFails(jobs.cancelJob('no-such-job'), 404, 'JobNotFound');
  assert.deepEqual(await find('no-such-job'), { jobId: 'no-such-job', type: 'unknown', status: 'unknown' });

  const more = [newId(), newId(), newId()];
  for (const jobId of more) await jobs.scheduleTwinUpdate(jobId, '*', patch, inAnHour(), 60);
  await assertFails(
    jobs.scheduleTwinUpdate(newId(), '*', patch, inAnHour(), 60), 429, 'ThrottlingMaxActiveJobCountExceeded',
  );
  for (const jobId of [taken, ...more]) await jobs.cancelJob(jobId);
});

test('a policy without the right to call methods makes no job of them', async () => {
  const limited = iothub.JobClient.fromConnectionString(hub.policy('registryReadWrite'));
  const patch = { etag: '*', tags: { a: 1 } };
  await assertFails(limited.scheduleTwinUpdate(newId(), '*', patch), 401, 'IotHubUnauthorizedAccess');
  const call = { methodName: 'm', responseTimeoutInSeconds: 10 };
  await assertFails(limited.scheduleDeviceMethod(newId(), '*', call), 401, 'IotHubUnauthorizedAccess');
});

test('a job goes on where it stood after everything was killed', async () => {
  const { identities, condition } = await fleet(40);
  const jobId = newId();
  await jobs.scheduleTwinUpdate(jobId, condition, { etag: '*', tags: { survived: true } }, new Date(), 600);
  await eventually(async () => (await find(jobId)).deviceJobStatistics.succeededCount >= 4, 'some to be done');
  await hub.kill();
  await hub.start();
  const before = await find(jobId);
  assert.equal(before.status, 'running');
  assert.ok(before.deviceJobStatistics.pendingCount > 0, 'it was killed before its end');
  const job = await ended(jobId);
  assert.equal(job.status, 'completed');
  assert.equal(job.deviceJobStatistics.succeededCount, 40);
  const last = (await backEnd.getTwin(identities.at(-1).deviceId)).responseBody;
  assert.equal(last.tags.survived, true);
});

// The sample on the front page, run as it stands there.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Hub } from './support/hub.mjs';
import { QUICK_FEEDBACK } from './support/settings.mjs';
import { within } from './support/waiting.mjs';

const hub = new Hub('hub.downlink.test', QUICK_FEEDBACK);

before(() => hub.start());
after(() => hub.stop());

/** Writes the block of the README that begins with `// name` to a file of that name. */
function extract(name) {
  const readme = fs.readFileSync(fileURLToPath(new URL('../../../README.md', import.meta.url)), 'utf8');
  const block = readme.split('```js\n').find((each) => each.startsWith(`// ${name}\n`));
  assert.ok(block, `the README has a block ${name}`);
  const file = path.join(process.env.DOWNLINK_SUITE_ROOT, name);
  fs.writeFileSync(file, block.split('```')[0]);
  return file;
}

/** Starts a program of the README with the connection strings the hub wrote. */
function start(name) {
  const program = spawn(process.execPath, [extract(name)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      NODE_PATH: fileURLToPath(new URL('./node_modules', import.meta.url)),
      DEVICE_CONNECTION_STRING: hub.facts.device.connectionString,
      SERVICE_CONNECTION_STRING: hub.policy('service'),
      DOWNLINK_CA: hub.caFile,
    },
  });
  let output = '';
  const watchers = new Set();
  program.stdout.on('data', (chunk) => {
    output += chunk;
    for (const watch of watchers) watch();
  });
  const says = (text) =>
    within(
      new Promise((resolve) => {
        const watch = () => output.includes(text) && resolve();
        watchers.add(watch);
        watch();
      }),
      `${name} to say "${text}"; it said:\n${output}`,
    );
  return { program, says, exit: once(program, 'exit') };
}

test('the sample of the README does what it says', async () => {
  const device = start('device.js');
  try {
    await device.says('device is ready');
    const backEnd = start('backend.js');
    await backEnd.says('reboot answered 200 {"rebooting":true}');
    await backEnd.says('the device reports interval 30');
    await backEnd.says('feedback on command-1: Success');
    const [code] = await within(backEnd.exit, 'the back-end to end');
    assert.equal(code, 0);
    await device.says('message command-1: open the window (color red)');
    await device.says('reboot in 3 s');
    await device.says('desired interval 30');
  } finally {
    device.program.kill('SIGKILL');
    await device.exit;
  }
});

// Runs the Node suite: `DOWNLINK_BIN=… node run.mjs [--test-… options of node] [test files]`.
//
// The service SDK has no option for a private CA; Node.js reads NODE_EXTRA_CA_CERTS, but only when
// a process starts. So each hub is started once and stopped here, which makes its CA, and the test
// files, which start it again on the same data, run as children that trust all of them.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'downlink-node-'));
process.env.DOWNLINK_SUITE_ROOT = root;
const { Hub } = await import('./support/hub.mjs');

const words = process.argv.slice(2);
const options = words.filter((word) => word.startsWith('--'));
const files = words.filter((word) => !word.startsWith('--'));
if (files.length === 0) {
  files.push(...fs.readdirSync(here).filter((file) => file.endsWith('.test.mjs')).sort());
}

// Each test file names its hub.
const HOST = /\b(?:hub|node-[a-z0-9]+)\.downlink\.test/g;
const hosts = [...new Set(files.flatMap((file) => fs.readFileSync(path.resolve(here, file), 'utf8').match(HOST)))];
const authorities = [];
// A few at a time: in the split form each is eight processes.
const makers = Array.from({ length: 4 }, async () => {
  while (hosts.length > 0) authorities.push(await makeAuthority(hosts.shift()));
});
await Promise.all(makers);
const trusted = path.join(root, 'authorities.pem');
fs.writeFileSync(trusted, authorities.join('\n'));

const tests = spawn(process.execPath, ['--test', '--test-reporter=spec', ...options, ...files], {
  cwd: here,
  stdio: 'inherit',
  env: { ...process.env, NODE_EXTRA_CA_CERTS: trusted },
});
const [code] = await once(tests, 'exit');
if (code === 0) fs.rmSync(root, { recursive: true });
else console.error(`the servers' logs are in ${root}`);
process.exitCode = code ?? 1;

async function makeAuthority(hostName) {
  const hub = new Hub(hostName);
  await hub.start();
  const authority = fs.readFileSync(hub.caFile, 'utf8');
  const exitCode = await hub.stop();
  if (exitCode !== 0) throw new Error(`${hostName} ended with ${exitCode} when asked to stop`);
  return authority;
}

// BullMQ workers for some queues; writes one JSON line for every attempt.
//
// node bullmq_worker.mjs [--major 6|5] [--fail-first] REDIS_URL QUEUE...
//
// The first line is {"ready": true}. With --fail-first the first attempt of every job fails.
import { parseArgs } from 'node:util';
import { bullmq, connectionTo } from './bullmq_majors.mjs';

const { values, positionals } = parseArgs({
  options: { major: { type: 'string', default: '6' }, 'fail-first': { type: 'boolean' } },
  allowPositionals: true,
});
const [url, ...queues] = positionals;
const { Worker } = await bullmq(values.major);

const workers = queues.map((queue) => {
  const work = async ({ name, id, data, attemptsMade, opts }) => {
    const failed = Boolean(values['fail-first']) && attemptsMade === 0;
    console.log(JSON.stringify({ queue, name, id, data, attemptsMade, opts, failed }));
    if (failed) throw new Error('the first attempt fails');
  };
  const worker = new Worker(queue, work, { connection: connectionTo(url) });
  // Without a listener, a lost connection would end the process; the worker reconnects.
  worker.on('error', (error) => console.error(`${queue}: ${error.message}`));
  return worker;
});
await Promise.all(workers.map((worker) => worker.waitUntilReady()));
console.log(JSON.stringify({ ready: true }));

process.on('SIGTERM', async () => {
  await Promise.all(workers.map((worker) => worker.close()));
  process.exit(0);
});

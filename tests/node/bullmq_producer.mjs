// Adds jobs as a Node service does; standard input has one {queue, name, data, opts} per line.
//
// node bullmq_producer.mjs [--major 6|5] REDIS_URL
//
// Writes {"id": ...} for each job, in order.
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { bullmq, connectionTo } from './bullmq_majors.mjs';

const { values, positionals } = parseArgs({
  options: { major: { type: 'string', default: '6' } },
  allowPositionals: true,
});
const [url] = positionals;
const { Queue } = await bullmq(values.major);

const queues = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const { queue, name, data, opts } = JSON.parse(line);
  if (!queues.has(queue)) queues.set(queue, new Queue(queue, { connection: connectionTo(url) }));
  const job = await queues.get(queue).add(name, data, opts);
  console.log(JSON.stringify({ id: job.id }));
}
await Promise.all([...queues.values()].map((queue) => queue.close()));

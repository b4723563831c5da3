// Pauses or resumes a BullMQ queue for all its workers.
//
// node bullmq_pause.mjs [--major 6|5] REDIS_URL QUEUE true|false
import { parseArgs } from 'node:util';
import { bullmq, connectionTo } from './bullmq_majors.mjs';

const { values, positionals } = parseArgs({
  options: { major: { type: 'string', default: '6' } },
  allowPositionals: true,
});
const [url, name, paused] = positionals;
const { Queue } = await bullmq(values.major);

const queue = new Queue(name, { connection: connectionTo(url) });
await (paused === 'true' ? queue.pause() : queue.resume());
await queue.close();

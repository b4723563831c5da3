// Sends messages as a kafkajs service does; the input has one {topic, key, value, headers} per line.
//
// node kafka_producer.mjs BROKERS
//
// Writes {topic, partition, offset} for each, in order, once every replica has stored it.
import { createInterface } from 'node:readline';
import kafkajs from 'kafkajs';
import { kafka } from './kafkajs_client.mjs';

const producer = kafka(process.argv[2]).producer({
  createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
});
await producer.connect();
for await (const line of createInterface({ input: process.stdin })) {
  const { topic, ...message } = JSON.parse(line);
  const [{ partition, baseOffset }] = await producer.send({ topic, messages: [message] });
  console.log(JSON.stringify({ topic, partition, offset: Number(baseOffset) }));
}
await producer.disconnect();

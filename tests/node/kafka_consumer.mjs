// A kafkajs consumer that reads from the beginning and writes one JSON line for every message.
//
// node kafka_consumer.mjs BROKERS GROUP TOPIC...
//
// The first line is {"ready": true}, once partitions are assigned.
import { kafka } from './kafkajs_client.mjs';

const [brokers, groupId, ...topics] = process.argv.slice(2);
const client = kafka(brokers);
// kafkajs fails to subscribe to a topic that is just being created.
const admin = client.admin();
await admin.connect();
await admin.createTopics({ topics: topics.map((topic) => ({ topic })) });
await admin.disconnect();

const consumer = client.consumer({
  groupId,
  // The shortest that the tests' broker allows, so that a killed member is removed soon.
  sessionTimeout: 3000,
  rebalanceTimeout: 3000,
  heartbeatInterval: 300,
});
const text = (bytes) => (bytes == null ? null : bytes.toString());

let joined = false;
consumer.on(consumer.events.GROUP_JOIN, () => {
  if (!joined) console.log(JSON.stringify({ ready: true }));
  joined = true;
});
await consumer.connect();
await consumer.subscribe({ topics, fromBeginning: true });
await consumer.run({
  eachMessage: async ({ topic, partition, message }) => {
    const headers = Object.entries(message.headers).map(([name, value]) => [name, text(value)]);
    console.log(
      JSON.stringify({
        topic,
        partition,
        offset: Number(message.offset),
        key: text(message.key),
        value: text(message.value),
        headers: Object.fromEntries(headers),
      }),
    );
  },
});

process.on('SIGTERM', async () => {
  await consumer.disconnect();
  process.exit(0);
});

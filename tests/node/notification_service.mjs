// A notification service as the ones behind the contract `stock`: it keeps e-mail address and
// preferences of the last login in Redis, and mails customers about their orders.
//
// node notification_service.mjs BROKERS REDIS_URL
//
// The first line is {"ready": true}. It writes a line for every message about an order:
// {"mail": ADDRESS, "orderId", "products"}, or {"failed": REASON} where the message lacks something.
// Users who have not said yes to `order_updates` get no mail.
import Redis from 'ioredis';
import { kafka } from './kafkajs_client.mjs';

const [brokers, redisUrl] = process.argv.slice(2);
const redis = new Redis(redisUrl);
const client = kafka(brokers);
const consumer = client.consumer({ groupId: 'notification-service' });
const updatesWanted = new Map();

const logIn = async ({ userId, email, preferences }) => {
  updatesWanted.set(userId, preferences?.order_updates === true);
  // As documented, without an id: plain strings, which the next login replaces.
  await redis.set('user:email', email ?? '');
  await redis.set('user:preferences', JSON.stringify(preferences ?? { order_updates: false }));
};

const notify = ({ orderId, userId, email, products }) => {
  if (!orderId || !email) return { failed: `no ${orderId ? 'email' : 'orderId'}`, userId };
  if (!updatesWanted.get(userId)) return { failed: 'not wanted', userId };
  return { mail: email, orderId, products };
};

let joined = false;
consumer.on(consumer.events.GROUP_JOIN, () => {
  if (!joined) console.log('{"ready": true}');
  joined = true;
});
const admin = client.admin();
await admin.connect();
await admin.createTopics({ topics: [{ topic: 'order_created' }, { topic: 'user_logged_in' }] });
await admin.disconnect();
await consumer.connect();
await consumer.subscribe({ topics: ['order_created', 'user_logged_in'], fromBeginning: true });
await consumer.run({
  eachMessage: async ({ topic, message }) => {
    const body = JSON.parse(message.value.toString());
    if (topic === 'user_logged_in') await logIn(body);
    else console.log(JSON.stringify(notify(body)));
  },
});

process.on('SIGTERM', async () => {
  await consumer.disconnect();
  redis.disconnect();
  process.exit(0);
});

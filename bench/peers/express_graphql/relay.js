// Publishes the outbox to RabbitMQ: one relay in each process, notified of each order.

import amqplib from 'amqplib';

const EXCHANGE = 'event_exchange';
const BATCH = 100;
const IDLE_MS = 1000;
const RETRY_MS = 1000;

const TAKE = {
  name: 'take',
  text: `select id, stream_id as order_id, version, message_id, topic, body from outbox
         where destination = 'express' and stream_kind = 'order'
         order by stream_id limit $1 for update skip locked`,
};
const DELETE = {
  name: 'delete',
  text: `delete from outbox
         using unnest($1::bigint[], $2::integer[], $3::bigint[]) as sent (order_id, version, id)
         where outbox.destination = 'express' and outbox.stream_kind = 'order'
           and outbox.stream_id = sent.order_id
           and outbox.version = sent.version and outbox.id = sent.id`,
};

export class Relay {
  #pool;
  #url;
  #ordersCame = false;
  #wakeUp = null;

  constructor(pool, url) {
    this.#pool = pool;
    this.#url = url;
  }

  // Notifies the relay of a committed message.
  wake() {
    this.#ordersCame = true;
    this.#wakeUp?.();
  }

  // Publishes forever; retries if the broker or the database is unreachable.
  async run() {
    for (;;) {
      let connection;
      try {
        connection = await amqplib.connect(this.#url);
        await this.#serve(connection);
      } catch (error) {
        console.error('messages could not be sent; they wait:', error.message);
        await connection?.close().catch(() => {});
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  async #serve(connection) {
    let failure = null;
    connection.on('error', (error) => {
      failure = error;
    });
    const channel = await connection.createConfirmChannel();
    channel.on('return', () => {
      failure = new Error('a message was returned: no queue is bound');
    });
    await channel.assertExchange(EXCHANGE, 'direct', { durable: false });
    for (;;) {
      this.#ordersCame = false;
      const sent = await this.#send(channel, () => failure);
      if (sent === 0 && !this.#ordersCame) {
        await this.#pause();
      }
    }
  }

  #pause() {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, IDLE_MS);
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  // Publishes a batch, whose rows other processes skip; returns its size.
  async #send(channel, failure) {
    const client = await this.#pool.connect();
    try {
      await client.query('begin');
      const { rows } = await client.query({ ...TAKE, values: [BATCH] });
      for (const row of rows) {
        channel.publish(EXCHANGE, row.topic, Buffer.from(row.body), {
          contentType: 'application/json',
          persistent: true,
          mandatory: true,
          messageId: row.message_id,
        });
      }
      await channel.waitForConfirms();
      if (failure() !== null) {
        throw failure();
      }
      const keys = ['order_id', 'version', 'id'].map((name) => rows.map((row) => row[name]));
      await client.query({ ...DELETE, values: keys });
      await client.query('commit');
      return rows.length;
    } catch (error) {
      await client.query('rollback').catch(() => {});
      throw error;
    } finally {
      client.release();
    }
  }
}

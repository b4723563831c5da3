// Placing and reading orders with pg, in the tables of the engine's migrations.

import { randomUUID } from 'node:crypto';

const MOST_LISTED = 1000;

// A statement with a name is prepared once per connection.
const RESERVE = {
  name: 'reserve',
  text: `update products set reserved = reserved + $2, updated_at = now()
         where product_id = $1 and price is not null and reported - reserved >= $2
         returning product_id, name, price, currency, price * $2::int as total`,
};
const ORDER = {
  name: 'order',
  text: `insert into orders
           (id, user_id, status, total, currency, address, version, created_at, updated_at)
         values (nextval('order_ids'), $1, 'pending', $2, $3,
                 (select address from users where user_id = $1), 1, now(), now())
         returning id, user_id, status, total`,
};
const LINE = {
  name: 'line',
  text: `insert into order_lines (order_id, position, id, product_id, name, quantity, unit_price)
         values ($1, 1, nextval('order_line_ids'), $2, $3, $4, $5)
         returning id`,
};
const HOLD = {
  name: 'hold',
  text: 'insert into reservations (product_id, order_id, quantity) values ($1, $2, $3)',
};
const HISTORY = {
  name: 'history',
  text: `insert into order_history (order_id, version, event_id, changed_at, actor, action, status)
         values ($1, 1, $2, now(), $3, 'placed', 'pending')`,
};
const MESSAGE = {
  name: 'message',
  text: `insert into outbox (destination, stream_id, version, message_id, topic, body, created_at)
         values ('express', $1, 1, $2, 'order.placed', $3, now())`,
};
const READ = `select o.id, o.user_id, o.status, l.product_id, l.quantity
              from orders o join order_lines l on l.order_id = o.id and l.position = 1
              where o.user_id = $1 and o.deleted_at is null`;
const GET = { name: 'get', text: `${READ} and o.id = $2` };
const LIST = { name: 'list', text: `${READ} order by o.id desc limit $2` };
const KNOWN = { name: 'known', text: 'select from products where product_id = $1' };

// The order cannot be placed; the message is for the customer.
export class Refused extends Error {}

// Reserves the stock, and writes the order with its event, in one transaction.
export async function placeOrder(pool, { userId, productId, quantity }) {
  if (quantity < 1) {
    throw new Refused('The quantity must be 1 or more.');
  }
  const client = await pool.connect();
  try {
    await client.query('begin');
    const order = await write(client, String(userId), String(productId), quantity);
    await client.query('commit');
    return order;
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}

async function write(client, user, product, quantity) {
  const run = async (statement, values) => (await client.query({ ...statement, values })).rows[0];
  const sold = await run(RESERVE, [product, quantity]);
  if (sold === undefined) {
    const isKnown = (await client.query({ ...KNOWN, values: [product] })).rowCount === 1;
    throw new Refused(
      isKnown
        ? `Requested quantity of product ID ${product} not available.`
        : `Product with id ${product} not found`,
    );
  }
  const order = await run(ORDER, [user, sold.total, sold.currency]);
  const line = await run(LINE, [order.id, product, sold.name, quantity, sold.price]);
  await run(HOLD, [product, order.id, quantity]);
  const eventId = randomUUID();
  await run(HISTORY, [order.id, eventId, user]);
  const event = {
    order_id: Number(order.id),
    user_id: Number(user),
    total_amount: Number(order.total),
    items: [{ id: Number(line.id), product_id: Number(product), quantity }],
    event_id: eventId,
    version: 1,
  };
  await run(MESSAGE, [order.id, eventId, JSON.stringify(event)]);
  return { ...order, product_id: product, quantity };
}

// Returns an order of this user's.
export async function getOrder(pool, userId, id) {
  const { rows } = await pool.query({ ...GET, values: [String(userId), id] });
  return rows[0] ?? null;
}

// Returns this user's orders, oldest first; at most the newest 1,000.
export async function listOrders(pool, userId) {
  const { rows } = await pool.query({ ...LIST, values: [String(userId), MOST_LISTED] });
  return rows.reverse();
}

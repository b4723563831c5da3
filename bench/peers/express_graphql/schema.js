// The GraphQL schema and its resolvers.

import { GraphQLError, buildSchema } from 'graphql';

import { Refused, getOrder, listOrders, placeOrder } from './orders.js';

export const schema = buildSchema(`
  type Order { id: ID!  userId: Int!  productId: Int!  quantity: Int!  status: String! }
  type OrderResponse { success: Boolean!  message: String  order: Order }
  type Query { getOrder(id: ID!): Order  getOrders: [Order!]! }
  type Mutation { placeOrder(userId: Int!, productId: Int!, quantity: Int!): OrderResponse! }
`);

const resolvers = {
  Query: {
    async getOrder(_root, { id }, context) {
      const order = await getOrder(context.pool, caller(context), id);
      return order && view(order);
    },
    async getOrders(_root, _arguments, context) {
      return (await listOrders(context.pool, caller(context))).map(view);
    },
  },
  Mutation: {
    async placeOrder(_root, request, context) {
      if (caller(context) !== request.userId) {
        return { success: false, message: 'Orders are placed for oneself.' };
      }
      try {
        const order = await placeOrder(context.pool, request);
        context.relay.wake();
        return { success: true, message: 'Order created successfully.', order: view(order) };
      } catch (error) {
        if (error instanceof Refused) {
          return { success: false, message: error.message };
        }
        throw error;
      }
    },
  },
};

for (const [type, fields] of Object.entries(resolvers)) {
  for (const [name, resolve] of Object.entries(fields)) {
    schema.getType(type).getFields()[name].resolve = resolve;
  }
}

function caller({ userId }) {
  if (userId === null) {
    throw new GraphQLError('Invalid token.');
  }
  return userId;
}

function view(row) {
  return {
    id: row.id,
    userId: Number(row.user_id),
    productId: Number(row.product_id),
    quantity: row.quantity,
    status: row.status[0].toUpperCase() + row.status.slice(1),
  };
}

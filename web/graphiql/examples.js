// The first tabs: operations of the served contract that run as they are.
import { authorization, user } from './token.js';

const flask = () => [
  `# Your orders. Run with Ctrl-Enter.
query MyOrders {
  getOrders {
    id
    productId
    quantity
    status
  }
}
`,
  `# Places an order for the user of your token.
mutation PlaceOrder {
  placeOrder(
    userId: ${/^\d+$/.test(user()) ? user() : 1}
    productId: 1
    quantity: 2
  ) {
    success
    message
    order { id quantity status }
  }
}
`,
];

const storefront = () => [
  `# Your orders. Run with Ctrl-Enter.
query MyOrders {
  getUserOrders {
    _id
    status
    products { productId quantity priceAtPurchase }
  }
}
`,
  `# Places an order for the user of your token.
mutation PlaceOrder {
  placeOrder(input: {
    products: [{ productId: "1", quantity: 2 }]
  }) {
    _id
    status
  }
}
`,
];

// The contracts have different schemas. A server that does not show its schema gets the default's.
export async function examples(endpoint) {
  const queries = (await hasField(endpoint, 'getUserOrders')) ? storefront() : flask();
  return queries.map((query) => ({ query }));
}

async function hasField(endpoint, name) {
  const query = '{ __type(name: "Query") { fields { name } } }';
  try {
    const answer = await fetch(endpoint, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...authorization() },
      body: JSON.stringify({ query }),
    });
    const { data } = await answer.json();
    return data.__type.fields.some((field) => field.name === name);
  } catch {
    return false;
  }
}

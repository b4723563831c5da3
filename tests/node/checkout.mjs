// A shop's Express application in front of the contract `jobs`: it adds prices up as floats, and
// places the order with Axios.
//
// node checkout.mjs ORDERS_URL
//
// The first line is {"ready": true, "port"}. POST /checkout takes {"userId", "cart": [{"productId",
// "price", "quantity"}]} and the header Authorization, and answers with the order as it was placed
// and the total that was sent: {"sent", "order"}. A retry sends the same Idempotency-Key.
import axios from 'axios';
import express from 'express';

const [ordersUrl] = process.argv.slice(2);
const app = express();
app.use(express.json());

app.post('/checkout', async (request, response) => {
  const { userId, cart } = request.body;
  const totalAmount = cart.reduce((sum, { price, quantity }) => sum + price * quantity, 0);
  const products = cart.map(({ productId, quantity }) => ({ productId, quantity }));
  const headers = {};
  for (const name of ['authorization', 'idempotency-key']) {
    if (request.headers[name]) headers[name] = request.headers[name];
  }
  const order = { userId, products, totalAmount };
  const placed = await axios.post(ordersUrl, order, { headers, validateStatus: null, proxy: false });
  response.status(placed.status).json({ sent: JSON.stringify(totalAmount), order: placed.data });
});

const server = app.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ ready: true, port: server.address().port }));
});
process.on('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});

// One process: Express, authentication, GraphQL, and their resources.

import { createSecretKey } from 'node:crypto';

import express from 'express';
import { parse, validate } from 'graphql';
import { createHandler } from 'graphql-http/lib/use/express';
import jsonwebtoken from 'jsonwebtoken';
import pg from 'pg';

import { Relay } from './relay.js';
import { schema } from './schema.js';

const CONNECTIONS = 10;
const MOST_DOCUMENTS = 100;

export function serve({ DATABASE_URL, RABBITMQ_URL, JWT_SECRET_KEY, PORT }) {
  // One more for the relay.
  const pool = new pg.Pool({ connectionString: DATABASE_URL, max: CONNECTIONS + 1 });
  const relay = new Relay(pool, RABBITMQ_URL);
  // A key object: jsonwebtoken would try to parse a string as a public key each time.
  const key = createSecretKey(Buffer.from(JWT_SECRET_KEY));
  const app = express();
  app.get('/healthz', (_request, response) => response.send('ok'));
  app.all(
    '/graphql',
    createHandler({
      schema,
      context: (request) => ({ pool, relay, userId: caller(request, key) }),
      ...rememberedDocuments(),
    }),
  );
  relay.run();
  app.listen(Number(PORT), '127.0.0.1');
}

// Returns the user of the request's token, or null.
function caller(request, key) {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ');
  try {
    const claims = jsonwebtoken.verify(token, key, { algorithms: ['HS256'] });
    return scheme === 'Bearer' && claims.exp ? claims.user_id : null;
  } catch {
    return null;
  }
}

// The clients repeat a few documents: each is parsed and validated once.
function rememberedDocuments() {
  const documents = new Map();
  const verdicts = new WeakMap();
  return {
    parse(source, options) {
      const text = typeof source === 'string' ? source : source.body;
      let document = documents.get(text);
      if (document === undefined) {
        document = parse(source, options);
        if (documents.size === MOST_DOCUMENTS) {
          documents.clear();
        }
        documents.set(text, document);
      }
      return document;
    },
    validate(against, document, rules) {
      if (!verdicts.has(document)) {
        verdicts.set(document, validate(against, document, rules));
      }
      return verdicts.get(document);
    },
  };
}

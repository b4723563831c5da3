// The playground: GraphiQL with a field for the token. It sends requests to its own server.
import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './style.css';

import { useGraphiQLActions } from '@graphiql/react';
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import { createClient } from 'graphql-ws';
import { useEffect, useRef, useState } from 'react';
import { createRoot } from 'react-dom/client';

import { examples } from './examples.js';
import { authorization, keep, kept, takeFromAddress } from './token.js';

const endpoint = new URL(location.pathname, location.href);
const socket = new URL(endpoint);
socket.protocol = endpoint.protocol === 'https:' ? 'wss:' : 'ws:';

const fetcher = createGraphiQLFetcher({
  url: endpoint.href,
  // Headers of the Headers pane come last, so that they take precedence.
  fetch: (url, request) =>
    fetch(url, { ...request, headers: { ...authorization(), ...request.headers } }),
  wsClient: createClient({ url: socket.href, connectionParams: authorization }),
  enableIncrementalDelivery: false,
});

function TokenField() {
  const { introspect } = useGraphiQLActions();
  const [token, setToken] = useState(kept);
  const [shown, setShown] = useState(false);
  const introspected = useRef(token);

  function change(typed) {
    keep(typed);
    setToken(typed);
  }

  // Applied when the field loses focus, not on each key.
  function refreshSchema() {
    if (introspected.current === kept()) return;
    introspected.current = kept();
    introspect();
  }

  useEffect(() => {
    // Another link opened in the same tab changes only the fragment and does not reload the page.
    function follow() {
      const linked = takeFromAddress();
      if (linked === null) return;
      change(linked);
      refreshSchema();
    }
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);

  return (
    <div className="token">
      <h1>order-engine</h1>
      <label htmlFor="token">Token</label>
      <input
        id="token"
        type={shown ? 'text' : 'password'}
        value={token}
        placeholder="from: order-engine token --user 1"
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => change(event.target.value)}
        onBlur={refreshSchema}
      />
      <button
        type="button"
        aria-controls="token"
        aria-label={shown ? 'Hide token' : 'Show token'}
        onClick={() => setShown(!shown)}
      >
        {shown ? 'Hide' : 'Show'}
      </button>
    </div>
  );
}

// GraphiQL stores queries and headers. Session storage is used, because the headers can contain a
// token, which should not outlive the tab.
function Playground({ tabs }) {
  return (
    <GraphiQL
      fetcher={fetcher}
      storage={sessionStorage}
      shouldPersistHeaders={false}
      defaultTabs={tabs}
    >
      <GraphiQL.Logo>
        <TokenField />
      </GraphiQL.Logo>
    </GraphiQL>
  );
}

const root = createRoot(document.getElementById('playground'));
examples(endpoint).then((tabs) => root.render(<Playground tabs={tabs} />));

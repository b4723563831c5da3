// The token of this tab: reads it from the URL, stores it, and builds the request header.

const KEY = 'order-engine:token';

// A link can contain the token in its fragment, which browsers do not send to servers. It is removed
// from the URL at once, so that it is not shared or bookmarked with the URL.
export function takeFromAddress() {
  const linked = new URLSearchParams(location.hash.slice(1)).get('token');
  if (linked !== null) history.replaceState(null, '', location.pathname + location.search);
  return linked;
}

let text;
keep(takeFromAddress() ?? sessionStorage.getItem(KEY) ?? '');

export function keep(typed) {
  text = typed;
  sessionStorage.setItem(KEY, text);
}

export function kept() {
  return text;
}

// Called for each request, so that a new token applies to the next one.
export function authorization() {
  const token = text.trim().replace(/^Bearer\s+/i, '');
  return token ? { Authorization: `Bearer ${token}` } : {};
}

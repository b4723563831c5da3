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
  const token = withoutScheme();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function withoutScheme() {
  return text.trim().replace(/^Bearer\s+/i, '');
}

// The user that the token names, for the examples; empty if it cannot be read.
export function user() {
  try {
    const payload = withoutScheme().split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const claims = JSON.parse(atob(payload));
    return String(claims.user_id ?? claims.sub ?? '');
  } catch {
    return '';
  }
}

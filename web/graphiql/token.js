// The token of this tab: where it comes from, where it is kept, how a request carries it.

const KEY = 'order-engine:token';

// A link may carry the token after its "#", a part that browsers send to no server. It is taken
// out of the address at once, so that nobody shares or bookmarks it with the address.
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

// Asked for each request, so that a new token counts from the next one on.
export function authorization() {
  const token = text.trim().replace(/^Bearer\s+/i, '');
  return token ? { Authorization: `Bearer ${token}` } : {};
}

// The current and the previous major version of BullMQ, and their connections.

const PACKAGES = { 6: 'bullmq', 5: 'bullmq5' };

export const bullmq = (major) => import(PACKAGES[major]);

// Workers require a connection without a limit of retries.
export const connectionTo = (url) => ({ url, maxRetriesPerRequest: null });

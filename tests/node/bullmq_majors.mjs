// Which BullMQ to use: the current major version or the one before, and how each connects.

const PACKAGES = { 6: 'bullmq', 5: 'bullmq5' };

export const bullmq = (major) => import(PACKAGES[major]);

// Workers refuse a connection that gives up a command after some attempts.
export const connectionTo = (url) => ({ url, maxRetriesPerRequest: null });

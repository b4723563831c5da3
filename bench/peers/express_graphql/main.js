// The Express service: two processes on one port, each with its pool and its relay.

import cluster from 'node:cluster';

import { serve } from './server.js';

const PROCESSES = 2;

if (cluster.isPrimary) {
  for (let number = 0; number < PROCESSES; number += 1) {
    cluster.fork();
  }
  process.on('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers)) {
      worker.process.kill('SIGTERM');
    }
    process.exit(0);
  });
} else {
  serve(process.env);
}

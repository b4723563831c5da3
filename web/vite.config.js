// How the playground is bundled: into the Python package, with every file also gzipped.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defineConfig } from 'vite';

// The server sends these as they lie on the disk, so that it compresses nothing per request.
const precompress = {
  name: 'precompress',
  writeBundle({ dir }, bundle) {
    for (const name of Object.keys(bundle)) {
      if (!/\.(css|js|json|ttf|wasm)$/.test(name)) continue;
      const file = join(dir, name);
      writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
    }
  },
};

// The page lies at /graphql or behind any prefix, its files below it. Files find each other by
// themselves; only the page must be told where they are.
const besidePage = {
  name: 'beside-page',
  transformIndexHtml: { order: 'post', handler: (html) => html.replaceAll('"./', '"graphql/assets/') },
};

export default defineConfig({
  base: './',
  build: {
    outDir: '../python/order_engine/static/graphiql',
    emptyOutDir: true,
    assetsDir: '',
    // No data: scripts or workers, which the page's content security policy refuses.
    assetsInlineLimit: 0,
    // The editor (Monaco) alone is 2.8 MB; it is read from the local machine.
    chunkSizeWarningLimit: 4096,
    // React packages mark files "use client", which means nothing to a page without a server side.
    rolldownOptions: { checks: { moduleLevelDirective: false } },
    // The notices that the licences of the bundled packages ask for travel with the bundle.
    license: { fileName: 'licenses.md' },
  },
  worker: { format: 'es' },
  plugins: [precompress, besidePage],
});

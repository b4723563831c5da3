// How the pages are bundled: into the Python package, with every file also gzipped. The mode says
// which of them: `graphiql` or `swagger-ui`, a folder here and there.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defineConfig } from 'vite';

// Where the server shows the files of a page, as seen from the page.
const FILES = { graphiql: 'graphql/assets/', 'swagger-ui': 'docs/assets/' };

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

// The page lies at its path or behind any prefix, its files below it. Files find each other by
// themselves; only the page must be told where they are.
const besidePage = (files) => ({
  name: 'beside-page',
  transformIndexHtml: { order: 'post', handler: (html) => html.replaceAll('"./', `"${files}`) },
});

// Swagger UI comes bundled with packages of its own; their notices, and its own, go with it.
const notices = {
  name: 'notices',
  generateBundle() {
    const names = ['NOTICE', 'swagger-ui-es-bundle.js.LICENSE.txt'];
    const read = (name) => readFileSync(join('node_modules', 'swagger-ui-dist', name), 'utf8');
    this.emitFile({
      type: 'asset',
      fileName: 'notices.txt',
      source: names.map(read).join('\n'),
    });
  },
};

export default defineConfig(({ mode }) => ({
  root: mode,
  base: './',
  build: {
    outDir: `../../python/order_engine/static/${mode}`,
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
  plugins: [precompress, besidePage(FILES[mode]), ...(mode === 'swagger-ui' ? [notices] : [])],
}));

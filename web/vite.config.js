// Bundles a page into the Python package, with a gzipped copy of every file. The mode selects the
// page: `graphiql` or `swagger-ui`, the name of its source and target folder.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defineConfig } from 'vite';

// The path of a page's assets, relative to the page.
const FILES = { graphiql: 'graphql/assets/', 'swagger-ui': 'docs/assets/' };

// The server sends the gzipped copies, so that it need not compress them per request.
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

// A page can be served under any path prefix. Assets refer to each other by relative URLs. Only the
// page needs the path of the assets.
const besidePage = (files) => ({
  name: 'beside-page',
  transformIndexHtml: { order: 'post', handler: (html) => html.replaceAll('"./', `"${files}`) },
});

// Swagger UI is already bundled with its dependencies. Their licence notices are included.
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
    // No inlined scripts or workers (data: URLs), which the Content-Security-Policy forbids.
    assetsInlineLimit: 0,
    // The editor (Monaco) alone has 2.8 MB.
    chunkSizeWarningLimit: 4096,
    // "use client" directives of React packages have no meaning without server components.
    rolldownOptions: { checks: { moduleLevelDirective: false } },
    // Includes the licence notices of the bundled packages.
    license: { fileName: 'licenses.md' },
  },
  worker: { format: 'es' },
  plugins: [precompress, besidePage(FILES[mode]), ...(mode === 'swagger-ui' ? [notices] : [])],
}));

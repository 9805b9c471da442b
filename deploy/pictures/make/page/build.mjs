// Bundles the page into dist/, with the icons that Grafana's components fetch at run time.
import { build } from 'esbuild';
import { cpSync, rmSync, writeFileSync } from 'node:fs';

rmSync('dist', { recursive: true, force: true });
await build({
  entryPoints: ['src/main.tsx'],
  bundle: true,
  outfile: 'dist/main.js',
  format: 'iife',
  jsx: 'automatic',
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  // Grafana's time series panel calls this; its package does not export it.
  alias: { 'grafana-null-insert': './node_modules/@grafana/ui/dist/esm/graveyard/GraphNG/nullInsertThreshold.mjs' },
  loader: { '.woff2': 'file', '.woff': 'empty', '.svg': 'dataurl', '.png': 'dataurl', '.ttf': 'empty' },
  logLevel: 'warning',
});
cpSync('node_modules/@grafana/ui/dist/public/img', 'dist/public/build/img', { recursive: true });
writeFileSync(
  'dist/index.html',
  '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><link rel="stylesheet" href="main.css">' +
    '<div id="board"></div><script src="main.js"></script>'
);

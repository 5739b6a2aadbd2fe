// Builds the pages into dist/: hashed files that browsers may keep for ever, each with a gzipped twin,
// so that the server compresses nothing while it answers.
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** Where `npm run dev` finds a running server. */
const server = process.env.LONGHAUL ?? "http://127.0.0.1:8080";

function gzipped(): Plugin {
  return {
    name: "gzipped",
    apply: "build",
    generateBundle(_, bundle) {
      for (const [name, file] of Object.entries(bundle)) {
        const source = file.type === "chunk" ? file.code : file.source;
        const small = gzipSync(source, { level: 9 });
        if (/\.(js|css|html|svg)$/.test(name) && small.length < source.length) {
          this.emitFile({ type: "asset", fileName: `${name}.gz`, source: small });
        }
      }
    },
  };
}

export default defineConfig({
  plugins: [gzipped()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    modulePreload: { polyfill: false },
    // The content security policy has no room for data: scripts or styles.
    assetsInlineLimit: 0,
  },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/healthz", "/readyz", "/metrics", "/openapi.json"].map((path) => [path, { target: server, changeOrigin: true, ws: true, rewriteWsOrigin: true }]),
    ),
  },
});

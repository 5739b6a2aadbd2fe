// The pages ask the server only what its contract has: the functions made from docs/openapi.json are their way to it.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const sources = join(import.meta.dirname, "../src");

test("no page writes an address of the API, or how it is asked, by hand", () => {
  const files = readdirSync(sources, { recursive: true }).filter((name) => /\.tsx?$/.test(name));
  assert.ok(files.length > 40);
  for (const name of files) {
    const source = readFileSync(join(sources, name), "utf8").replaceAll(/\/\*\*.*?\*\//gs, "");
    const written = [...source.matchAll(/["`]\/(?:api\/\w|healthz|readyz)[^"`]*|\bmethod: "|"(?:GET|POST|PATCH|PUT|DELETE)"/g)].map(([words]) => words);
    // The one place that tells how an operation looks on a command line names the methods that curl assumes.
    const allowed = name.endsWith("actions.ts") ? ['"GET"', '"POST"'] : [];
    assert.deepEqual(written.filter((words) => !allowed.includes(words)), [], name);
  }
});

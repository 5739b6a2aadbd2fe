// A server of two tools over stdio, for the tests of the pages: as much of the protocol as they need.
import { createInterface } from "node:readline";

const tool = (name) => ({ name, description: `Tells ${name}.`, inputSchema: { type: "object" }, annotations: { readOnlyHint: true } });
const answers = {
  initialize: ({ protocolVersion }) => ({ protocolVersion, capabilities: { tools: {} }, serverInfo: { name: "weather", version: "1" } }),
  "tools/list": () => ({ tools: [tool("today"), tool("tomorrow")] }),
  "tools/call": ({ name }) => ({ content: [{ type: "text", text: name }] }),
  ping: () => ({}),
};
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id !== undefined && answers[method]) process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id, result: answers[method](params ?? {}) })}\n`);
});

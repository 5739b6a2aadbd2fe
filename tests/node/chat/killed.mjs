// Reads streams from a server that is killed meanwhile, and prints what every client got in the end.
//
//   node killed.mjs URL MESSAGE TYPE TIMES
//
// Prints "kill" when all clients have got so many chunks of the type.
import * as five from "ai5";
import * as six from "ai6";
import * as seven from "ai7";
import { WorkflowChatTransport } from "@ai-sdk/workflow/client";
import { chat, collect, patientFetch, user } from "./chat.mjs";

const [url, message, type, times] = process.argv.slice(2);
const api = `${url}/api/chat`;
const clients = { five, six, seven };
let waiting = 2 * Object.keys(clients).length + 1;

/** Counts a client as one that has begun, once. */
function begun() {
  let missing = Number(times);
  return (chunk) => {
    if (chunk.type !== type) return;
    missing -= 1;
    if (missing !== 0) return;
    waiting -= 1;
    if (waiting === 0) console.log("kill");
  };
}

/** Until the server is back. */
const back = () => patientFetch(`${url}/readyz`);

/** A stream that is cut off, and once more from its beginning. */
async function transported(ai, name) {
  const transport = new ai.DefaultChatTransport({ api });
  const chatId = `${name}-transport`;
  const stream = await transport.sendMessages({ chatId, messages: [user(`${name}-m1`, message)], trigger: "submit-message" });
  const before = [];
  const see = begun();
  try {
    await collect(stream, (chunk) => (before.push(chunk), see(chunk)));
  } catch {
    // It was cut off.
  }
  await back();
  const again = await transport.reconnectToStream({ chatId });
  return { before, after: again && (await collect(again)) };
}

/** The same as the hook does it: what the page shows in the end. */
async function hooked(ai, name) {
  const see = begun();
  const transport = new ai.DefaultChatTransport({
    api,
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      if (response.status === 204) return response;
      // The page reads the chunks; this counts them.
      const [mine, theirs] = response.body.tee();
      const lines = mine.pipeThrough(new TextDecoderStream());
      const named = new RegExp(`"type":"${type}"`, "g");
      collect(lines, (line) => (line.match(named) ?? []).forEach(() => see({ type }))).catch(() => {});
      return new Response(theirs, response);
    },
  });
  const one = chat(ai, { id: `${name}-hook`, transport });
  await one.sendMessage(user(`${name}-m2`, message));
  const cut = { status: one.status, message: one.lastMessage };
  await back();
  await one.resumeStream();
  return { cut, status: one.status, messages: one.messages };
}

/** A client that counts its chunks and asks for the rest by itself. */
async function counted() {
  const transport = new WorkflowChatTransport({ api, fetch: patientFetch });
  const messages = [user("workflow-m3", message)];
  return collect(await transport.sendMessages({ chatId: "any", messages, trigger: "submit-message" }), begun());
}

console.error = () => {};
const all = Object.entries(clients).map(async ([name, ai]) => {
  const [transport, hook] = await Promise.all([transported(ai, name), hooked(ai, name)]);
  return [name, { transport, hook }];
});
const [workflow, ...told] = await Promise.all([counted().catch((error) => ({ failed: String(error) })), ...all]);
console.log(JSON.stringify({ workflow, ...Object.fromEntries(told) }));
process.exit(0);

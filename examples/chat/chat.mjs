// A chat in a terminal: node chat.mjs [THREAD]
import { createInterface } from "node:readline/promises";
import { AbstractChat, DefaultChatTransport } from "ai";

const server = process.env.LONGHAUL ?? "http://127.0.0.1:8080";
const key = process.env.CHAT_API_KEY;
const headers = key ? { authorization: `Bearer ${key}` } : {};
const id = process.argv[2] ?? "example";

// Where a page would keep what it shows; here, what is new is printed.
const shown = new Map();
function show(message) {
  const text = message.parts.map((part) => part.text ?? "").join("");
  process.stdout.write(text.slice(shown.get(message.id) ?? 0));
  shown.set(message.id, text.length);
}
const state = {
  status: "ready",
  messages: [],
  pushMessage(message) {
    this.messages = [...this.messages, message];
    if (message.role === "assistant") show(message);
  },
  popMessage() {
    this.messages = this.messages.slice(0, -1);
  },
  replaceMessage(index, message) {
    this.messages = this.messages.map((known, at) => (at === index ? message : known));
    show(message);
  },
  snapshot: (thing) => structuredClone(thing),
};

class Chat extends AbstractChat {}
const chat = new Chat({ id, state, transport: new DefaultChatTransport({ api: `${server}/api/chat`, headers }) });

/** Until the server answers. */
async function back() {
  while (!(await fetch(`${server}/readyz`).catch(() => undefined))?.ok) {
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** Reads on until the answer has come to its end. */
async function carried(answering) {
  await answering;
  while (chat.status === "error" && chat.error instanceof TypeError) {
    console.log("\n(the connection broke)");
    await back();
    await chat.resumeStream();
  }
  console.log(chat.status === "error" ? `\n(${chat.error.message})` : "");
}

const kept = await fetch(`${server}/api/chat/${encodeURIComponent(id)}/messages`, { headers });
if (kept.ok) {
  state.messages = (await kept.json()).messages;
  for (const message of state.messages) {
    console.log(message.role === "user" ? "> " : "", message.parts.map((part) => part.text ?? "").join(""));
    shown.set(message.id, 0);
  }
}
await carried(chat.resumeStream());
const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: "> " });
lines.prompt();
for await (const line of lines) {
  if (line.trim()) await carried(chat.sendMessage({ text: line }));
  lines.prompt();
}
process.exit(0);

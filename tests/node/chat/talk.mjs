// Talks to a server through the AI SDK of three major versions, and prints what each got.
//
//   node talk.mjs URL
import * as five from "ai5";
import * as six from "ai6";
import * as seven from "ai7";
import { WorkflowChatTransport } from "@ai-sdk/workflow/client";
import { chat, collect, text, user } from "./chat.mjs";

const api = `${process.argv[2]}/api/chat`;

/** Says one thing in a chat of its own; how the chat stands then. */
async function said(ai, name, about, message, body) {
  const one = chat(ai, { id: `${name}-${about}`, transport: new ai.DefaultChatTransport({ api, body }) });
  await one.sendMessage({ text: message });
  return { status: one.status, error: one.error?.message, messages: one.messages };
}

/** Asks, and stops when the answer has begun. */
async function stopped(ai, name) {
  const one = chat(ai, { id: `${name}-stop`, transport: new ai.DefaultChatTransport({ api }) });
  const asking = one.sendMessage({ text: "Count very slowly" });
  while (one.messages.length < 2 || text(one.lastMessage) === "") {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await one.stop();
  await asking;
  return { status: one.status, text: text(one.lastMessage) };
}

/** A conversation of two questions, one of which is asked anew. */
async function conversation(ai, name) {
  const one = chat(ai, { id: `${name}-talk`, transport: new ai.DefaultChatTransport({ api }) });
  await one.sendMessage({ text: "What is the capital of France?" });
  await one.sendMessage({ text: "And once more?" });
  const before = one.messages.map((message) => message.id);
  await one.regenerate();
  const kept = await (await fetch(`${api}/${name}-talk/messages`)).json();
  // Whoever opens the page anew has what the server kept, and nothing to resume.
  const again = chat(ai, { id: `${name}-talk`, messages: kept.messages, transport: new ai.DefaultChatTransport({ api }) });
  await again.resumeStream();
  return {
    before,
    after: one.messages.map((message) => message.id),
    text: text(one.lastMessage),
    kept: kept.messages.map((message) => message.id),
    again: again.messages.length,
    status: again.status,
  };
}

/** The chunks of a task as they come, and the message they make. */
async function task(ai, name) {
  const transport = new ai.DefaultChatTransport({ api });
  const stream = await transport.sendMessages({
    chatId: `${name}-task`,
    messages: [user(`${name}-m`, "Read everything here and then write a report about all of it")],
    trigger: "submit-message",
  });
  const [mine, theirs] = stream.tee();
  const [chunks, messages] = await Promise.all([collect(mine), collect(ai.readUIMessageStream({ stream: theirs }))]);
  return { types: chunks.map((chunk) => chunk.type), message: messages.at(-1) };
}

/** A question of a task, which is answered on a page that was loaded again. */
async function asked(ai, name) {
  const id = `${name}-asked`;
  const requests = (message) => message.parts.filter((part) => part.type === "data-request");
  const page = (messages) => chat(ai, { id, messages, transport: new ai.DefaultChatTransport({ api }) });
  const one = page([]);
  await one.sendMessage({ text: "Choose a color with me" });
  const stored = async () => (await (await fetch(`${api}/${id}/messages`)).json()).messages;
  const again = page(await stored());
  const [open] = requests(again.lastMessage);
  const answer = await fetch(`${process.argv[2]}/api/inbox/${open?.id}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ decision: "answer", answer: open?.data.arguments.choices[1] }),
  });
  await again.resumeStream();
  const later = (await stored()).at(-1);
  return { live: requests(one.lastMessage), said: text(one.lastMessage), open, answered: answer.status, then: requests(again.lastMessage), later };
}

async function workflow() {
  let ended;
  const transport = new WorkflowChatTransport({ api, onChatEnd: (end) => (ended = end) });
  const stream = await transport.sendMessages({
    chatId: "any",
    messages: [user("workflow-m", "What is the capital of France?")],
    trigger: "submit-message",
  });
  const chunks = await collect(stream);
  return { types: chunks.map((chunk) => chunk.type), ended };
}

const told = { workflow: await workflow() };
for (const [name, ai] of Object.entries({ five, six, seven })) {
  told[name] = {
    simple: await said(ai, name, "simple", "What is the capital of France?"),
    reasoning: await said(ai, name, "reasoning", "Think about it"),
    tool: await said(ai, name, "tool", "Look it up for me"),
    error: await said(ai, name, "error", "Break please"),
    grown: await said(ai, name, "grown", "Count this for me"),
    words: await said(ai, name, "words", "Read everything here and then write a report about all of it", { words: true }),
    asked: await asked(ai, name),
    stop: await stopped(ai, name),
    conversation: await conversation(ai, name),
    task: await task(ai, name),
  };
}
console.log(JSON.stringify(told));
process.exit(0);

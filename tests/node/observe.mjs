// Reads the queue as its Node users do, while Longhaul works: BullMQ 6 and 5, and Bull Board.
//
//   node observe.mjs HOST PORT PREFIX COMPLETED FAILED
//
// Prints "ready" when it listens, waits until so many jobs have completed and failed, and prints
// what everybody saw as one line of JSON.
import { once } from "node:events";
import { createBullBoard } from "@bull-board/api";
import { BullMQAdapter } from "@bull-board/api/bullMQAdapter";
import { ExpressAdapter } from "@bull-board/express";
import express from "express";
import * as six from "bullmq";
import * as five from "bullmq5";

const [host, port, prefix, completed, failed] = process.argv.slice(2);
const options = { connection: { host, port: Number(port), maxRetriesPerRequest: null }, prefix };
const NAME = "chat-tasks";

async function observe(library) {
  const queue = new library.Queue(NAME, options);
  const events = new library.QueueEvents(NAME, options);
  const seen = { added: [], active: [], progress: [], completed: [], failed: [] };
  for (const kind of Object.keys(seen)) {
    events.on(kind, (event) => seen[kind].push(event));
  }
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);
  return { queue, events, seen };
}

function shown(job) {
  const { id, name, data, opts, progress, attemptsMade, failedReason, stacktrace, returnvalue } = job;
  return { id, name, data, opts, progress, attemptsMade, failedReason, stacktrace, returnvalue };
}

async function report({ queue, events, seen }) {
  const jobs = await queue.getJobs(["completed", "failed", "delayed", "prioritized", "active"]);
  const told = { jobs: jobs.map(shown), counts: await queue.getJobCounts(), events: seen };
  await Promise.all([queue.close(), events.close()]);
  return told;
}

async function board(queue) {
  const adapter = new ExpressAdapter();
  adapter.setBasePath("/board");
  createBullBoard({ queues: [new BullMQAdapter(queue)], serverAdapter: adapter });
  const server = express().use("/board", adapter.getRouter()).listen(0, "127.0.0.1");
  await once(server, "listening");
  const at = `http://127.0.0.1:${server.address().port}/board`;
  const page = await fetch(at);
  const reply = await fetch(`${at}/api/queues?activeQueue=${NAME}&status=latest&page=1&jobsPerPage=50`);
  const told = { page: page.status, status: reply.status, queues: (await reply.json()).queues };
  server.close();
  return told;
}

const observers = { six: await observe(six), five: await observe(five) };
// A stream is read from its end: an event before the first read is not seen.
await new Promise((resolve) => setTimeout(resolve, 500));
console.log("ready");
const enough = ({ seen }) => seen.completed.length >= completed && seen.failed.length >= failed;
while (!Object.values(observers).every(enough)) {
  await new Promise((resolve) => setTimeout(resolve, 20));
}
const told = { board: await board(observers.six.queue) };
for (const [name, observer] of Object.entries(observers)) {
  told[name] = await report(observer);
}
console.log(JSON.stringify(told));
process.exit(0);

// The measured work as BullMQ jobs: a job is a step, and its processor adds the next one.
// REDIS_PORT is that of the server.
//
// Adding the next job from the processor lets BullMQ take it in the same call that records the
// result of this one. It favours BullMQ: a free slot may start the next step before that result
// is durable. Adding it when the result is recorded is twice as slow, because the worker then
// finds the queue empty and waits to be woken.
//
// Completed jobs stay, with their results: the other peers keep theirs too. One worker with as
// many slots as there are tasks, as BullMQ recommends for work that waits. A second process
// would take the processor away from Redis on a machine with two.

import { Queue, Worker } from "bullmq";
import { STEPS, drive, payload, step } from "./window.mjs";

const connection = { host: "127.0.0.1", port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null };
const queue = new Queue("steps", { connection });
const last = new Map();
const ended = new Map();
let tasks = 0;
let worker;

/** A worker with this many slots. */
async function prepare(concurrency) {
  await worker?.close();
  worker = new Worker(
    "steps",
    async ({ data }) => {
      last.set(data.task, step(last.get(data.task)));
      if (data.step < STEPS) await queue.add("step", { task: data.task, step: data.step + 1 });
      return payload();
    },
    { connection, concurrency },
  );
  worker.on("completed", ({ data }) => {
    if (data.step < STEPS) return;
    last.delete(data.task);
    ended.get(data.task)();
    ended.delete(data.task);
  });
  worker.on("failed", (_, error) => fail(error));
  worker.on("error", fail);
  await worker.waitUntilReady();
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

async function task() {
  const id = (tasks += 1);
  const end = new Promise((resolve) => ended.set(id, resolve));
  await queue.add("step", { task: id, step: 1 });
  await end;
}

await drive({ prepare, task });
await worker?.close();
await queue.close();

// The span of time in which steps count, and the protocol of a driver; see ../README.md.

import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";

/** Steps of one task. */
export const STEPS = 10;

/** 300 letters that no other step returned: what repeats would be compressed to nothing. */
export function payload() {
  const bytes = randomBytes(300);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = 97 + (bytes[at] % 26);
  return bytes.latin1Slice();
}

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

let total = 0;
let counted = 0;
let periods = [];
let counting = false;
let over = false;

/** Notes that a step ran; `last` is when the one before it ran. Returns now. */
export function step(last) {
  const now = performance.now();
  total += 1;
  if (counting) {
    counted += 1;
    if (last !== undefined) periods.push(now - last);
  }
  return now;
}

/**
 * Carries out orders, `CONCURRENCY WARMUP SECONDS` a line, until stdin ends.
 * `prepare(concurrency)` is called before each, `task()` does one task from its creation to its end.
 */
export async function drive({ prepare = async () => {}, task }) {
  say({ event: "ready" });
  for await (const line of createInterface({ input: process.stdin })) {
    const [concurrency, warmup, seconds] = line.split(" ").map(Number);
    await prepare(concurrency);
    [total, counted, periods, counting, over] = [0, 0, [], false, false];
    const clients = Array.from({ length: concurrency }, async () => {
      while (!over) await task();
    });
    await Promise.race([sleep(warmup), Promise.all(clients)]);
    const opened = performance.now();
    counting = true;
    say({ event: "begin" });
    await Promise.race([sleep(seconds), Promise.all(clients)]);
    [counting, over] = [false, true];
    periods.sort((one, other) => one - other);
    const p50 = periods[Math.floor(periods.length / 2)];
    say({ event: "end", steps: counted, seconds: (performance.now() - opened) / 1000, p50 });
    await Promise.all(clients);
    say({ event: "idle", steps: total });
  }
}

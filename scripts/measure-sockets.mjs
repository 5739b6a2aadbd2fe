#!/usr/bin/env node
// Measures what WebSocket clients cost the server in memory: node scripts/measure-sockets.mjs BINARY [CLIENTS]
// Needs Node 22 or newer and Linux. The server runs on a database of its own, without a worker.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [binary, clients = "1000"] = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), "longhaul-sockets-"));
const address = "127.0.0.1:18417";
const environment = { PATH: process.env.PATH, HOME: directory, DISABLE_TASK_WORKER: "true" };
const server = spawn(binary, ["--db", join(directory, "db"), "--workspace", directory, "serve", "--bind", address], {
  env: environment,
  stdio: "ignore",
});
const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const memory = () => Number(readFileSync(`/proc/${server.pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)[1]) / 1024;
while (!(await fetch(`http://${address}/readyz`).catch(() => undefined))?.ok) await rest(50);

const body = JSON.stringify({ goal: "Find every TODO comment in this repository and write a report", threadId: "t" });
const started = await fetch(`http://${address}/api/chat/orchestrate`, { method: "POST", body });
const { taskId } = await started.json();

/** Opens all clients, waits until each was told something, and returns how much that took. */
async function open(path, greeting) {
  const before = memory();
  const sockets = [];
  for (let number = 0; number < Number(clients); number += 1) {
    sockets.push(
      new Promise((resolve, reject) => {
        const socket = new WebSocket(`ws://${address}${path}`);
        socket.onopen = () => greeting && socket.send(JSON.stringify(greeting));
        socket.onmessage = () => resolve(socket);
        socket.onerror = reject;
      }),
    );
    if (number % 50 === 49) await Promise.all(sockets);
  }
  const all = await Promise.all(sockets);
  await rest(1000);
  const took = memory() - before;
  all.forEach((socket) => socket.close());
  await rest(1000);
  return took;
}

console.log(`before: ${memory().toFixed(1)} MiB`);
const one = await open(`/api/tasks/${taskId}/ws`);
console.log(`${clients} clients of one task (/api/tasks/{id}/ws): +${one.toFixed(1)} MiB`);
const lists = await open("/api/ws", { command: "subscribe-tasks" });
console.log(`${clients} clients of all tasks (/api/ws): +${lists.toFixed(1)} MiB on top of what stayed`);
server.kill();
rmSync(directory, { recursive: true });
process.exit(0);

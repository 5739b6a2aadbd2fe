// Much of everything: the server's answers are made up here, so that there can be much of it at once.
// Only what is seen is drawn; scripts/measure-pages.mjs says how long it takes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { stage } from "./world.mjs";

const TASKS = 10_000;
const ENTRIES = 5_000;
const { world, visit } = stage({ more: "[presets.long]\nlimits = { maxSteps = 1000, maxToolCalls = 1000 }\nbudget = { toolCalls = 0, steps = 0 }\n" });

const usage = { inputTokens: 1200, outputTokens: 340, cachedTokens: 0, modelCalls: 3, toolCalls: 2, costUsd: 0.0123 };
const id = (number) => `01a20000-0000-7000-8000-${String(number).padStart(12, "0")}`;
const at = (ms) => new Date(1_790_000_000_000 + ms).toISOString();
const statuses = ["completed", "completed", "completed", "failed", "running", "cancelled"];

function task(number) {
  const status = statuses[number % statuses.length];
  return { id: id(number), userId: "local", threadId: `t${number % 40}`, goal: `Goal number ${number} with some words behind it`, status, priority: 3, completedSteps: 2, totalSteps: 5, usage, seq: 20, createdAt: at(number * 1000), updatedAt: at(number * 1000 + 900), completedAt: status === "running" ? null : at(number * 1000 + 900), worker: null };
}

test(`${TASKS} tasks scroll, of which only those on the screen are drawn`, async () => {
  const page = await visit("/");
  await page.route(/\/api\/tasks(\?|$)/, (route) => {
    const query = new URL(route.request().url()).searchParams;
    const before = query.get("before") === null ? TASKS : Number(query.get("before").slice(-12));
    const limit = query.has("status") ? 0 : Number(query.get("limit"));
    if (query.has("q")) return route.fulfill({ json: { tasks: [task(Number(query.get("q").split(" ")[1]))], nextBefore: null } });
    const tasks = Array.from({ length: Math.min(limit, before) }, (_, offset) => task(before - 1 - offset));
    return route.fulfill({ json: { tasks, nextBefore: tasks.length === limit && limit > 0 && before > limit ? tasks.at(-1).id : null } });
  });
  await page.goto(`${world.url}/tasks`);
  // Each time the end of what was read is reached, there is more of it.
  for (let read = 1100; read < TASKS; read += 1000) {
    await page.getByRole("heading", { name: `${read.toLocaleString("en-US")}+` }).waitFor();
    await page.locator(".virtual").evaluate((list) => { list.scrollTop = list.scrollHeight; });
  }
  await page.getByRole("heading", { name: /10,000$/ }).waitFor();
  assert.ok(await page.locator(".row").count() < 60);
  await page.locator(".virtual").evaluate((list) => { list.scrollTop = list.scrollHeight; });
  await page.locator(".row a", { hasText: "Goal number 0 " }).waitFor();
  await page.getByLabel("Search tasks").fill("number 4242");
  await page.locator(".row a", { hasText: "Goal number 4242 " }).waitFor();
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test(`a trace of ${ENTRIES} entries opens, and is searched`, async () => {
  const real = await world.task("Compare the wide readings once more");
  const detail = await world.until(real, "completed");
  const { traces } = await world.ask("GET", `/api/tasks/${real}/traces?limit=1000`);
  const filler = (seq) => ({ ...traces[5], seq, at: at(seq), message: `Entry ${seq} of many` });
  const entries = Array.from({ length: ENTRIES }, (_, index) => traces[index] ?? filler(index + 1));
  const page = await visit("/settings");
  await page.locator("h1").waitFor();
  await page.route(/\/traces\?/, (route) => {
    const after = Number(new URL(route.request().url()).searchParams.get("after"));
    const piece = entries.slice(after, after + 1000);
    return route.fulfill({ json: { traces: piece, nextAfter: piece.length === 1000 && after + 1000 < ENTRIES ? piece.at(-1).seq : null } });
  });
  await page.route(/\/events\?/, (route) => route.fulfill({ status: 204 }));
  await page.route(new RegExp(`/api/tasks/${real}$`), (route) => route.fulfill({ json: { ...detail, seq: ENTRIES } }));
  await page.goto(`${world.url}/tasks/${real}/trace`);
  await page.getByText("5,000 entries").waitFor();
  assert.ok(await page.locator(".entry").count() < 80);
  await page.getByLabel("Search the trace").fill("entry 4321 of");
  await page.locator(".entry-text", { hasText: "Entry 4321 of many" }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.getByLabel("Inspector").getByText("Entry 4321 of many").waitFor();
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("of a plan with hundreds of steps only those on the screen are drawn", async () => {
  const plan = Array.from({ length: 300 }, (_, number) => ({ id: `s${number}`, description: `Look at the clock, ${number + 1}`, type: "tool-call", tool: { name: "clock_now", arguments: {} } }));
  const id = await world.task("A long plan", { preset: "long", plan });
  await world.until(id, "completed");
  const page = await visit(`/tasks/${id}?step=250`, { viewport: { width: 1600, height: 900 } });
  await page.getByLabel("Inspector").getByText("Look at the clock, 251").waitFor();
  const steps = page.getByRole("navigation", { name: "Steps" });
  await steps.getByRole("button", { name: /clock, 251/, pressed: true }).waitFor();
  assert.ok(await steps.getByRole("button").count() < 60);
  await steps.locator(".virtual").evaluate((list) => { list.scrollTop = 0; });
  await steps.getByRole("button", { name: /clock, 1 / }).click();
  await page.getByLabel("Inspector").getByRole("heading", { name: "1 Look at the clock, 1", exact: true }).waitFor();
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

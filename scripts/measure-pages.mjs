#!/usr/bin/env node
// Measures the pages in a real browser, against a server with much of everything, and prints what docs/benchmarks.md
// says of them: LONGHAUL_BIN=target/release/longhaul node scripts/measure-pages.mjs
// Needs what scripts/ui-test installs. The work per frame is told beside the wall time: it depends less on what else
// the machine does.
import { World, browse, open } from "../ui/tests/world.mjs";

const TASKS = Number(process.env.TASKS ?? 10_000);
const STEPS = 1250; // of four entries each
const ROUNDS = 5;
const EVENTS = 20;
const FRAMES = 240;

const sorted = (values) => values.toSorted((one, other) => one - other);
const median = (values) => sorted(values)[Math.floor(values.length / 2)];
const ms = (value) => `${value.toFixed(1)} ms`;
const clock = (number) => ({ id: `s${number}`, description: `Look at the clock, ${number}`, type: "tool-call", tool: { name: "clock_now", arguments: {} } });

const script = [{ role: "plan", reply: { json: { reason: "", steps: [{ id: "a", description: "Wait", type: "llm-reasoning" }] } } }, { role: "execute", delayMs: 600_000, reply: { text: "Done." } }];
const world = await World.start({ script, more: "[presets.long]\nlimits = { maxSteps = 2000, maxToolCalls = 2000 }\nbudget = { toolCalls = 0, steps = 0 }\n" });
const browser = await browse();

/** Fills the server: tasks of one step each, sixteen at a time, and one with a long journal. */
async function fill() {
  let next = 0;
  const one = async () => {
    while (next < TASKS) {
      const number = next++;
      await world.task(`Goal number ${number} with some words behind it`, { plan: [clock(1)], threadId: `t${number % 40}` });
    }
  };
  await Promise.all(Array.from({ length: 16 }, one));
  const long = await world.task("A long journal", { preset: "long", plan: Array.from({ length: STEPS }, (_, number) => clock(number)) });
  for (;;) {
    const { stats } = await world.ask("GET", "/api/worker");
    if ((stats.tasks.pending ?? 0) + (stats.tasks.running ?? 0) === 0) return long;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** When the first words are on the screen, and when the first row of the list is, of a browser that knows nothing. */
async function firstPaint() {
  const [paints, rows] = [[], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    const page = await open(browser, world, "/tasks");
    await page.locator(".row:not(.is-head)").first().waitFor();
    rows.push(await page.evaluate(() => performance.now()));
    paints.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
    await page.context().close();
  }
  return { paint: median(paints), row: median(rows) };
}

/** What a list takes to scroll by four rows a frame. */
async function scroll() {
  const page = await open(browser, world, "/tasks");
  // So many are read before anybody scrolls; the rest as it is scrolled to.
  await page.getByRole("heading", { name: /^Tasks 1,[\d]{3}\+$/ }).waitFor();
  // What is fetched and drawn once is not what scrolling takes.
  await page.waitForTimeout(1000);
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const spent = async () => Object.fromEntries((await session.send("Performance.getMetrics")).metrics.map(({ name, value }) => [name, value * 1000]));
  const before = await spent();
  const times = await page.evaluate((frames) => new Promise((resolve) => {
    const list = document.querySelector(".virtual");
    const times = [];
    let last = performance.now();
    const step = (now) => {
      times.push(now - last);
      last = now;
      list.scrollTop += 160;
      if (times.length < frames) requestAnimationFrame(step);
      else resolve(times.slice(1));
    };
    requestAnimationFrame(step);
  }), FRAMES);
  const after = await spent();
  const each = (name) => (after[name] - before[name]) / FRAMES;
  await page.context().close();
  return { script: each("ScriptDuration"), layout: each("LayoutDuration") + each("RecalcStyleDuration"), all: each("TaskDuration"), longest: Math.max(...times), late: times.filter((one) => one > 25).length };
}

/** How long a long journal takes to be on the screen, in a browser that has the pages already. */
async function longTrace(id) {
  const took = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const page = await open(browser, world, "/settings");
    await page.locator("h1").waitFor();
    const began = Date.now();
    await page.goto(`${world.url}/tasks/${id}/trace`);
    await page.getByText(/^5,\d\d\d entries$/).waitFor();
    await page.locator(".entry").first().waitFor();
    took.push(Date.now() - began);
    await page.context().close();
  }
  return median(took);
}

/** How long after its commit an event is on the screen. */
async function events() {
  const id = await world.task("A task that is looked at");
  await world.until(id, "running");
  const page = await open(browser, world, `/tasks/${id}/trace`);
  await page.locator(".entry").first().waitFor();
  await page.evaluate(() => {
    window.seen = {};
    // After the drawing, not when the text is put into the page.
    const look = () => requestAnimationFrame(() => { const now = Date.now(); for (const entry of document.querySelectorAll(".entry-seq")) window.seen[entry.textContent] ??= now; });
    new MutationObserver(look).observe(document.querySelector("#app"), { childList: true, subtree: true, characterData: true });
  });
  for (let number = 0; number < EVENTS; number += 1) {
    await world.ask("PATCH", `/api/tasks/${id}`, { priority: 1 + (number % 2) });
    await new Promise((resolve) => setTimeout(resolve, 150 + 37 * (number % 5)));
  }
  const { traces } = await world.ask("GET", `/api/tasks/${id}/traces?limit=1000`);
  const seen = await page.evaluate(() => window.seen);
  await page.context().close();
  return sorted(traces.filter((entry) => entry.kind === "prioritized" && seen[entry.seq]).map((entry) => seen[entry.seq] - Date.parse(entry.at)));
}

try {
  const html = await (await fetch(`${world.url}/tasks`, { headers: { accept: "text/html" } })).text();
  for (const [, file] of html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)) {
    const answer = await fetch(world.url + file, { method: "HEAD", headers: { "accept-encoding": "gzip" } });
    console.log(`${file}: ${(Number(answer.headers.get("content-length")) / 1024).toFixed(1)} KiB gzipped`);
  }
  const long = await fill();
  const { paint, row } = await firstPaint();
  console.log(`first paint after ${ms(paint)}, the first of ${TASKS} tasks after ${ms(row)} (medians of ${ROUNDS})`);
  for (let round = 0; round < 3; round += 1) {
    const { script, layout, all, longest, late } = await scroll();
    console.log(`a frame of the scrolling list: ${ms(script)} of script, ${ms(layout)} of layout, ${ms(all)} of the main thread in all, of the processor; the longest ${ms(longest)}; ${late} of ${FRAMES - 1} late`);
  }
  console.log(`a journal of ${4 * STEPS} entries is open after ${ms(await longTrace(long))} (median of ${ROUNDS})`);
  const late = await events();
  console.log(`an event is on the screen ${ms(median(late))} after its commit (median of ${late.length}), ${ms(late.at(-1))} at the most`);
} finally {
  await browser.close();
  await world.stop();
}

// What a person does on each screen, against the real program and in a real browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { World, hostile, rules, stage } from "./world.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const choosing = [
  { role: "plan", goalContains: "choosing", reply: { json: { reason: "", steps: [{ id: "ask", description: "Ask which colour it is to be", type: "tool-call" }] } } },
  { role: "execute", goalContains: "choosing", turn: 0, reply: { toolCalls: [{ tool: "ask_person", arguments: { question: "Which **colour**?", choices: ["red", "blue"] } }] } },
];
const { world, on, visit } = stage({ script: [...choosing, ...rules] });

on("the first page teaches the next step, which leads to a task that completes", "/", async (page) => {
  await page.getByRole("heading", { name: "Ready for the first task" }).waitFor();
  await page.getByRole("main").getByRole("link", { name: "Start a task" }).click();
  await page.getByLabel("Goal").fill("Compare every note in the workspace and then write a report");
  await page.getByText("In a chat this would become a task").waitFor();
  await page.getByRole("button", { name: "Start" }).click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}$/);
  await page.getByRole("heading", { name: "Compare every note" }).waitFor();
  await page.locator(".task-head .badge.is-completed").waitFor();
  await page.getByRole("link", { name: "Result" }).click();
  await page.getByRole("heading", { name: "What matters" }).waitFor();
});

on("a running task is seen live: steps, trace and the end, without a reload", async () => `/tasks/${await world.task("A slow look at everything")}/trace`, async (page) => {
  await page.locator(".badge.is-running").first().waitFor();
  await page.locator(".entry-text", { hasText: "Step 2 started" }).waitFor();
  await page.locator(".task-head .badge.is-completed").waitFor();
  await page.locator(".entry-text", { hasText: "Task completed" }).waitFor();
});

on("a task is paused, resumed and cancelled", async () => `/tasks/${await world.task("A slow look that is stopped")}`, async (page) => {
  await page.getByRole("button", { name: "Pause" }).click();
  await page.locator(".task-head .badge.is-paused").waitFor();
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await page.keyboard.press("Shift+C");
  await page.getByRole("dialog").getByRole("button", { name: "Cancel the task" }).click();
  await page.locator(".task-head .badge.is-cancelled").waitFor();
});

on("what somebody else changes is on the screen without a word to the page", async () => `/tasks/${await world.task("A slow look at the clock")}/trace`, async (page) => {
  const id = page.url().split("/")[4];
  await page.locator(".entry").first().waitFor();
  await world.ask("PATCH", `/api/tasks/${id}`, { priority: 1 });
  await page.locator(".entry-text", { hasText: "Priority set to 1" }).waitFor();
});

on("the inspector shows calls, prompts and the difference between attempts", async () => {
  const id = await world.task("Ask a flaky model");
  await world.until(id, "completed");
  return `/tasks/${id}/timeline`;
}, async (page) => {
  await page.locator(".bar.is-backoff").first().waitFor();
  await page.getByRole("button", { name: /Ask a model that is busy/ }).first().click();
  const inspector = page.getByLabel("Inspector");
  await inspector.getByRole("button", { name: "attempt 2" }).click();
  await inspector.getByText("provider_unavailable").first().waitFor();
  await inspector.getByRole("button", { name: "attempt 3" }).click();
  await inspector.getByRole("button", { name: "differences" }).click();
  await inspector.locator(".diff-old").first().waitFor();
  await inspector.getByRole("button", { name: /Prompt/ }).click();
  await inspector.getByText("Instructions").waitFor();
  await page.keyboard.press("Escape");
  await inspector.waitFor({ state: "detached" });
});

on("what is looked at stands in the address: part of the time, words of the trace, an attempt, a filter", async () => `/tasks/${await world.ended("A faltering look at the address")}?time=0-400`, async (page) => {
  const task = page.url().split("?")[0];
  await page.getByRole("button", { name: "Whole time" }).waitFor();
  const strip = await page.getByRole("group", { name: /Time range/ }).boundingBox();
  await page.mouse.move(strip.x + strip.width * 0.5, strip.y + 10);
  await page.mouse.down();
  await page.mouse.move(strip.x + strip.width * 0.9, strip.y + 10, { steps: 4 });
  await page.mouse.up();
  assert.match(page.url(), /time=\d{3,}-\d{3,}/);
  await page.getByRole("button", { name: "Whole time" }).click();
  assert.doesNotMatch(page.url(), /time=/);
  await page.goto(`${task}?step=0&attempt=1`);
  await page.getByLabel("Inspector").getByText("provider_unavailable").first().waitFor();
  await page.goto(`${task}/trace?kinds=llm-response,error&find=overloaded`);
  await page.locator(".entry").first().waitFor();
  assert.equal(await page.getByLabel("Search the trace").inputValue(), "overloaded");
  await page.getByRole("button", { name: /Errors/, pressed: true }).click();
  assert.match(page.url(), /kinds=llm-response&/);
  await page.getByRole("heading", { name: "No entry fits" }).waitFor();
});

on("a wait for a person is seen in the timeline while it lasts", async () => {
  const id = await world.task("A slow walk that rests");
  await world.until(id, "running");
  await world.ask("POST", `/api/tasks/${id}/pause`);
  return `/tasks/${id}`;
}, async (page) => {
  const axis = page.locator(".lane-axis .pause-mark");
  await axis.waitFor();
  await page.locator(".now-mark").waitFor();
  const share = async () => { const [mark, track] = await Promise.all([axis.boundingBox(), page.locator(".lane-axis .lane-track").boundingBox()]); return mark.width / track.width; };
  const before = await share();
  await page.waitForFunction((before) => document.querySelector(".lane-axis .pause-mark").offsetWidth / document.querySelector(".lane-axis .lane-track").offsetWidth > before + 0.02, before);
});

on("the plan, checkpoints, context, jobs and raw data are there", async () => {
  const id = await world.task("Compare the wide readings");
  await world.until(id, "completed");
  return `/tasks/${id}/graph`;
}, async (page) => {
  await page.locator(".node").nth(5).waitFor();
  await page.locator(".node").nth(2).focus();
  await page.keyboard.press("Enter");
  await page.getByLabel("Inspector").getByText("Compare both readings").waitFor();
  for (const [tab, text] of [["Checkpoints", "After"], ["Context", "Prompts against the window"], ["Jobs", "No jobs"], ["Raw", "threadId"], ["Chat", "Nothing was said here"]]) {
    await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: tab }).click();
    await page.locator(".tab-body").getByText(text).first().waitFor();
  }
});

on("tasks are filtered, searched and worked on together, by mouse and keyboard", async () => {
  for (let number = 0; number < 3; number += 1) await world.task(`A slow parade number ${number}`);
  return "/tasks";
}, async (page) => {
  await page.locator(".row:not(.is-head)").first().waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("parade number");
  await page.locator(".row .c-goal a", { hasText: "parade number 2" }).waitFor();
  assert.equal(await page.locator(".row:not(.is-head)").count(), 3);
  assert.match(page.url(), /q=parade/);
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("Shift+X");
  await page.getByText("3 selected").waitFor();
  await page.getByRole("button", { name: "Pause 3" }).click();
  await page.locator(".row .badge.is-paused").nth(2).waitFor();
  await page.getByRole("checkbox", { name: "Select all" }).click();
  await page.getByRole("button", { name: "Cancel 3" }).click();
  await page.getByRole("dialog", { name: "Cancel 3 tasks?" }).getByRole("button", { name: "Cancel 3 tasks" }).click();
  await page.getByRole("group", { name: "Status" }).getByRole("button", { name: "cancelled" }).click();
  await page.locator(".row .badge.is-cancelled").nth(2).waitFor();
  await page.keyboard.press("k");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
});

on("a chat answers what is simple, and shows a task for what is not", "/chat", async (page) => {
  await page.getByLabel("Message").fill("What is the capital of France?");
  await page.keyboard.press("Enter");
  await page.locator(".message.is-assistant", { hasText: "The capital of France is Paris." }).waitFor();
  await page.getByRole("button", { name: "Send" }).waitFor();
  await page.getByLabel("Message").fill("Compare all modules of the workspace and then write a detailed report about every difference");
  await page.keyboard.press("Enter");
  await page.locator(".task-card .badge.is-completed").waitFor();
  await page.locator(".task-card").getByRole("heading", { name: "What matters" }).waitFor();
  await page.reload();
  await page.locator(".message.is-assistant", { hasText: "Paris" }).waitFor();
  await page.locator(".task-card .badge.is-completed").waitFor();
});

on("what models and tools say is text, wherever it is shown", async () => {
  const id = await world.task(`hostile ${hostile.slice(0, 200)}`);
  await world.until(id, "completed", "failed");
  return `/tasks/${id}?step=0`;
}, async (page) => {
  const id = page.url().split("/")[4].slice(0, 36);
  await world.ask("POST", "/api/templates", { name: "hostile", description: hostile.slice(0, 900), goal: hostile.slice(0, 900), parameters: { type: "object", properties: { a: { type: "string", description: hostile.slice(0, 300), default: hostile.slice(0, 300) } } } });
  const schedule = await world.ask("POST", "/api/schedules", { cron: "0 9 * * *", name: hostile.slice(0, 180), task: { goal: hostile.slice(0, 900) } });
  for (const path of [`/tasks/${id}?step=0`, `/tasks/${id}/trace?seq=6`, `/tasks/${id}/output`, `/tasks/${id}/graph?step=1`, `/tasks/${id}/context`, `/tasks/${id}/raw`, "/tasks", "/", "/analytics", `/schedules?schedule=${schedule.id}`, "/templates?template=hostile"]) {
    await page.goto(world.url + path);
    await page.locator("main h1").waitFor();
    await page.waitForTimeout(300);
    assert.equal(await page.evaluate(() => window.hit), undefined, path);
    assert.equal(await page.locator("main :is(script, iframe, img, math, style, form:not(.stack), [onerror], [onload], [srcdoc])").count(), 0, path);
    assert.equal(await page.locator("a[href^='javascript'], a[href^='data'], a[href^='vbscript']").count(), 0, path);
  }
  await page.goto(`${world.url}/chat`);
  await page.getByLabel("Message").fill("hostile?");
  await page.keyboard.press("Enter");
  await page.locator(".message.is-assistant", { hasText: "window.hit=14" }).waitFor();
  assert.equal(await page.evaluate(() => window.hit), undefined);
  assert.equal(await page.locator(".messages :is(script, iframe, img, svg:not(.icon))").count(), 0);
});

on("a lost server is said, and the page goes on where it was", async () => `/tasks/${await world.task("A slow look across a crash")}/trace`, async (page) => {
  await page.locator(".entry-text", { hasText: "Step 1 started" }).waitFor();
  await world.kill();
  await page.getByText("The server cannot be reached").waitFor();
  await world.serve();
  await page.getByText("The server cannot be reached").waitFor({ state: "detached" });
  await page.locator(".task-head .badge.is-completed").waitFor();
  const seqs = await page.locator(".entry-seq").allTextContents();
  assert.deepEqual(seqs.map(Number), seqs.map((_, at) => Number(seqs[0]) + at), "every entry once, in order");
});

on("everything can be reached by keys: palette, help, places", "/", async (page) => {
  await page.locator("h1").waitFor();
  await page.keyboard.press("Control+k");
  await page.keyboard.type("queues");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Queues and workers" }).waitFor();
  await page.locator("td", { hasText: "working" }).first().waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("l");
  await page.getByRole("button", { name: /workspace_read/ }).click();
  await page.getByRole("heading", { name: "Try it" }).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  const dark = await page.locator("html").getAttribute("data-theme");
  await page.keyboard.press("Shift+T");
  assert.notEqual(await page.locator("html").getAttribute("data-theme"), dark);
});

on("analytics count what ended, and can be saved", async () => {
  await world.until(await world.task("Count this one"), "completed");
  return "/analytics?range=1h";
}, async (page) => {
  await page.locator(".chart canvas").nth(3).waitFor();
  await page.getByRole("region", { name: "How long things take" }).getByRole("cell", { name: "workspace_read" }).waitFor();
  await page.getByRole("button", { name: "Kind of step" }).click();
  await page.getByRole("cell", { name: "llm-reasoning" }).waitFor();
  const [saved] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save durations-step-1h as CSV" }).click()]);
  const rows = readFileSync(await saved.path(), "utf8").trim().split(/\r?\n/);
  assert.match(rows[0], /^name,count/);
  assert.ok(rows.some((row) => row.startsWith("llm-reasoning,")));
});

on("the overview and the analytics tell the same figures, without reading all tasks", async () => {
  await world.ended("Count this one, too");
  await world.ended("A doomed count");
  const asking = await world.task("Compare the wide readings for whoever counts", { approval: { plan: true } });
  await world.until(asking, "paused");
  // What is counted is a few seconds behind.
  for (let before = ""; ; await new Promise((resolve) => setTimeout(resolve, 4000))) {
    const { tasks, usage } = await world.ask("GET", "/api/analytics/overview");
    const counted = JSON.stringify({ tasks, usage });
    if (tasks.completed > 0 && tasks.failed > 0 && counted === before) return "/";
    before = counted;
  }
}, async (page) => {
  const asked = [];
  page.on("request", (request) => { if (/\/api\/tasks\?/.test(request.url())) asked.push(new URL(request.url()).searchParams); });
  const figure = async (name) => {
    const tile = page.locator(".tile").filter({ has: page.locator(".tile-name", { hasText: name }) });
    return [await tile.locator(".tile-value").textContent(), await tile.locator(".tile-more").textContent()];
  };
  await page.goto(`${world.url}/`);
  await page.locator(".tile").first().waitFor();
  const [success] = await figure(/^Success$/);
  const [median, within] = await figure(/^Time to the end$/);
  const [cost, tokens] = await figure(/^Cost in 24 h$/);
  const [, completed] = await figure(/^Completed$/);
  const [, failed] = await figure(/^Failed$/);
  const panel = page.locator(".panel", { hasText: "Needs you" });
  const line = panel.getByRole("link", { name: /Plan.*for whoever counts/ });
  await line.waitFor();
  const [needed, parts] = await figure(/^Needs you$/);
  assert.equal(Number(needed), parts.match(/\d+/g).reduce((sum, part) => sum + Number(part), 0), `${needed}: ${parts}`);
  assert.ok(asked.length > 0 && asked.every((query) => Number(query.get("limit")) <= 50), `${asked}`);
  assert.ok(asked.every((query) => query.has("status") || query.get("limit") === "1"), `${asked}`);
  await line.click();
  await page.waitForURL(/\/inbox\?request=/);
  await page.locator(".request.is-active", { hasText: "for whoever counts" }).waitFor();
  await page.goto(`${world.url}/analytics`);
  await page.locator(".tile").first().waitFor();
  assert.equal((await figure(/^Success$/))[0], success);
  assert.match((await figure(/^Success$/))[1], new RegExp(`^${failed.replace(" in 24 h", "")} failed`));
  assert.equal((await figure(/^Time to the end$/))[0], median);
  assert.match((await figure(/^Time to the end$/))[1], new RegExp(`^p95 ${within.replace("95 % within ", "")},`));
  assert.equal((await figure(/^Cost$/))[0], cost);
  assert.equal(`${(await figure(/^Tokens$/))[0]} tokens`, tokens);
  assert.ok(Number((await figure(/^Ended$/))[0]) >= Number(completed.replace(" in 24 h", "")));
});

test("no screen has serious findings of axe, dark or light, wide or narrow", async () => {
  const id = await world.task("Compare the wide readings for everybody");
  await world.until(id, "completed");
  // Something is in the inbox.
  const asking = await world.task("Compare the wide readings if somebody says so", { approval: { plan: true } });
  await world.until(asking, "paused");
  await world.until(await world.task("Help with choosing"), "paused");
  const twin = await world.task("Compare the wide readings for everybody");
  await world.until(twin, "completed");
  const schedule = await world.ask("POST", "/api/schedules", { cron: "0 9 * * 1-5", timeZone: "Europe/Berlin", name: "News", task: { goal: "Look at the news" } });
  await world.ask("POST", "/api/templates", { name: "look", goal: "Look into {{place}}", parameters: { type: "object", properties: { place: { type: "string" } } } });
  const paths = ["/", "/tasks", `/tasks/${id}?step=2`, `/tasks/${id}/trace?seq=5`, `/tasks/${id}/graph`, `/tasks/${id}/output`, `/tasks/${id}/context`, "/inbox", "/new?goal=Compare%20all", "/chat", "/analytics", "/workers", "/tools?tool=workspace_read", "/settings", "/schedules", `/schedules?schedule=${schedule.id}`, "/schedules?new=1", "/templates?template=look", "/templates?template=look&new=1", `/tasks/${id}/checkpoints`, `/tasks/${id}/effects`, `/tasks/${id}/chat`, `/tasks/${id}/jobs`, `/tasks/${id}/raw`, `/tasks/${asking}`, `/tasks/${id}/compare/${asking}`, `/tasks/${id}/compare/${twin}`, "/analytics?from=2024-01-02T00:00Z&to=2024-01-01T00:00Z", "/nowhere"];
  const pressed = (keys, name) => async (page) => { await page.keyboard.press(keys); await page.getByRole("dialog", { name }).waitFor(); };
  // What is not at an address of its own.
  const opened = [["/tasks?q=wide", pressed("Control+k", "Command palette")], ["/", pressed("?", "Keyboard shortcuts")], ["/tasks?status=failed", pressed("s", "Keep this filter")], [`/tasks/${id}`, pressed("f", /Fork/)],
    ["/new?goal=Take%20a%20wide%20look", async (page) => { await page.getByRole("button", { name: "Preview the plan" }).click(); await page.getByLabel("What step 6 does").waitFor(); await page.getByRole("button", { name: /step 1$/ }).first().click(); }]];
  for (const [colorScheme, viewport] of [["dark", { width: 1440, height: 900 }], ["light", { width: 1440, height: 900 }], ["light", { width: 390, height: 844 }]]) {
    const page = await visit("/", { colorScheme, viewport, bypassCSP: true });
    for (const [path, act] of [...paths.map((path) => [path]), ...opened]) {
      await page.goto(world.url + path);
      await page.locator("main h1, main h2").first().waitFor();
      await act?.(page);
      await page.waitForTimeout(150);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${path} is ${wide} px wider than the screen (${viewport.width})`);
      // Colours do not depend on the width: on a phone the structure of a few screens is looked at.
      if (viewport.width < 500 && !act && paths.indexOf(path) % 3 !== 0) continue;
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run());
      const serious = violations.filter((one) => ["serious", "critical"].includes(one.impact));
      assert.deepEqual(serious.map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 140)} ${node.any[0]?.message ?? ""}`).join(" | ")}`), [], `${path}, ${colorScheme}, ${viewport.width}`);
    }
    await page.context().close();
  }
});

test("a server with a key asks for it, once in a tab", async () => {
  const locked = await World.start({ key: "a-long-random-key" });
  try {
    const page = await visit("/tasks", {}, locked);
    await page.locator("input[type=password]").fill("wrong");
    await page.getByRole("button", { name: "Unlock" }).click();
    await page.getByText("This is not the key of this server.").waitFor();
    await page.locator("input[type=password]").fill("a-long-random-key");
    await page.getByRole("button", { name: "Unlock" }).click();
    await page.getByRole("heading", { name: "No tasks yet" }).waitFor();
    const id = await locked.task("A slow look behind a lock");
    await page.goto(`${locked.url}/tasks/${id}/trace`);
    await page.locator(".entry-text", { hasText: "Task completed" }).waitFor();
    assert.equal(await page.evaluate(() => JSON.stringify(localStorage).includes("a-long-random-key")), false);
    assert.deepEqual(page.problems, []);
    await page.context().close();
  } finally { await locked.stop(); }
});

test("the pages come with a strict policy and files that may be kept", async () => {
  const index = await fetch(`${world.url}/tasks/anything`, { headers: { accept: "text/html" } });
  assert.equal(index.status, 200);
  const policy = index.headers.get("content-security-policy");
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self';/);
  assert.doesNotMatch(policy, /unsafe|https?:|\*/);
  const html = await index.text();
  assert.doesNotMatch(html, /https?:\/\/|<style|<script(?! type="module" crossorigin src="\/assets\/)|\sstyle=/);
  const script = /src="(\/assets\/[^"]+\.js)"/.exec(html)[1];
  const file = await fetch(world.url + script);
  assert.match(file.headers.get("cache-control"), /immutable/);
  const again = await fetch(world.url + script, { headers: { "if-none-match": file.headers.get("etag") } });
  assert.equal(again.status, 304);
  const zipped = Number((await fetch(world.url + script, { method: "HEAD", headers: { "accept-encoding": "gzip" } })).headers.get("content-length"));
  assert.ok(zipped > 10_000 && zipped <= 150 * 1024);
  assert.equal((await fetch(`${world.url}/api/nothing`, { headers: { accept: "text/html" } })).status, 404);
  assert.equal((await fetch(`${world.url}/tasks/anything`, { headers: { accept: "application/json" } })).status, 404);
});

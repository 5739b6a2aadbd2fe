// A real server over a scripted model, and a real browser, for the tests of the pages.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const binary = process.env.LONGHAUL_BIN ?? join(import.meta.dirname, "../../target/debug/longhaul");
const patience = 20_000;

const step = (id, description, more = {}) => ({ id, description, type: "llm-reasoning", estimatedDuration: 1500, ...more });
const read = (id, description, more = {}) => step(id, description, { type: "tool-call", tool: { name: "workspace_read", arguments: { path: "notes.md" } }, ...more });
const plan = (goalContains, steps, more = {}) => ({ role: "plan", goalContains, reply: { json: { reason: `A plan for ${goalContains}.`, steps } }, ...more });

/** Text that must never become anything but text. */
export const hostile = [
  "<script>window.hit=1</script>", "<img src=x onerror=window.hit=2>", "[click](javascript:window.hit=3)", "<svg/onload=window.hit=4>",
  "[data](data:text/html;base64,PHNjcmlwdD53aW5kb3cuaGl0PTU8L3NjcmlwdD4=)", "\"><iframe srcdoc='<script>parent.hit=6</script>'></iframe>", "`</code><script>window.hit=7</script>`",
  "<a href=\"javascript:window.hit=8\">x</a>", "{{constructor.constructor('window.hit=9')()}}", "<math><mtext></form><form><mglyph><style></math><img src onerror=window.hit=10>",
  "| a | <b onmouseover=window.hit=11>b</b> |\n|---|---|\n| c | d |", "[x](vbscript:window.hit=12)", "[x](JaVaScRiPt:window.hit=13)", "![x](javascript:window.hit=14)",
].join("\n\n");

export const rules = [
  { role: "detect", reply: { json: { complex: true, reason: "many steps" } } },
  plan("hostile", [step("a", hostile.slice(0, 900)), read("b", "<b>bold</b> <img src=x onerror=window.hit=20>", { dependsOn: ["a"] })]),
  plan("slow", [step("a", "Look around"), step("b", "Think it over", { dependsOn: ["a"] }), step("c", "Write it down", { dependsOn: ["b"] })]),
  plan("flaky", [step("a", "Ask a model that is busy"), step("b", "Use what it said", { dependsOn: ["a"] })]),
  plan("faltering", [step("a", "Ask a model that is away"), step("b", "Use what it said", { dependsOn: ["a"] })]),
  plan("doomed", [step("a", "Do what cannot be done")]),
  plan("limited", [step("a", "Ask a model that asks for patience")]),
  plan("aloud", [step("a", "Tell it word by word")]),
  plan("wide", [read("a", "Read the notes"), read("b", "Read them again"), step("c", "Compare both readings", { dependsOn: ["a", "b"] }), step("d", "Keep where the work stands", { type: "checkpoint", dependsOn: ["c"] }), step("e", "Write the report", { dependsOn: ["d"] }), read("f", "Check the report", { dependsOn: ["e"], optional: true })]),
  { role: "plan", reply: { json: { reason: "Look first, then write.", steps: [read("look", "Read the notes in the workspace"), step("think", "Find out what matters in them", { dependsOn: ["look"] }), step("write", "Write a short report", { dependsOn: ["think"] })] } } },
  { role: "execute", goalContains: "hostile", reply: { text: hostile } },
  { role: "execute", goalContains: "slow", delayMs: 1200, reply: { text: "Nearly there." } },
  { role: "execute", goalContains: "limited", times: 1, reply: { error: { kind: "rate-limited", retryAfterMs: 3000 } } },
  { role: "execute", goalContains: "aloud", wordMs: 150, reply: { text: "Every word of this answer is seen before the answer is complete, and the last word is lighthouse." } },
  { role: "execute", goalContains: "flaky", times: 2, reply: { error: { kind: "unavailable", message: "the model is overloaded" } } },
  { role: "execute", goalContains: "faltering", times: 1, reply: { error: { kind: "unavailable", message: "the model is overloaded" } } },
  { role: "execute", goalContains: "doomed", reply: { error: { kind: "refused", message: "this model refuses such requests" } } },
  { role: "execute", goalContains: "tools", turn: 0, delayMs: 60, reply: { text: "I look first.", toolCalls: [{ tool: "workspace_read", arguments: { path: "notes.md" } }, { tool: "workspace_list", arguments: {} }] } },
  { role: "execute", delayMs: 120, reply: { text: "## What matters\n\n- The notes name **three** open questions.\n- Two of them have an answer already.\n\n| question | answer |\n|---|---|\n| Who writes? | We do |\n| When? | `today` |" } },
  { role: "evaluate", reply: { json: { verdict: "continue", reason: "the plan still fits" } } },
  { role: "summarize", reply: { text: "Notes were read; three questions are open." } },
  { role: "chat", contains: "aloud", wordMs: 200, reply: { text: "One after the other the words arrive, also for whoever looks away and comes back to the lighthouse." } },
  { role: "chat", goalContains: "hostile", reply: { text: hostile } },
  { role: "chat", delayMs: 30, reply: { text: "The capital of **France** is Paris. I can also work on larger goals." } },
];

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class World {
  /** A server with a key if one is given, with more in its configuration and in that of its models, and with what its model says. */
  constructor({ key, more = "", models = "", script = rules } = {}) {
    Object.assign(this, { key, more, models, script });
  }

  static async start(options) {
    const world = new World(options);
    await world.begin();
    return world;
  }

  async begin() {
    if (!existsSync(binary)) throw new Error(`there is no ${binary}: run scripts/ui-test`);
    this.directory = mkdtempSync(join(tmpdir(), "longhaul-ui-"));
    const path = (name) => join(this.directory, name);
    mkdirSync(path("workspace"));
    writeFileSync(path("workspace/notes.md"), "# Notes\n\n1. Who writes?\n2. When?\n3. For whom?\n");
    writeFileSync(path("script.json"), JSON.stringify({ ledger: path("ledger.jsonl"), rules: this.script }));
    writeFileSync(path("longhaul.toml"), `[models]\ndefault = "scripted/demo"\nscripted = { demo = ${JSON.stringify(path("script.json"))} }\n${this.models}[worker]\npollMs = 50\nlimiter = { max = 0, duration = 1000 }\n[orchestrator.retry]\nbaseMs = 700\nmaxMs = 900\nmaxAttempts = 5\n[orchestrator.limits]\nmaxReplans = 1\n[tools]\nworkspace = ${JSON.stringify(path("workspace"))}\n${this.more}`);
    this.port = await freePort();
    this.url = `http://127.0.0.1:${this.port}`;
    await this.serve();
  }

  async serve() {
    const environment = { PATH: process.env.PATH, HOME: process.env.HOME, ...(this.key ? { CHAT_API_KEY: this.key } : {}) };
    const file = (name) => join(this.directory, name);
    this.server = spawn(binary, ["--config", file("longhaul.toml"), "--db", file("longhaul.db"), "serve", "--bind", `127.0.0.1:${this.port}`], { env: environment, cwd: file("workspace"), stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    this.server.stderr.on("data", (text) => { said += text; });
    for (const end = Date.now() + patience; Date.now() < end; ) {
      if (this.server.exitCode !== null) throw new Error(`the server ended: ${said}`);
      if (await fetch(`${this.url}/readyz`).then((answer) => answer.ok, () => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`the server is not ready: ${said}`);
  }

  /** Ends the server as a crash would. */
  async kill() {
    const ended = once(this.server, "exit");
    this.server.kill("SIGKILL");
    await ended;
  }

  async ask(method, path, body) {
    const headers = { "content-type": "application/json", ...(this.key ? { authorization: `Bearer ${this.key}` } : {}) };
    const answer = await fetch(this.url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  /** Starts a task and returns its id. */
  async task(goal, more = {}) {
    return (await this.ask("POST", "/api/chat/orchestrate", { goal, threadId: `thread of ${goal.slice(0, 20)}`, ...more })).taskId;
  }

  async until(id, ...statuses) {
    for (const end = Date.now() + patience; Date.now() < end; ) {
      const task = await this.ask("GET", `/api/tasks/${id}`);
      if (statuses.includes(task.status)) return task;
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    throw new Error(`${id} does not become ${statuses}`);
  }

  /** Starts a task, waits for its end, and returns its id. */
  async ended(goal) {
    const id = await this.task(goal);
    await this.until(id, "completed", "failed");
    return id;
  }

  async stop() {
    if (this.server?.exitCode === null) await this.kill();
    if (this.directory) rmSync(this.directory, { recursive: true, force: true });
  }
}

export async function browse() {
  const known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const executablePath = process.env.CHROMIUM ?? known.find((path) => existsSync(path));
  if (!executablePath) throw new Error("there is no Chromium: run scripts/ui-test, which installs it");
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-features=LocalNetworkAccessChecks"] });
}

/** Takes the pages from a directory and not from the program: they can be tried without building it anew. */
async function fromDirectory(context, world, directory) {
  const types = { html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
  await context.route((url) => url.origin === world.url && !/^\/(api|healthz|readyz|metrics|openapi)/.test(url.pathname), (route) => {
    const path = join(directory, new URL(route.request().url()).pathname);
    const file = existsSync(path) && extname(path) ? path : join(directory, "index.html");
    return route.fulfill({ path: file, contentType: types[extname(file).slice(1)] ?? "application/octet-stream" });
  });
}

/** A page that fails its test by whatever goes wrong in it. */
export async function open(browser, world, path, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: "reduce", ...options });
  if (process.env.UI_DIST) await fromDirectory(context, world, process.env.UI_DIST);
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => { if (/Content Security Policy|Trusted/.test(message.text())) page.problems.push(message.text()); });
  await page.goto(world.url + path);
  return page;
}

/**
 * What the tests of a file have in common: a server and a browser, there when they run. `on` makes a test that
 * opens a page, does something, and fails if the page itself had a problem; `visit` only opens one.
 */
export function stage(options) {
  const world = new World(options);
  let browser;
  before(async () => { [browser] = await Promise.all([browse(), world.begin()]); });
  after(async () => { await browser?.close(); await world.stop(); });
  const visit = (path, options, where = world) => open(browser, where, path, options);
  const on = (name, path, act, options) => test(name, async () => {
    const page = await visit(typeof path === "function" ? await path() : path, options);
    try {
      await act(page);
      assert.deepEqual(page.problems, []);
    } catch (error) {
      // Where somebody looks for why.
      if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name.slice(0, 40).replaceAll(/\W+/g, "-")}.png` });
      throw error;
    } finally { await page.context().close(); }
  });
  return { world, on, visit };
}

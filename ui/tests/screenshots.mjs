// Takes the pictures of docs/: `node ui/tests/screenshots.mjs` from the root, after scripts/ui-test has built all.
import { join } from "node:path";
import { World, browse, open } from "./world.mjs";

const docs = join(import.meta.dirname, "../../docs");
const goal = "Compare the error handling of all modules and write down what differs";
const step = (id, description, dependsOn = [], more = {}) => ({ id, description, type: "llm-reasoning", estimatedDuration: 2000, dependsOn, ...more });
const tool = (id, description, name, args, dependsOn = []) => step(id, description, dependsOn, { type: "tool-call", tool: { name, arguments: args } });
const plan = [
  tool("find", "Find where errors are defined", "workspace_search", { pattern: "questions" }),
  tool("list", "List the modules", "workspace_list", {}, ["find"]),
  step("http", "Read how the HTTP module reports errors", ["list"], { type: "tool-call" }),
  step("store", "Read how the store reports errors", ["list"], { type: "tool-call" }),
  step("compare", "Compare both, and name what differs", ["http", "store"]),
  { ...step("keep", "Keep where the work stands", ["compare"]), type: "checkpoint" },
  step("write", "Write it down with examples", ["keep"]),
];
const found = "## What differs\n\n| | HTTP | store |\n|---|---|---|\n| **type** | `ApiError`, one for all routes | one enum for each engine |\n| **causes** | logged, never sent | kept as `#[source]` |\n| **codes** | stable, for programs | none |\n\n- The store wraps what the driver says; the HTTP module maps it to a status once, at the edge.\n- Only the HTTP module tells people *what to do next*.";
const script = [
  { role: "plan", goalContains: "Compare the error", reply: { json: { reason: "Both modules can be read side by side; the comparison needs both.", steps: plan } } },
  { role: "plan", goalContains: "release notes of this week", reply: { json: { reason: "", steps: [tool("write", "Write the notes into the workspace", "workspace_write", { path: "notes/week-48.md", content: "# Week 48\n\n- Filters of the task list are kept under names.\n- Analytics are about any dates.\n" })] } } },
  { role: "plan", reply: { json: { reason: "", steps: [step("look", "Look at it"), step("do", "Do it", ["look"])] } } },
  { role: "execute", goalContains: "doubtful", reply: { error: { kind: "refused", message: "finish reason content-filter" } } },
  { role: "execute", goalContains: "nightly", delayMs: 60_000, reply: { text: "Done." } },
  { role: "execute", goalContains: "Compare the error", turn: 0, times: 1, delayMs: 300, reply: { error: { kind: "unavailable", message: "the model is overloaded" } } },
  { role: "execute", goalContains: "Compare the error", turn: 0, delayMs: 420, reply: { text: "I look at the notes first.", toolCalls: [{ tool: "workspace_read", arguments: { path: "notes.md" } }] } },
  { role: "execute", delayMs: 650, reply: { text: found } },
  { role: "evaluate", reply: { json: { verdict: "continue", reason: "the plan still fits" } } },
  { role: "chat", reply: { text: "It is a goal that takes **many steps**, carried to its end whatever happens meanwhile:\n\n1. a plan is made of it, which you can see and change;\n2. each step is recorded before and after it is done;\n3. after a crash the work goes on where it was, and nothing is done twice." } },
  { role: "summarize", reply: { text: "Both were read." } },
];
const others = ["Summarise the release notes of all dependencies", "Find dead links in the handbook", "Count the open questions by chapter", "Translate the greeting pages into French", "Check every example of the guide", "List all configuration keys and where they are read", "Write the weekly report for the team"];

const world = await World.start({ script, more: "[models.prices.\"scripted/demo\"]\ninput = 3.0\noutput = 15.0\n" });
const browser = await browse();
try {
  const ended = [];
  for (const one of others) ended.push(await world.task(one));
  const doubtful = await world.task("A doubtful attempt to read the whole archive at once");
  const compare = await world.task(goal, { threadId: "error-handling" });
  for (const id of [...ended, doubtful, compare]) await world.until(id, "completed", "failed");
  const paused = await world.task("The nightly check of all backups");
  await world.task("The nightly walk through every index", { priority: 2 });
  await world.until(paused, "running");
  await world.ask("POST", `/api/tasks/${paused}/pause`);
  const asking = await world.task("Write the release notes of this week", { approval: { tools: { workspace_write: true } } });
  await world.until(asking, "paused");
  const talk = await open(browser, world, "/chat");
  const ask = async (text) => { await talk.getByLabel("Message").fill(text); await talk.keyboard.press("Enter"); };
  await ask("What is a durable task?");
  await talk.getByRole("button", { name: "Send" }).waitFor();
  await talk.locator(".message.is-assistant", { hasText: "nothing is done twice" }).waitFor();
  await ask("Compare the error handling of all modules and then write a report about what differs");
  await talk.locator(".task-card .badge.is-completed").waitFor();
  const conversation = new URL(talk.url()).pathname;
  await talk.context().close();
  const pictures = [
    ["task", `/tasks/${compare}?step=3`, ".inspector .call"], ["tasks", "/tasks", ".row .badge"], ["plan", `/tasks/${compare}/graph`, ".node"],
    ["chat", conversation, ".task-card .badge.is-completed"], ["inbox", "/inbox", ".request"],
  ];
  for (const [name, path, shown] of pictures) {
    for (const colorScheme of ["dark", "light"]) {
      const page = await open(browser, world, path, { colorScheme, viewport: { width: 1440, height: 800 } });
      await page.locator(shown).first().waitFor();
      await page.waitForTimeout(600);
      await page.screenshot({ path: join(docs, `ui-${name}-${colorScheme}.png`) });
      await page.context().close();
    }
  }
} finally {
  await browser.close();
  await world.stop();
}

// What tasks ask people, and what people answer and add.
import assert from "node:assert/strict";
import { test } from "node:test";
import { rules, stage } from "./world.mjs";

const asking = [
  { role: "plan", goalContains: "question", reply: { json: { reason: "", steps: [{ id: "ask", description: "Ask which colour it is to be", type: "tool-call" }] } } },
  { role: "execute", goalContains: "question", turn: 0, reply: { toolCalls: [{ tool: "ask_person", arguments: { question: "Which **colour**?", choices: ["red", "blue"] } }] } },
  { role: "execute", goalContains: "question", reply: { text: "Then it is that one." } },
  { role: "plan", goalContains: "write", reply: { json: { reason: "", steps: [{ id: "w", description: "Write a file", type: "tool-call", tool: { name: "workspace_write", arguments: { path: "made.md", content: "draft" } } }] } } },
];

const { world, on, visit } = stage({ script: [...asking, ...rules] });

on("a plan waits for approval in the inbox, and goes on once it has it", "/new?goal=Summarise%20the%20first%20chapter%20with%20care", async (page) => {
  await page.getByLabel("Approve the plan first").check();
  await page.getByText("Budget", { exact: true }).click();
  await page.getByLabel("Tokens", { exact: true }).fill("90000");
  await page.getByRole("button", { name: "Start" }).click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
  await page.getByText("May these steps be carried out?").waitFor();
  await page.getByText("/ 90.0k").waitFor();
  await page.getByRole("link", { name: "Inbox" }).click();
  const card = page.getByRole("article", { name: /Plan: Summarise the first chapter/ });
  await card.getByText("Find out what matters in them").waitFor();
  await card.getByRole("button", { name: "Approve", exact: true }).click();
  await page.getByRole("heading", { name: "Nobody needs you" }).waitFor();
});

on("a call is approved with other arguments, and its effect is on record", async () => {
  const id = await world.task("Please write a file", { approval: { tools: { workspace_write: true } } });
  await world.until(id, "paused");
  return `/tasks/${id}`;
}, async (page) => {
  await page.getByText("May this call be made").waitFor();
  await page.getByRole("button", { name: "Change the arguments" }).click();
  await page.getByLabel("Arguments").fill("{ this is not JSON");
  assert.equal(await page.getByRole("button", { name: "Approve" }).isEnabled(), false);
  await page.getByLabel("Arguments").fill('{"path": "made.md", "content": "final"}');
  await page.getByRole("button", { name: "Approve with these" }).click();
  await page.locator(".task-head .badge.is-completed").waitFor();
  await page.getByRole("link", { name: "Effects" }).click();
  await page.locator("td .badge", { hasText: "happened" }).waitFor();
  await page.getByText("show", { exact: true }).click();
  await page.getByText("final").first().waitFor();
});

on("a request that is not open any more says so, where its address is opened", async () => {
  const id = await world.task("Please write a file nobody waits for", { approval: { tools: { workspace_write: true } } });
  await world.until(id, "paused");
  const { requests } = await world.ask("GET", "/api/inbox");
  return `/inbox?request=${requests.find((one) => one.taskId === id).id}`;
}, async (page) => {
  const card = page.locator(".request.is-active", { hasText: "nobody waits for" });
  await card.getByRole("button", { name: "Approve", exact: true }).click();
  await page.waitForURL(/\/inbox$/);
  assert.equal(await page.getByText("not open any more").count(), 0, "whoever answers knows");
  const { tasks } = await world.ask("GET", "/api/tasks?q=nobody waits");
  await page.goto(`${world.url}/inbox?request=${tasks[0].id}.0.1.1`);
  await page.getByText("This request is not open any more").waitFor();
  await page.getByRole("link", { name: "the task that asked" }).click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}\/trace$/);
});

on("the inbox is worked off by keys, one request after the other", async () => {
  for (const name of ["one", "another"]) await world.until(await world.task(`Please write a file for ${name}`, { approval: { tools: { workspace_write: true } } }), "paused");
  return "/inbox";
}, async (page) => {
  await page.getByRole("article", { name: /for another/ }).waitFor();
  const count = await page.locator(".request").count();
  await page.keyboard.press("j");
  await page.locator(".request.is-active").waitFor();
  await page.keyboard.press("a");
  await page.waitForFunction((before) => document.querySelectorAll(".request").length === before - 1, count);
  await page.keyboard.press("j");
  await page.locator(".request.is-active").waitFor();
  await page.keyboard.press("d");
  await page.waitForFunction((before) => document.querySelectorAll(".request").length === before - 2, count);
});

on("a question is answered by a choice", async () => {
  const { tools } = await world.ask("GET", "/api/tools");
  asking.tool = tools.find((tool) => tool.name.includes("ask"))?.name;
  const id = await world.task("A question of taste");
  await world.until(id, "paused");
  return "/inbox";
}, async (page) => {
  const card = page.getByRole("article", { name: /Question: A question of taste/ });
  await card.getByRole("radio", { name: "red" }).focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await card.getByRole("radio", { name: "blue" }).getAttribute("aria-checked"), "true");
  await card.getByRole("button", { name: "Answer" }).click();
  await card.waitFor({ state: "detached" });
});

on("a task is told something, and given more budget", async () => `/tasks/${await world.task("A slow walk with company", { budget: { tokens: 100_000 } })}/trace`, async (page) => {
  await page.getByRole("button", { name: "Message" }).click();
  await page.getByRole("dialog").getByLabel("Message").fill("Write it in French");
  await page.getByRole("dialog").getByLabel("Files", { exact: true }).setInputFiles({ name: "style.md", mimeType: "", buffer: Buffer.from("No semicolons.") });
  await page.getByRole("dialog").getByRole("button", { name: "Leave out style.md" }).waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Send" }).click();
  await page.locator(".entry-text", { hasText: "wrote: Write it in French" }).waitFor();
  await page.locator(".entry-text", { hasText: "No semicolons." }).waitFor();
  await page.getByRole("button", { name: "Budget" }).click();
  await page.getByRole("dialog").getByLabel("Tokens").fill("50000");
  await page.getByRole("dialog").getByRole("button", { name: "Add" }).click();
  await page.getByText("/ 150k").waitFor();
});

on("what did not pass a check is read with its evidence and as what it is, and accepted", async () => {
  const id = await world.task("Bring what has to be checked", { plan: [{ id: "bring", description: "Bring it", type: "llm-reasoning", checks: [{ schema: { type: "object", required: ["files"] } }] }] });
  await world.until(id, "paused");
  return "/inbox";
}, async (page) => {
  const card = page.getByRole("article", { name: /Not verified: Bring what has to be checked/ });
  const checks = card.getByRole("list", { name: "Checks" });
  await checks.getByText("schema", { exact: true }).waitFor();
  await checks.locator(".check-evidence", { hasText: 'is not of type "object"' }).waitFor();
  const brought = card.getByRole("region", { name: "What the step brought" });
  await brought.getByRole("heading", { name: "What matters" }).waitFor();
  assert.equal(await brought.locator("strong", { hasText: "three" }).count(), 1, "it is Markdown, and not a text in JSON");
  await checks.getByRole("link", { name: /entry/ }).click();
  await page.locator(".inspector .check-evidence, .inspector .entry-message").first().waitFor();
  await page.goBack();
  await card.getByRole("button", { name: "Accept it" }).click();
  await card.waitFor({ state: "detached" });
});

test("what an old task asks is answered on its page, however many ask since", async () => {
  const id = await world.task("Summarise what was asked first", { approval: { plan: true } });
  await world.until(id, "paused");
  const page = await visit(`/tasks/${id}`);
  // As if the newest hundred were all others.
  const { requests } = await world.ask("GET", "/api/inbox");
  const many = Array.from({ length: 100 }, (_, at) => ({ ...requests[0], id: `01a20000-0000-7000-8000-${String(at).padStart(12, "0")}.plan.1`, taskId: `01a20000-0000-7000-8000-${String(at).padStart(12, "0")}` }));
  await page.route(/\/api\/inbox(\?limit|$)/, (route) => route.fulfill({ json: { requests: many } }));
  await page.goto(`${world.url}/inbox`);
  await page.getByText("What the newest 100 tasks ask is shown").waitFor();
  await page.goto(`${world.url}/tasks/${id}`);
  await page.getByRole("button", { name: "Approve", exact: true }).click();
  await world.until(id, "pending", "running", "completed");
  await page.context().close();
});

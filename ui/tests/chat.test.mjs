// The tasks of a conversation: answered, paused and given more without leaving it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { rules, stage } from "./world.mjs";

const script = [
  { role: "plan", goalContains: "question", reply: { json: { reason: "", steps: [{ id: "ask", description: "Ask which colour it is to be", type: "tool-call" }] } } },
  { role: "execute", goalContains: "question", turn: 0, reply: { toolCalls: [{ tool: "ask_person", arguments: { question: "Which **colour**?", choices: ["red", "blue"] } }] } },
  { role: "execute", goalContains: "question", reply: { text: "{\"colour\": \"blue\", \"sure\": true}" } },
];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const { world, on } = stage({ script: [...script, ...rules] });

const say = async (page, text) => { await page.getByLabel("Message").fill(text); await page.keyboard.press("Enter"); };
const larger = (what) => `Compare all modules of the workspace and then write a detailed report about every difference: ${what}`;

on("a task that asks a person is answered in the conversation, and its JSON is a value", "/chat", async (page) => {
  await say(page, larger("a question first"));
  const card = page.locator(".task-card");
  await card.getByRole("radio", { name: "blue" }).click();
  await card.locator(".question strong", { hasText: "colour" }).waitFor();
  assert.doesNotMatch(await card.innerText(), /longhaul inbox|"choices"/);
  await card.getByRole("button", { name: "Answer" }).click();
  await card.locator(".badge.is-completed").waitFor();
  await card.locator(".task-card-output .json-key", { hasText: "colour" }).waitFor();
});

on("a task is paused, resumed and cancelled from its card", "/chat", async (page) => {
  await say(page, larger("slow"));
  const card = page.locator(".task-card");
  await card.getByRole("button", { name: "Pause" }).click();
  await card.locator(".badge.is-paused").waitFor();
  await card.getByText("Somebody paused it.").waitFor();
  await card.getByRole("button", { name: "Resume" }).click();
  await card.getByRole("button", { name: "Pause" }).waitFor();
  await card.getByRole("button", { name: "Cancel" }).click();
  await card.getByRole("button", { name: "Cancel the task" }).click();
  await card.locator(".badge.is-cancelled").waitFor();
});

on("a task whose budget is used up is given more where it says so", async () => {
  const id = await world.task("Look into the notes on a budget", { budget: { modelCalls: 2 } });
  await world.until(id, "paused");
  return `/tasks/${id}`;
}, async (page) => {
  const waiting = page.locator(".callout.is-wait");
  await waiting.getByText("All 2 model calls of its budget are used.").waitFor();
  assert.doesNotMatch(await page.locator(".task-head").innerText(), /longhaul task|POST \/api/);
  assert.ok(await page.getByRole("button", { name: "Resume" }).evaluate((button) => !button.classList.contains("is-primary")));
  const amount = waiting.getByLabel("Model calls to add");
  assert.equal(await amount.inputValue(), "1");
  await amount.fill("20");
  await waiting.getByRole("button", { name: "Add budget" }).click();
  await page.locator(".task-head .badge.is-completed").waitFor();
});

on("more tokens are offered than the next call may take", async () => {
  const id = await world.task("Look into the notes with few tokens", { budget: { tokens: 5000 } });
  await world.until(id, "paused");
  return `/tasks/${id}`;
}, async (page) => {
  const waiting = page.locator(".callout.is-wait");
  await waiting.getByText(/of 5,000 tokens are used, and the next call may take/).waitFor();
  assert.match(await page.locator(".pause-mark").first().getAttribute("title"), /^Budget used up: .* the next call may take [\d,]+\.$/);
  assert.ok(Number(await waiting.getByLabel("Tokens to add").inputValue()) > 100);
  await waiting.getByRole("button", { name: "Add budget" }).click();
  await page.getByText("The budget is raised").waitFor();
});

on("the badge of a task is whole on a phone", "/chat", async (page) => {
  await say(page, larger("slow"));
  const badge = page.locator(".task-card .card-head .badge", { hasText: "Running" });
  await badge.waitFor();
  assert.ok(await badge.evaluate((one) => one.scrollWidth <= one.clientWidth));
}, { viewport: { width: 390, height: 844 } });

for (const colorScheme of ["dark", "light"]) {
  on(`a card that waits, and what an @ offers, have no serious findings of axe (${colorScheme})`, async () => {
    const thread = `heard-${colorScheme}`;
    await world.until(await world.task("Look into the notes with few tokens", { threadId: thread, budget: { tokens: 5000 } }), "paused");
    await world.until(await world.task("A question for everybody", { threadId: thread }), "paused");
    return `/chat/${thread}`;
  }, async (page) => {
    await page.getByRole("button", { name: "Add budget" }).waitFor();
    await page.locator(".task-card .request").waitFor();
    await page.getByLabel("Message").pressSequentially("Look with @work");
    await page.getByRole("option").first().waitFor();
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run());
    assert.deepEqual(violations.filter((one) => ["serious", "critical"].includes(one.impact)).map((one) => `${one.id}: ${one.nodes[0].html.slice(0, 140)}`), []);
  }, { colorScheme, bypassCSP: true, viewport: { width: 1280, height: 800 } });
}

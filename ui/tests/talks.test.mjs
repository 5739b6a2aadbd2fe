// Conversations: where they begin, what is seen of them while they grow, and how they are found on a phone.
import assert from "node:assert/strict";
import { stage } from "./world.mjs";

const { world, on } = stage();

const ask = async (page, text) => { await page.getByLabel("Message").fill(text); await page.keyboard.press("Enter"); };
const answered = async (page) => { await page.getByRole("button", { name: "Send" }).waitFor(); };
const isAtEnd = () => { const log = document.querySelector(".messages"); return log.scrollHeight - log.clientHeight - log.scrollTop < 2; };

on("a new conversation is another one", "/chat", async (page) => {
  await ask(page, "What is the capital of France?");
  await page.locator(".message.is-assistant", { hasText: "Paris" }).waitFor();
  await answered(page);
  const first = page.url();
  assert.match(first, /\/chat\/.+/);
  await page.getByRole("link", { name: "New conversation" }).click();
  await page.getByRole("heading", { name: "What do you want done?" }).waitFor();
  await ask(page, "And once more, what is it?");
  await page.locator(".message.is-assistant", { hasText: "Paris" }).waitFor();
  await answered(page);
  assert.notEqual(page.url(), first);
  assert.equal(await page.locator(".message.is-user").count(), 1);
});

on("a conversation stays at its end while it grows, unless somebody reads further up", "/chat", async (page) => {
  for (const text of ["What is the capital of France?", "What was it again?"]) { await ask(page, text); await answered(page); }
  await ask(page, "Compare all modules of the workspace and then write a detailed report about every difference");
  await page.locator(".task-card").getByRole("heading", { name: "What matters" }).waitFor();
  await page.waitForFunction(isAtEnd);
  assert.ok(await page.locator(".messages").evaluate((log) => log.scrollHeight > log.clientHeight + 100));
  await answered(page);
  await ask(page, "Tell it aloud");
  await page.locator(".message.is-assistant", { hasText: "One after" }).waitFor();
  await page.locator(".messages").evaluate((log) => { log.scrollTop = 0; });
  await page.locator(".message.is-assistant", { hasText: "lighthouse" }).waitFor();
  assert.equal(await page.locator(".messages").evaluate((log) => log.scrollTop), 0);
  // Whoever says something wants to see it.
  await answered(page);
  await ask(page, "And that is all?");
  await page.locator(".message.is-user", { hasText: "And that is all?" }).waitFor();
  await page.waitForFunction(isAtEnd);
  await page.reload();
  await page.locator(".task-card").getByRole("heading", { name: "What matters" }).waitFor();
  await page.waitForFunction(isAtEnd);
}, { viewport: { width: 1000, height: 460 } });

on("on a phone conversations are found where one begins", "/chat", async (page) => {
  await ask(page, "What is the capital of Italy?");
  await page.locator(".message.is-assistant", { hasText: "Paris" }).waitFor();
  await answered(page);
  assert.equal(await page.getByRole("link", { name: /capital of Italy/ }).count(), 0);
  await page.getByRole("link", { name: "All conversations" }).click();
  await page.getByRole("link", { name: /capital of Italy/ }).click();
  await page.locator(".message.is-user", { hasText: "capital of Italy" }).waitFor();
  await page.goto(`${world.url}/tasks/01a20000-0000-7000-8000-000000000000`);
  await page.getByRole("link", { name: "All tasks" }).click();
  await page.waitForURL(/\/tasks$/);
}, { viewport: { width: 390, height: 844 } });

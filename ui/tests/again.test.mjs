// What is done again: retries, forks, what differs, and the way back to a checkpoint.
import assert from "node:assert/strict";
import { stage } from "./world.mjs";

const { world, on } = stage();

on("a failed task is tried again as another one", async () => `/tasks/${await world.ended("A doomed attempt")}`, async (page) => {
  const before = page.url();
  await page.locator(".task-head .badge.is-failed").waitFor();
  await page.keyboard.press("Shift+R");
  await page.getByRole("dialog").getByRole("button", { name: "Retry" }).click();
  await page.waitForFunction((url) => location.href !== url, before);
  await page.getByRole("link", { name: "compare" }).waitFor();
});

on("a task is replayed from its recording and found the same", async () => `/tasks/${await world.ended("Compare the wide readings once more")}`, async (page) => {
  await page.getByRole("button", { name: "Replay" }).click();
  await page.getByRole("dialog").getByText(/It is the same, completed: \d+ model calls/).waitFor();
});

on("a task is forked from a step, told something else, and put beside the first", async () => `/tasks/${await world.ended("Compare the wide readings again")}?step=2`, async (page) => {
  const before = page.url();
  await page.getByLabel("Inspector").getByRole("button", { name: "Fork before it" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Told to its models besides", { exact: false }).fill("Be brief.");
  await dialog.getByRole("button", { name: "Fork", exact: true }).click();
  await page.waitForFunction((url) => location.href !== url, before);
  await page.locator(".task-head .badge.is-completed").waitFor();
  await page.getByRole("link", { name: "compare" }).click();
  await page.getByRole("heading", { name: "Side by side" }).waitFor();
  await page.locator(".compare .tag", { hasText: "inherited" }).first().waitFor();
  assert.equal(await page.locator(".compare > li").count(), 6);
});

on("what a prompt holds is seen, and a task is put back to a checkpoint", async () => `/tasks/${await world.task("A slow look that is put back")}/context`, async (page) => {
  await page.getByRole("heading", { name: /The prompt of/ }).waitFor();
  await page.getByRole("group", { name: "Parts of the prompt" }).getByRole("button").first().click();
  await page.locator(".part-text").waitFor();
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Checkpoints" }).click();
  await page.getByRole("button", { name: "Take a checkpoint" }).click();
  await page.getByText(/After \d completed steps/).waitFor();
  await page.keyboard.press("p");
  await page.locator(".task-head .badge.is-paused").waitFor();
  await page.getByRole("button", { name: "Restore" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Restore" }).click();
  await page.locator(".task-head .badge.is-completed").waitFor();
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: /^Plan ?2/ }).waitFor();
});

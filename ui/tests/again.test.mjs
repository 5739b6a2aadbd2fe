// What is done again: retries, forks, and what differs.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { World, browse, visits } from "./world.mjs";

let world, browser;

before(async () => { [world, browser] = await Promise.all([World.start(), browse()]); });
after(async () => { await browser?.close(); await world?.stop(); });

const on = visits(() => ({ browser, world }));

async function ended(goal) {
  const id = await world.task(goal);
  await world.until(id, "completed", "failed");
  return id;
}

on("a failed task is tried again as another one", async () => `/tasks/${await ended("A doomed attempt")}`, async (page) => {
  const before = page.url();
  await page.locator(".task-head .badge.is-failed").waitFor();
  await page.keyboard.press("Shift+R");
  await page.getByRole("dialog").getByRole("button", { name: "Retry" }).click();
  await page.waitForFunction((url) => location.href !== url, before);
  await page.getByRole("link", { name: "compare" }).waitFor();
});

on("a task is forked from a step, told something else, and put beside the first", async () => `/tasks/${await ended("Compare the wide readings again")}?step=2`, async (page) => {
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

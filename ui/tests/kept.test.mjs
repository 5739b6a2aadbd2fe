// What is kept for the next time: filters under names, and times that stand in the address.
import assert from "node:assert/strict";
import { stage } from "./world.mjs";

const { world, on } = stage();

on("a filter of the task list is kept under a name, chosen again and forgotten", async () => {
  await world.ended("A doomed walk");
  await world.ended("A wide walk");
  return "/tasks?status=failed&q=walk";
}, async (page) => {
  const rows = page.locator(".row:not(.is-head)");
  await rows.first().waitFor();
  assert.equal(await rows.count(), 1);
  await page.keyboard.press("s");
  const dialog = page.getByRole("dialog", { name: "Keep this filter" });
  assert.ok(await dialog.getByRole("button", { name: "Keep" }).isDisabled());
  await page.keyboard.type("Broken walks");
  await page.keyboard.press("Enter");
  const kept = page.getByRole("group", { name: "Kept filters" });
  await kept.getByRole("button", { name: "Broken walks", pressed: true, exact: true }).waitFor();
  await kept.getByRole("button", { name: "Broken walks", exact: true }).click();
  await rows.nth(1).waitFor();
  assert.match(page.url(), /\/tasks$/);
  // Also after the page was loaded again, from anywhere.
  await page.goto(`${world.url}/settings`);
  await page.locator("h1").waitFor();
  await page.keyboard.press("Control+k");
  await page.keyboard.type("broken walks");
  await page.getByRole("option", { name: "Tasks: Broken walks" }).waitFor();
  await page.keyboard.press("Enter");
  await kept.getByRole("button", { name: "Broken walks", pressed: true, exact: true }).waitFor();
  assert.match(page.url(), /status=failed&q=walk/);
  await rows.first().waitFor();
  assert.equal(await rows.count(), 1);
  await kept.getByRole("button", { name: "Forget the filter Broken walks" }).click();
  await kept.getByRole("button", { name: "Keep filter" }).waitFor();
  assert.equal(await kept.getByRole("button", { name: "Broken walks", exact: true }).count(), 0);
});

on("analytics are about any time, which stands in the address", async () => {
  await world.ended("A wide look that is counted");
  const { tasks } = await world.ask("GET", "/api/tasks?limit=1");
  assert.equal(tasks.length, 1);
  return "/analytics";
}, async (page) => {
  await page.locator(".tile").first().waitFor();
  await page.keyboard.press("5");
  await page.waitForURL(/from=[^&]+&to=/);
  const ends = page.getByRole("group", { name: "Dates" });
  assert.equal(await page.getByRole("button", { name: "dates", pressed: true }).count(), 1);
  const asked = page.waitForRequest(/overview\?.*to=2024-02-02/);
  await ends.getByLabel("from").fill("2024-02-01T09:30");
  await ends.getByLabel("to").fill("2024-02-02T00:00");
  await asked;
  await page.getByRole("heading", { name: "Nothing happened in this time" }).waitFor();
  assert.match(page.url(), /from=2024-02-01T09%3A30Z&to=2024-02-02T00%3A00Z/);
  await ends.getByLabel("to").fill("2024-01-01T00:00");
  await page.getByText("The time ends before it begins.").waitFor();
  await ends.getByLabel("to").fill("");
  await page.getByText("At most 400 days are counted at once.").waitFor();
  await page.goto(`${world.url}/analytics?from=${new Date(Date.now() - 3_600_000).toISOString()}`);
  await page.locator(".tile", { hasText: "Ended" }).getByText(/^[1-9]/).first().waitFor();
  await page.getByRole("button", { name: /^Save tasks-\d{4}-\d\d-\d\d-to-\d{4}-\d\d-\d\d as CSV$/ }).waitFor();
  await page.keyboard.press("1");
  await page.waitForURL(/\/analytics\?range=1h$/);
}, { timezoneId: "UTC" });

on("figures do not blink when the time moves on", "/analytics?range=1h", async (page) => {
  await page.locator("main h1").waitFor();
  await page.clock.install();
  await page.goto(`${world.url}/analytics?range=1h`);
  await page.locator(".tile").first().waitFor();
  await page.evaluate(() => {
    window.blinks = 0;
    new MutationObserver(() => { if (document.querySelector("main .skeleton")) window.blinks += 1; }).observe(document.querySelector("main"), { childList: true, subtree: true });
  });
  const asked = page.waitForRequest(/overview\?/);
  await page.clock.runFor(61_000);
  await asked;
  await page.locator(".tile").first().waitFor();
  assert.equal(await page.evaluate(() => window.blinks), 0);
});

on("of many tabs the current one is seen on a phone", async () => `/tasks/${await world.ended("A wide look on a phone")}/raw`, async (page) => {
  const tab = page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Raw" });
  await tab.waitFor();
  const box = await tab.boundingBox();
  assert.ok(box.x >= 0 && box.x + box.width <= 390, JSON.stringify(box));
}, { viewport: { width: 390, height: 844 } });

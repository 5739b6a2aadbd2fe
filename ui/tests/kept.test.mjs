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
  assert.equal(await rows.count(), 1);
  await kept.getByRole("button", { name: "Forget the filter Broken walks" }).click();
  await kept.getByRole("button", { name: "Keep filter" }).waitFor();
  assert.equal(await kept.getByRole("button", { name: "Broken walks", exact: true }).count(), 0);
});

// Sub-tasks: seen from their task, and their task seen from them.
import assert from "node:assert/strict";
import { stage } from "./world.mjs";

const plan = [
  { id: "a", description: "Count outright", type: "tool-call", tool: { name: "workflow_count", arguments: { what: "rocks" } } },
  { id: "b", description: "Say it", type: "llm-reasoning" },
];
const { world, on } = stage();

/** A task whose first step a task of its own carries out. */
async function family() {
  const steps = [{ description: "Count the {{what}}", type: "tool-call", tool: { name: "workspace_read", arguments: { path: "notes.md" } } }];
  await world.ask("POST", "/api/templates", { name: "count", goal: "Count {{what}}", parameters: { properties: { what: { type: "string" } } }, steps });
  const id = await world.task("Count what is there", { plan, mentions: [{ type: "workflow", name: "count", workflowId: "count" }] });
  await world.until(id, "completed");
  return `/tasks/${id}/children`;
}

on("a sub-task is found from its task, and its task from it", family, async (page) => {
  const row = page.getByRole("row", { name: /Count rocks/ });
  await row.getByText("workflow_count").waitFor();
  await row.getByRole("link", { name: /step 1/ }).click();
  const inspector = page.locator(".inspector");
  const [href] = await Promise.all([row.getByRole("link").first().getAttribute("href"), inspector.waitFor()]);
  await row.getByRole("link").first().click();
  await page.waitForURL(new RegExp(`${href}`));
  await page.getByRole("heading", { name: "Count rocks" }).waitFor();
  await page.locator(".facts", { hasText: "Sub-task of" }).getByRole("link").first().click();
  await page.getByRole("heading", { name: "Count what is there" }).waitFor();
  await page.getByRole("link", { name: "Tasks", exact: true }).first().click();
  await page.getByRole("grid").getByText("Count rocks").waitFor();
  await page.locator(".row", { hasText: "Count rocks" }).getByText("sub-task", { exact: true }).waitFor();
  assert.equal(await page.locator(".row", { hasText: "Count what is there" }).getByText("sub-task", { exact: true }).count(), 0);
  await page.getByRole("button", { name: "without sub-tasks" }).click();
  await page.getByRole("grid").getByText("Count what is there").waitFor();
  assert.equal(await page.getByRole("grid").getByText("Count rocks").count(), 0);
});

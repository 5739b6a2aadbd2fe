// Templates: written, run with a form, made of tasks.
import assert from "node:assert/strict";
import { stage } from "./world.mjs";

const { world, on } = stage();

on("a template is written, run with a form, and written anew", "/templates", async (page) => {
  await page.getByRole("heading", { name: "No templates yet" }).waitFor();
  await page.keyboard.press("c");
  const dialog = page.getByRole("dialog", { name: "New template" });
  await dialog.getByLabel("Name", { exact: false }).first().fill("look-around");
  await dialog.getByLabel("Goal").fill("Look for open questions in {{place}}");
  await dialog.getByLabel("Steps", { exact: false }).fill('[{"id": "look", "description": "Look into {{place}}", "type": "llm-reasoning"}]');
  await dialog.getByRole("button", { name: "Make the template" }).click();
  const detail = page.getByRole("article", { name: "Template look-around" });
  const form = detail.getByRole("form", { name: "Run look-around" });
  assert.ok(await form.getByRole("button", { name: "Run", exact: true }).isDisabled(), "a parameter is missing");
  await form.getByLabel("place").fill("the cellar");
  await form.getByRole("button", { name: "Run", exact: true }).click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}$/);
  await page.getByRole("heading", { name: "Look for open questions in the cellar" }).waitFor();
  await page.locator(".step-name", { hasText: "Look into the cellar" }).waitFor();
  await page.goBack();
  await detail.getByRole("button", { name: "New version" }).click();
  await page.getByRole("dialog").getByLabel("Goal").fill("Look for answers in {{place}}");
  await page.getByRole("dialog").getByRole("button", { name: "Write the version" }).click();
  await detail.getByRole("button", { name: "version 2" }).waitFor();
  await detail.getByRole("button", { name: "differences" }).click();
  await detail.locator(".diff-new", { hasText: "answers" }).waitFor();
  await detail.getByRole("link", { name: "Schedule it" }).click();
  const schedule = page.getByRole("dialog", { name: "New schedule" });
  await schedule.getByLabel("place").fill("the attic");
  await schedule.getByLabel("Name").fill("Every morning");
  await schedule.getByRole("button", { name: "Schedule it" }).click();
  await page.getByRole("article", { name: "Schedule Every morning" }).getByRole("button", { name: "Run now" }).click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}$/);
  await page.getByRole("heading", { name: "Look for answers in the attic" }).waitFor();
  await page.getByRole("link", { name: "look-around" }).click();
  await detail.getByRole("button", { name: "Remove" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove the template" }).click();
  await page.getByRole("heading", { name: "No templates yet" }).waitFor();
});

on("a task that went well becomes a template", async () => `/tasks/${await world.ended("Report on the cellar, wide")}`, async (page) => {
  await page.getByRole("button", { name: "Save as template" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("report-on");
  await dialog.getByRole("button", { name: "Add a parameter" }).click();
  await dialog.getByLabel("Text 1 of the task").fill("the cellar");
  await dialog.getByLabel("becomes the parameter").fill("place");
  await dialog.getByRole("button", { name: "Make the template" }).click();
  const detail = page.getByRole("article", { name: "Template report-on" });
  assert.equal(await detail.getByLabel("place", { exact: false }).first().inputValue(), "the cellar");
  await detail.locator(".goal-text", { hasText: "Report on {{place}}, wide" }).waitFor();
});

// Templates: written, run with a form, made of tasks.
import assert from "node:assert/strict";
import { stage } from "./world.mjs";

const { world, on } = stage({ more: "[presets.careful]\ndescription = \"Little money\"\nbudget = { costUsd = 1.0 }\n" });

on("a template is written, run with a form, and written anew", "/templates", async (page) => {
  await page.getByRole("heading", { name: "No templates yet" }).waitFor();
  await page.keyboard.press("c");
  const dialog = page.getByRole("dialog", { name: "New template" });
  await dialog.getByLabel("Name", { exact: false }).first().fill("look-around");
  await dialog.getByLabel("Goal").fill("Look for open questions in {{place}}");
  await dialog.getByRole("radio", { name: "As JSON" }).click();
  await dialog.getByLabel("List of steps").fill('[{"id": "look", "description": "Look into {{place}}", "type": "llm-reasoning"}]');
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

on("the steps of a template are edited as a plan is, and what the editor does not know is kept", async () => {
  const steps = [
    { id: "list", description: "List what is in {{place}}", type: "tool-call", tool: { name: "workspace_list", arguments: {} } },
    { id: "clock", description: "Look at the clock", type: "tool-call", dependsOn: [], tool: { name: "clock_now", arguments: {} } },
    { id: "each", description: "Look at {{item}}", type: "tool-call", dependsOn: ["list"], forEach: { items: ["a", "b"] }, tool: { name: "clock_now", arguments: {} } },
  ];
  await world.ask("POST", "/api/templates", { name: "rounds", goal: "Walk through {{place}}", parameters: { properties: { place: { type: "string" } } }, steps });
  return "/templates?template=rounds";
}, async (page) => {
  const detail = page.getByRole("article", { name: "Template rounds" });
  await detail.getByRole("button", { name: "New version" }).click();
  const dialog = page.getByRole("dialog", { name: "New version of rounds" });
  assert.equal(await dialog.getByRole("radio", { name: "Always these" }).getAttribute("aria-checked"), "true");
  await dialog.getByLabel("What step 1 does").fill("List all of {{place}}");
  await dialog.locator(".plan-step", { hasText: "for each" }).waitFor();
  await dialog.getByRole("button", { name: "Add a step" }).click();
  assert.ok(await dialog.getByRole("button", { name: "Write the version" }).isDisabled(), "a step says nothing");
  await dialog.getByLabel("What step 4 does").fill("Say how it was");
  await dialog.getByLabel("Preset").selectOption("careful");
  await dialog.getByRole("radio", { name: "As JSON" }).click();
  const typed = dialog.getByLabel("List of steps");
  assert.deepEqual(JSON.parse(await typed.inputValue()).map((step) => step.dependsOn), [[], [], [0], [2]]);
  await typed.fill("[{");
  assert.ok(await dialog.getByRole("radio", { name: "Always these" }).isDisabled(), "what is no JSON cannot be shown as steps");
  await typed.fill('[{"description": "List it"}, {"id": "then", "description": "Say it", "dependsOn": []}]');
  await dialog.getByRole("radio", { name: "Always these" }).click();
  assert.equal(await dialog.getByLabel("What step 2 does").inputValue(), "Say it");
  await dialog.getByRole("button", { name: "Close" }).last().click();
  await detail.getByRole("button", { name: "New version" }).click();
  await dialog.getByLabel("What step 1 does").fill("List all of {{place}}");
  await dialog.getByLabel("Preset").selectOption("careful");
  await dialog.getByRole("button", { name: "Write the version" }).click();
  await detail.getByRole("button", { name: "version 2" }).waitFor();
  const { steps, preset } = await world.ask("GET", "/api/templates/rounds");
  assert.equal(preset, "careful");
  assert.deepEqual(steps.map((step) => [step.description, step.dependsOn ?? [], step.forEach?.items]), [["List all of {{place}}", [], undefined], ["Look at the clock", [], undefined], ["Look at {{item}}", [0], ["a", "b"]]]);
});

on("a template without steps is planned each time", async () => {
  await world.ask("POST", "/api/templates", { name: "fixed", goal: "Look around", steps: [{ description: "Look", type: "llm-reasoning" }] });
  return "/templates?template=fixed";
}, async (page) => {
  const detail = page.getByRole("article", { name: "Template fixed" });
  await detail.getByRole("button", { name: "New version" }).click();
  await page.getByRole("radio", { name: "Planned anew" }).click();
  await page.getByRole("button", { name: "Write the version" }).click();
  await detail.getByText("A plan is made each time it is run.").waitFor();
});

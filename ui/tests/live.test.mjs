// What is seen while it happens: words of models, the list of tasks, and schedules that start tasks.
import assert from "node:assert/strict";
import { stage } from "./world.mjs";

const { world, on } = stage({ more: "[server]\ntoolTrials = \"all\"\n" });

on("an answer is seen word by word, and then as it was recorded", async () => `/tasks/${await world.task("Say it aloud")}`, async (page) => {
  const speech = page.getByRole("region", { name: "Models answering now" });
  await speech.getByText(/Every word of/).waitFor();
  const early = await speech.locator(".words").textContent();
  assert.ok(!early.includes("lighthouse"), `it is seen before its end: ${early}`);
  await page.getByRole("button", { name: /Tell it word by word/ }).first().click();
  await page.getByLabel("Inspector").getByText("Answer, as it comes").waitFor();
  await page.getByLabel("Inspector").locator(".words", { hasText: "answer is seen" }).waitFor();
  await page.locator(".task-head .badge.is-completed").waitFor();
  await speech.waitFor({ state: "detached" });
  await page.getByLabel("Inspector").getByText(/last word is lighthouse/).first().waitFor();
});

on("who comes in the middle of an answer sees it from its beginning", async () => {
  const id = await world.task("Say it aloud once more");
  await world.until(id, "running");
  await new Promise((resolve) => setTimeout(resolve, 900));
  return `/tasks/${id}/trace`;
}, async (page) => {
  await page.getByRole("region", { name: "Models answering now" }).getByText(/^Every word of this/).waitFor();
});

on("the list of tasks is told what changes, and asks no more", async () => { await world.task("Say it aloud at last"); return "/tasks"; }, async (page) => {
  await page.locator(".row:not(.is-head)").first().waitFor();
  await page.waitForTimeout(1700);
  const asked = [];
  page.on("request", (request) => { if (/\/api\/tasks\?/.test(request.url())) asked.push(request.url()); });
  const id = await world.task("A slow look that the list follows");
  const row = page.locator(".row", { hasText: "A slow look that the list follows" });
  await row.locator(".at-work", { hasText: "Look around" }).waitFor();
  await row.locator(".at-work", { hasText: "Think it over" }).waitFor();
  await row.locator(".badge.is-completed").waitFor();
  await world.until(id, "completed");
  assert.deepEqual(asked, []);
});

on("a task that waits for its next attempt says so in the list", async () => {
  await world.task("Ask a limited model");
  return "/tasks";
}, async (page) => {
  await page.locator(".row .badge.is-retrying", { hasText: "Retry" }).waitFor();
  await page.getByRole("button", { name: /^retrying/ }).click();
  assert.equal(await page.locator(".row:not(.is-head)").count(), 1);
  await page.getByRole("button", { name: /^retrying/ }).click();
  await page.locator(".row", { hasText: "Ask a limited model" }).locator(".badge.is-completed").waitFor();
});

on("a schedule is made, run, paused and removed", "/schedules", async (page) => {
  await page.getByRole("heading", { name: "Nothing is scheduled" }).waitFor();
  await page.keyboard.press("c");
  const dialog = page.getByRole("dialog", { name: "New schedule" });
  await dialog.getByLabel("Goal", { exact: true }).fill("Look at the notes again");
  await dialog.getByLabel("Time zone").fill("Europe/Berlin");
  await dialog.getByRole("button", { name: "Mondays at 9" }).click();
  await dialog.locator(".times li").nth(4).waitFor();
  assert.match(await dialog.locator(".times li").first().textContent(), /Mon/);
  await dialog.getByLabel("Cron pattern").fill("0 25 * * *");
  await dialog.getByText(/the hour '25' makes no sense/).waitFor();
  assert.ok(await dialog.getByRole("button", { name: "Schedule it" }).isDisabled());
  await dialog.getByLabel("Cron pattern").fill("0 9 * * 1-5");
  await dialog.getByLabel("Name").fill("Notes");
  await dialog.getByLabel("Priority").selectOption("2");
  await dialog.getByText("Budget", { exact: true }).click();
  await dialog.getByLabel("Minutes").fill("30");
  await dialog.getByText("Tools: all").click();
  await dialog.getByRole("group", { name: "Tools" }).getByLabel("workspace_read").check();
  await dialog.getByText("Approval: as configured").click();
  await dialog.getByLabel("Calls that may not be repeated").check();
  const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/api/schedules"));
  await dialog.getByRole("button", { name: "Schedule it" }).click();
  assert.match((await sent).headers()["idempotency-key"], /^\S+$/);
  await page.getByRole("article", { name: "Schedule Notes" }).waitFor();
  const terms = { priority: 2, minutes: 30, approval: { classes: ["unsafe"] }, mentions: [{ type: "defaultTool", name: "workspace_read", label: "workspace_read" }] };
  const kept = async () => (await world.ask("GET", "/api/schedules")).schedules[0].task;
  const termsOf = ({ priority, budget, approval: { classes }, mentions }) => ({ priority, minutes: budget.wallTimeMs / 60_000, approval: { classes }, mentions });
  assert.deepEqual(termsOf(await kept()), terms);
  const detail = page.getByRole("article", { name: "Schedule Notes" });
  await detail.locator(".times li").nth(4).waitFor();
  await detail.getByRole("button", { name: "Pause" }).click();
  await page.locator("td .badge.is-paused").waitFor();
  await detail.getByText("None while it is paused.").waitFor();
  await detail.getByRole("button", { name: "Resume" }).click();
  await detail.locator(".times li").first().waitFor();
  await detail.getByRole("button", { name: "Run now" }).click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}$/);
  await page.locator(".task-head .badge.is-completed").waitFor();
  await page.goBack();
  await page.getByRole("article", { name: "Schedule Notes" }).locator(".lines .badge.is-completed").waitFor();
  await page.getByRole("article", { name: "Schedule Notes" }).getByRole("button", { name: "Change" }).click();
  await page.getByRole("dialog").getByLabel("Cron pattern").fill("30 6 * * *");
  await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await page.locator("td code", { hasText: "30 6 * * *" }).waitFor();
  assert.deepEqual(termsOf(await kept()), terms, "what was not changed stays");
  await page.getByRole("article", { name: "Schedule Notes" }).getByRole("button", { name: "Remove" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove the schedule" }).click();
  await page.getByRole("heading", { name: "Nothing is scheduled" }).waitFor();
});

on("a tool is tried, freely if it changes nothing, with a word if it may", "/tools?tool=workspace_read", async (page) => {
  const trial = page.getByRole("region", { name: "Try workspace_read" });
  await trial.getByLabel("path", { exact: false }).first().fill("notes.md");
  await trial.getByRole("button", { name: "Call it" }).click();
  await trial.getByText("Who writes?").first().waitFor();
  await trial.getByLabel("path", { exact: false }).first().fill("../outside.md");
  await trial.getByRole("button", { name: "Call it" }).click();
  await trial.locator(".trial-end .badge.is-failed").waitFor();
  await page.getByRole("button", { name: /workspace_write/ }).click();
  const write = page.getByRole("region", { name: "Try workspace_write" });
  await write.getByLabel("path", { exact: false }).first().fill("tried.md");
  await write.getByLabel("content", { exact: false }).first().fill("Written by hand.");
  assert.ok(await write.getByRole("button", { name: "Call it" }).isDisabled());
  await write.getByRole("checkbox").check();
  await write.getByRole("button", { name: "Call it" }).click();
  await write.locator(".trial-end .badge.is-completed").waitFor();
});

on("a plan that somebody worked on is not replaced or dropped before that is asked", "/new?goal=Take%20a%20wide%20look", async (page) => {
  let asked = 0;
  page.on("request", (request) => { if (request.url().endsWith("/api/chat/plan")) asked += 1; });
  await page.getByRole("button", { name: "Preview the plan" }).click();
  const plan = page.getByRole("region", { name: "Preview of the plan" });
  const third = plan.getByLabel("What step 3 does");
  await third.waitFor();
  const before = await third.inputValue();
  const anew = plan.getByRole("button", { name: "Plan anew" });
  const planned = (times) => page.waitForFunction(() => !document.querySelector("[aria-busy=true]")).then(() => assert.equal(asked, times));
  // Nothing was done to it: nothing is lost, and nothing is asked.
  const again = page.waitForResponse((answer) => answer.url().endsWith("/api/chat/plan"));
  await anew.click();
  await again;
  await planned(2);
  await third.fill("Compare them with care");
  await third.press("Control+p");
  const question = page.getByRole("dialog", { name: "Plan anew?" });
  await question.getByText("You have changed this plan since it was made.").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Keep it", "the harmless answer is the first");
  await page.keyboard.press("Escape");
  await question.waitFor({ state: "detached" });
  assert.equal(await third.inputValue(), "Compare them with care");
  await plan.getByRole("button", { name: "Without this plan" }).click();
  await page.getByRole("dialog", { name: "Without this plan?" }).getByRole("button", { name: "Keep it" }).click();
  assert.equal(await third.inputValue(), "Compare them with care");
  assert.equal(asked, 2);
  await anew.click();
  await question.getByRole("button", { name: "Plan anew" }).click();
  await page.waitForFunction((words) => document.querySelector("[aria-label='What step 3 does']")?.value === words, before);
  assert.equal(asked, 3);
  // What is as it came again is not asked about.
  await third.fill("x");
  await third.fill(before);
  await plan.getByRole("button", { name: "Without this plan" }).click();
  await plan.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Write the plan yourself" }).click();
  await page.getByLabel("What step 1 does").fill("Look");
  await page.getByRole("button", { name: "Plan anew" }).click();
  await question.getByText("You have written this plan.").waitFor();
});

on("a plan is seen and changed before it runs", "/new?goal=Take%20a%20wide%20look", async (page) => {
  await page.getByRole("button", { name: "Preview the plan" }).click();
  const plan = page.getByRole("region", { name: "Preview of the plan" });
  await plan.getByLabel("What step 6 does").waitFor();
  await plan.getByLabel("What step 3 does").fill("Compare them with care");
  await plan.getByRole("button", { name: "Remove step 6" }).click();
  await plan.getByRole("button", { name: "Move step 1 down" }).click();
  await plan.getByRole("button", { name: "Add a step" }).click();
  assert.ok(await page.getByRole("button", { name: "Start with this plan" }).isDisabled());
  await plan.getByLabel("What step 6 does").fill("Say good-bye");
  await page.getByRole("button", { name: "Start with this plan" }).click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}$/);
  await page.locator(".task-head .badge.is-completed").waitFor();
  const steps = await page.locator(".steps .step-name").allTextContents();
  assert.deepEqual(steps, ["Read them again", "Read the notes", "Compare them with care", "Keep where the work stands", "Write the report", "Say good-bye"]);
});

on("an answer goes on when its page is loaded again, and its conversation is renamed and forgotten", "/chat", async (page) => {
  await page.getByLabel("Message").fill("Tell it aloud");
  await page.keyboard.press("Enter");
  await page.locator(".message.is-assistant", { hasText: "One after" }).waitFor();
  await page.reload();
  await page.locator(".message.is-assistant", { hasText: "One after the other" }).waitFor();
  await page.locator(".message.is-assistant", { hasText: "lighthouse" }).waitFor();
  await page.getByRole("button", { name: "Send" }).waitFor();
  const row = page.locator(".thread-row", { hasText: "Tell it aloud" });
  await row.hover();
  await row.getByRole("button", { name: /Rename or forget/ }).click();
  await page.getByRole("dialog").getByLabel("Title").fill("Lighthouses");
  await page.getByRole("dialog").getByRole("button", { name: "Rename" }).click();
  const renamed = page.locator(".thread-row", { hasText: "Lighthouses" });
  await renamed.hover();
  await renamed.getByRole("button", { name: /Rename or forget/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Forget it" }).click();
  await renamed.waitFor({ state: "detached" });
  await page.waitForURL(/\/chat$/);
});

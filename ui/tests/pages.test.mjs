// What the quieter pages say: dates, the tools and how they fared, what waits, and what the server is.
import assert from "node:assert/strict";
import { stage } from "./world.mjs";

const { world, on } = stage();

on("a moment of another year is shown with its year, and how far it is in years", async () => {
  const { id } = await world.ask("POST", "/api/schedules", { name: "Far away", at: "2099-12-01T09:00:00Z", task: { goal: "Look back" } });
  return `/schedules?schedule=${id}`;
}, async (page) => {
  const detail = page.getByRole("article", { name: "Schedule Far away" });
  await detail.getByText(/^once, .*2099/).waitFor();
  await detail.locator(".times", { hasText: /2099.*in \d\d y \d+ d/ }).waitFor();
  await page.getByRole("row", { name: /Far away/ }).getByText(/^in \d\d y \d+ d$/).waitFor();
});

on("the settings say which version runs, and where programs read on", "/settings", async (page) => {
  const { info } = await world.ask("GET", "/openapi.json");
  await page.locator(".fact, dl > div", { hasText: "Version" }).getByText(info.version, { exact: true }).waitFor();
  for (const path of ["/openapi.json", "/metrics"]) {
    assert.equal(await page.locator(`main a[href="${path}"]`).count(), 1);
    assert.equal((await fetch(world.url + path)).status, 200);
  }
});

on("tools are listed with their calls under a heading, and read beside the one that is open", async () => {
  await world.ended("Use the tools of the workspace");
  // The figures are counted a moment later.
  for (;;) {
    const { rows } = await world.ask("GET", "/api/analytics/durations?by=tool");
    if (rows.some((row) => row.name === "workspace_read")) return "/tools";
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}, async (page) => {
  await page.locator(".tool-heads").getByText("Calls in 7 days").waitFor();
  const one = page.locator("button.tool", { hasText: "workspace_read" });
  const { rows } = await world.ask("GET", "/api/analytics/durations?by=tool");
  const { count, failed } = rows.find((row) => row.name === "workspace_read");
  assert.ok(count > 0 && failed <= count);
  await one.locator(".tool-uses").getByText(failed > 0 ? `${count}, ${failed} failed` : String(count)).waitFor();
  assert.equal((await page.locator(".tool-text").allTextContents()).filter((text) => text.includes("`")).length, 0);
  await one.click();
  await page.locator(".tool-detail").waitFor();
  const narrow = await page.locator("button .tool-text").evaluateAll((texts) => texts.filter((text) => text.scrollWidth > text.clientWidth || text.clientWidth < 300).length);
  assert.equal(narrow, 0, "descriptions are cut");
});

on("what is searched among the tools is in the address", "/tools?q=workspace_re", async (page) => {
  await page.locator("button.tool").first().waitFor();
  for (const name of await page.locator("button.tool > code").allTextContents()) assert.match(name, /workspace_re/);
  const box = page.getByLabel("Search tools");
  assert.equal(await box.inputValue(), "workspace_re");
  await box.fill("workspace_list");
  await page.waitForURL(/q=workspace_list/);
  await page.reload();
  await page.locator("button.tool", { hasText: "workspace_list" }).waitFor();
  await box.fill("");
  await page.waitForURL(/\/tools$/);
});

on("the queues say what is delayed, who waits longest, and each count once", "/", async (page) => {
  const id = await world.ended("Wait for long");
  await page.route("**/api/analytics/overview*", async (route) => {
    const answer = await route.fetch();
    const overview = await answer.json();
    overview.now = { ...overview.now, delayed: 3, oldest: { taskId: id, goal: "Wait for long", waitedMs: 7_500_000 } };
    await route.fulfill({ response: answer, json: overview });
  });
  await page.goto(`${world.url}/workers`);
  await page.locator(".tile", { hasText: "Delayed" }).getByText("3", { exact: true }).waitFor();
  const oldest = page.locator(".tile", { hasText: "Oldest waiting" });
  await oldest.getByText("2 h 5 m").waitFor();
  assert.equal(await page.getByText(/^\d+\/\d+$/).count(), 0);
  await oldest.getByRole("link", { name: "Wait for long" }).click();
  await page.waitForURL(new RegExp(id));
});

// What starts tasks: the form of a new one, and that of a template.
import assert from "node:assert/strict";
import { join } from "node:path";
import { stage } from "./world.mjs";

const weather = `[tools.mcp.weather]\ncommand = ${JSON.stringify(process.execPath)}\nargs = [${JSON.stringify(join(import.meta.dirname, "mcp.mjs"))}]\n`;
const { world, on } = stage({ more: weather });

on("a goal that was typed is there again after a reload, and gone once it is a task", "/new", async (page) => {
  await page.getByLabel("Goal").fill("Compare all that was typed");
  await page.reload();
  assert.equal(await page.getByLabel("Goal").inputValue(), "Compare all that was typed");
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
  await page.goto(`${world.url}/new`);
  assert.equal(await page.getByLabel("Goal").inputValue(), "");
  await page.goto(`${world.url}/new?goal=Another%20one`);
  assert.equal(await page.getByLabel("Goal").inputValue(), "Another one");
});

on("why a task does not start is said under its goal, until it is tried again", "/new?goal=Look%20at%20the%20notes", async (page) => {
  await page.route("**/api/chat/orchestrate", (route) => route.fulfill({ status: 422, contentType: "application/json", body: JSON.stringify({ code: "invalid", detail: "No plan could be made:\nthe model refuses." }) }), { times: 1 });
  await page.getByRole("button", { name: "Start", exact: true }).click();
  const problem = page.getByRole("alert").filter({ hasText: "the model refuses" });
  await problem.waitFor();
  const [goal, said] = [await page.getByLabel("Goal").boundingBox(), await problem.boundingBox()];
  assert.ok(said.y >= goal.y + goal.height && said.y < goal.y + goal.height + 60, "it stands under the goal");
  assert.equal(await page.locator(".notice").count(), 0);
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
});

on("a start whose answer is lost is not a second task when it is tried again", "/new?goal=Start%20this%20only%20once", async (page) => {
  await page.route("**/api/chat/orchestrate", async (route) => { await route.fetch(); await route.abort(); }, { times: 1 });
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await page.getByText("The server cannot be reached.", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
  const { tasks } = await world.ask("GET", "/api/tasks?limit=100");
  assert.equal(tasks.filter((task) => task.goal === "Start this only once").length, 1);
});

on("files go with a goal, whether they are chosen or pasted", "/new?goal=Look%20at%20what%20is%20attached", async (page) => {
  const choose = (name, text) => page.getByLabel("Files", { exact: true }).setInputFiles({ name, mimeType: "text/plain", buffer: Buffer.from(text) });
  await choose("wrong.txt", "nobody reads this");
  await page.getByRole("button", { name: "Leave out wrong.txt" }).click();
  await choose("notes.txt", "The bridge was closed in May.");
  await page.getByLabel("Goal").evaluate((box) => {
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File(["It was opened in June."], "more.txt", { type: "text/plain" }));
    box.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  });
  await page.getByRole("button", { name: "Leave out more.txt" }).waitFor();
  const [sent] = await Promise.all([page.waitForRequest("**/api/chat/orchestrate"), page.getByRole("button", { name: "Start", exact: true }).click()]);
  assert.deepEqual(sent.postDataJSON().attachments.map(({ filename }) => filename), ["notes.txt", "more.txt"]);
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
  const { traces } = await world.ask("GET", `/api/tasks/${page.url().match(/[0-9a-f-]{36}/)[0]}/traces?limit=100`);
  const told = traces.filter(({ kind }) => kind === "message_received").map(({ message }) => message);
  assert.deepEqual(told, ["Goes with it: The file notes.txt:\nThe bridge was closed in May.", "Goes with it: The file more.txt:\nIt was opened in June."]);
});

on("calls of a class or a tool are to be approved, within a time", "/new?goal=Compare%20what%20is%20approved", async (page) => {
  await page.getByText("Approval: as configured").click();
  await page.getByRole("checkbox", { name: /Calls that may not be repeated/ }).check();
  await page.getByRole("checkbox", { name: "Approve calls of workspace_read" }).check();
  await page.getByLabel("Hours to answer in").fill("2");
  await page.getByLabel("If nobody answers").selectOption("cancel");
  const [sent] = await Promise.all([page.waitForRequest("**/api/chat/orchestrate"), page.getByRole("button", { name: "Start", exact: true }).click()]);
  assert.deepEqual(sent.postDataJSON().approval, { classes: ["unsafe"], tools: { workspace_read: true }, expiresAfterMs: 7_200_000, onExpiry: "cancel" });
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
  await page.getByText("May this call be made").first().waitFor();
});

on("tools are all, or those that are ticked, and what starts tasks stands beside them", async () => {
  await world.ask("POST", "/api/templates", { name: "look-up", goal: "Look into {{place}}", parameters: { type: "object", properties: { place: { type: "string" } } } });
  return "/new?goal=Compare%20with%20tools";
}, async (page) => {
  await page.getByText("Tools: all").click();
  await page.getByText("While none is ticked, all of them may be used.").waitFor();
  const start = page.getByRole("button", { name: "Start", exact: true });
  await page.getByRole("checkbox", { name: "sub_task" }).check();
  await page.getByRole("checkbox", { name: "workflow_look-up" }).check();
  const [wide] = await Promise.all([page.waitForRequest("**/api/chat/orchestrate"), start.click()]);
  assert.ok(wide.postDataJSON().allowedAppDefaultToolkit.includes("sub_task"));
  assert.ok(wide.postDataJSON().allowedAppDefaultToolkit.length > 3, "all others stay");
  assert.deepEqual(wide.postDataJSON().mentions, [{ type: "workflow", name: "look-up", workflowId: "look-up" }]);
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
  await page.goBack();
  await page.getByText("Tools: all").click();
  await page.getByRole("checkbox", { name: "workspace_read" }).first().check();
  await page.getByRole("checkbox", { name: "sub_task" }).check();
  await page.getByText("Tools: only 1").waitFor();
  const [narrow] = await Promise.all([page.waitForRequest("**/api/chat/orchestrate"), start.click()]);
  assert.deepEqual(narrow.postDataJSON().mentions.map((one) => one.name), ["workspace_read", "sub_task"]);
  assert.equal((await narrow.response()).ok(), true);
});

on("an MCP server is allowed as a whole", "/new?goal=Compare%20the%20weather", async (page) => {
  await page.getByText("Tools: all").click();
  await page.getByRole("checkbox", { name: /all of weather/ }).check();
  await page.getByText("Tools: only 1").waitFor();
  assert.ok(await page.getByRole("group", { name: "Tools", exact: true }).getByRole("checkbox", { name: /tomorrow/ }).isChecked());
  const [sent] = await Promise.all([page.waitForRequest("**/api/chat/orchestrate"), page.getByRole("button", { name: "Start", exact: true }).click()]);
  assert.deepEqual(sent.postDataJSON().mentions, [{ type: "mcpServer", name: "weather", serverId: "weather" }]);
  assert.equal((await sent.response()).ok(), true);
});

on("a template is run on terms of its own", "/templates?template=look-up", async (page) => {
  const form = page.getByRole("form", { name: "Run look-up" });
  await form.getByLabel("place").fill("the cellar");
  await form.getByText("On what terms").click();
  await form.getByLabel("Priority").selectOption("2");
  await form.getByText("Budget", { exact: true }).click();
  await form.getByLabel("Tokens").fill("70000");
  await form.getByText("Conversation").click();
  await form.getByLabel("Thread").fill("cellars");
  await form.getByRole("button", { name: "Run", exact: true }).click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
  const task = await world.ask("GET", `/api/tasks/${page.url().split("/").at(-1)}`);
  assert.deepEqual([task.priority, task.budget.limits.tokens, task.threadId], [2, 70_000, "cellars"]);
});

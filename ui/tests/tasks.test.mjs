// The page of a task, the list of tasks and what starts them, as somebody meets them for the first time and on a small screen.
import assert from "node:assert/strict";
import { rules, stage, World } from "./world.mjs";

const asking = [
  { role: "plan", goalContains: "file", reply: { json: { reason: "", steps: [{ id: "w", description: "Write the report", type: "tool-call", tool: { name: "workspace_write", arguments: { path: "report.md", content: "# Findings\n\nThree questions are open." } } }] } } },
  { role: "plan", goalContains: "question", reply: { json: { reason: "", steps: [{ id: "ask", description: "Ask which colour it is to be", type: "tool-call" }] } } },
  { role: "execute", goalContains: "question", turn: 0, reply: { toolCalls: [{ tool: "ask_person", arguments: { question: "Which **colour**?", choices: ["red", "blue"] } }] } },
  { role: "plan", goalContains: "overdue", reply: { json: { reason: "", steps: [{ id: "a", description: "Take longer than was said", type: "llm-reasoning", estimatedDuration: 100 }] } } },
  { role: "execute", goalContains: "overdue", delayMs: 4000, reply: { text: "Done at last." } },
];

const { world, on } = stage({ script: [...asking, ...rules] });
const phone = { viewport: { width: 390, height: 844 } };

on("a task that has ended opens on what it brought, with the file that it wrote", async () => `/tasks/${await world.ended("Write a file about the questions")}`, async (page) => {
  await page.getByRole("link", { name: "Result", exact: true, current: "page" }).waitFor();
  await page.locator(".written").getByRole("heading", { name: "Findings" }).waitFor();
  await page.locator(".written", { hasText: "report.md" }).getByText("Three questions are open.").waitFor();
});

on("a task that ends while somebody watches shows its result, and one that is looked at closely stays where it is", async () => `/tasks/${await world.task("A slow look from afar")}`, async (page) => {
  await page.getByRole("link", { name: "Timeline", current: "page" }).waitFor();
  await page.locator(".tab-body").getByRole("button", { name: "Copy" }).waitFor();
  await page.getByRole("link", { name: "Result", current: "page" }).waitFor();
  await page.goto(`${page.url()}?step=1`);
  await page.getByRole("complementary", { name: "Inspector" }).waitFor();
  await page.getByRole("link", { name: "Timeline", current: "page" }).waitFor();
});

on("a long goal is read whole, with its line breaks", async () => `/tasks/${await world.ended(`Look at these:\n- the first chapter\n- the second chapter\n${"and every word of it, ".repeat(40)}\nthe very end`)}`, async (page) => {
  const goal = page.locator(".task-goal h1");
  const height = async () => (await goal.boundingBox()).height;
  const before = await height();
  await page.getByRole("button", { name: "The whole goal" }).click();
  assert.ok(await height() > before * 2);
  assert.equal(await goal.evaluate((element) => getComputedStyle(element).whiteSpace), "pre-wrap");
  const [wide, all] = [await goal.boundingBox(), await page.locator(".task-title").boundingBox()];
  assert.ok(wide.width > all.width * 0.9);
  await page.getByRole("button", { name: "Less" }).click();
  assert.equal(await height(), before);
});

on("a step that takes longer than was planned says so", async () => `/tasks/${await world.task("An overdue look")}`, async (page) => {
  await page.locator(".fact", { hasText: "Time left" }).getByText("longer than planned").waitFor();
});

on("a paused task does not look like one that runs", async () => {
  const id = await world.task("A slow walk that is halted");
  await world.until(id, "running");
  await world.ask("POST", `/api/tasks/${id}/pause`);
  return `/tasks/${id}`;
}, async (page) => {
  await page.locator(".fact", { hasText: "Paused for" }).waitFor();
  assert.equal(await page.getByText("Running for").count(), 0);
  assert.equal(await page.locator(".steps .badge.is-running").count(), 0);
  await page.locator(".brush-pause").waitFor();
});

on("back leads out of an entry and a filter, and not out of the page", async () => `/tasks/${await world.ended("Compare the wide readings step by step")}/trace`, async (page) => {
  await page.locator(".entry-button").nth(2).click();
  await page.getByRole("complementary", { name: "Inspector" }).waitFor();
  await page.locator(".entry-button").nth(3).click();
  await page.goBack();
  await page.getByRole("complementary", { name: "Inspector" }).waitFor({ state: "detached" });
  assert.match(page.url(), /\/trace$/);
  await page.getByRole("link", { name: "Tasks", exact: true }).first().click();
  await page.getByRole("group", { name: "Status" }).getByRole("button", { name: /^failed/ }).click();
  await page.goBack();
  assert.match(page.url(), /\/tasks$/);
});

on("the palette offers what can be done, and finds what there is without reading every task", async () => `/tasks/${await world.ended("Compare the wide readings for the palette")}`, async (page) => {
  await page.locator(".task-head .badge.is-completed").waitFor();
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.keyboard.press("Control+k");
  const options = page.getByRole("dialog", { name: "Command palette" }).getByRole("option");
  await options.first().waitFor();
  const names = await options.locator(".palette-name").allTextContents();
  for (const name of ["Export", "Replay", "Save as template"]) assert.ok(names.includes(name), name);
  for (const name of ["Pause", "Cancel", "Retry what failed", "Close the inspector", "Budget"]) assert.ok(!names.includes(name), name);
  await page.keyboard.type("workspace_read");
  await options.filter({ hasText: "workspace_read" }).first().waitFor();
  assert.ok(asked.every((url) => !/\/api\/tasks\?.*limit=1000/.test(url)));
});

on("what a choice in the inbox is, and the help, is said once", "/tasks", async (page) => {
  await page.keyboard.press("?");
  const help = page.getByRole("dialog", { name: "Keyboard shortcuts" });
  await help.waitFor();
  const tasks = await help.locator("section", { hasText: "Tasks" }).filter({ hasText: "Select up to here" }).innerText();
  assert.equal(tasks.match(/Next/g).length, 1);
  assert.doesNotMatch(tasks, /ArrowDown|Escape/);
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Keyboard shortcuts");
});

on("the list opens by a click anywhere, and shows the step on a line of its own", async () => { await world.task("A slow look at a row"); return "/tasks"; }, async (page) => {
  const row = page.locator(".row", { hasText: "A slow look at a row" });
  await row.locator(".at-work", { hasText: "Look around" }).waitFor();
  const [line, step] = [await row.locator(".c-goal a").boundingBox(), await row.locator(".at-work").boundingBox()];
  assert.ok(step.y > line.y + 8, "the step has a line of its own");
  await row.locator(".c-tokens").click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}$/);
});

on("of many tasks so many are read as somebody looks at, and older ones are found by words", async () => { await world.ended("Compare the wide readings of many"); return "/overview"; }, async (page) => {
  const { tasks: [like] } = await world.ask("GET", "/api/tasks?q=many&limit=1");
  const many = Array.from({ length: 3000 }, (_, number) => ({ ...like, id: `00000000-0000-7000-8000-${String(3000 - number).padStart(12, "0")}`, goal: number === 2500 ? "The needle of the haystack" : `Straw ${number}` }));
  const asked = [];
  await page.route(/\/api\/tasks\?/, (route) => {
    const query = new URL(route.request().url()).searchParams;
    asked.push(query);
    const fits = many.filter((task) => (!query.has("before") || task.id < query.get("before")) && (query.get("q") ?? "").toLowerCase().split(" ").every((word) => task.goal.toLowerCase().includes(word)) && !query.has("status"));
    const tasks = fits.slice(0, Number(query.get("limit")));
    return route.fulfill({ json: { tasks, nextBefore: fits.length > tasks.length ? tasks.at(-1).id : null } });
  });
  await page.goto(`${world.url}/tasks`);
  await page.getByRole("heading", { name: /^Tasks 1,1\d\d\+$/ }).waitFor();
  assert.equal(asked.filter((query) => query.has("before")).length, 1, "nobody has scrolled");
  await page.locator(".tasks-table").evaluate((list) => { list.scrollTop = list.scrollHeight; });
  await page.getByRole("heading", { name: /^Tasks 2,1\d\d\+$/ }).waitFor();
  await page.getByRole("textbox", { name: "Search tasks" }).fill("NEEDLE hay");
  await page.locator(".row", { hasText: "The needle of the haystack" }).waitFor();
  await page.getByRole("heading", { name: "Tasks 1", exact: true }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+k");
  const searched = page.waitForRequest((request) => /\/api\/tasks\?.*q=needle/.test(request.url()));
  await page.keyboard.type("needle");
  assert.match((await searched).url(), /limit=\d\b/, "no more than are shown");
  await page.getByRole("option", { name: /The needle of the haystack/ }).waitFor();
});

on("the list says which tasks are forks and which are records", async () => {
  const origin = await world.ended("Compare the wide readings of an origin");
  await world.ask("POST", `/api/tasks/${origin}/fork`, { step: 3, goal: "A fork of an origin" });
  return "/tasks?q=origin";
}, async (page) => {
  await page.locator(".row", { hasText: "A fork of an origin" }).locator(".tag", { hasText: "fork" }).waitFor();
  const origin = page.locator(".row", { hasText: "Compare the wide readings of an origin" });
  assert.equal(await origin.locator(".tag").count(), 0);
  const id = (await origin.locator("a").getAttribute("href")).split("/").at(-1);
  const file = await (await fetch(`${world.url}/api/tasks/${id}/export`)).text();
  const elsewhere = await World.start();
  try {
    const sent = await fetch(`${elsewhere.url}/api/tasks/import`, { method: "POST", body: file });
    assert.equal(sent.status, 200, await sent.text());
    await page.goto(`${elsewhere.url}/tasks`);
    await page.locator(".row", { hasText: "an origin" }).locator(".tag", { hasText: "import" }).waitFor();
  } finally { await elsewhere.stop(); }
});

on("what cannot be resumed is not counted", async () => {
  const asked = await world.task("A question about the count");
  const halted = await world.task("A slow question of the count");
  await world.until(asked, "paused");
  await world.until(halted, "paused", "running");
  return "/tasks?q=count";
}, async (page) => {
  await page.locator(".row .badge.is-paused", { hasText: "Needs an answer" }).first().waitFor();
  await page.getByRole("checkbox", { name: "Select all" }).click();
  assert.ok(await page.getByRole("button", { name: "Resume", exact: false }).isDisabled());
});

on("many tasks are cancelled after a question, which keeps the keyboard and can be left with Escape", async () => {
  const ids = [await world.task("A slow parting, first"), await world.task("A slow parting, second")];
  for (const id of ids) await world.until(id, "running");
  for (const id of ids) await world.ask("POST", `/api/tasks/${id}/pause`);
  for (const id of ids) await world.until(id, "paused");
  return "/tasks?q=parting";
}, async (page) => {
  await page.locator(".row .badge.is-paused").nth(1).waitFor();
  await page.getByRole("checkbox", { name: "Select all" }).click();
  const cancel = page.getByRole("button", { name: "Cancel 2", exact: true });
  await cancel.click();
  const question = page.getByRole("dialog", { name: "Cancel 2 tasks?" });
  await question.getByText("What they did to the world is not undone.").waitFor();
  const focused = () => page.evaluate(() => document.activeElement?.textContent);
  assert.equal(await focused(), "Let them run", "the harmless answer is the first");
  for (let times = 0; times < 6; times += 1) {
    await page.keyboard.press("Tab");
    // Between the last and the first of a dialog stands the browser itself.
    assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement?.closest("dialog") !== null), await focused());
  }
  await page.keyboard.press("Escape");
  await question.waitFor({ state: "detached" });
  assert.equal(await focused(), "Cancel 2", "the keyboard is back where it was");
  assert.equal(await page.locator(".row .badge.is-paused").count(), 2);
  await page.keyboard.press("Enter");
  await question.getByRole("button", { name: "Cancel 2 tasks" }).click();
  await page.locator(".row .badge.is-cancelled").nth(1).waitFor();
});

on("on a phone the badges are whole, the step is seen, and a task begins with its views", async () => {
  const id = await world.task("A question on a phone");
  await world.until(id, "paused");
  await world.task("A slow look on a phone");
  return "/tasks?q=phone";
}, async (page) => {
  await page.locator(".at-work", { hasText: "Look around" }).waitFor();
  await page.getByRole("checkbox", { name: "Select all" }).check();
  await page.getByText("2 selected").waitFor();
  await page.getByRole("button", { name: "Select none" }).click();
  for (const badge of await page.locator(".row .badge").all()) {
    const [cut, box] = [await badge.evaluate((element) => element.scrollWidth - element.clientWidth), await badge.boundingBox()];
    assert.ok(cut <= 0 && box.x + box.width <= 390, await badge.textContent());
    assert.equal(await badge.evaluate((element) => { const box = element.getBoundingClientRect(); return element.contains(document.elementFromPoint(box.right - 3, box.y + box.height / 2)); }), true);
  }
  const id = await world.ended("Compare the wide readings on a small screen");
  await page.goto(`${world.url}/tasks/${id}`);
  await page.getByRole("link", { name: "Result", current: "page" }).waitFor();
  const tab = await page.locator(".tab-body").boundingBox();
  assert.ok(tab.y < 430, `the view begins at ${tab.y}`);
  assert.equal(await page.locator(".steps .step").first().isVisible(), false);
  await page.getByRole("button", { name: /^6 steps/ }).click();
  await page.locator(".steps .step").first().waitFor();
}, phone);

on("beside the inspector the entries have room", async () => `/tasks/${await world.ended("Compare the wide readings in a small window")}/trace?seq=4`, async (page) => {
  await page.getByRole("complementary", { name: "Inspector" }).waitFor();
  const text = await page.locator(".entry-text").first().boundingBox();
  assert.ok(text.width > 300, `an entry has ${text.width} px`);
}, { viewport: { width: 1280, height: 800 } });

on("back to the list leads to where it was scrolled", async () => {
  for (let number = 0; number < 40; number += 1) await world.task(`Look at row ${number}`, { plan: [{ id: "a", description: "Read", type: "tool-call", tool: { name: "clock_now", arguments: {} } }] });
  return "/tasks?q=row";
}, async (page) => {
  await page.locator(".row", { hasText: "Look at row 39" }).waitFor();
  const list = page.locator(".tasks-table");
  await list.evaluate((element) => { element.scrollTop = 600; });
  await page.locator(".row", { hasText: "Look at row 20" }).locator(".c-cost").click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}$/);
  await page.goBack();
  await page.locator(".row", { hasText: "Look at row 20" }).waitFor();
  assert.equal(await list.evaluate((element) => element.scrollTop), 600);
});

on("the steps of a task are counted alike in the list and on its page", async () => {
  const id = await world.task("Look at a list of three", { plan: [{ id: "each", description: "Look at one", type: "tool-call", tool: { name: "clock_now", arguments: {} }, forEach: { items: ["a", "b", "c"] } }] });
  await world.until(id, "completed");
  return "/tasks?q=list of three";
}, async (page) => {
  const counted = await page.locator(".row", { hasText: "Look at a list of three" }).locator(".c-steps .mono").textContent();
  assert.equal(counted, "4/4");
  await page.locator(".row", { hasText: "Look at a list of three" }).locator(".c-cost").click();
  await page.locator(".fact", { hasText: "Steps" }).getByText(counted).waitFor();
});

on("a completed task is whole in the list, although a step of it was skipped", async () => {
  const clock = (id, more = {}) => ({ id, description: "Look at the clock", type: "tool-call", tool: { name: "clock_now", arguments: {} }, ...more });
  await world.until(await world.task("Look only if there is a reason", { plan: [clock("a"), clock("b", { dependsOn: [0], when: { equals: [1, 2] } })] }), "completed");
  return "/tasks?q=only if there";
}, async (page) => {
  assert.equal(await page.locator(".row", { hasText: "Look only if" }).getByRole("progressbar").getAttribute("aria-valuenow"), "100");
});

on("a task that is run again begins with the model and the priority that it had", async () => {
  const id = await world.task("Look twice at the notes", { priority: 2, chatModel: "offline/rules", plan: [{ id: "a", description: "Look", type: "tool-call", tool: { name: "clock_now", arguments: {} } }] });
  await world.until(id, "completed");
  return `/tasks/${id}`;
}, async (page) => {
  await page.getByRole("link", { name: "Run again" }).click();
  assert.equal(await page.getByLabel("Goal").inputValue(), "Look twice at the notes");
  assert.equal(await page.getByRole("combobox", { name: "Model" }).inputValue(), "offline/rules");
  assert.equal(await page.getByLabel("Priority").inputValue(), "2");
});

on("a budget of time is raised in minutes, and why there is less left than is used is said", async () => `/tasks/${await world.task("A slow walk on a clock", { budget: { wallTimeMs: 600_000 } })}`, async (page) => {
  await page.getByRole("button", { name: "Budget" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("is set aside", { exact: false }).waitFor();
  await dialog.getByLabel("Minutes").fill("5");
  await dialog.getByText("the limit becomes 15 m 0 s").waitFor();
  const [sent] = await Promise.all([page.waitForRequest("**/budget"), dialog.getByRole("button", { name: "Add" }).click()]);
  assert.deepEqual(sent.postDataJSON(), { add: { wallTimeMs: 300_000 } });
});

on("a key press shows where it is, and a dialog begins at its first field", "/tasks", async (page) => {
  await page.locator("input[type=file]").focus();
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Tab");
  assert.notEqual(await page.locator("label.button", { hasText: "Import" }).evaluate((label) => getComputedStyle(label).outlineStyle), "none");
  const id = await world.ended("Look at the fork");
  await page.goto(`${world.url}/tasks/${id}`);
  await page.locator(".task-head .badge.is-completed").waitFor();
  await page.keyboard.press("f");
  await page.getByRole("dialog").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "TEXTAREA");
});

// A plan that somebody writes or changes: all that a step can have, what refers to what, and why a plan is refused.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import typescript from "typescript";
import { stage } from "./world.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const compilerOptions = { module: typescript.ModuleKind.ESNext, target: typescript.ScriptTarget.ES2022 };
const state = (name) => import(`data:text/javascript,${encodeURIComponent(typescript.transpileModule(readFileSync(new URL(`../src/state/${name}.ts`, import.meta.url), "utf8"), { compilerOptions }).outputText)}`);
const { added, awaiting, changed, edited, freeName, moved, planned, problemsOf, removed, renamed, waitsFor } = await state("plan-steps");
const { asTyped, conditionOf, readTyped, rowsOf } = await state("condition-rows");
const { refusalsIn } = await state("plan-refusal");

const step = (id, dependsOn, more = {}) => ({ id, description: `Do ${id}`, type: "llm-reasoning", dependsOn, ...more });
const call = (id, dependsOn, args, more = {}) => step(id, dependsOn, { type: "tool-call", tool: { name: "t", arguments: args }, ...more });
const keyOf = (list, id) => list.find((one) => one.step.id === id).key;

test("what nobody changes is sent as it came", () => {
  const steps = [
    call("a", [], { x: 1 }, { estimatedDuration: null, later: { deep: [1, null] }, checks: [{ judge: "j", weight: 2 }] }),
    step("b", [0], { model: { provider: "p", model: "m" }, when: { not: { any: [{ exists: { $output: "a" } }] } }, retry: { maxAttempts: 2, baseMs: 1, factor: 1.5, maxMs: 9 } }),
  ];
  assert.deepEqual(planned(edited(steps)), steps);
});

test("who waits for whom follows a move, and counts again once it can", () => {
  const list = edited([step("a", []), step("b", [0]), step("c", [0, 1])]);
  const up = moved(list, keyOf(list, "c"), -1);
  assert.deepEqual(planned(up).map(({ id, dependsOn }) => [id, dependsOn]), [["a", []], ["c", [0]], ["b", [0]]]);
  assert.deepEqual(planned(moved(up, keyOf(list, "c"), 1)), planned(list));
  assert.deepEqual(planned(moved(list, keyOf(list, "a"), -1)), planned(list), "above the first is no place");
});

test("who waited for a step that is removed waits for what that waited for", () => {
  const list = edited([step("a", []), step("b", [0]), step("c", [1])]);
  assert.deepEqual(planned(removed(list, keyOf(list, "b"))).map(({ id, dependsOn }) => [id, dependsOn]), [["a", []], ["c", [0]]]);
});

test("references follow a new name, and those of others do not while it is typed", () => {
  const list = edited([
    step("look", []), step("lo", []),
    call("use", [0, 1], { one: { $output: "look", pointer: "/x" }, other: [{ $output: "lo" }], text: "look", given: { $value: { $output: "look" } } }, { forEach: { items: { $output: "look" } }, when: { all: [{ exists: { $output: "look" } }] } }),
  ]);
  // As it is typed: l-o-o, l-o (which is another step), l-o-t.
  const key = keyOf(list, "look");
  const between = renamed(renamed(list, key, "loo"), key, "lo");
  assert.deepEqual(problemsOf(between).map(({ field, words }) => [field, words]), [["id", "Another step is called lo."]]);
  const [first, second, use] = planned(renamed(between, key, "lot"));
  assert.deepEqual([first.id, second.id], ["lot", "lo"]);
  assert.deepEqual(use.tool.arguments, { one: { $output: "lot", pointer: "/x" }, other: [{ $output: "lo" }], text: "look", given: { $value: { $output: "look" } } });
  assert.deepEqual([use.forEach, use.when], [{ items: { $output: "lot" } }, { all: [{ exists: { $output: "lot" } }] }]);
  assert.deepEqual(problemsOf(renamed(between, key, "lot")), []);
});

test("a step that is called by another place gets a name of its own, and whatever refers to it follows", () => {
  const list = edited([step("step-1", []), call("step-2", [0], { from: { $output: "step-1" } }), step("named", [1], { when: { exists: { $output: "step-2" } } })]);
  const swapped = planned(moved(list, keyOf(list, "named"), -1));
  assert.deepEqual(swapped.map(({ id }) => id), ["step-1", "named", "step-a"]);
  assert.deepEqual(planned(moved(moved(list, keyOf(list, "named"), -1), keyOf(list, "named"), 1)), planned(list), "and its old one where it stood");
  const without = planned(removed(edited([step("step-1", []), step("step-2", []), call("step-3", [1], {}), call("step-4", [2], { x: { $output: "step-3" } })]), "none"));
  assert.deepEqual(without.map(({ id }) => id), ["step-1", "step-2", "step-3", "step-4"]);
  const four = edited([step("step-1", []), step("step-2", []), call("step-3", [1], {}), call("step-4", [2], { x: { $output: "step-3" } })]);
  const three = planned(removed(four, keyOf(four, "step-1")));
  assert.deepEqual(three.map(({ id }) => id), ["step-a", "step-b", "step-c"]);
  assert.deepEqual(three[2].tool.arguments, { x: { $output: "step-b" } });
  assert.equal(freeName(new Set([..."abcdefghijklmnopqrstuvwxyz"].map((letter) => `step-${letter}`))), "step-aa");
});

test("a step waits for those whose outputs it uses, and using what stands behind it is in the way", () => {
  const list = edited([step("a", []), step("b", []), call("c", [], { x: { $output: "a" } })]);
  assert.deepEqual(waitsFor(list, list[2]), [0]);
  assert.deepEqual(waitsFor(awaiting(list, list[2].key, list[1].key, true), awaiting(list, list[2].key, list[1].key, true)[2]), [0, 1]);
  const early = moved(moved(list, keyOf(list, "c"), -1), keyOf(list, "c"), -1);
  assert.deepEqual(problemsOf(early).map(({ key, field, words }) => [key, field, words]), [[keyOf(list, "c"), "tool", "It uses what a brings, which stands behind it."]]);
  assert.match(problemsOf(removed(list, keyOf(list, "a")))[0].words, /there is no such step/);
});

test("a new step waits for the last one, and says nothing yet", () => {
  const list = added(added([]));
  assert.deepEqual(planned(list).map(({ id, dependsOn, type }) => [id, dependsOn, type]), [["step-a", [], "llm-reasoning"], ["step-b", [0], "llm-reasoning"]]);
  assert.deepEqual(problemsOf(changed(list, list[0].key, { description: "x" })).map(({ key, field }) => [key, field]), [[list[1].key, "description"]]);
});

test("conditions are rows and back, unless they are more than that", () => {
  const one = { greaterThan: [{ $output: "a", pointer: "/n" }, 3] };
  for (const condition of [one, { all: [one, { not: { exists: { $output: "b" } } }] }, { any: [one] }, { matches: [{ $output: "a" }, "^x"] }]) assert.deepEqual(conditionOf(rowsOf(condition)), condition);
  for (const condition of [{ not: one }, { all: [{ any: [one] }] }, { equals: [3, { $output: "a" }] }, { all: [] }, { equals: ["{{place}}", "x"] }]) assert.equal(rowsOf(condition), null);
  for (const value of ["bug", "", 3, "3", true, "true", null, { $output: "a" }, ["x"], "\"quoted\""]) assert.deepEqual(readTyped(asTyped(value)), value);
});

const { world, on } = stage({ models: "allowed = [\"scripted/demo\"]\n" });

/** Where the pages show what the server says against steps: the number of the step, and its field. */
async function refused(steps, path, body) {
  const answer = await fetch(world.url + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  assert.ok(answer.status >= 400, `${JSON.stringify(steps)} is not refused`);
  const { error, detail } = await answer.json();
  const list = edited(steps);
  const places = refusalsIn(list, error ?? detail).map((found) => [list.findIndex(({ key }) => key === found.key), found.field, found.words]);
  return [error ?? detail, places[0] ?? null, places];
}

test("each refusal of a plan is shown at the step and the field that it is about", async () => {
  const list = (arguments_ = {}, more = {}) => call("use", [0], arguments_, { tool: { name: "workspace_list", arguments: arguments_ }, ...more });
  for (const [second, at, field, words] of [
    [step("x", [0], { retry: { maxAttempts: 2.5 } }), 1, "retry.maxAttempts", /2\.5/],
    [step("x", [0], { retry: { maxAttempts: 101 } }), 1, "retry.maxAttempts", /^Must be at most 100/],
    [step("x", [0], { retry: { factor: 0.5 } }), 1, "retry.factor", /^Must be 1\.0 or more/],
    [step("x", [0], { retry: { often: 2 } }), 1, "retry", /often/],
    [step("x", [0], { type: "think" }), 1, "type", /'think' is none of/],
    [step("x", [1]), 1, "dependsOn", /^Step 1, counted from 0, does not come before it$/],
    [step("x", [0], { description: " " }), 1, "description", /^Is empty: say what is to be done$/],
    [step("look", [0]), 1, "id", /^There is a step 'look' already$/],
    [list({ glob: { $output: "nowhere" } }), 1, "tool.arguments", /'nowhere'/],
    [step("x", [0], { when: { exists: { $output: "nowhere" } } }), 1, "when", /'nowhere'/],
    [step("x", [0], { when: { matches: [{ $output: "look" }, "("] } }), 1, "when", /unclosed group/],
    [step("x", [0], { when: { resembles: [1, 2] } }), 1, "when", /resembles/],
    [step("x", [0], { forEach: { items: 3 } }), 1, "forEach", /^items: must be a list/],
    [step("x", [0], { forEach: { items: [], parallel: 0 } }), 1, "forEach.parallel", /^Must be at least 1/],
    [step("x", [0], { forEach: { items: [], maxItems: 100_000 } }), 1, "forEach.maxItems", /^Is 100000, at most/],
    [step("x", [0], { checks: [{ judge: " " }] }), 1, "checks", /^Check 1: says nothing$/],
    [step("x", [0], { checks: [{ probe: "nowhere" }] }), 1, "checks", /^Check 1: names the probe 'nowhere'/],
    [step("x", [0], { checks: [{ schema: { type: "nothing" } }] }), 1, "checks", /^Check 1: cannot be used/],
    [step("x", [0], { tool: { name: "workspace_list", arguments: {} } }), 1, "tool", /calls no tools/],
    [call("x", [0], {}), 1, "tool", /no tool t/],
    [list({ glob: 3 }), 1, "tool.arguments", /^Do not fit workspace_list/],
    [step("x", [0], { model: "somebody/else" }), 1, "model", /models\.allowed/],
    [step("x", [0], { model: "nobody" }), 1, "model", /'nobody' does not name a model/],
    [step("x", [0], { estimatedDuration: -1 }), 1, "estimatedDuration", /-1/],
  ]) {
    const steps = [step("look", []), second];
    const [said, place] = await refused(steps, "/api/chat/orchestrate", { goal: "Be refused", threadId: "refused", plan: steps });
    assert.deepEqual(place?.slice(0, 2), [at, field], said);
    assert.match(place[2], words);
  }
  const strangers = [call("a", [], {}), call("b", [0], {})];
  const [said, , places] = await refused(strangers, "/api/chat/orchestrate", { goal: "Be refused", threadId: "refused", plan: strangers });
  assert.deepEqual(places, [[0, "tool", "There is no tool t"], [1, "tool", "There is no tool t"]], said);
  const many = Array.from({ length: 200 }, (_, number) => step(`s${number}`, []));
  assert.equal((await refused(many, "/api/chat/orchestrate", { goal: "Be refused", threadId: "refused", plan: many }))[1], null, "it is about no step");
});

test("each refusal of the steps of a template is shown where it belongs", async () => {
  for (const [second, field, words] of [
    [step("step-7", [0]), "id", /name of another place/], [step("look", [0]), "id", /there is a step 'look'/i], [step("x", [0], { retry: { maxAttempts: 2.5 } }), "retry.maxAttempts", /2\.5/],
    [step("x", [0], { retry: { maxAttempts: 101 } }), "retry.maxAttempts", /^Must be at most 100/], [step("x", [9]), "dependsOn", /^9 is no step of the template$/], [step("x", [0], { later: 1 }), "", /^later: there is no such field; there is checks, /],
    [call("x", [0], { a: { $output: "nowhere" } }), "tool.arguments", /'nowhere'/], [step("x", [0], { when: { exists: { $output: "nowhere" } } }), "when", /'nowhere'/], [step("x", [0], { checks: [{ judge: 3 }] }), "checks", /3/],
  ]) {
    const steps = [step("look", []), second];
    const [said, place] = await refused(steps, "/api/templates", { name: "refused", goal: "Be refused", steps });
    assert.deepEqual(place?.slice(0, 2), [1, field], said);
    assert.match(place[2], words);
  }
  assert.equal((await refused([step("look", [])], "/api/templates", { name: "refused", goal: "{{who}}", steps: [step("look", [])] }))[1], null);
});

const more = (plan, number) => plan.getByRole("button", { name: `More of step ${number}` });
const rowOf = (plan, number) => plan.locator(".plan-step").nth(number - 1);
const group = async (row, name) => { await row.locator(".more > summary", { hasText: name }).click(); return row.getByRole("group", { name, exact: true }); };

/** Opens the page of a new task with a plan of one blank step. */
async function byHand(page) {
  await page.getByRole("button", { name: "Write the plan yourself" }).click();
  return page.getByRole("region", { name: "Plan", exact: true });
}

on("a plan is written by hand, with a list, a condition, a check, attempts and a model, and the task has all of it", "/new?goal=Look%20for%20open%20questions", async (page) => {
  const plan = await byHand(page);
  const start = page.getByRole("button", { name: "Start with this plan" });
  assert.ok(await start.isDisabled(), "a step says nothing");
  await page.keyboard.type("List the pages");
  await more(plan, 1).click();
  await rowOf(plan, 1).getByLabel("Kind").selectOption("tool-call");
  await rowOf(plan, 1).getByRole("combobox", { name: "Tool", exact: true }).selectOption("workspace_list");
  await rowOf(plan, 1).getByLabel("Name").fill("pages");
  await rowOf(plan, 1).getByLabel("Arguments").fill('{"glob": "*.md"}');
  await plan.getByRole("button", { name: "Add a step" }).click();
  await page.keyboard.type("Read {{item/path}}");
  await more(plan, 2).click();
  const reading = rowOf(plan, 2);
  await reading.getByLabel("Kind").selectOption("tool-call");
  await reading.getByRole("combobox", { name: "Tool", exact: true }).selectOption("workspace_read");
  await reading.getByLabel("Arguments").fill('{"path": {"$item": true, "pointer": "/path"}}');
  await reading.getByLabel("Name").fill("each");
  const list = await group(reading, "List");
  await list.getByRole("combobox", { name: "Done", exact: true }).selectOption("output");
  assert.equal(await list.getByLabel("What this step brings").inputValue(), "pages");
  await list.getByLabel("Which part").fill("/entries");
  await list.getByLabel("Side by side at most").fill("4");
  await list.getByLabel("Done although some items fail").check();
  await plan.getByRole("button", { name: "Add a step" }).click();
  await page.keyboard.type("Say what is open");
  await more(plan, 3).click();
  const saying = rowOf(plan, 3);
  await saying.getByLabel("Model").selectOption("scripted/demo");
  await saying.getByLabel("optional").check();
  const condition = await group(saying, "Condition");
  await condition.getByRole("combobox", { name: "Done", exact: true }).selectOption("all");
  const first = condition.getByRole("group", { name: "Condition 1" });
  await first.getByLabel("What this step brings").selectOption("pages");
  await first.getByLabel("Which part").fill("/entries/0/path");
  await first.getByLabel("Comparison").selectOption("equals");
  await first.getByLabel("Value").fill("notes.md");
  await condition.getByRole("button", { name: "Add a condition" }).click();
  await condition.getByRole("group", { name: "Condition 2" }).getByLabel("Comparison").selectOption("exists");
  const checks = await group(saying, "Checks");
  await checks.getByRole("button", { name: "Add a check" }).click();
  await checks.getByLabel("Done if").selectOption("schema");
  await checks.getByRole("textbox", { name: /^JSON Schema/ }).fill('{"type": "string", "minLength": 5}');
  await checks.getByRole("button", { name: "Add a check" }).click();
  await checks.getByRole("group", { name: "Check 2" }).getByLabel("Criteria").fill("It names each question");
  await checks.getByRole("group", { name: "Check 2" }).getByLabel("required").uncheck();
  const attempts = await group(saying, "Attempts");
  await attempts.getByLabel("Attempts at most").fill("3");
  await attempts.getByLabel("First wait").fill("1.5");
  await attempts.getByLabel("Seconds it will take").fill("20");
  await more(plan, 3).click();
  for (const words of ["after 1, 2", "optional", "only if output of pages/entries/0/path is \"notes.md\" and there is output of each", "checked by schema, judge", "by scripted/demo", "3 attempts, 1.5 s apart at first", "about 20 s"]) await saying.getByText(words, { exact: true }).waitFor();
  await rowOf(plan, 2).getByText("for each in output of pages/entries", { exact: true }).waitFor();
  await start.click();
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}$/);
  const { steps } = await world.ask("GET", `/api/tasks/${page.url().split("/").at(-1)}/steps`);
  const [pages, each, say] = steps;
  assert.deepEqual([pages.id, pages.tool, pages.dependsOn], ["pages", { name: "workspace_list", arguments: { glob: "*.md" } }, []]);
  assert.deepEqual([each.id, each.forEach, each.dependsOn], ["each", { items: { $output: "pages", pointer: "/entries" }, parallel: 4, allowFailures: true }, [0]]);
  assert.deepEqual(each.tool, { name: "workspace_read", arguments: { path: { $item: true, pointer: "/path" } } });
  assert.deepEqual(say.when, { all: [{ equals: [{ $output: "pages", pointer: "/entries/0/path" }, "notes.md"] }, { exists: { $output: "each" } }] });
  assert.deepEqual(say.checks, [{ schema: { type: "string", minLength: 5 } }, { judge: "It names each question", required: false }]);
  assert.deepEqual([say.retry, say.model, say.optional, say.estimatedDuration, [...say.dependsOn].sort()], [{ maxAttempts: 3, baseMs: 1500, factor: 2, maxMs: 300_000 }, "scripted/demo", true, 20_000, [0, 1]]);
});

on("why a plan is refused is said at the field it is about, until that is changed", "/new?goal=Be%20refused", async (page) => {
  const plan = await byHand(page);
  await plan.getByLabel("What step 1 does").fill("Look");
  await plan.getByRole("button", { name: "Add a step" }).click();
  await plan.getByLabel("What step 2 does").fill("Think");
  await more(plan, 2).click();
  const attempts = await group(rowOf(plan, 2), "Attempts");
  await attempts.getByLabel("Attempts at most").fill("500");
  await more(plan, 2).click();
  await page.keyboard.press("Control+Enter");
  const alert = page.getByRole("alert");
  await rowOf(plan, 2).getByRole("alert").filter({ hasText: /^Must be at most 100$/ }).waitFor();
  assert.equal(await alert.count(), 1, "it is said there and nowhere else");
  const field = rowOf(plan, 2).getByLabel("Attempts at most");
  await page.waitForFunction(() => document.activeElement?.closest("[data-field]")?.dataset.field === "retry.maxAttempts");
  assert.equal(await field.getAttribute("aria-invalid"), "true");
  const why = await field.getAttribute("aria-describedby");
  assert.match(await page.locator(`[id="${why}"]`).textContent(), /Must be at most 100/, "it is tied to the field");
  await field.fill("2.5");
  await alert.waitFor({ state: "detached" });
  await page.keyboard.press("Control+Enter");
  await rowOf(plan, 2).getByRole("alert").filter({ hasText: "2.5" }).waitFor();
  await field.fill("2");
  const checks = await group(rowOf(plan, 2), "Checks");
  await checks.getByRole("button", { name: "Add a check" }).click();
  await checks.getByLabel("Done if").selectOption("probe");
  await checks.getByRole("textbox", { name: /^Probe/ }).fill("nowhere");
  await page.keyboard.press("Control+Enter");
  await checks.getByRole("alert").filter({ hasText: "Check 1: names the probe 'nowhere', which there is not" }).waitFor();
  await checks.getByRole("button", { name: "Remove check 1" }).click();
  // What cannot be sent is not sent, and the keyboard is led there, also where it is folded away.
  await more(plan, 1).click();
  await rowOf(plan, 1).getByLabel("Kind").selectOption("tool-call");
  await rowOf(plan, 1).getByRole("combobox", { name: "Tool", exact: true }).selectOption("workspace_list");
  await rowOf(plan, 1).getByLabel("Arguments").fill("{");
  await more(plan, 1).click();
  await rowOf(plan, 1).getByRole("button", { name: "This is not JSON." }).waitFor();
  let sent = 0;
  page.on("request", (request) => { if (request.url().endsWith("/api/chat/orchestrate")) sent += 1; });
  await page.getByRole("button", { name: "Start with this plan" }).click();
  await page.waitForFunction(() => document.activeElement?.closest("[data-field]")?.dataset.field === "tool.arguments");
  assert.equal(await rowOf(plan, 1).getByLabel("Arguments").inputValue(), "{", "what was typed is still there");
  assert.equal(sent, 0);
  await page.keyboard.type('"glob": "*"}');
  await page.keyboard.press("Control+Enter");
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}$/);
  assert.equal(sent, 1);
});

on("steps are moved, renamed and removed with the keyboard, which stays with them", "/new?goal=Move%20the%20steps", async (page) => {
  const plan = await byHand(page);
  for (const [at, words] of [[1, "First"], [2, "Second"], [3, "Third"]]) {
    if (at > 1) await plan.getByRole("button", { name: "Add a step" }).click();
    await page.keyboard.type(words);
  }
  const order = () => plan.locator("textarea[data-act=text]").evaluateAll((all) => all.map((one) => one.value));
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label"));
  await page.keyboard.press("Alt+ArrowUp");
  assert.deepEqual(await order(), ["First", "Third", "Second"]);
  assert.equal(await focused(), "What step 2 does");
  await page.keyboard.type("!");
  assert.deepEqual(await order(), ["First", "Third!", "Second"]);
  const up = plan.getByRole("button", { name: "Move step 2 up" });
  await up.focus();
  await page.keyboard.press("Enter");
  assert.deepEqual(await order(), ["Third!", "First", "Second"]);
  assert.equal(await focused(), "Move step 1 down", "up it cannot go any more");
  await plan.getByRole("status").filter({ hasText: "Step 2 is step 1 of 3 now" }).waitFor({ state: "attached" });
  await plan.getByRole("button", { name: "Remove step 2" }).click();
  assert.equal(await focused(), "What step 2 does");
  await plan.getByRole("button", { name: "Bring step 2 back" }).click();
  assert.deepEqual(await order(), ["Third!", "First", "Second"]);
  assert.equal(await focused(), "What step 2 does");
  await plan.getByRole("button", { name: "Remove step 2" }).click();
  // A task has a goal: the keyboard is led there.
  await page.getByLabel("Goal").fill("");
  await plan.getByLabel("What step 1 does").focus();
  await page.keyboard.press("Control+Enter");
  await page.keyboard.type("Move the steps");
  assert.equal(await page.getByLabel("Goal").inputValue(), "Move the steps");
  await page.keyboard.press("Control+Enter");
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}$/);
  const { steps } = await world.ask("GET", `/api/tasks/${page.url().split("/").at(-1)}/steps`);
  assert.deepEqual(steps.map((one) => [one.description, one.dependsOn]), [["Third!", []], ["Second", []]]);
});

on("steps of a template that are called by their places are moved, removed and saved", async () => {
  const steps = [
    { description: "List {{place}}", type: "tool-call", dependsOn: [], tool: { name: "workspace_list", arguments: {} } },
    { description: "Look at the clock", type: "tool-call", dependsOn: [], tool: { name: "clock_now", arguments: {} } },
    { description: "Report", type: "tool-call", tool: { name: "report_compose", arguments: { title: "Places", sections: [{ heading: "All", content: { $output: "step-1" } }] } }, retry: { maxAttempts: 2 } },
  ];
  await world.ask("POST", "/api/templates", { name: "walk", goal: "Walk through {{place}}", parameters: { properties: { place: { type: "string" } } }, steps });
  return "/templates?template=walk";
}, async (page) => {
  const detail = page.getByRole("article", { name: "Template walk" });
  await detail.getByRole("button", { name: "New version" }).click();
  const dialog = page.getByRole("dialog", { name: "New version of walk" });
  await dialog.getByRole("button", { name: "Move step 1 down" }).click();
  await dialog.getByRole("button", { name: "Add a step" }).click();
  await page.keyboard.type("Say good-bye");
  await dialog.getByRole("button", { name: "Move step 4 up" }).click();
  await page.keyboard.press("Control+Enter");
  await detail.getByRole("button", { name: "version 2" }).waitFor();
  const { steps } = await world.ask("GET", "/api/templates/walk");
  assert.deepEqual(steps.map(({ description }) => description), ["Look at the clock", "List {{place}}", "Say good-bye", "Report"]);
  const [, list, , report] = steps;
  assert.deepEqual(report.tool.arguments.sections[0].content, { $output: list.id });
  assert.ok(report.dependsOn.includes(1), "it waits for what it uses");
  assert.equal(report.retry.maxAttempts, 2);
  // What a template refuses is said at its step, too.
  await detail.getByRole("button", { name: "New version" }).click();
  await dialog.getByLabel("What step 2 does").fill("Look into it");
  await more(dialog, 2).click();
  const attempts = await group(rowOf(dialog, 2), "Attempts");
  await attempts.getByLabel("Attempts at most").fill("1000");
  await dialog.getByRole("button", { name: "Write the version" }).click();
  await rowOf(dialog, 2).getByRole("alert").filter({ hasText: /^Must be at most 100$/ }).waitFor();
  assert.equal(await page.locator(".notice.is-bad").count(), 0);
});

for (const [name, colorScheme, width] of [["wide", "dark", 1280], ["narrow", "light", 390], ["narrow", "dark", 390]]) {
  on(`a plan with all of its fields open fits (${name}, ${colorScheme}) and has no serious findings of axe`, "/new?goal=Fit", async (page) => {
    const plan = await byHand(page);
    await plan.getByLabel("What step 1 does").fill("A step with a rather long description, which does not fit into one line of a telephone");
    await plan.getByRole("button", { name: "Add a step" }).click();
    await page.keyboard.type("Second");
    await more(plan, 2).click();
    const row = rowOf(plan, 2);
    await row.getByLabel("Kind").selectOption("tool-call");
    await row.getByRole("combobox", { name: "Tool", exact: true }).selectOption("workspace_read");
    await (await group(row, "List")).getByRole("combobox", { name: "Done", exact: true }).selectOption("output");
    await (await group(row, "Condition")).getByRole("combobox", { name: "Done", exact: true }).selectOption("any");
    const checks = await group(row, "Checks");
    await checks.getByRole("button", { name: "Add a check" }).click();
    await checks.getByLabel("Done if").selectOption("schema");
    await checks.getByRole("textbox", { name: /^JSON Schema/ }).fill("{");
    await group(row, "Attempts");
    const wide = await page.evaluate(() => { const main = document.querySelector("main"); return main.scrollWidth - main.clientWidth; });
    assert.ok(wide <= 0, `${wide} pixels too wide`);
    const cut = await page.locator(".plan-step :is(input, select, textarea, button)").evaluateAll((all) => all.filter((one) => { const box = one.getBoundingClientRect(); return box.width > 0 && (box.left < 0 || box.right > innerWidth); }).length);
    assert.equal(cut, 0);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run());
    assert.deepEqual(violations.filter((one) => ["serious", "critical"].includes(one.impact)).map((one) => `${one.id}: ${one.nodes.map((node) => node.target).join(", ")}`), []);
  }, { colorScheme, viewport: { width, height: 844 } });
}

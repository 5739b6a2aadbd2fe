// What is said: in its order, in every tab, and not lost when something fails.
import assert from "node:assert/strict";
import { rules, stage } from "./world.mjs";

const script = [
  { role: "chat", contains: "keeper of the lighthouse", reply: { text: "The file names a keeper." } },
  { role: "chat", contains: "[shown: dot.png]", reply: { text: "A red dot." } },
  { role: "chat", goalContains: "in the notes", turn: 0, reply: { text: "Let me look.", toolCalls: [{ tool: "workspace_read", arguments: { path: "notes.md" } }] } },
  { role: "chat", goalContains: "in the notes", reply: { text: "They ask three things." } },
  { role: "chat", contains: "wobbles", times: 1, reply: { text: "It stands." } },
  { role: "chat", contains: "wobbles", reply: { error: { kind: "rejected", message: "this model refuses" } } },
  { role: "chat", contains: "fails once", times: 4, reply: { error: { kind: "rejected", message: "this model refuses" } } },
  { role: "chat", contains: "fails once", reply: { text: "Now it works." } },
];
const more = `[agents.reviewer]
description = "Reads changes and says what is wrong with them"
instructions = "Be strict."
`;
const { world, on, visit } = stage({ script: [...script, ...rules], more });

const say = async (page, text) => { await page.getByLabel("Message").fill(text); await page.keyboard.press("Enter"); };
const answered = async (page) => { await page.getByRole("button", { name: "Send" }).waitFor(); };
const parts = (page) => page.locator(".message.is-assistant").last().evaluate((one) => [...one.children].map((part) => (part.matches(".call") ? "call" : part.matches(".markdown") ? part.innerText.trim() : "")).filter(Boolean));

on("an answer has its parts in their order, while it comes and when it is read again", "/chat", async (page) => {
  await say(page, "What stands in the notes?");
  await page.getByText("They ask three things.").waitFor();
  await answered(page);
  const whole = ["Let me look.", "call", "They ask three things."];
  assert.deepEqual(await parts(page), whole);
  await page.reload();
  await page.getByText("They ask three things.").waitFor();
  assert.deepEqual(await parts(page), whole);
  await page.locator(".call summary", { hasText: "workspace_read" }).click();
  await page.locator(".call", { hasText: "Who writes?" }).waitFor();
});

on("an answer that fails is asked for again", "/chat", async (page) => {
  await say(page, "Something that fails once");
  await page.getByRole("button", { name: "Try again" }).waitFor();
  for (let tries = 0; tries < 5 && !(await page.getByText("Now it works.").isVisible()); tries += 1) {
    await page.getByRole("button", { name: "Try again" }).click();
    await answered(page);
  }
  await page.getByText("Now it works.").waitFor();
  assert.equal(await page.locator(".message").count(), 2);
});

on("an answer is given again, and a message said in other words; what followed is replaced", "/chat", async (page) => {
  for (const text of ["What is the capital of France?", "And of Spain?"]) { await say(page, text); await answered(page); }
  assert.equal(await page.locator(".message").count(), 4);
  await page.getByRole("button", { name: "Answer again" }).click();
  await page.locator(".message.is-assistant[aria-busy=true]").waitFor();
  await answered(page);
  assert.equal(await page.locator(".message").count(), 4);
  await page.locator(".message.is-user").first().getByRole("button", { name: "Edit" }).click();
  await page.getByText("What follows is replaced").waitFor();
  await page.getByLabel("Edit your message").fill("What is the capital of Italy?");
  await page.getByRole("button", { name: "Ask this" }).click();
  await page.locator(".message.is-user", { hasText: "Italy" }).waitFor();
  await answered(page);
  assert.deepEqual(await page.locator(".message.is-user > .markdown").allInnerTexts(), ["What is the capital of Italy?"]);
  await page.reload();
  await page.locator(".message.is-user", { hasText: "Italy" }).waitFor();
  assert.equal(await page.locator(".message").count(), 2);
});

on("what could not be sent is in the box again", "/chat", async (page) => {
  await page.route("**/api/chat", (route) => route.abort());
  await say(page, "What is lost on the way?");
  await page.getByRole("alert").getByText("The server cannot be reached.", { exact: true }).waitFor();
  await page.waitForFunction(() => document.querySelector("textarea")?.value === "What is lost on the way?");
  await page.waitForFunction(() => document.querySelectorAll(".message").length === 0);
  await page.unroute("**/api/chat");
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".message.is-assistant", { hasText: "Paris" }).waitFor();
  await answered(page);
  assert.equal(await page.locator(".message").count(), 2);
});

on("another tab sees what is said, and that somebody stopped it", "/chat", async (page) => {
  await say(page, "What is the capital of France?");
  await answered(page);
  const other = await visit(new URL(page.url()).pathname);
  await other.locator(".message.is-assistant", { hasText: "Paris" }).waitFor();
  await say(page, "Tell it aloud");
  await other.locator(".message.is-user", { hasText: "aloud" }).waitFor();
  await other.locator(".message.is-assistant", { hasText: "One after" }).waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  for (const one of [page, other]) {
    await one.locator(".stopped", { hasText: "Stopped" }).waitFor();
    await answered(one);
    assert.equal(await one.locator(".callout.is-bad").count(), 0);
    assert.equal(await one.locator(".message").count(), 4);
  }
  await page.reload();
  await page.locator(".stopped", { hasText: "Stopped" }).waitFor();
  await other.context().close();
});

on("the conversation of a task that was started outright shows the task", async () => {
  const id = await world.task("Look into the notes by themselves", { threadId: "outright" });
  await world.until(id, "completed");
  return "/chat/outright";
}, async (page) => {
  await page.locator(".task-card", { hasText: "by themselves" }).getByText("Completed", { exact: true }).waitFor();
  assert.equal(await page.getByRole("heading", { name: "What do you want done?" }).count(), 0);
  await say(page, "What is the capital of France?");
  await answered(page);
  assert.equal(await page.locator(".messages-inside > *").count(), 3);
  assert.match(await page.locator(".messages-inside > *").first().innerText(), /by themselves/);
});

const sent = (page) => page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/api/chat")).then((request) => request.postDataJSON());

on("an @ names tools, workflows and agents, and the message takes them along", async () => {
  await world.ask("POST", "/api/templates", { name: "weekly-report", description: "Writes the report of the week", goal: "Write the report", steps: [] });
  return "/chat";
}, async (page) => {
  const box = page.getByLabel("Message");
  await box.pressSequentially("Look with @work");
  await page.getByRole("option", { name: /@workspace_read/ }).waitFor();
  await page.getByRole("option").first().waitFor();
  await box.pressSequentially("space_rea");
  await page.keyboard.press("Enter");
  assert.equal(await box.inputValue(), "Look with @workspace_read ");
  await box.pressSequentially("and @weekly");
  await page.getByRole("option", { name: /@weekly-report workflow/ }).click();
  await box.pressSequentially("as @rev");
  await page.keyboard.press("Tab");
  await page.locator(".composer .files", { hasText: "No other tools are offered." }).waitFor();
  const body = sent(page);
  await page.keyboard.press("Enter");
  assert.deepEqual((await body).mentions.map(({ type, name }) => `${type} ${name}`).toSorted(), ["agent reviewer", "defaultTool workspace_read", "workflow weekly-report"]);
  const card = page.locator(".task-card");
  await card.locator(".badge.is-completed").waitFor();
  const task = await world.ask("GET", `/api/tasks/${(await card.getByRole("link", { name: "Open the task" }).getAttribute("href")).split("/").at(-1)}`);
  assert.equal(task.agentId, "reviewer");
  // Said in other words, it names what these name.
  await page.locator(".message.is-user").getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("Edit your message").fill("Only ask @reviewer.");
  const again = sent(page);
  await page.getByRole("button", { name: "Ask this" }).click();
  assert.deepEqual((await again).mentions.map(({ type, name }) => `${type} ${name}`), ["agent reviewer"]);
  await answered(page);
});

on("a text file goes with a message, and the model has read it", "/chat", async (page) => {
  await page.getByLabel("Files", { exact: true }).setInputFiles({ name: "words.zip", mimeType: "application/zip", buffer: Buffer.from([0x50, 0x4b, 0xff, 0xfe, 0x00]) });
  await page.getByText("words.zip is neither text nor a picture").waitFor();
  await page.getByLabel("Files", { exact: true }).setInputFiles({ name: "story.md", mimeType: "", buffer: Buffer.from("The keeper of the lighthouse is old – 80 years.") });
  await page.getByRole("button", { name: "Leave out story.md" }).waitFor();
  await page.getByLabel("may become a task").uncheck();
  await say(page, "What does it say?");
  await page.locator(".message.is-assistant", { hasText: "The file names a keeper." }).waitFor();
  await answered(page);
  await page.reload();
  await page.locator(".message.is-user .chip", { hasText: "story.md" }).waitFor();
  await page.getByLabel("may become a task").uncheck();
  await page.locator(".message.is-user").getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("Edit your message").fill("What does it say of its keeper?");
  await page.keyboard.press("Enter");
  await page.locator(".message.is-user", { hasText: "of its keeper" }).locator(".chip", { hasText: "story.md" }).waitFor();
  await answered(page);
  await page.locator(".message.is-assistant", { hasText: "The file names a keeper." }).waitFor();
});

/** One red dot. */
const DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

on("a picture goes with a message, and is shown to the model and in the page", "/chat", async (page) => {
  await page.getByLabel("Files", { exact: true }).setInputFiles({ name: "dot.png", mimeType: "image/png", buffer: Buffer.from(DOT, "base64") });
  await page.getByText("shown the pictures").waitFor();
  await page.getByLabel("may become a task").uncheck();
  await say(page, "What do you see?");
  await page.locator(".message.is-assistant", { hasText: "A red dot." }).waitFor();
  await answered(page);
  await page.reload();
  const dot = page.getByRole("img", { name: "dot.png" });
  await dot.waitFor();
  assert.equal(await dot.evaluate((image) => image.naturalWidth), 1, "the browser draws it");
});

on("an answer whose server was lost is given anew, without a word to the page", "/chat", async (page) => {
  await say(page, "Tell it aloud");
  await page.locator(".message.is-assistant", { hasText: "One after" }).waitFor();
  await world.kill();
  await page.locator(".message.is-assistant .callout.is-bad").waitFor();
  await world.serve();
  await page.locator(".message.is-assistant", { hasText: "lighthouse" }).waitFor();
  await answered(page);
  assert.equal(await page.locator(".callout.is-bad").count(), 0);
  assert.equal(await page.locator(".message").count(), 2);
});

on("an answer stays if none takes its place, and why is told", "/chat", async (page) => {
  await say(page, "See whether it wobbles");
  await page.locator(".message.is-assistant", { hasText: "It stands." }).waitFor();
  await answered(page);
  await page.getByRole("button", { name: "Answer again" }).click();
  await page.getByRole("alert").getByText("this model refuses").waitFor();
  await page.locator(".message.is-assistant", { hasText: "It stands." }).waitFor();
  await page.locator(".message.is-user").getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("Edit your message").fill("See whether it wobbles now");
  await page.getByRole("button", { name: "Ask this" }).click();
  await page.waitForFunction(() => document.querySelector("#draft").value === "See whether it wobbles now");
  await page.locator(".message.is-assistant", { hasText: "It stands." }).waitFor();
  assert.equal(await page.locator(".message.is-user > .markdown").innerText(), "See whether it wobbles");
});

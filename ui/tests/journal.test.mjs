// The fold of the journal in the pages says the same of the steps of a task as that of the engine.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import typescript from "typescript";

const source = readFileSync(new URL("../src/state/journal.ts", import.meta.url), "utf8");
const compilerOptions = { module: typescript.ModuleKind.ESNext, target: typescript.ScriptTarget.ES2022 };
const { outputText } = typescript.transpileModule(source, { compilerOptions });
const { emptyStory, fold, plannedSteps } = await import(`data:text/javascript,${encodeURIComponent(outputText)}`);

const at = "2026-01-01T00:00:00.000Z";
const planned = (revision, ...ids) => [{ plan: ids.map((id) => ({ id, description: id, type: "llm-reasoning" })), revision }, null];

function told(...events) {
  const story = emptyStory();
  fold(story, events.map(([kind, [data, step]], index) => ({ seq: index + 1, at, kind, step, data })));
  return story;
}

test("steps that are undone do not count as done, and what ran of them is cut", () => {
  const story = told(
    ["planned", planned(1, "a", "b", "c", "d")],
    ...[0, 1].flatMap((step) => [["step_started", [{ attempt: 1 }, step]], ["step_completed", [{}, step]]]),
    ["step_started", [{ attempt: 1 }, 2]],
    ["restored", [{ checkpoint: 3, by: "ada", undone: [[1, 3]], ...planned(2, "b", "c", "d")[0] }, null]],
  );
  assert.deepEqual(story.steps.map((step) => step.status), ["completed", "skipped", "skipped", "skipped", "pending", "pending", "pending"]);
  assert.deepEqual(story.steps.map((step) => step.replaced), [false, true, true, true, false, false, false]);
  assert.deepEqual(story.steps[2].attempts.map((attempt) => attempt.end), ["cut"]);
  assert.ok(story.steps.slice(1, 4).every((step) => step.endedAt === Date.parse(at)));
  assert.equal(plannedSteps(story).length, 4);
});

/** Where a task and its steps stand, in the words of both folds. */
const standing = (story) => ({ status: story.status, revision: story.revisions.at(-1)?.number ?? 0, steps: story.steps.map(({ status, replaced }) => ({ status, replaced })) });

// What has to come of each is what the engine folds: `tests/it/folds.rs`, which tells how to record more of them.
const journals = process.env.JOURNALS ? pathToFileURL(`${process.env.JOURNALS}/`) : new URL("journals/", import.meta.url);
for (const name of readdirSync(journals)) {
  test(`the pages fold a recorded journal as the engine does: ${name}`, () => {
    const { told: expected, entries } = JSON.parse(readFileSync(new URL(name, journals), "utf8"));
    const story = emptyStory();
    fold(story, entries);
    assert.deepEqual(standing(story), expected);
    const isOpen = (step) => step.status === "pending" || step.status === "running";
    assert.ok(story.to === null || !story.steps.some((step) => step.status === "running"), "no step runs in a task that has ended");
    assert.ok(story.steps.every((step) => !isOpen(step) || step.endedAt === null), "no open step has an end");
  });
}

// The fold of the journal in the pages says the same of the steps of a task as that of the engine.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
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

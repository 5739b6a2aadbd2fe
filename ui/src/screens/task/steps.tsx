/** The steps of the plan, one line each, with their attempts. */
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import { Badge } from "../../components/basics";
import { Icon, type IconName } from "../../components/icons";
import { Virtual } from "../../components/virtual";
import { counted, duration } from "../../format";
import { address, setQuery } from "../../router";
import { plannedSteps, type StepState, type Story } from "../../state/journal";
import { checkWords, conditionWords } from "../../state/condition";
import { now } from "../../state/session";

export const stepIcons: Record<string, IconName> = { "llm-reasoning": "model", "tool-call": "tools", checkpoint: "flag", summarization: "sort" };
export const stepWords: Record<string, string> = { "llm-reasoning": "Reasoning", "tool-call": "Tool call", checkpoint: "Checkpoint", summarization: "Summary" };

/** More steps than this are drawn only where they are seen, each on as many pixels. */
const MANY = 100;
const ROW = 44;

/** Items of one list that are shown beside its step. */
const ITEMS = 50;

export function stepTime(step: StepState, at: number): number | null {
  const from = step.attempts[0]?.from;
  return from === undefined ? null : (step.endedAt ?? step.attempts.at(-1)?.to ?? at) - from;
}

/** Whether a step that has begun waits: with its whole task, or for somebody's word on a call. */
function rests(story: Story, step: StepState): boolean {
  return step.status === "running" && (story.status === "paused" || (step.attempts.at(-1)?.calls.some((call) => call.state === "asked") ?? false));
}

export function StepTree({ story, chosen }: { story: Story; chosen: number | null }) {
  const [open, setOpen] = useState(false);
  const current = plannedSteps(story);
  const isLong = current.length > MANY;
  const at = current.find((step) => step.status === "running") ?? current.find((step) => step.status === "failed");
  const replaced = story.steps.filter((step) => step.replaced && !step.item);
  const look = (step: StepState) => setQuery({ step: chosen === step.index && !address.value.query.has("seq") ? null : String(step.index), seq: null, attempt: null });
  const button = (step: StepState): VNode => {
    const time = stepTime(step, story.to ?? now.value);
    const retry = step.status === "failed" && step.attempts.at(-1)?.retryAt;
    const items = step.items.map((index) => story.steps[index]).filter((item) => item !== undefined);
    const open_ = items.filter((item) => item.endedAt === null).length;
    const refused = step.claims.at(-1)?.verdicts.some((verdict) => !verdict.passed) ?? false;
    return (
        <button type="button" class={`step${step.replaced ? " is-replaced" : ""}`} aria-pressed={chosen === step.index} onClick={() => look(step)} title={step.description}>
          {rests(story, step) ? <Badge small status="paused" label="Waits" /> : <Badge small status={retry ? "retrying" : step.status} />}
          <span class="step-text"><span class="step-name">{step.description}</span>
            <span class="step-more"><Icon name={stepIcons[step.type] ?? "dot"} size={12} />{step.tool?.name ?? stepWords[step.type] ?? step.type}
              {step.attempts.length > 1 && <span class="tag is-warn">{counted(step.attempts.length, "attempt")}</span>}{step.optional && !step.item && <span class="tag">optional</span>}
              {step.when !== null && <span class="tag" title={conditionWords(step.when)}>if</span>}{items.length > 0 && <span class="tag">{items.length - open_}/{counted(items.length, "item")}</span>}
              {step.checks.length > 0 && <span class={`tag${refused ? " is-warn" : ""}`} title={step.checks.map((check) => checkWords(check).name).join(", ")}>{refused ? "check failed" : step.claims.length > 0 && step.status === "completed" ? "verified" : `${step.checks.length} check${step.checks.length > 1 ? "s" : ""}`}</span>}</span>
          </span>
          <span class="mono faint step-time">{time === null ? "" : duration(time)}</span>
        </button>
    );
  };
  const line = (step: StepState): VNode => {
    const items = step.items.map((index) => story.steps[index]).filter((item) => item !== undefined);
    return (
      <li key={step.index} class={step.item ? "is-item" : undefined}>
        {button(step)}
        {items.length > 0 && <details class="step-items" open={items.length <= 6 || items.some((item) => item.index === chosen)}><summary>{counted(items.length, "item")}</summary><ol>{items.slice(0, ITEMS).map(line)}</ol>{items.length > ITEMS && <p class="faint pad">and {items.length - ITEMS} more; the timeline has all</p>}</details>}
      </li>
    );
  };
  return (
    <nav class={`steps${isLong ? " is-long" : ""}${open ? " is-open" : ""}`} aria-label="Steps">
      <h2 class="steps-head">Steps<span class="faint">{story.revisions.length > 1 ? `revision ${story.revisions.length}` : ""}</span></h2>
      <button type="button" class="steps-fold" aria-expanded={open} onClick={() => setOpen(!open)}><Icon name="chevron" size={12} />{counted(current.length, "step")}<span class="faint">{at?.description ?? ""}</span></button>
      {isLong
        ? <Virtual count={current.length} rowHeight={ROW} label="Steps" active={current.findIndex((step) => step.index === chosen)} row={(index) => { const step = current[index] as StepState; return <div key={step.index} role="listitem" class="step-row">{button(step)}</div>; }} />
        : <ol>{current.map(line)}</ol>}
      {replaced.length > 0 && <details><summary>{replaced.length} replaced by a revision</summary><ol>{replaced.map(line)}</ol></details>}
    </nav>
  );
}

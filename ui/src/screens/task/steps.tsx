/** The steps of the plan, one line each, with their attempts. */
import { Badge } from "../../components/basics";
import { Icon, type IconName } from "../../components/icons";
import { duration } from "../../format";
import { address, setQuery } from "../../router";
import type { StepState, Story } from "../../state/journal";
import { now } from "../../state/session";

export const stepIcons: Record<string, IconName> = { "llm-reasoning": "model", "tool-call": "tools", checkpoint: "flag", summarization: "sort" };
export const stepWords: Record<string, string> = { "llm-reasoning": "Reasoning", "tool-call": "Tool call", checkpoint: "Checkpoint", summarization: "Summary" };

export function stepTime(step: StepState, at: number): number | null {
  const from = step.attempts[0]?.from;
  return from === undefined ? null : (step.endedAt ?? step.attempts.at(-1)?.to ?? at) - from;
}

export function StepTree({ story, chosen }: { story: Story; chosen: number | null }) {
  const current = story.steps.filter((step) => !step.replaced);
  const replaced = story.steps.filter((step) => step.replaced);
  const open = (step: StepState) => setQuery({ step: chosen === step.index && !address.value.query.has("seq") ? null : String(step.index), seq: null });
  const line = (step: StepState) => {
    const time = stepTime(step, story.to ?? now.value);
    const retry = step.status === "failed" && step.attempts.at(-1)?.retryAt;
    return (
      <li key={step.index}>
        <button type="button" class={`step${step.replaced ? " is-replaced" : ""}`} aria-pressed={chosen === step.index} onClick={() => open(step)} title={step.description}>
          <Badge small status={retry ? "retrying" : step.status} />
          <span class="step-text"><span class="step-name">{step.description}</span>
            <span class="step-more"><Icon name={stepIcons[step.type] ?? "dot"} size={12} />{step.tool?.name ?? stepWords[step.type] ?? step.type}
              {step.attempts.length > 1 && <span class="tag is-warn">{step.attempts.length} attempts</span>}{step.optional && <span class="tag">optional</span>}</span>
          </span>
          <span class="mono faint step-time">{time === null ? "" : duration(time)}</span>
        </button>
      </li>
    );
  };
  return (
    <nav class="steps" aria-label="Steps">
      <h2 class="steps-head">Steps<span class="faint">{story.revisions.length > 1 ? `revision ${story.revisions.length}` : ""}</span></h2>
      <ol>{current.map(line)}</ol>
      {replaced.length > 0 && <details><summary>{replaced.length} replaced by a revision</summary><ol>{replaced.map(line)}</ol></details>}
    </nav>
  );
}

/** What the models of a task had in mind: how full their windows were, and what was written down. */
import { useResource } from "../../api/resource";
import { Button, Empty, Fact } from "../../components/basics";
import { clock, number, percent, short } from "../../format";
import { setQuery } from "../../router";
import { Markdown } from "../../components/markdown";
import { Value } from "../../components/json";
import { Content, Section } from "./inspector";
import type { ViewProps } from "./task";

interface StatusContext { context: { summary?: unknown; findings?: Record<string, unknown>; toolResults?: { toolName: string; result: unknown }[] } }

export function ContextTab({ id, story, task }: ViewProps) {
  const status = useResource<StatusContext>(`/api/chat/orchestrate?taskId=${id}`);
  const limit = story.limits.contextWindowLimit ?? task.limits.contextWindowLimit;
  const last = story.prompts.at(-1);
  const most = Math.max(1, ...story.prompts.map((one) => one.input));
  const context = status.data?.context;
  const nothing = !last && !context?.summary && !context?.findings;
  if (nothing) return <Empty icon="model" title="No model was asked"><p>Steps that only call tools need no context. What prompts hold is shown here as soon as a model is asked.</p></Empty>;
  return (
    <div class="pad stack">
      {last && (
        <Section name="Prompts against the window">
          <dl class="facts is-tight"><Fact name="Last prompt"><span class="mono">{number(last.input)}</span></Fact><Fact name="Summarised from"><span class="mono">{number(limit)}</span></Fact><Fact name="Full"><span class="mono">{percent(last.input / limit)}</span></Fact></dl>
          <div class="window" role="img" aria-label={`The last prompt fills ${percent(last.input / limit)} of the window`}><span style={{ width: `${Math.min(100, (last.input / limit) * 100)}%` }} class={last.input > limit * 0.8 ? "is-high" : ""} /></div>
          <div class="columns" role="group" aria-label="Prompts in order">
            {story.prompts.slice(-160).map((one) => <button type="button" key={one.seq} class="column" title={`step ${one.step + 1}, ${one.model}: ${number(one.input)} tokens`} aria-label={`Step ${one.step + 1}: ${number(one.input)} tokens`} onClick={() => setQuery({ seq: String(one.seq), step: null })}><i style={{ height: `${Math.max(2, (one.input / most) * 100)}%` }} /></button>)}
          </div>
        </Section>
      )}
      {story.summaries.map((summary) => (
        <Section key={summary.seq} name={`Summary up to step ${summary.through + 1}`}>
          <p class="faint">{clock(summary.at)} · {short(summary.before)} → {short(summary.after)} tokens · by {summary.by}</p>
          <Content id={id} seq={summary.seq} payload={summary.text} path={(data) => data.summary} markdown />
        </Section>
      ))}
      {context?.findings && Object.entries(context.findings).map(([step, finding]) => (
        <Section key={step} name={`Finding of ${step}`}>{typeof finding === "string" ? <Markdown text={finding} /> : <Value value={finding} open={1} />}</Section>
      ))}
    </div>
  );
}

export function CheckpointsTab({ id, story, task, fork }: ViewProps) {
  if (story.checkpoints.length === 0) {
    return <Empty icon="flag" title="No checkpoint yet"><p>Where the work stands is written down after every {task.limits.checkpointInterval ?? "few"} steps, and where the plan has a step for it. The task resumes from its journal with or without them.</p></Empty>;
  }
  return (
    <ol class="pad stack plain">
      {story.checkpoints.map((one) => (
        <li key={one.seq} class="card">
          <header class="card-head"><strong>After {one.completed} completed steps</strong><span class="faint">{clock(one.at)} · {one.step === null ? "by itself" : `by step ${one.step + 1}`}</span><Button icon="fork" onClick={() => fork({ seq: one.seq, words: `from the checkpoint after ${one.completed} steps` })}>Fork from here</Button></header>
          <Content id={id} seq={one.seq} payload={one.context} path={(data) => data.context} />
        </li>
      ))}
    </ol>
  );
}

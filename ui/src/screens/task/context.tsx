/** What the models of a task had in mind: how full their windows were, and what was written down. */
import { getTaskStatus, restoreTask, showContext, takeCheckpoint } from "#api";
import { useState } from "preact/hooks";
import { ask } from "../../api/client";
import { useResource } from "../../api/resource";
import { Button, Chip, Dialog, Empty, Fact, useAction } from "../../components/basics";
import { clock, number, percent, short } from "../../format";
import type { ContextView } from "../../api/types";
import { isEnded } from "../../api/types";
import { setQuery } from "../../router";
import { notify } from "../../state/session";
import { Markdown } from "../../components/markdown";
import { Value } from "../../components/json";
import { useRepeatable } from "./fork";
import { Content, Section } from "./inspector";
import type { ViewProps } from "./task";

export function ContextTab({ id, story, task }: ViewProps) {
  const view = useResource(isEnded(task.status) ? null : showContext(id), 3000);
  const status = useResource(getTaskStatus({ taskId: id }));
  const limit = story.limits.contextWindowLimit ?? task.limits.contextWindowLimit;
  const last = story.prompts.at(-1);
  const most = Math.max(1, ...story.prompts.map((one) => one.input));
  const context = status.data?.context as { summary?: unknown; findings?: Record<string, unknown> } | undefined;
  const nothing = !last && !view.data && !context?.summary && !context?.findings;
  if (nothing) return <Empty icon="model" title="No model was asked"><p>Steps that only call tools need no context. What prompts hold is shown here as soon as a model is asked.</p></Empty>;
  return (
    <div class="pad stack">
      {view.data && view.data.tokens > 0 && <WindowBar view={view.data} />}
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
        <Section key={summary.seq} name={summary.step === null ? `Summary up to step ${summary.through + 1}` : `Summary of step ${summary.step + 1} up to call ${summary.through}`}>
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

/** What the next prompt holds, part by part, against the window of its model. */
function WindowBar({ view }: { view: ContextView }) {
  const [open, setOpen] = useState<string | null>(null);
  const shown = view.parts.filter((part) => part.tokens > 0);
  const part = shown.find((one) => one.name === open);
  const share = (tokens: number) => `${Math.min(100, (tokens / Math.max(view.limit, 1)) * 100)}%`;
  return (
    <Section name={view.step ? `The prompt of ${view.step}` : "The next prompt"}>
      <dl class="facts is-tight"><Fact name="Holds"><span class="mono">{number(view.tokens)}</span></Fact><Fact name="Window"><span class="mono">{number(view.limit)}</span></Fact><Fact name="Room for the prompt"><span class="mono">{number(view.room)}</span></Fact><Fact name="Compressed from"><span class="mono">{number(view.compactsAt)}</span></Fact><Fact name="Model"><code>{view.model}</code></Fact><Fact name="Counted as"><span title={view.calibrated ? "As its provider reported" : "A first guess on the safe side, until its provider has reported"}><span class="mono">{number(view.density)}</span> tokens per 1,000 bytes{view.calibrated ? "" : ", a guess"}</span></Fact></dl>
      <div class="window is-parts" role="img" aria-label={`${percent(view.tokens / Math.max(view.limit, 1))} of the window: ${shown.map((one) => `${one.name} ${one.tokens}`).join(", ")}`}>
        {shown.map((one, at) => <span key={one.name} class={`part-${at % 7}`} style={{ width: share(one.tokens) }} title={`${one.name}: ${number(one.tokens)} tokens`} />)}
        <b style={{ left: share(view.compactsAt) }} title={`Compressed from ${number(view.compactsAt)} tokens`} />
      </div>
      <div class="chips" role="group" aria-label="Parts of the prompt">{shown.map((one, at) => <Chip key={one.name} on={one.name === open} onClick={() => setOpen(one.name === open ? null : one.name)}><i class={`swatch part-${at % 7}`} />{one.name}<span class="faint">{short(one.tokens)}</span></Chip>)}</div>
      {part && (part.text ? <pre class="part-text">{part.text}</pre> : <p class="faint">The turns of the conversation are in the trace.</p>)}
    </Section>
  );
}

export function CheckpointsTab({ id, story, task, fork, changed }: ViewProps) {
  const [busy, run] = useAction();
  const [back, setBack] = useState<number | null>(null);
  const live = !isEnded(task.status);
  const take = () => run(async () => { await ask(takeCheckpoint(id)); notify("Where the work stands is written down"); });
  const taking = live && <div class="row-of-buttons"><Button icon="flag" busy={busy} onClick={() => void take()}>Take a checkpoint</Button></div>;
  if (story.checkpoints.length === 0) {
    return <Empty icon="flag" title="No checkpoint yet" action={taking || undefined}><p>Where the work stands is written down after every {task.limits.checkpointInterval ?? "few"} steps, and where the plan has a step for it. The task resumes from its journal with or without them.</p></Empty>;
  }
  return (
    <div class="pad stack">
    {taking}
    <ol class="stack plain">
      {story.checkpoints.map((one) => (
        <li key={one.seq} class="card">
          <header class="card-head"><strong>After {one.completed} completed steps</strong><span class="faint">{clock(one.at)} · {one.by ? `by ${one.by}` : one.step === null ? "by itself" : `by step ${one.step + 1}`}</span>{task.status === "paused" && <Button icon="retry" onClick={() => setBack(one.seq)}>Restore</Button>}<Button icon="fork" onClick={() => fork({ seq: one.seq, words: `from the checkpoint after ${one.completed} steps` })}>Fork from here</Button></header>
          <Content id={id} seq={one.seq} payload={one.context} path={(data) => data.context} />
        </li>
      ))}
    </ol>
    {task.status === "running" && <p class="faint">Pause the task to put it back to one of them.</p>}
    {back !== null && <RestoreDialog id={id} checkpoint={back} changed={changed} close={() => setBack(null)} />}
    </div>
  );
}

function RestoreDialog({ id, checkpoint, changed, close }: { id: string; checkpoint: number; changed: ViewProps["changed"]; close: () => void }) {
  const restore = useRepeatable(async (repeatEffects) => {
    changed(await ask(restoreTask(id, { checkpoint, repeatEffects })));
    close();
    notify("Put back; it goes on from there");
  });
  return (
    <Dialog title="Put the task back?" close={close}>
      <p>The steps since then do not count any more, and what was open then is done anew. What they did to the world has happened and stays; the models are told of it.</p>
      {restore.said}
      <div class="dialog-foot"><Button onClick={close}>Leave it</Button><Button kind="primary" icon="retry" busy={restore.busy} disabled={restore.blocked} onClick={() => void restore.go()}>Restore</Button></div>
    </Dialog>
  );
}

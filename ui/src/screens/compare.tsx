/** Two tasks side by side, step by step. */
import { diffTasks } from "#api";
import { useResource } from "../api/resource";
import type { TaskDiff } from "../api/types";
import { Badge, Chip, Empty, Failure, Loading } from "../components/basics";
import { Diff } from "../components/diff";
import { counted, duration, number, short, shortId, spent, text, usd } from "../format";
import { address, setQuery } from "../router";

type Side = TaskDiff["a"];
type StepSide = NonNullable<TaskDiff["steps"][number]["a"]>;

export function CompareScreen({ id, other }: { id: string; other: string }) {
  const read = useResource(diffTasks(id, other), 3000);
  const only = address.value.query.has("changed");
  if (read.error && !read.data) return <Failure error={read.error} retry={read.reload} />;
  if (!read.data) return <section class="screen"><Loading rows={10} /></section>;
  const { a, b, steps } = read.data;
  const shown = only ? steps.filter((step) => !step.same) : steps;
  const changed = steps.filter((step) => !step.same).length;
  return (
    <section class="screen">
      <header class="screen-head"><h1>Side by side <span class="faint count">{number(changed)} of {counted(steps.length, "step")} differ</span></h1><Chip on={only} onClick={() => setQuery({ changed: only ? null : "1" })}>only what differs</Chip></header>
      <div class="compare-heads"><TaskHead side={a} other={b} /><TaskHead side={b} other={a} /></div>
      {shown.length === 0 ? <Empty icon="check" title="No step differs" /> : (
        <ol class="plain compare">{shown.map((step) => (
          <li key={step.id} class={`card${step.same ? " is-same" : ""}`}>
            <header class="card-head"><h2><code>{step.id}</code> {step.a?.description ?? step.b?.description}</h2><span class={`tag${step.same ? "" : " is-warn"}`}>{step.same ? "same" : step.a && step.b ? "differs" : step.a ? "only left" : "only right"}</span></header>
            <div class="compare-sides"><StepCell id={a.id} side={step.a} /><StepCell id={b.id} side={step.b} /></div>
            {step.a && step.b && !step.same && text(step.a.output) !== text(step.b.output) && <Diff one={text(step.a.output ?? "")} other={text(step.b.output ?? "")} />}
          </li>
        ))}</ol>
      )}
    </section>
  );
}

function TaskHead({ side, other }: { side: Side; other: Side }) {
  return (
    <article class="card">
      <header class="card-head"><Badge status={side.status} /><h2><a href={`/tasks/${side.id}`}><code title={side.id}>{shortId(side.id)}</code></a></h2>{side.forkedFrom && <span class="faint">forked from {side.forkedFrom.task === other.id ? "the other" : <a href={`/tasks/${side.forkedFrom.task}`}><code>{shortId(side.forkedFrom.task)}</code></a>}, entry {side.forkedFrom.seq}</span>}</header>
      <p class="faint mono">{spent(side.durationMs, side.usage)}{side.chatModel ? ` · ${side.chatModel}` : ""}</p>
    </article>
  );
}

function StepCell({ id, side }: { id: string; side: StepSide | null | undefined }) {
  if (!side) return <p class="faint">not there</p>;
  return (
    <p class="compare-cell"><Badge status={side.status} />{side.inherited && <span class="tag">inherited</span>}<a href={`/tasks/${id}?step=${side.index}`}>step {side.index + 1}</a>
      <span class="faint mono">{side.durationMs === null ? "–" : duration(side.durationMs)} · {short(side.tokens)} tokens{side.costUsd > 0 ? ` · ${usd(side.costUsd)}` : ""}{side.attempts > 1 ? ` · ${counted(side.attempts, "attempt")}` : ""}</span>{side.fault && <span class="problem">{side.fault}</span>}</p>
  );
}

/** How everything stands, on one page. */
import { getFailures, getWorker, listModels, listRequests, listWorkers } from "#api";
import { useEffect, useMemo } from "preact/hooks";
import { useLatest, useResource } from "../api/resource";
import type { FailureGroup, TaskSummary } from "../api/types";
import { isLive } from "../api/types";
import { Ago, Empty, Failure, Loading, Progress } from "../components/basics";
import { Chart } from "../components/chart";
import { Icon } from "../components/icons";
import { counted, duration, number, percent, short, usd } from "../format";
import { buckets, quantile, totals } from "../state/figures";
import { nowSecond } from "../state/session";
import { taskList, watchTasks } from "../state/tasks";
import { TaskBadge } from "./tasks";

const DAY = 86_400_000;

export function OverviewScreen() {
  useEffect(watchTasks, []);
  const { tasks, loaded, error } = taskList.value;
  const status = useResource(getWorker(), 2000);
  const inbox = useResource(listRequests(), 2000);
  const since = new Date(Math.floor(nowSecond.value / 60_000) * 60_000 - DAY).toISOString();
  const errors = useLatest(useResource(getFailures({ from: since }), 10_000));
  const groups: FailureGroup[] = errors.data?.failures ?? [];
  const workers = useResource(listWorkers(), 4000);
  const models = useResource(listModels());
  const now = nowSecond.value;
  const minute = Math.floor(now / 60_000) * 60_000;
  // Little time is shown while there is little history, so that the first day is no flat line.
  const oldest = tasks.length > 0 ? Date.parse(tasks.at(-1)?.createdAt ?? "") : minute;
  const span = [900_000, 3_600_000, 6 * 3_600_000, DAY].find((one) => minute - oldest < one) ?? DAY;
  const [chart, day] = useMemo(() => [buckets(tasks, minute + 60_000 - span, minute + 60_000, 60), totals(tasks, minute - DAY)], [tasks, minute, span]);
  if (!loaded && error) return <Failure error={error} />;
  if (!loaded) return <section class="screen"><Loading rows={10} /></section>;
  const stats = status.data?.stats.tasks ?? {};
  const live = tasks.filter((task) => isLive(task.status));
  const waiting = live.filter((task) => !task.worker).sort((one, other) => (one.id < other.id ? -1 : 1))[0];
  const paused = tasks.filter((task) => task.status === "paused");
  const requests = inbox.data?.requests ?? [];
  const failures = tasks.filter((task) => task.status === "failed").slice(0, 5);
  const working = workers.data?.workers.filter((worker) => worker.presence === "working") ?? [];
  const busy = working.reduce((sum, worker) => sum + worker.tasks.length, 0);
  const room = working.reduce((sum, worker) => sum + worker.concurrency, 0);
  const p50 = quantile(day.times, 0.5), p95 = quantile(day.times, 0.95);
  const times = chart.map((one) => one.from);
  return (
    <section class="screen">
      <header class="screen-head"><h1>Overview</h1><a class="button is-primary" href="/new"><Icon name="plus" size={14} /><span>New task</span></a></header>
      {models.data?.offline && <p class="callout is-wait"><Icon name="alert" /><span>No language model is in use; rules plan and answer. <a href="/settings">How to name one</a></span></p>}
      <div class="tiles">
        <Tile name="Running" value={number(stats.running ?? 0)} href="/tasks?status=running" colour="running" more={room > 0 ? `${busy} of ${counted(room, "place")} taken` : "no worker"} />
        <Tile name="Pending" value={number(stats.pending ?? 0)} href="/tasks?status=pending" colour="pending" more={waiting ? <>oldest waits <span class="mono">{duration(now - Date.parse(waiting.createdAt))}</span></> : "nobody waits"} />
        <Tile name="Needs you" value={number(requests.length + paused.filter((task) => !requests.some((one) => one.taskId === task.id)).length)} href={requests.length > 0 ? "/inbox" : "/tasks?status=paused"} colour="paused" more={`${requests.length} in the inbox, ${paused.length} paused`} />
        <Tile name="Completed" value={number(stats.completed ?? 0)} href="/tasks?status=completed" colour="completed" more={`${number(day.completed)} in 24 h`} />
        <Tile name="Failed" value={number(stats.failed ?? 0)} href="/tasks?status=failed" colour="failed" more={`${number(day.failed)} in 24 h`} />
        <Tile name="Success" value={day.success === null ? "–" : percent(day.success)} href="/analytics" more="of what ended in 24 h" />
        <Tile name="Time to the end" value={p50 === null ? "–" : duration(p50)} href="/analytics" more={p95 === null ? "nothing ended yet" : `95 % within ${duration(p95)}`} />
        <Tile name="Cost in 24 h" value={day.cost > 0 ? `${day.unpriced > 0 ? "≥ " : ""}${usd(day.cost)}` : day.unpriced > 0 ? "unknown" : "$0"} href="/analytics" more={`${short(day.tokens)} tokens`} />
      </div>
      {tasks.length === 0 ? (
        <Empty icon="bolt" title="Ready for the first task" action={<a class="button is-primary" href="/new"><Icon name="plus" size={14} /><span>Start a task</span></a>}>
          <p>Name a goal. Longhaul makes a plan, carries it out step by step, and goes on after any crash. Or <a href="/chat">talk to it</a>: what is too big for one answer becomes a task by itself.</p>
        </Empty>
      ) : (
        <div class="overview">
          <div class="stack">
            <div class="card"><Chart title="Tasks that ended" times={times} stacked format={(value) => (Number.isInteger(value) ? number(value) : "")} series={[{ name: "failed", colour: "--failed", values: chart.map((one) => one.failed), bars: true }, { name: "completed", colour: "--completed", values: chart.map((one) => one.completed), bars: true }]} /></div>
            <div class="card"><Chart title="Time to the end" times={times} format={duration} series={[{ name: "p95", colour: "--paused", values: chart.map((one) => quantile(one.times, 0.95)) }, { name: "p50", colour: "--running", values: chart.map((one) => quantile(one.times, 0.5)) }]} /></div>
          </div>
          <div class="stack">
            <Panel title="Needs you" href="/inbox" empty="Nobody needs you.">
              {[...requests.slice(0, 5).map((request) => <a key={request.id} class="line" href="/inbox"><span class={`request-kind is-${request.kind}`}>{request.kind}</span><span class="line-text">{request.goal}</span><span class="faint"><Ago at={request.askedAt} /></span></a>),
                ...paused.filter((task) => !requests.some((one) => one.taskId === task.id)).slice(0, 5).map((task) => <Line key={task.id} task={task} now={now} />)]}
            </Panel>
            <Panel title="Running now" href="/tasks?status=running" empty="Nothing runs.">{live.filter((task) => task.status === "running").slice(0, 6).map((task) => <Line key={task.id} task={task} now={now} progress />)}</Panel>
            {groups.length > 0 && <Panel title="What fails most, in 24 h" href="/analytics" empty="">{groups.slice(0, 4).map((one) => <a key={one.place + one.code + one.message} class="line" href={`/tasks/${one.exampleTaskId}`} title="The newest task it happened to"><span class="mono line-count">{number(one.count)}×</span><span class="line-text"><code>{one.code}</code> <span class="faint">{one.place}: {one.message}</span></span></a>)}</Panel>}
            <Panel title="Last failures" href="/tasks?status=failed" empty="Nothing has failed.">{failures.map((task) => <Line key={task.id} task={task} now={now} />)}</Panel>
          </div>
        </div>
      )}
    </section>
  );
}

function Tile({ name, value, href, more, colour }: { name: string; value: string; href: string; more: preact.ComponentChildren; colour?: string }) {
  return <a class={`tile${colour ? ` is-${colour}` : ""}`} href={href}><span class="tile-name">{colour && <i class={`spot is-${colour}`} />}{name}</span><span class="tile-value">{value}</span><span class="tile-more">{more}</span></a>;
}

function Panel({ title, href, empty, children }: { title: string; href: string; empty: string; children: preact.VNode[] }) {
  return <section class="card panel"><header class="card-head"><h2>{title}</h2><a class="faint" href={href}>all</a></header>{children.length > 0 ? children : <p class="faint panel-empty">{empty}</p>}</section>;
}

function Line({ task, now, progress }: { task: TaskSummary; now: number; progress?: boolean }) {
  return (
    <a class="line" href={`/tasks/${task.id}`}>
      {progress ? <span class="line-progress"><Progress value={task.totalSteps > 0 ? (task.completedSteps / task.totalSteps) * 100 : 0} status={task.status} /></span> : <TaskBadge task={task} now={now} />}
      <span class="line-text" title={task.goal}>{task.goal}{task.fault && <span class="faint"> – {task.fault.code}</span>}</span><span class="faint">{progress ? <span title="Since it was created">{duration(now - Date.parse(task.createdAt))}</span> : <Ago at={task.updatedAt} />}</span>
    </a>
  );
}

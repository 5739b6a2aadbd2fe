/** How everything stands, on one page. */
import { getFailures, getOverview, getTaskSeries, getWorker, listModels, listRequests, listTasks, listWorkers } from "#api";
import { useLatest, useResource } from "../api/resource";
import type { FailureGroup, TaskPoint, TaskSummary } from "../api/types";
import { Ago, Empty, Failure, Loading, Progress } from "../components/basics";
import { Chart } from "../components/chart";
import { Icon } from "../components/icons";
import { counted, duration, number, percent, short } from "../format";
import { nowSecond } from "../state/session";
import { money } from "./analytics";
import { kinds } from "./inbox";
import { TaskBadge } from "./tasks";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** How often it is asked what is so now. */
const SOON = 2000;
/** How often it is asked what was counted, which is a few seconds behind. */
const COUNTED = 4000;

/** Little time is shown while there is little in it, so that the first day is no flat line. */
const spans = [{ ms: HOUR / 4, bucket: "1m" }, { ms: HOUR, bucket: "1m" }, { ms: 6 * HOUR, bucket: "5m" }, { ms: DAY, bucket: "15m" }] as const;

/** The shortest time that reaches back to the first task of the day. */
function spanOf(points: TaskPoint[], now: number): (typeof spans)[number] {
  const first = points.find((one) => one.created + one.completed + one.failed + one.cancelled > 0);
  return spans.find((one) => now - Date.parse(first?.at ?? "") <= one.ms) ?? (first ? spans[3] : spans[0]);
}

export function OverviewScreen() {
  const now = nowSecond.value;
  const minute = Math.floor(now / 60_000) * 60_000;
  const ago = (ms: number) => new Date(minute - ms).toISOString();
  const since = ago(DAY);
  const newest = useResource(listTasks({ limit: 1 }), SOON);
  const running = useResource(listTasks({ status: "running", limit: 6 }), SOON);
  const resting = useResource(listTasks({ status: "paused", limit: 50 }), SOON);
  const failed = useResource(listTasks({ status: "failed", limit: 5 }), SOON);
  const status = useResource(getWorker(), SOON);
  const inbox = useResource(listRequests(), SOON);
  const overview = useLatest(useResource(getOverview({ from: since }), COUNTED));
  const whole = useLatest(useResource(getTaskSeries({ from: since, bucket: "15m" }), COUNTED));
  const span = spanOf(whole.data?.points ?? [], minute);
  const series = useLatest(useResource(getTaskSeries({ from: ago(span.ms), bucket: span.bucket }), COUNTED));
  const errors = useLatest(useResource(getFailures({ from: since }), 10_000));
  const groups: FailureGroup[] = errors.data?.failures ?? [];
  const workers = useResource(listWorkers(), 4000);
  const models = useResource(listModels());
  const error = newest.error ?? overview.error;
  if (error && !(newest.data && overview.data)) return <Failure error={error} />;
  if (!newest.data || !overview.data) return <section class="screen"><Loading rows={10} /></section>;
  const { tasks: day, duration: took, usage, now: line } = overview.data;
  const stats = status.data?.stats.tasks ?? {};
  const requests = inbox.data?.requests ?? [];
  const asking = new Set(requests.map((one) => one.taskId));
  // Those that wait for something else than an answer. Only so many are read; the rest of them are counted.
  const paused = resting.data?.tasks.filter((task) => !asking.has(task.id)) ?? [];
  const others = resting.data?.nextBefore ? Math.max(paused.length, line.paused - asking.size) : paused.length;
  const working = workers.data?.workers.filter((worker) => worker.presence === "working") ?? [];
  const busy = working.reduce((sum, worker) => sum + worker.tasks.length, 0);
  const room = working.reduce((sum, worker) => sum + worker.concurrency, 0);
  const points = series.data?.points ?? [];
  const times = points.map((one) => Date.parse(one.at));
  return (
    <section class="screen">
      <header class="screen-head"><h1>Overview</h1><a class="button is-primary" href="/new"><Icon name="plus" size={14} /><span>New task</span></a></header>
      {models.data?.offline && <p class="callout is-wait"><Icon name="alert" /><span>No language model is in use; rules plan and answer. <a href="/settings">How to name one</a></span></p>}
      <div class="tiles">
        <Tile name="Running" value={number(stats.running ?? 0)} href="/tasks?status=running" colour="running" more={room > 0 ? `${busy} of ${counted(room, "place")} taken` : "no worker"} />
        <Tile name="Pending" value={number(stats.pending ?? 0)} href="/tasks?status=pending" colour="pending" more={line.oldest ? <>oldest waits <span class="mono">{duration(line.oldest.waitedMs)}</span></> : "none waits for a worker"} />
        <Tile name="Needs you" value={number(requests.length + others)} href={requests.length > 0 ? "/inbox" : "/tasks?status=paused"} colour="paused" more={`${number(requests.length)} in the inbox, ${number(others)} paused besides`} />
        <Tile name="Completed" value={number(stats.completed ?? 0)} href="/tasks?status=completed" colour="completed" more={`${number(day.completed)} in 24 h`} />
        <Tile name="Failed" value={number(stats.failed ?? 0)} href="/tasks?status=failed" colour="failed" more={`${number(day.failed)} in 24 h`} />
        <Tile name="Success" value={day.successRate === null ? "–" : percent(day.successRate)} href="/analytics" more="of what ended in 24 h" />
        <Tile name="Time to the end" value={took.p50Ms === null ? "–" : duration(took.p50Ms)} href="/analytics" more={took.p95Ms === null ? "none completed in 24 h" : `95 % within ${duration(took.p95Ms)}`} />
        <Tile name="Cost in 24 h" value={money(usage)} href="/analytics" more={`${short(usage.inputTokens + usage.outputTokens)} tokens`} />
      </div>
      {newest.data.tasks.length === 0 ? (
        <Empty icon="bolt" title="Ready for the first task" action={<a class="button is-primary" href="/new"><Icon name="plus" size={14} /><span>Start a task</span></a>}>
          <p>Name a goal. Longhaul makes a plan, carries it out step by step, and goes on after any crash. Or <a href="/chat">talk to it</a>: what is too big for one answer becomes a task by itself.</p>
        </Empty>
      ) : (
        <div class="overview">
          <div class="stack">
            <div class="card"><Chart title="Tasks that ended" times={times} stacked format={(value) => (Number.isInteger(value) ? number(value) : "")} series={[{ name: "failed", colour: "--failed", values: points.map((one) => one.failed), bars: true }, { name: "completed", colour: "--completed", values: points.map((one) => one.completed), bars: true }]} /></div>
            <div class="card"><Chart title="Time to the end" times={times} format={duration} series={[{ name: "p95", colour: "--paused", values: points.map((one) => one.durationP95Ms) }, { name: "p50", colour: "--running", values: points.map((one) => one.durationP50Ms) }]} /></div>
          </div>
          <div class="stack">
            <Panel title="Needs you" href="/inbox" empty="Nobody needs you.">
              {[...requests.slice(0, 5).map((request) => <a key={request.id} class="line" href={`/inbox?request=${encodeURIComponent(request.id)}`}><span class={`request-kind is-${request.kind}`}>{kinds[request.kind]?.name ?? request.kind}</span><span class="line-text">{request.goal}</span><span class="faint"><Ago at={request.askedAt} /></span></a>),
                ...paused.slice(0, 5).map((task) => <Line key={task.id} task={task} now={now} />)]}
            </Panel>
            <Panel title="Running now" href="/tasks?status=running" empty="Nothing runs.">{(running.data?.tasks ?? []).map((task) => <Line key={task.id} task={task} now={now} progress />)}</Panel>
            {groups.length > 0 && <Panel title="What fails most, in 24 h" href="/analytics" empty="">{groups.slice(0, 4).map((one) => <a key={one.code + one.message} class="line" href={`/tasks/${one.exampleTaskId}`} title="The newest task it happened to"><span class="mono line-count">{number(one.count)}×</span><span class="line-text"><code>{one.code}</code> <span class="faint">{one.message}</span></span></a>)}</Panel>}
            <Panel title="Last failures" href="/tasks?status=failed" empty="Nothing has failed.">{(failed.data?.tasks ?? []).map((task) => <Line key={task.id} task={task} now={now} />)}</Panel>
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

/** How tasks fare over time, in charts and tables that can be saved. */
import { useEffect, useMemo } from "preact/hooks";
import type { TaskSummary } from "../api/types";
import { Button, Chip, Empty, Failure, Loading } from "../components/basics";
import { Chart } from "../components/chart";
import { Icon } from "../components/icons";
import { duration, number, percent, short, tokens, usd } from "../format";
import { address, setQuery } from "../router";
import { buckets, csv, grouped, quantile, totals } from "../state/figures";
import { nowSecond } from "../state/session";
import { taskList, watchTasks } from "../state/tasks";
import { save } from "./task/raw";

const ranges = { "1h": 3_600_000, "24h": 86_400_000, "7d": 7 * 86_400_000, "30d": 30 * 86_400_000 } as const;
const BUCKETS = 48;

export function AnalyticsScreen() {
  useEffect(watchTasks, []);
  const asked = address.value.query.get("range") ?? "24h";
  const range = (asked in ranges ? asked : "24h") as keyof typeof ranges;
  const { tasks, loaded, complete, error } = taskList.value;
  const until = Math.ceil(nowSecond.value / 60_000) * 60_000;
  const from = until - ranges[range];
  const [list, sum, ended] = useMemo(() => [
    buckets(tasks, from, until, BUCKETS), totals(tasks, from),
    tasks.filter((task) => task.completedAt && Date.parse(task.completedAt) >= from),
  ], [tasks, from]);
  if (!loaded && error) return <Failure error={error} />;
  if (!loaded) return <section class="screen"><Loading rows={10} /></section>;
  const times = list.map((one) => one.from);
  const name = (what: string) => `longhaul-${what}-${range}.csv`;
  const download = () => save(name("tasks"), csv([
    ["id", "status", "goal", "thread", "created", "ended", "milliseconds", "steps", "input tokens", "output tokens", "cost usd", "unpriced calls", "error"],
    ...ended.map((task) => [task.id, task.status, task.goal, task.threadId, task.createdAt, task.completedAt ?? "", Date.parse(task.completedAt ?? "") - Date.parse(task.createdAt), task.completedSteps, task.usage.inputTokens, task.usage.outputTokens, task.usage.costUsd ?? 0, task.usage.unpricedCalls ?? 0, task.fault?.code ?? ""]),
  ]), "text/csv");
  const p = (share: number) => { const value = quantile(sum.times, share); return value === null ? "–" : duration(value); };
  return (
    <section class="screen">
      <header class="screen-head"><h1>Analytics</h1>
        <div class="row-of-buttons"><div class="chips" role="group" aria-label="Range">{(Object.keys(ranges) as (keyof typeof ranges)[]).map((one) => <Chip key={one} on={one === range} onClick={() => setQuery({ range: one === "24h" ? null : one })}>{one}</Chip>)}</div>
          <Button onClick={download} disabled={ended.length === 0}>CSV</Button></div>
      </header>
      {!complete && <p class="faint">Older tasks are still being read.</p>}
      {ended.length === 0 ? <Empty icon="analytics" title="Nothing ended in this time" action={<a class="button is-plain" href="/new"><Icon name="plus" size={14} /><span>Start a task</span></a>}><p>As soon as tasks end, you see here how many succeed, how long they take and what they cost.</p></Empty> : (
        <>
          <div class="tiles is-six">
            <Figure name="Ended" value={number(ended.length)} more={`${number(sum.created)} were created`} /><Figure name="Success" value={sum.success === null ? "–" : percent(sum.success)} more={`${number(sum.failed)} failed, ${number(sum.cancelled)} cancelled`} />
            <Figure name="p50" value={p(0.5)} more="time to the end" /><Figure name="p95" value={p(0.95)} more={`p99 ${p(0.99)}`} />
            <Figure name="Tokens" value={short(sum.tokens)} more={`${short(sum.tokens / ended.length)} per task`} /><Figure name="Cost" value={sum.cost > 0 || sum.unpriced === 0 ? `${sum.unpriced > 0 ? "≥ " : ""}${usd(sum.cost)}` : "unknown"} more={sum.unpriced > 0 ? `${number(sum.unpriced)} calls without a price` : `${usd(sum.cost / ended.length)} per task`} />
          </div>
          <div class="charts">
            <div class="card"><Chart title="Ended" times={times} stacked format={(value) => (Number.isInteger(value) ? number(value) : "")} series={[{ name: "failed", colour: "--failed", values: list.map((one) => one.failed), bars: true }, { name: "cancelled", colour: "--cancelled", values: list.map((one) => one.cancelled), bars: true }, { name: "completed", colour: "--completed", values: list.map((one) => one.completed), bars: true }]} /></div>
            <div class="card"><Chart title="Time to the end" times={times} format={duration} series={[{ name: "p95", colour: "--paused", values: list.map((one) => quantile(one.times, 0.95)) }, { name: "p50", colour: "--running", values: list.map((one) => quantile(one.times, 0.5)) }]} /></div>
            <div class="card"><Chart title="Tokens" times={times} format={short} series={[{ name: "tokens", colour: "--accent", values: list.map((one) => one.tokens), bars: true }]} /></div>
            <div class="card"><Chart title="Cost" times={times} format={usd} series={[{ name: "dollars", colour: "--completed", values: list.map((one) => one.cost), bars: true }]} /></div>
          </div>
          <Table title="Errors" tasks={ended.filter((task) => task.fault)} by={(task) => task.fault?.code ?? null} empty="Nothing failed." example />
          <Table title="Threads" tasks={ended} by={(task) => task.threadId} empty="" />
        </>
      )}
    </section>
  );
}

function Figure({ name, value, more }: { name: string; value: string; more: string }) {
  return <div class="tile"><span class="tile-name">{name}</span><span class="tile-value">{value}</span><span class="tile-more">{more}</span></div>;
}

const ROWS = 12;

function Table({ title, tasks, by, empty, example }: { title: string; tasks: TaskSummary[]; by: (task: TaskSummary) => string | null; empty: string; example?: boolean }) {
  const groups = grouped(tasks, by).slice(0, ROWS);
  return (
    <section class="card"><header class="card-head"><h2>{title}</h2></header>
      {groups.length === 0 ? <p class="faint panel-empty">{empty}</p> : (
        <div class="scroll-x" role="region" aria-label="Table" tabIndex={0}><table class="plain-table">
          <thead><tr><th>{example ? "Code" : "Thread"}</th><th class="num">Tasks</th><th class="num">p50</th><th class="num">Tokens</th><th class="num">Cost</th><th>{example ? "Last" : ""}</th></tr></thead>
          <tbody>{groups.map(({ name, items }) => {
            const p50 = quantile(items.map((task) => Date.parse(task.completedAt ?? "") - Date.parse(task.createdAt)), 0.5);
            const last = items[0];
            return <tr key={name}><td><code>{name}</code></td><td class="num mono">{number(items.length)}</td><td class="num mono">{p50 === null ? "–" : duration(p50)}</td><td class="num mono">{short(items.reduce((all, task) => all + tokens(task.usage), 0))}</td><td class="num mono">{usd(items.reduce((all, task) => all + (task.usage.costUsd ?? 0), 0))}</td><td>{last && (example ? <a href={`/tasks/${last.id}`}>{last.fault?.message ?? last.goal}</a> : <a href={`/tasks?thread=${encodeURIComponent(name)}`}>show</a>)}</td></tr>;
          })}</tbody>
        </table></div>
      )}
    </section>
  );
}

/** How tasks fare over time, as the server counts it: charts, and tables that can be saved. */
import { getDurations, getFailures, getOverview, getTaskSeries, getUsage } from "#api";
import type { ComponentChildren } from "preact";
import { send } from "../api/client";
import type { Operation } from "../api/operation";
import { useLatest, useResource } from "../api/resource";
import type { FailureGroup, Overview } from "../api/types";
import { Button, Chip, Empty, Failure, Loading, useAction } from "../components/basics";
import { Chart } from "../components/chart";
import { Icon } from "../components/icons";
import { counted, duration, number, percent, short, usd } from "../format";
import { address, setQuery } from "../router";
import { nowSecond } from "../state/session";
import { RangePicker, rangeOf, type Range } from "./analytics-range";
import { save } from "./task/raw";

const EVERY = 5000;

const timed = { step: "Kind of step", tool: "Tool", model: "Model" } as const;
const used = { model: "Model", template: "Template", user: "User" } as const;

export function AnalyticsScreen() {
  const query = address.value.query;
  const by = (query.get("by") ?? "tool") as keyof typeof timed;
  const consumer = (query.get("of") ?? "model") as keyof typeof used;
  const range = rangeOf(query, nowSecond.value);
  const header = (csv?: ComponentChildren) => (
    <header class="screen-head"><h1>Analytics</h1><div class="row-of-buttons"><RangePicker range={range} now={nowSecond.value} />{csv}</div></header>
  );
  if (typeof range === "string") return <section class="screen">{header()}<Empty icon="analytics" title="No such time"><p>{range}</p></Empty></section>;
  return <Counted range={range} by={by} consumer={consumer} header={header} />;
}

/** Where the same failure was met. */
function places({ calls, steps, tasks }: FailureGroup): string {
  return [calls > 0 && counted(calls, "call"), steps > 0 && counted(steps, "step"), tasks > 0 && counted(tasks, "task")].filter(Boolean).join(", ");
}

function Counted({ range: { name: range, window, bucket }, by, consumer, header }: { range: Range; by: keyof typeof timed; consumer: keyof typeof used; header: (csv?: ComponentChildren) => ComponentChildren }) {
  const pieces = bucket ? { ...window, bucket } : window;
  const overview = useLatest(useResource(getOverview(window), EVERY));
  const series = useLatest(useResource(getTaskSeries(pieces), EVERY));
  const spend = useLatest(useResource(getUsage({ ...pieces, by: "time" }), EVERY));
  const durations = useLatest(useResource(getDurations({ ...window, by }), EVERY), by);
  const usage = useLatest(useResource(getUsage({ ...window, by: consumer }), EVERY), consumer);
  const failures = useLatest(useResource(getFailures(window), EVERY));
  if (overview.error && !overview.data) return <section class="screen">{header()}<Failure error={overview.error} retry={overview.reload} /></section>;
  if (!overview.data || !series.data) return <section class="screen">{header()}<Loading rows={10} /></section>;
  const { tasks, duration: took, wait, usage: all } = overview.data;
  const points = series.data.points;
  const times = points.map((one) => Date.parse(one.at));
  const costs = spend.data?.rows ?? [];
  const costTimes = costs.map((one) => Date.parse(one.name));
  const ended = tasks.completed + tasks.failed + tasks.cancelled;
  const ms = (value: number | null) => (value === null ? "–" : duration(value));
  return (
    <section class="screen">
      {header(<Csv rows={getTaskSeries({ ...pieces, format: "csv" })} name={`tasks-${range}`} />)}
      {ended + tasks.created === 0 ? <Empty icon="analytics" title="Nothing happened in this time" action={<a class="button is-plain" href="/new"><Icon name="plus" size={14} /><span>Start a task</span></a>}><p>As soon as tasks run, you see here how many succeed, how long they take and what they cost. Counting is a few seconds behind.</p></Empty> : (
        <>
          <div class="tiles">
            <Figure name="Ended" value={number(ended)} more={`${number(tasks.created)} were created`} /><Figure name="Success" value={tasks.successRate === null ? "–" : percent(tasks.successRate)} more={`${number(tasks.failed)} failed, ${number(tasks.cancelled)} cancelled`} />
            <Figure name="Time to the end" value={ms(took.p50Ms)} more={`p95 ${ms(took.p95Ms)}, p99 ${ms(took.p99Ms)}`} /><Figure name="Wait for a worker" value={ms(wait.p50Ms)} more={`p95 ${ms(wait.p95Ms)}, p99 ${ms(wait.p99Ms)}`} />
            <Figure name="Steps" value={number(overview.data.steps)} more={`${counted(overview.data.retries, "retry")}, ${number(overview.data.failedAttempts)} failed attempts`} /><Figure name="Calls" value={number(all.calls + overview.data.toolCalls)} more={`${number(all.calls)} of models, ${number(overview.data.toolCalls)} of tools`} />
            <Figure name="Tokens" value={short(all.inputTokens + all.outputTokens)} more={`${short(all.cachedTokens)} from caches`} /><Figure name="Cost" value={money(all)} more={all.unpricedCalls > 0 ? `${counted(all.unpricedCalls, "call")} without a price` : `${usd(ended > 0 ? all.costUsd / ended : 0)} per task`} />
          </div>
          <div class="charts">
            <div class="card"><Chart title="Tasks that ended" times={times} stacked format={whole} series={[{ name: "failed", colour: "--failed", values: points.map((one) => one.failed), bars: true }, { name: "cancelled", colour: "--cancelled", values: points.map((one) => one.cancelled), bars: true }, { name: "completed", colour: "--completed", values: points.map((one) => one.completed), bars: true }]} /></div>
            <div class="card"><Chart title="Time to the end" times={times} format={duration} series={[{ name: "p95", colour: "--paused", values: points.map((one) => one.durationP95Ms) }, { name: "p50", colour: "--running", values: points.map((one) => one.durationP50Ms) }]} /></div>
            <div class="card"><Chart title="Wait for a worker" times={times} format={duration} series={[{ name: "p95", colour: "--paused", values: points.map((one) => one.waitP95Ms) }, { name: "p50", colour: "--running", values: points.map((one) => one.waitP50Ms) }]} /></div>
            <div class="card"><Chart title="Tokens" times={costTimes} format={short} stacked series={[{ name: "out", colour: "--completed", values: costs.map((one) => one.outputTokens), bars: true }, { name: "in", colour: "--accent", values: costs.map((one) => one.inputTokens), bars: true }]} /></div>
          </div>
          <Panel title="How long things take" rows={getDurations({ ...window, by, format: "csv" })} name={`durations-${by}-${range}`} chips={(Object.keys(timed) as (keyof typeof timed)[]).map((one) => <Chip key={one} on={one === by} onClick={() => setQuery({ by: one })}>{timed[one]}</Chip>)}>
            <Rows heads={[timed[by] ?? "Name", "Count", "Failed", "Retried", "p50", "p95", "p99"]} rows={durations.data?.rows.map((one) => [<code>{one.name}</code>, number(one.count), number(one.failed), number(one.retried), ms(one.p50Ms), ms(one.p95Ms), ms(one.p99Ms)])} />
          </Panel>
          <Panel title="What is consumed" rows={getUsage({ ...window, by: consumer, format: "csv" })} name={`usage-${consumer}-${range}`} chips={(Object.keys(used) as (keyof typeof used)[]).map((one) => <Chip key={one} on={one === consumer} onClick={() => setQuery({ of: one })}>{used[one]}</Chip>)}>
            <Rows heads={[used[consumer] ?? "Name", "Calls", "Tokens in", "Tokens out", "From caches", "Cost"]} rows={usage.data?.rows.map((one) => [<code>{one.name}</code>, number(one.calls), short(one.inputTokens), short(one.outputTokens), short(one.cachedTokens), money(one)])} />
          </Panel>
          <Panel title="What fails" rows={getFailures({ ...window, format: "csv" })} name={`failures-${range}`}>
            <Rows heads={["Code", "Count", "Where", "Message"]} words={2} rows={failures.data?.failures.map((one) => [<code>{one.code}</code>, number(one.count), places(one), <a href={`/tasks/${one.exampleTaskId}`} title="The newest task it happened to">{one.message}</a>])} />
          </Panel>
        </>
      )}
    </section>
  );
}

function whole(value: number): string { return Number.isInteger(value) ? number(value) : ""; }

/** What was paid, as far as prices are known. */
export function money(usage: Overview["usage"]): string {
  if (usage.unpricedCalls > 0) return usage.costUsd > 0 ? `≥ ${usd(usage.costUsd)}` : "unknown";
  return usd(usage.costUsd);
}

/** Saves a table as the server writes it. */
function Csv({ rows, name }: { rows: Operation<unknown>; name: string }) {
  const [busy, run] = useAction();
  const load = () => run(async () => save(`longhaul-${name}.csv`, await (await send(rows, { accept: "text/csv" })).text(), "text/csv"));
  return <Button busy={busy} onClick={() => void load()} aria-label={`Save ${name} as CSV`}>CSV</Button>;
}

function Figure({ name, value, more }: { name: string; value: string; more: string }) {
  return <div class="tile"><span class="tile-name">{name}</span><span class="tile-value">{value}</span><span class="tile-more">{more}</span></div>;
}

function Panel({ title, rows, name, chips, children }: { title: string; rows: Operation<unknown>; name: string; chips?: ComponentChildren; children: ComponentChildren }) {
  return <section class="card" aria-label={title}><header class="card-head"><h2>{title}</h2>{chips && <div class="chips" role="group" aria-label="By">{chips}</div>}<Csv rows={rows} name={name} /></header>{children}</section>;
}

/** A table whose first column is words and whose others are numbers; with `words`, only the second one is. */
function Rows({ heads, rows, words }: { heads: string[]; rows: ComponentChildren[][] | undefined; words?: number }) {
  if (!rows) return <Loading rows={3} />;
  if (rows.length === 0) return <p class="faint panel-empty">Nothing in this time.</p>;
  const kind = (column: number) => (column > 0 && (words === undefined || column < words) ? "num mono" : undefined);
  return (
    <div class="scroll-x" role="region" aria-label="Table" tabIndex={0}><table class="plain-table">
      <thead><tr>{heads.map((head, column) => <th key={head} class={kind(column)?.slice(0, 3)}>{head}</th>)}</tr></thead>
      <tbody>{rows.map((row, at) => <tr key={at}>{row.map((cell, column) => <td key={column} class={kind(column)}>{cell}</td>)}</tr>)}</tbody>
    </table></div>
  );
}

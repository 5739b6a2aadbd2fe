/** What tasks can use, and how the servers of tools are. */
import { getDurations, listTools } from "#api";
import { useRef } from "preact/hooks";
import { useLatest, useResource } from "../api/resource";
import type { DurationRow, ToolInfo } from "../api/types";
import { Badge, Chip, CopyButton, Empty, Fact, Failure, Loading } from "../components/basics";
import { Icon } from "../components/icons";
import { Value } from "../components/json";
import { Markdown } from "../components/markdown";
import { counted, duration, number, percent, short } from "../format";
import { address, setQuery } from "../router";
import { useShortcuts } from "../state/keys";
import { nowSecond } from "../state/session";
import { TryTool } from "./tool-trial";

function origin(tool: ToolInfo): string { return tool.origin.type === "app" ? tool.origin.toolkit : tool.origin.server; }

const effects: Record<ToolInfo["effect"], string> = {
  "read-only": "Changes nothing: it may be called again at any time.",
  idempotent: "Called again under the same key, it does nothing twice.",
  unsafe: "Dispatched at most once. If a crash leaves open whether it took effect, the task asks you.",
};

/** How far back the statistics look. */
const DAYS = 7;

export function ToolsScreen() {
  const read = useResource(listTools(), 5000);
  // To the minute, so that the same figures are asked for under the same address.
  const from = new Date(Math.floor(nowSecond.value / 60_000) * 60_000 - DAYS * 86_400_000).toISOString();
  const statistics = useLatest(useResource(getDurations({ by: "tool", from }), 10_000));
  const used = new Map(statistics.data?.rows.map((row) => [row.name, row]));
  const chosen = address.value.query.get("tool");
  const group = address.value.query.get("from");
  const search = address.value.query.get("q") ?? "";
  const { tools, mcpServers } = read.data ?? { tools: [], mcpServers: [] };
  const origins = [...new Set(tools.map(origin))];
  const shown = tools.filter((tool) => (!group || origin(tool) === group) && `${tool.name} ${tool.description}`.toLowerCase().includes(search.toLowerCase()));
  const tool = tools.find((one) => one.name === chosen);
  const box = useRef<HTMLInputElement>(null);
  const go = (by: number) => {
    const next = shown[Math.max(0, Math.min(shown.length - 1, shown.findIndex((one) => one.name === chosen) + by))];
    if (next) setQuery({ tool: next.name });
  };
  useShortcuts([
    { keys: "/", what: "Search", group: "Tools", run: () => box.current?.focus() },
    { keys: "j", what: "Next", group: "Tools", run: () => go(1) },
    { keys: "k", what: "Previous", group: "Tools", run: () => go(-1) },
  ]);
  if (read.error && !read.data) return <Failure error={read.error} retry={read.reload} />;
  if (!read.data) return <section class="screen"><Loading /></section>;
  return (
    <section class="screen">
      <header class="screen-head"><h1>Tools <span class="faint count">{tools.length}</span></h1></header>
      <section class="servers" aria-label="MCP servers">
        {mcpServers.map((server) => (
          <div key={server.name} class={`card server${server.connected ? "" : " is-bad"}`}>
            <header class="card-head"><strong>{server.name}</strong><Badge status={server.connected ? "completed" : "failed"} label={server.connected ? "Connected" : "Not connected"} /></header>
            <p class="faint">{server.transport} · {Array.isArray(server.tools) ? server.tools.length : String(server.tools)} tools</p>
            {server.lastError && <p class="problem">{server.lastError}</p>}
          </div>
        ))}
        {mcpServers.length === 0 && <div class="card hint"><Icon name="tools" /><div><strong>No MCP server is configured</strong><p class="faint">Servers are named in the configuration file only, never over the API:</p><pre>{"[tools.mcp.github]\ncommand = \"github-mcp-server\"\nargs = [\"stdio\"]"}</pre></div></div>}
      </section>
      <div class="filters">
        <label class="search"><Icon name="search" size={14} /><span class="sr-only">Search tools</span><input ref={box} type="text" inputMode="search" placeholder="Search tools" value={search} onInput={(event) => setQuery({ q: event.currentTarget.value || null })} /></label>
        <div class="chips" role="group" aria-label="From">{origins.map((name) => <Chip key={name} on={group === name} onClick={() => setQuery({ from: group === name ? null : name })}>{name}</Chip>)}</div>
      </div>
      {tools.length === 0 ? <Empty icon="tools" title="No tools"><p>Without tools a task can only think. Built-in toolkits are switched on under <code>[tools]</code>.</p></Empty> : (
        <div class={`split${tool ? " is-open" : ""}`}>
          <div class="tool-list is-counted">
          <div class="tool tool-heads faint" aria-hidden="true"><span>Tool</span><span class="end">Calls in {DAYS} days</span><span>Effect</span><span class="tool-text">What it does</span><span>From</span></div>
          {shown.length === 0 && <p class="faint tool">No tool has these words.</p>}
          <ul class="plain">{shown.map((one) => (
            <li key={one.name}><button type="button" class="tool" aria-pressed={one.name === chosen} onClick={() => setQuery({ tool: one.name === chosen ? null : one.name })}>
              <code>{one.name}</code><Uses row={used.get(one.name)} /><span class={`tag${one.effect === "unsafe" ? " is-warn" : ""}`}>{one.effect}</span><span class="tool-text">{one.description.replaceAll("`", "")}</span><span class="faint">{origin(one)}</span>
            </button></li>
          ))}</ul>
          </div>
          {tool && (
            <article class="card tool-detail">
              <header class="card-head"><h2><code>{tool.name}</code></h2><CopyButton text={JSON.stringify(tool, null, 2)} /></header>
              <Markdown text={tool.description} />
              <p><span class={`tag${tool.effect === "unsafe" ? " is-warn" : ""}`}>{tool.effect}</span> <span class="faint">{effects[tool.effect]}</span></p>
              <Statistics row={used.get(tool.name)} days={DAYS} />
              <TryTool key={tool.name} tool={tool} />
              {tool.unchecked && <p class="faint">Its arguments are not checked before a call, for the schema cannot be used: {tool.unchecked}</p>}
              <details><summary>Schema of the arguments</summary><Value value={tool.schema} open={3} /></details>
            </article>
          )}
        </div>
      )}
    </section>
  );
}

function Uses({ row }: { row: DurationRow | undefined }) {
  return <span class="tool-uses mono faint" title={row ? `${counted(row.count, "call")} in ${DAYS} days, ${number(row.failed)} failed` : `No calls in ${DAYS} days`}>{row ? short(row.count) : "–"}{row && row.failed > 0 ? <span class="is-bad">, {short(row.failed)} failed</span> : null}</span>;
}

function Statistics({ row, days }: { row: DurationRow | undefined; days: number }) {
  const ms = (value: number | null | undefined) => (value === null || value === undefined ? "–" : value < 1 ? "< 1 ms" : duration(value));
  if (!row) return <p class="faint">No task called it in the last {days} days.</p>;
  return (
    <dl class="facts is-tight" aria-label={`The last ${days} days`}>
      <Fact name={`Calls in ${days} days`}><span class="mono">{number(row.count)}</span></Fact><Fact name="Failed"><span class={`mono${row.failed > 0 ? " is-bad" : ""}`}>{number(row.failed)} <span class="faint">{percent(row.count > 0 ? row.failed / row.count : 0)}</span></span></Fact>
      <Fact name="Median"><span class="mono">{ms(row.p50Ms)}</span></Fact><Fact name="p95"><span class="mono">{ms(row.p95Ms)}</span></Fact><Fact name="p99"><span class="mono">{ms(row.p99Ms)}</span></Fact>
      <Fact name="All of them"><a href="/analytics?by=tool&range=7d">analytics</a></Fact>
    </dl>
  );
}

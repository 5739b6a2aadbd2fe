/** Who works on the tasks, and what waits. */
import { getOverview, getWorker, listWorkers } from "#api";
import { useLatest, useResource } from "../api/resource";
import { Ago, Badge, Empty, Failure, Fact, Loading } from "../components/basics";
import { counted, duration, firstLine, number, shortId } from "../format";
import { nowSecond } from "../state/session";

const badges = { working: "running", draining: "paused", gone: "failed" } as const;

export function WorkersScreen() {
  const status = useResource(getWorker(), 1500);
  const workers = useResource(listWorkers(), 1500);
  // What waits is a matter of now: of the counters over a time, the shortest is asked for.
  const overview = useLatest(useResource(getOverview({ from: new Date(Math.floor(nowSecond.value / 60_000) * 60_000).toISOString() }), 1500));
  if (status.error && !status.data) return <Failure error={status.error} retry={status.reload} />;
  if (!status.data) return <section class="screen"><Loading /></section>;
  const { worker, database, stats } = status.data;
  const line = overview.data?.now;
  const list = workers.data?.workers ?? [];
  return (
    <section class="screen">
      <header class="screen-head"><h1>Queues and workers</h1></header>
      <div class="tiles is-six">
        <div class="tile"><span class="tile-name">Due now</span><span class="tile-value">{number(stats.due)}</span><span class="tile-more">tasks that want a worker</span></div>
        <div class="tile"><span class="tile-name">Oldest waiting</span><span class="tile-value">{line?.oldest ? duration(line.oldest.waitedMs) : "–"}</span><span class="tile-more">{line?.oldest ? <a href={`/tasks/${line.oldest.taskId}`} title={line.oldest.goal}>{firstLine(line.oldest.goal)}</a> : "nobody waits"}</span></div>
        <div class="tile"><span class="tile-name">Delayed</span><span class="tile-value">{line ? number(line.delayed) : "–"}</span><span class="tile-more">{line?.delayed === 1 ? "waits" : "wait"} for a retry</span></div>
        <div class="tile"><span class="tile-name">Held by workers</span><span class="tile-value">{number(stats.leased)}</span><span class="tile-more">leases that have not ended</span></div>
        <div class="tile"><span class="tile-name">Workers</span><span class="tile-value">{number(list.filter((one) => one.presence === "working").length)}</span><span class="tile-more">{counted(list.filter((one) => one.presence !== "gone").reduce((sum, one) => sum + one.concurrency, 0), "place")} in all</span></div>
        <div class="tile"><span class="tile-name">Database</span><span class="tile-value is-text">{database.engine.split(" ").slice(0, 2).join(" ")}</span><span class="tile-more">{database.embedded ? "embedded: this process alone" : "shared by all processes"}</span></div>
      </div>
      <section class="card">
        <header class="card-head"><h2>This process</h2>{worker.draining && <Badge status="paused" label="Draining" />}</header>
        <dl class="facts"><Fact name="Worker">{worker.enabled ? <code>{worker.name}</code> : "none (DISABLE_TASK_WORKER)"}</Fact><Fact name="Side by side">at most <span class="mono">{worker.concurrency}</span></Fact>
          <Fact name="Limiter">{worker.limiter ? `${counted(worker.limiter.max, "step")} in ${duration(worker.limiter.durationMs)}` : "none"}</Fact></dl>
      </section>
      <section class="card">
        <header class="card-head"><h2>All workers</h2></header>
        {list.length === 0 ? <Empty icon="workers" title="Nobody works"><p>Tasks wait until a worker comes: <code>longhaul worker</code>, or <code>longhaul serve</code> without <code>DISABLE_TASK_WORKER</code>.</p></Empty> : (
          <div class="scroll-x" role="region" aria-label="Table" tabIndex={0}><table class="plain-table">
            <thead><tr><th>Worker</th><th>State</th><th>Busy</th><th>Works on</th><th>Host</th><th>Version</th><th>Lease</th><th>Since</th><th>Heard of</th></tr></thead>
            <tbody>{list.map((one) => (
              <tr key={one.name}><td><code>{one.name}</code></td><td><Badge status={badges[one.presence]} label={one.presence} /></td>
                <td><span class="places" role="img" aria-label={`${one.tasks.length} of ${counted(one.concurrency, "place")} taken`}>{Array.from({ length: Math.min(one.concurrency, 40) }, (_, at) => <i key={at} class={at < one.tasks.length ? "is-taken" : ""} />)}</span></td>
                <td>{one.tasks.slice(0, 6).map((id) => <a key={id} class="tag mono" href={`/tasks/${id}`} title={id}>{shortId(id)}</a>)}{one.tasks.length > 6 && <span class="faint">+{one.tasks.length - 6}</span>}</td>
                <td>{one.host} <span class="faint mono">{one.pid}</span></td><td class="mono">{one.version}</td><td class="mono">{duration(one.leaseMs)}</td><td><Ago at={one.startedAt} /></td><td class={nowSecond.value - Date.parse(one.seenAt) > one.leaseMs ? "is-bad" : ""}><Ago at={one.seenAt} /></td></tr>
            ))}</tbody>
          </table></div>
        )}
      </section>
    </section>
  );
}

/** All tasks of the caller in one table. */
import { importTask } from "#api";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ask, message } from "../api/client";
import { isEnded, type Status, type TaskSummary } from "../api/types";
import { Badge, Button, Chip, Dialog, Empty, Failure, Loading, Progress, useAction } from "../components/basics";
import { Icon } from "../components/icons";
import { steady, Virtual } from "../components/virtual";
import { ago, cost, counted, duration, number, short, tokens } from "../format";
import { address, navigate, setQuery } from "../router";
import { useShortcuts } from "../state/keys";
import { pauseWord } from "../state/pause";
import { notify, nowSecond } from "../state/session";
import { LONGEST_SEARCH, readOn, taskList, wantTasks, watchTasks } from "../state/tasks";
import { KeptFilters } from "./kept-filters";
import { act, actOnAll, canCancel, canPause, canRetry, resumable, type Action } from "./actions";

const statuses: Status[] = ["running", "pending", "paused", "completed", "failed", "cancelled"];
const ROW = 44;

type SortBy = "created" | "updated" | "tokens" | "cost";
const values: Record<SortBy, (task: TaskSummary) => number | string> = {
  created: (task) => task.id,
  updated: (task) => task.updatedAt,
  tokens: (task) => tokens(task.usage),
  cost: (task) => task.usage.costUsd ?? 0,
};

/** Whether it waits for its next attempt: it runs, nobody works on it, and it has a time to wake up. */
export function retryAt(task: TaskSummary, now: number): number | null {
  if (task.status !== "running" || task.worker || !task.wakeAt) return null;
  const at = Date.parse(task.wakeAt);
  return at > now ? at : null;
}

export function TaskBadge({ task, now }: { task: TaskSummary; now: number }) {
  const at = retryAt(task, now);
  if (at !== null) return <Badge status="retrying" label={`Retry in ${duration(at - now)}`} />;
  if (task.status === "paused" && task.pause && task.pause.reason !== "user") return <Badge status="paused" label={pauseWord(task.pause.reason)} />;
  return <Badge status={task.status} />;
}

/** Takes a task that was exported, and shows it. */
async function imported(input: HTMLInputElement): Promise<void> {
  const file = input.files?.[0];
  input.value = "";
  if (!file) return;
  try {
    navigate(`/tasks/${(await ask(importTask(file))).id}`);
  } catch (error) { notify(message(error), true); }
}

export function TasksScreen() {
  useEffect(watchTasks, []);
  const query = address.value.query;
  const wanted = new Set((query.get("status") ?? "").split(",").filter(Boolean));
  const search = query.get("q") ?? "";
  const thread = query.get("thread");
  const roots = query.get("roots") !== null;
  const onlyRetrying = query.has("retrying");
  const sort = (query.get("sort") ?? "created") as SortBy;
  const upwards = query.get("order") === "up";
  const { tasks, reach, error, loaded } = taskList.value;
  const complete = reach === null;
  const filtered = wanted.size > 0 || search !== "" || thread !== null || roots || onlyRetrying;
  const [selected, setSelected] = useState(new Set<string>());
  const [active, setActive] = useState(-1);
  const [anchor, setAnchor] = useState(-1);
  const searchBox = useRef<HTMLInputElement>(null);
  const now = nowSecond.value;

  const counts = useMemo(() => {
    const counted: Record<string, number> = {};
    for (const task of tasks) counted[task.status] = (counted[task.status] ?? 0) + 1;
    return counted;
  }, [tasks]);
  const retrying = useMemo(() => tasks.reduce((sum, task) => sum + (retryAt(task, now) === null ? 0 : 1), 0), [tasks, now]);
  const statusKey = [...wanted].sort().join();
  const ordered = sort === "created" && !upwards;
  useEffect(() => {
    const status = onlyRetrying ? "running" : statusKey;
    const q = search.trim().slice(0, LONGEST_SEARCH);
    wantTasks({ ...(status ? { status } : {}), ...(q ? { q } : {}), ...(thread ? { threadId: thread } : {}), ...(roots ? { roots } : {}) }, !ordered);
  }, [statusKey, search, thread, roots, onlyRetrying, ordered]);
  const shown = useMemo(() => {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    const value = values[sort] ?? values.created;
    // Behind what was read others may lie between those that are known for another reason.
    const fits = tasks.filter((task) => (!reach || !ordered || task.id >= reach)
      && (!onlyRetrying || retryAt(task, now) !== null) && (wanted.size === 0 || wanted.has(task.status)) && !(roots && task.parentId) && (!thread || task.threadId === thread)
      && words.every((word) => task.goal.toLowerCase().includes(word) || task.currentStep?.toLowerCase().includes(word) || task.id.includes(word) || task.threadId.toLowerCase().includes(word)));
    if (sort !== "created") fits.sort((one, other) => (value(one) < value(other) ? 1 : value(one) > value(other) ? -1 : 0));
    return upwards ? fits.reverse() : fits;
  }, [tasks, reach, statusKey, search, thread, roots, sort, upwards, onlyRetrying && now]);

  const chosen = shown.filter((task) => selected.has(task.id));
  const toggle = (index: number, range: boolean) => {
    const task = shown[index];
    if (!task) return;
    const next = new Set(selected);
    const on = !next.has(task.id);
    const [from, to] = range && anchor >= 0 ? [Math.min(anchor, index), Math.max(anchor, index)] : [index, index];
    for (let at = from; at <= to; at += 1) { const id = shown[at]?.id; if (id) { if (on) next.add(id); else next.delete(id); } }
    setSelected(next);
    setAnchor(index);
  };
  const move = (by: number) => setActive(Math.max(0, Math.min(shown.length - 1, active + by)));
  useShortcuts([
    { keys: "/", what: "Search", group: "Tasks", run: () => searchBox.current?.focus() },
    { keys: "j", what: "Next", group: "Tasks", run: () => move(1) },
    { keys: "k", what: "Previous", group: "Tasks", run: () => move(-1) },
    { keys: "ArrowDown", what: "Next", group: "Tasks", run: () => move(1) },
    { keys: "ArrowUp", what: "Previous", group: "Tasks", run: () => move(-1) },
    { keys: "Enter", what: "Open", group: "Tasks", run: () => { const task = shown[active]; if (task) navigate(`/tasks/${task.id}`); } },
    { keys: "x", what: "Select", group: "Tasks", run: () => toggle(active, false) },
    { keys: "X", what: "Select up to here", group: "Tasks", run: () => toggle(active, true) },
    { keys: "Escape", what: "Select none", group: "Tasks", can: chosen.length > 0, run: () => setSelected(new Set()) },
  ]);
  const filter = (status: Status) => {
    const next = new Set(wanted);
    if (next.has(status)) next.delete(status);
    else next.add(status);
    setQuery({ status: [...next].join(",") });
  };
  const sorted = (by: SortBy) => setQuery({ sort: by === "created" ? null : by, order: sort === by && !upwards ? "up" : null });
  const heading = (by: SortBy, name: string, more = "") => (
    <span role="columnheader" class={`cell ${more}`} aria-sort={sort === by ? (upwards ? "ascending" : "descending") : "none"}>
      <button type="button" class="sort" onClick={() => sorted(by)}>{name}{sort === by && <span aria-hidden="true">{upwards ? " ↑" : " ↓"}</span>}</button>
    </span>
  );

  return (
    <section class="screen is-full">
      <header class="screen-head">
        <h1>Tasks <span class="faint count">{number(shown.length)}{complete ? "" : "+"}</span></h1>
        <div class="actions">
          <label class="button is-plain" title="Take a task that was exported, as a record that never runs"><Icon name="file" size={14} /><span>Import</span>
            <input class="sr-only" type="file" accept=".jsonl,.zst" onChange={(event) => void imported(event.currentTarget)} />
          </label>
          <a class="button is-primary" href="/new"><Icon name="plus" size={14} /><span>New task</span></a>
        </div>
      </header>
      <div class="filters">
        <label class="search"><Icon name="search" size={14} /><span class="sr-only">Search tasks</span>
          <input ref={searchBox} type="text" inputMode="search" placeholder="Search goals" value={search} onInput={(event) => { setQuery({ q: event.currentTarget.value }); setActive(-1); }}
            onKeyDown={(event) => { if (event.key === "Escape") event.currentTarget.blur(); }} />
        </label>
        <div class="chips" role="group" aria-label="Status">
          {statuses.map((status) => <Chip key={status} on={wanted.has(status)} onClick={() => filter(status)}><i class={`spot is-${status}`} />{status}<span class="faint">{number(counts[status] ?? 0)}{complete && !filtered || !isEnded(status) ? "" : "+"}</span></Chip>)}
          {(roots || tasks.some((task) => task.parentId)) && <Chip on={roots} onClick={() => setQuery({ roots: roots ? null : "only" })}>without sub-tasks</Chip>}
          {(onlyRetrying || retrying > 0) && <Chip on={onlyRetrying} onClick={() => setQuery({ retrying: onlyRetrying ? null : "1" })}><i class="spot is-paused" />retrying<span class="faint">{number(retrying)}</span></Chip>}
          {thread && <Chip on onClick={() => setQuery({ thread: null })}>thread {thread} ×</Chip>}
        </div>
        <KeptFilters />
      </div>
      {chosen.length > 0 && <Bulk chosen={chosen} clear={() => setSelected(new Set())} />}
      {!loaded && !error || (reach === undefined && shown.length === 0 && !error) ? <Loading rows={10} /> : error && tasks.length === 0 ? <Failure error={error} /> : tasks.length === 0 && !filtered ? (
        <Empty icon="tasks" title="No tasks yet" action={<a class="button is-primary" href="/new"><Icon name="plus" size={14} /><span>Start the first one</span></a>}>
          <p>A task carries a goal that is too big for one answer to its end. Say what you want done; a plan is made and carried out, and you watch.</p>
          <pre>longhaul run "Find every TODO comment and write a report"</pre>
        </Empty>
      ) : shown.length === 0 ? (
        <Empty icon="search" title="No task fits" action={<Button onClick={() => setQuery({ q: null, status: null, thread: null, roots: null, retrying: null })}>Show all</Button>}><p>No task has what you ask for.</p></Empty>
      ) : (
        <Virtual class="table tasks-table" count={shown.length} rowHeight={ROW} label="Tasks" role="grid" columns={9} active={active} more={() => void readOn().catch(() => undefined)}
          head={
            <div role="row" class="row is-head" aria-rowindex={1}>
              <span role="columnheader" class="cell c-check"><input type="checkbox" aria-label="Select all" checked={chosen.length === shown.length} onChange={() => setSelected(new Set(chosen.length === shown.length ? [] : shown.map((task) => task.id)))} /></span>
              <span role="columnheader" class="cell c-status">Status</span><span role="columnheader" class="cell c-goal">Goal</span><span role="columnheader" class="cell c-steps">Steps</span>
              {heading("tokens", "Tokens", "c-tokens")}{heading("cost", "Cost", "c-cost")}<span role="columnheader" class="cell c-time">Time</span>{heading("updated", "Updated", "c-updated")}{heading("created", "Created", "c-created")}
            </div>
          }
          row={(index) => <Row key={shown[index]?.id} task={shown[index] as TaskSummary} index={index} active={index === active} selected={selected.has(shown[index]?.id ?? "")} toggle={toggle} now={now} />} />
      )}
    </section>
  );
}

/** A click anywhere on a row opens its task, but for what has a meaning of its own there, and for words being marked. */
function opened(event: MouseEvent, id: string): void {
  if (event.defaultPrevented || (event.target as Element).closest("a, input, .c-check") || getSelection()?.toString()) return;
  navigate(`/tasks/${id}`);
}

/** What a task is, if it is more than a goal that somebody gave. */
function origin(task: TaskSummary) {
  if (task.imported) return <span class="tag is-of" title="It was carried out elsewhere, and is here as a record">import</span>;
  if (task.parentId) return <span class="tag is-of" title={`It works for task ${task.parentId}`}>sub-task</span>;
  if (task.forkedFrom) return <span class="tag is-of" title={`It begins with what task ${task.forkedFrom.task} did up to entry ${task.forkedFrom.seq}`}>fork</span>;
  return null;
}

const Row = steady(function Row({ task, index, active, selected, toggle, now }: { task: TaskSummary; index: number; active: boolean; selected: boolean; toggle: (index: number, range: boolean) => void; now: number }) {
  const took = (task.completedAt ? Date.parse(task.completedAt) : now) - Date.parse(task.createdAt);
  // A step that was skipped is none that is left to do.
  const percent = task.status === "completed" ? 100 : task.totalSteps > 0 ? (task.completedSteps / task.totalSteps) * 100 : 0;
  return (
    <div role="row" class={`row${active ? " is-active" : ""}${selected ? " is-selected" : ""}`} aria-rowindex={index + 2} aria-selected={selected} onClick={(event) => opened(event, task.id)}>
      <span role="gridcell" class="cell c-check"><input type="checkbox" checked={selected} aria-label={`Select ${task.goal.slice(0, 60)}`} onClick={(event) => { event.preventDefault(); toggle(index, event.shiftKey); }} /></span>
      <span role="gridcell" class="cell c-status"><TaskBadge task={task} now={now} /></span>
      <span role="gridcell" class="cell c-goal">
        <span class="goal-line">{origin(task)}<a href={`/tasks/${task.id}`} title={task.goal} dir="auto">{task.goal}</a>{task.priority !== 3 && <span class="tag" title="Priority">P{task.priority}</span>}</span>
        {task.currentStep && <span class="at-work" title={`At work: ${task.currentStep}`}>{task.currentStep}</span>}
      </span>
      <span role="gridcell" class="cell c-steps"><Progress value={percent} status={task.status} /><span class="mono">{task.completedSteps}/{task.totalSteps}</span></span>
      <span role="gridcell" class="cell c-tokens mono" title={`${number(task.usage.inputTokens)} in, ${number(task.usage.outputTokens)} out`}>{tokens(task.usage) > 0 ? short(tokens(task.usage)) : "–"}</span>
      <span role="gridcell" class="cell c-cost mono">{cost(task.usage)}</span>
      <span role="gridcell" class="cell c-time mono">{duration(Math.max(took, 0))}</span>
      <time role="gridcell" class="cell c-updated" dateTime={task.updatedAt} title={task.updatedAt}>{ago(task.updatedAt, now)}</time>
      <time role="gridcell" class="cell c-created" dateTime={task.createdAt} title={task.createdAt}>{ago(task.createdAt, now)}</time>
    </div>
  );
});

function Bulk({ chosen, clear }: { chosen: TaskSummary[]; clear: () => void }) {
  const [busy, run] = useAction();
  const [asking, setAsking] = useState(false);
  const doAll = (action: Action, fits: (task: TaskSummary) => boolean) => run(async () => {
    const ids = chosen.filter(fits).map((task) => task.id);
    const { done, failed, reason } = ids.length === 1 && ids[0] ? await act(ids[0], action).then(() => ({ done: 1, failed: 0, reason: "" })) : await actOnAll(ids, action);
    notify(failed > 0 ? `${action}: ${done} done, ${failed} not (${reason})` : `${action}: ${done} done`, failed > 0);
    clear();
  });
  const by = (fits: (status: string) => boolean) => (task: TaskSummary) => fits(task.status);
  const count = (fits: (task: TaskSummary) => boolean) => chosen.filter(fits).length;
  const retryable = count(by(canRetry)), pausable = count(by(canPause)), waiting = count(resumable), cancellable = count(by(canCancel));
  useShortcuts([{ keys: "P", what: "Pause the selected", group: "Selection", can: pausable > 0, run: () => void doAll("pause", by(canPause)) }]);
  return (
    <div class="bulk" role="region" aria-label="Selection">
      <strong>{number(chosen.length)} selected</strong>
      <Button icon="pause" busy={busy} disabled={pausable === 0} onClick={() => void doAll("pause", by(canPause))}>{`Pause ${pausable || ""}`}</Button>
      <Button icon="play" busy={busy} disabled={waiting === 0} onClick={() => void doAll("resume", resumable)}>{`Resume ${waiting || ""}`}</Button>
      {retryable > 0 && <Button icon="retry" busy={busy} onClick={() => void doAll("retry", by(canRetry))}>{`Retry ${retryable}`}</Button>}
      <Button icon="stop" kind="danger" busy={busy} disabled={cancellable === 0} onClick={() => setAsking(true)}>{`Cancel ${cancellable || ""}`}</Button>
      {chosen.length === 2 && <Button icon="sort" onClick={() => navigate(`/tasks/${chosen[1]?.id}/compare/${chosen[0]?.id}`)}>Compare</Button>}
      <Button kind="ghost" onClick={clear}>Select none</Button>
      {asking && <Dialog title={`Cancel ${counted(cancellable, "task")}?`} close={() => setAsking(false)}>
        <p>Nothing further is started in {cancellable === 1 ? "it" : "them"}. What {cancellable === 1 ? "it" : "they"} did to the world is not undone.</p>
        <div class="dialog-foot"><Button onClick={() => setAsking(false)}>Let {cancellable === 1 ? "it" : "them"} run</Button><Button kind="danger" icon="stop" disabled={cancellable === 0} onClick={() => { setAsking(false); void doAll("cancel", by(canCancel)); }}>{`Cancel ${counted(cancellable, "task")}`}</Button></div>
      </Dialog>}
    </div>
  );
}

/** One task: what it wants, where it stands, how it got there, and what can be done with it. */
import { changeTask, exportTask, getTask, raiseBudget, tellTask } from "#api";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ask, comebacks, message, send } from "../../api/client";
import { forget } from "../../api/resource";
import type { Budget, MessagePart, TaskDetail } from "../../api/types";
import { isEnded, isLive } from "../../api/types";
import { Ago, Badge, Button, copy, Dialog, Fact, Failure, Field, Loading, Progress, Tabs, useAction } from "../../components/basics";
import { Icon } from "../../components/icons";
import { cost, counted, duration, number, short, shortId, text, tokens, usd } from "../../format";
import { address, navigate, setQuery } from "../../router";
import { useShortcuts } from "../../state/keys";
import { overdue, plannedSteps, remaining, type Story } from "../../state/journal";
import { pauseText, pauseWord } from "../../state/pause";
import { notify, now } from "../../state/session";
import { useStory } from "../../state/story";
import { act, canCancel, canPause, canResume, canRetry, curl, resumable, type Action } from "../actions";
import { attach, AttachedFiles, attachments, takesFiles } from "../files";
import { SaveAsTemplate } from "../templates";
import { CheckpointsTab, ContextTab } from "./context";
import { EffectsTab } from "./effects";
import { ChildrenTab } from "./children";
import { ForkDialog, RetryDialog, type ForkPlace } from "./fork";
import { GraphTab } from "./graph";
import { Inspector } from "./inspector";
import { JobsTab } from "./jobs";
import { RawTab, save } from "./raw";
import { ReplayDialog } from "./replay";
import { SpeechPanel } from "./speech";
import { StepTree } from "./steps";
import { ThreadTab } from "./thread";
import { TimelineTab } from "./timeline";
import { TraceTab } from "./trace";
import { Waiting } from "./waiting";
import { OutputTab } from "./output";

/** The task as the server sees it, read again when its journal has grown, a few times a second at most. */
function useTask(id: string, seq: number): { task: TaskDetail | undefined; error: unknown; set(task: TaskDetail): void } {
  const [task, set] = useState<TaskDetail>();
  const [error, setError] = useState<unknown>(null);
  const state = useRef({ wanted: 0, busy: false });
  const read = async () => {
    if (state.current.busy) return;
    state.current.busy = true;
    try {
      const fresh = await ask(getTask(id));
      set(fresh);
      setError(null);
      await new Promise((resolve) => setTimeout(resolve, 200));
      state.current.busy = false;
      if (fresh.seq < state.current.wanted) void read();
    } catch (cause) {
      state.current.busy = false;
      setError(cause);
    }
  };
  useEffect(() => {
    state.current.wanted = Math.max(seq, state.current.wanted);
    if (!task || task.seq < seq) void read();
  }, [id, seq, comebacks.value]);
  return { task, error, set };
}

export function TaskScreen({ id, tab: named }: { id: string; tab: string | null }) {
  const { story, version, ready, error } = useStory(id);
  const { task, error: refused, set } = useTask(id, story.entries.at(-1)?.seq ?? 0);
  const [busy, run] = useAction();
  const [asking, setAsking] = useState<"cancel" | "budget" | "message" | "template" | "replay" | null>(null);
  const [forking, setForking] = useState<ForkPlace | null>(null);
  const [retrying, setRetrying] = useState<{ step: number | null } | null>(null);
  const query = address.value.query;
  const chosenStep = query.has("step") ? Number(query.get("step")) : null;
  const chosenSeq = query.has("seq") ? Number(query.get("seq")) : null;
  const status = task && story.to === null ? (isEnded(task.status) ? task.status : story.entries.length > 0 ? story.status : task.status) : story.status;
  const tab = useView(named, status, query.has("time") || chosenStep !== null || chosenSeq !== null);
  const doIt = (action: Action) => run(async () => { set(await act(id, action)); });
  const tabs = tabsOf(id, story, task);
  const turn = (by: number) => {
    const at = tabs.findIndex((one) => one.id === tab);
    const next = tabs[(at + by + tabs.length) % tabs.length];
    if (next) navigate(next.href);
  };
  const inspected = chosenStep !== null || chosenSeq !== null;
  const goesOn = task !== undefined && resumable({ ...task, status });
  useEffect(() => { if (story.goal) document.title = `${story.goal.slice(0, 60)} · Longhaul`; }, [story.goal, version]);
  useShortcuts([
    { keys: "]", what: "Next tab", group: "This task", run: () => turn(1) },
    { keys: "[", what: "Previous tab", group: "This task", run: () => turn(-1) },
    { keys: "p", what: canResume(status) ? "Resume" : "Pause", group: "This task", can: canPause(status) || goesOn, run: () => void doIt(canPause(status) ? "pause" : "resume") },
    { keys: "C", what: "Cancel", group: "This task", can: canCancel(status), run: () => setAsking("cancel") },
    { keys: "y", what: "Copy as curl", group: "This task", run: () => void copy(curl(getTask(id)), "Copied as curl") },
    { keys: "f", what: "Fork from where it stands", group: "This task", run: () => setForking({ words: "from where it stands" }) },
    { keys: "R", what: "Retry what failed", group: "This task", can: canRetry(status), run: () => setRetrying({ step: null }) },
    { keys: "", what: "Message", group: "This task", can: !isEnded(status), run: () => setAsking("message") },
    { keys: "", what: "Budget", group: "This task", can: !isEnded(status), run: () => setAsking("budget") },
    { keys: "", what: "Export", group: "This task", run: () => void exported(id) },
    { keys: "", what: "Replay", group: "This task", run: () => setAsking("replay") },
    { keys: "", what: "Save as template", group: "This task", can: status === "completed", run: () => setAsking("template") },
    { keys: "Escape", what: "Close the inspector", group: "This task", can: inspected, run: () => setQuery({ step: null, seq: null, attempt: null }) },
    { keys: "u", what: "Back to all tasks", group: "This task", run: () => navigate("/tasks") },
  ]);
  if (refused && !task) return <Failure error={refused} way={<a class="button is-plain" href="/tasks"><Icon name="tasks" size={14} /><span>All tasks</span></a>} />;
  if (error && story.entries.length === 0) return <Failure error={error} />;
  if (!task || !ready) return <Loading rows={12} />;
  const waiting = task.pause !== null || (task.asking?.open ?? 0) > 0;
  return (
    <section class="screen is-full task">
      <header class="task-head">
        <div class="crumbs"><a href="/tasks">Tasks</a><span aria-hidden="true">/</span><code title={id}>{id}</code><Button kind="ghost" icon="copy" aria-label="Copy the id" title="Copy the id" onClick={() => void copy(id)} /></div>
        <div class="task-title">
          <Goal text={task.goal} />
          <div class="actions">
            {canPause(status) && <Button icon="pause" busy={busy} onClick={() => void doIt("pause")}>Pause</Button>}
            {goesOn && <Button icon="play" kind={task.pause?.reason === "budget" ? "plain" : "primary"} busy={busy} onClick={() => void doIt("resume")}>Resume</Button>}
            {!isEnded(status) && <Button icon="send" onClick={() => setAsking("message")}>Message</Button>}
            {!isEnded(status) && <Button icon="plus" onClick={() => setAsking("budget")}>Budget</Button>}
            {canCancel(status) && <Button icon="stop" kind="danger" busy={busy} onClick={() => setAsking("cancel")}>Cancel</Button>}
            {canRetry(status) && <Button icon="retry" kind="primary" onClick={() => setRetrying({ step: null })}>Retry</Button>}
            <Button icon="fork" onClick={() => setForking({ words: "from where it stands" })}>Fork</Button>
            <Button icon="file" title="Save the task as one file, to import or replay elsewhere" onClick={() => void exported(id)}>Export</Button>
            <Button icon="retry" title="Carry it out again from its recording, and see whether it goes the same way: nothing runs" onClick={() => setAsking("replay")}>Replay</Button>
            {status === "completed" && <Button icon="template" onClick={() => setAsking("template")}>Save as template</Button>}
            {isEnded(status) && <a class="button is-plain" href={`/new?${againOf(task)}`}><Icon name="retry" size={14} /><span>Run again</span></a>}
            <Button icon="copy" kind="ghost" title="Copy as curl (y)" aria-label="Copy as curl" onClick={() => void copy(curl(getTask(id)), "Copied as curl")}>curl</Button>
          </div>
        </div>
        <Facts task={task} story={story} status={status} />
        {waiting && status === "paused" && <Waiting task={task} done={set} />}
        {isLive(status) && (task.waitsFor ?? []).map((below) => <div key={below.task} class="callout is-wait" role="status"><Icon name="pause" /><div><strong>Waits for a sub-task</strong><p><a href={`/tasks/${below.task}`}>{below.goal}</a>: {pauseText(below.pause)}</p></div></div>)}
        {isLive(status) && (task.inLine ?? 0) > 0 && <div class="callout is-wait" role="status"><Icon name="pause" /><div><strong>Steps wait for their turn</strong><p>{task.inLine} are ready: [worker.limiter] lets so many start in so much time.</p></div></div>}
        {task.fault && <div class="callout is-bad" role="status"><Icon name="alert" /><div><strong>{task.fault.code}</strong><p>{task.fault.message}</p></div></div>}
      </header>
      <div class={`task-body${inspected ? " is-inspected" : ""}`}>
        <StepTree story={story} chosen={chosenStep} />
        <div class="task-main">
          <Tabs tabs={tabs} current={tab} label="Views of this task" />
          <div class="tab-body">{view(tab, { id, story, task, version, chosenStep, chosenSeq, fork: setForking, changed: set })}</div>
          <SpeechPanel story={story} />
        </div>
        {inspected && <Inspector id={id} story={story} step={chosenStep} seq={chosenSeq} version={version} fork={setForking} retry={isEnded(status) ? (step) => setRetrying({ step }) : undefined} />}
      </div>
      {asking === "cancel" && <CancelDialog close={() => setAsking(null)} cancel={() => { setAsking(null); void doIt("cancel"); }} />}
      {asking === "budget" && <BudgetDialog id={id} task={task} close={() => setAsking(null)} done={set} />}
      {asking === "template" && <SaveAsTemplate task={id} goal={task.goal} close={() => setAsking(null)} />}
      {asking === "replay" && <ReplayDialog task={task} close={() => setAsking(null)} />}
      {forking && <ForkDialog task={task} place={forking} close={() => setForking(null)} />}
      {retrying && <RetryDialog task={task} step={retrying.step} close={() => setRetrying(null)} />}
      {asking === "message" && <MessageDialog id={id} close={() => setAsking(null)} done={set} />}
    </section>
  );
}

/** The view that is seen: the one that was asked for; else the course of the task, and once it is completed what it brought. */
function useView(named: string | null, status: TaskDetail["status"], looksClosely: boolean): string {
  const [first, setFirst] = useState("timeline");
  // What somebody looks at closely is not taken away by the end of the task.
  useEffect(() => { if (status === "completed" && !looksClosely) setFirst("output"); }, [status]);
  return named ?? first;
}

/** The goal as it was written. Of a long one the beginning, until somebody wants all of it. */
function Goal({ text }: { text: string }) {
  const box = useRef<HTMLHeadingElement>(null);
  const [whole, setWhole] = useState(false);
  const [cut, setCut] = useState(false);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element || whole) return;
    const measure = () => setCut(element.scrollHeight > element.clientHeight + 2);
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, [text, whole]);
  return (
    <div class="task-goal">
      <h1 ref={box} dir="auto" class={whole ? "is-whole" : undefined}>{text}</h1>
      {(cut || whole) && <button type="button" class="goal-more" aria-expanded={whole} onClick={() => setWhole(!whole)}>{whole ? "Less" : "The whole goal"}</button>}
    </div>
  );
}

/** What a task like this one begins with. */
function againOf({ goal, chatModel, agentId, priority }: TaskDetail): string {
  return new URLSearchParams({ goal, ...(chatModel ? { model: chatModel } : {}), ...(agentId ? { agent: agentId } : {}), ...(priority === 3 ? {} : { priority: String(priority) }) }).toString();
}

/** Saves the task as one file, as the server writes it. */
async function exported(id: string): Promise<void> {
  try {
    save(`longhaul-${id}.jsonl`, await (await send(exportTask(id), { accept: "application/x-ndjson" })).text(), "application/x-ndjson");
  } catch (error) { notify(message(error), true); }
}

export interface ViewProps { id: string; story: Story; task: TaskDetail; version: number; chosenStep: number | null; chosenSeq: number | null; fork: (place: ForkPlace) => void; changed: (task: TaskDetail) => void }

function tabsOf(id: string, story: Story, task: TaskDetail | undefined) {
  const more = address.value.query.toString();
  const href = (tab: string) => `/tasks/${id}/${tab}${more ? `?${more}` : ""}`;
  const all: [string, string, number?][] = [
    ["timeline", "Timeline"], ["trace", "Trace", story.entries.length], ["graph", "Plan", story.revisions.length > 1 ? story.revisions.length : undefined],
    ["output", "Result"], ["chat", "Chat"], ["context", "Context"], ["checkpoints", "Checkpoints", story.checkpoints.length], ["effects", "Effects", task?.effects?.length], ...childrenOf(story), ["jobs", "Jobs"], ["raw", "Raw"],
  ];
  return all.map(([tab, name, count]) => ({ id: tab, name, href: href(tab), count }));
}

/** The view of the sub-tasks, if there are any. */
function childrenOf(story: Story): [string, string, number][] {
  const count = [...story.calls.values()].filter((call) => call.child).length;
  return count > 0 ? [["children", "Sub-tasks", count]] : [];
}

function view(tab: string, props: ViewProps) {
  switch (tab) {
    case "trace": return <TraceTab {...props} />;
    case "graph": return <GraphTab {...props} />;
    case "output": return <OutputTab {...props} />;
    case "chat": return <ThreadTab {...props} />;
    case "context": return <ContextTab {...props} />;
    case "checkpoints": return <CheckpointsTab {...props} />;
    case "effects": return <EffectsTab {...props} />;
    case "children": return <ChildrenTab {...props} />;
    case "jobs": return <JobsTab {...props} />;
    case "raw": return <RawTab {...props} />;
    default: return <TimelineTab {...props} />;
  }
}

function Facts({ task, story, status }: { task: TaskDetail; story: Story; status: TaskDetail["status"] }) {
  const live = !isEnded(status);
  const time = live ? now.value : (story.to ?? Date.parse(task.updatedAt));
  const left = remaining(story, time);
  const current = plannedSteps(story);
  const percent = task.totalSteps > 0 ? (task.completedSteps / task.totalSteps) * 100 : task.progress;
  const rests = status === "paused" ? story.pauses.findLast((pause) => pause.to === null) : undefined;
  const retrying = current.find((step) => step.status === "failed" && (step.attempts.at(-1)?.retryAt ?? 0) > time);
  const retry = retrying?.attempts.at(-1)?.retryAt;
  const limit = task.budget?.limits;
  return (
    <>
      <div class="task-progress"><Progress value={status === "completed" ? 100 : percent} status={status} /></div>
      <dl class="facts">
        <Fact name="Status">{retry ? <Badge status="retrying" label={`Retry in ${duration(retry - time)}`} /> : status === "paused" && task.pause ? <Badge status="paused" label={pauseWord(task.pause.reason)} /> : <Badge status={status} />}</Fact>
        <Fact name="Steps"><span class="mono">{task.completedSteps}/{task.totalSteps}</span></Fact>
        {rests ? <Fact name="Paused for"><span class="mono">{duration(time - rests.from)}</span></Fact> : <Fact name={live ? "Running for" : "Took"}><span class="mono">{duration(time - story.from)}</span></Fact>}
        {live && !rests && <Fact name="Time left" title="From what completed steps took, or what the plan says">{left === null ? "–" : overdue(story, time) ? "longer than planned" : left < 1000 ? "any moment" : `about ${duration(left)}`}</Fact>}
        <Fact name="Tokens" title={`${number(task.usage.inputTokens)} in, ${number(task.usage.outputTokens)} out, ${number(task.usage.cachedTokens)} from caches`}><span class="mono">{short(tokens(task.usage))}{limit?.tokens ? <span class="faint"> / {short(limit.tokens)}</span> : null}</span></Fact>
        <Fact name="Cost" title={task.usage.unpricedCalls ? `${counted(task.usage.unpricedCalls, "call")} of models whose price nobody told` : undefined}><span class="mono">{cost(task.usage)}{limit?.costUsd ? <span class="faint"> / {usd(limit.costUsd)}</span> : null}</span></Fact>
        <Fact name="Model calls"><span class="mono">{number(task.usage.modelCalls)}</span></Fact>
        <Fact name="Tool calls"><span class="mono">{number(task.usage.toolCalls)}</span></Fact>
        <Fact name="Priority"><Priority task={task} /></Fact>
        <Fact name="Started"><Ago at={task.createdAt} /></Fact>
        {task.chatModel && <Fact name="Model"><code>{task.chatModel}</code></Fact>}
        {task.parent && <Fact name="Sub-task of"><a href={`/tasks/${task.parent.task}?step=${task.parent.step}`}><code>{shortId(task.parent.task)}</code></a>{task.parent.depth > 1 && <> · <a href={`/tasks/${task.parent.root}`}>top of the tree</a></>}</Fact>}
        {task.forkedFrom && <Fact name="Forked from"><a href={`/tasks/${task.forkedFrom.task}?seq=${task.forkedFrom.seq}`}><code>{shortId(task.forkedFrom.task)}</code></a> · <a href={`/tasks/${task.forkedFrom.task}/compare/${task.id}`}>compare</a></Fact>}
        {task.imported && <Fact name="Imported" title="It was carried out elsewhere and came as a file: a record that never runs">yes</Fact>}
        {task.template && <Fact name="Template"><a href={`/templates?template=${encodeURIComponent(task.template.name)}`}><code>{task.template.name}</code></a></Fact>}
        <Fact name="Thread"><a href={`/chat/${encodeURIComponent(task.threadId)}`}>{task.threadId.length > 16 ? `${task.threadId.slice(0, 14)}…` : task.threadId}</a></Fact>
      </dl>
    </>
  );
}

function Priority({ task }: { task: TaskDetail }) {
  const [priority, put] = useState(task.priority);
  useEffect(() => put(task.priority), [task.priority]);
  if (isEnded(task.status)) return <span class="mono">{task.priority}</span>;
  const change = async (value: number) => {
    put(value);
    try {
      await ask(changeTask(task.id, { priority: value }));
      forget(getTask(task.id));
      notify(`Priority is ${value} now`);
    } catch (error) { put(task.priority); notify(message(error), true); }
  };
  return (
    <select class="inline-select" aria-label="Priority" value={priority} onChange={(event) => void change(Number(event.currentTarget.value))}>
      {[1, 2, 3, 4, 5].map((level) => <option key={level} value={level}>{level === 1 ? "1 – most urgent" : level === 3 ? "3 – usual" : level}</option>)}
    </select>
  );
}

function CancelDialog({ close, cancel }: { close: () => void; cancel: () => void }) {
  return (
    <Dialog title="Cancel this task?" close={close}>
      <p>Nothing further is started. What it did to the world is not undone; the tab Effects lists it.</p>
      <div class="dialog-foot"><Button onClick={close}>Let it run</Button><Button kind="danger" icon="stop" onClick={cancel}>Cancel the task</Button></div>
    </Dialog>
  );
}

function BudgetDialog({ id, task, close, done }: { id: string; task: TaskDetail; close: () => void; done: (task: TaskDetail) => void }) {
  const [more, setMore] = useState<Record<string, string>>({});
  const [busy, run] = useAction();
  const limits = task.budget.limits;
  const fields: [Exclude<keyof Budget, "softPercent">, string, (value: number) => string][] = [
    ["tokens", "Tokens", number], ["costUsd", "US dollars", usd], ["modelCalls", "Model calls", number], ["toolCalls", "Tool calls", number], ["steps", "Steps", number], ["wallTimeMs", "Minutes", duration],
  ];
  const limited = fields.filter(([key]) => limits[key]);
  const add = Object.fromEntries(Object.entries(more).filter(([, value]) => Number(value) > 0).map(([key, value]) => [key, Math.round(Number(value) * (key === "wallTimeMs" ? 60_000 : 1) * 1e6) / 1e6]));
  const save = () => run(async () => { done(await ask(raiseBudget(id, { add }))); notify("The budget is raised"); close(); });
  return (
    <Dialog title="Add to the budget" close={close}>
      {limited.length === 0 ? <p>This task has no limits that could be raised.</p> : <p class="faint">What you give here is added to the limit. Before each call of a model the most that it may cost is set aside, so a task pauses when that no longer fits, although less is used up.</p>}
      {limited.map(([key, name, shown]) => (
        <Field key={key} label={name} hint={`${shown(Number(task.budget?.used[key] ?? 0))} of ${shown(Number(limits[key]))} used${Number(more[key]) > 0 ? `; the limit becomes ${shown(Number(limits[key]) + Number(add[key]))}` : ""}`}>
          <input type="number" min="0" step="any" placeholder="nothing more" value={more[key] ?? ""} onInput={(event) => setMore({ ...more, [key]: event.currentTarget.value })} />
        </Field>
      ))}
      <div class="dialog-foot"><Button onClick={close}>Close</Button><Button kind="primary" busy={busy} disabled={Object.keys(add).length === 0} onClick={() => void save()}>Add</Button></div>
    </Dialog>
  );
}

function MessageDialog({ id, close, done }: { id: string; close: () => void; done: (task: TaskDetail) => void }) {
  const [said, setSaid] = useState("");
  const [files, setFiles] = useState<MessagePart[]>([]);
  const [busy, run] = useAction();
  const send = () => run(async () => { done(await ask(tellTask(id, { text: said, ...attachments(files) }))); notify("The task has your message"); close(); });
  return (
    <Dialog title="Tell this task something" close={close}>
      <p class="faint">The models of the steps at work read it at their next turn, and those of all later steps from the beginning.</p>
      <Field label="Message"><textarea rows={4} autoFocus value={said} onInput={(event) => setSaid(event.currentTarget.value)} onKeyDown={(event) => { if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) void send(); }} {...takesFiles((added) => void attach(files, added, setFiles))} /></Field>
      <AttachedFiles files={files} put={setFiles} />
      <div class="dialog-foot"><Button onClick={close}>Close</Button><Button kind="primary" icon="send" busy={busy} disabled={text(said).trim() === ""} onClick={() => void send()}>Send</Button></div>
    </Dialog>
  );
}

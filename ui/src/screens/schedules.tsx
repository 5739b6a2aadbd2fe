/** What is started when: schedules with their next times, their tasks, and the form for a new one. */
import { changeSchedule, createSchedule, deleteSchedule, getSchedule, listSchedules, listTasks, listTemplates, pauseSchedule, previewSchedule, resumeSchedule, triggerSchedule } from "#api";
import { useState } from "preact/hooks";
import { ApiError, ask, message } from "../api/client";
import { useOnce } from "../api/once";
import { forget, useResource } from "../api/resource";
import type { Schedule, ScheduleWish } from "../api/types";
import { Ago, Badge, Button, Chip, Choice, Dialog, Empty, Fact, Failure, Field, Loading, useAction } from "../components/basics";
import { Icon } from "../components/icons";
import { Value } from "../components/json";
import { asSchema, SchemaForm, typedDefaults, typedOf, valuesOf, type Typed } from "../components/schema-form";
import { counted, day, duration, number } from "../format";
import { address, navigate, setQuery } from "../router";
import { useShortcuts } from "../state/keys";
import { notify, nowSecond } from "../state/session";
import { TaskBadge } from "./tasks";
import { ApprovalFields, BudgetFields, termsOf, ThreadField, Who, wishOf, type Terms } from "./terms";
import { ToolPicks, usePicksOf, useToolWish, type Picks } from "./tool-picks";

const EVERY = 3000;

/** Patterns that people mean most often. */
const usual: [string, string][] = [["Every hour", "0 * * * *"], ["Every day at 9", "0 9 * * *"], ["Workdays at 9", "0 9 * * 1-5"], ["Mondays at 9", "0 9 * * 1"], ["First of the month", "0 9 1 * *"], ["Every 15 minutes", "*/15 * * * *"]];

const patternOf = (schedule: Schedule) => ("cron" in schedule ? schedule : null);

export function SchedulesScreen() {
  const read = useResource(listSchedules({ limit: 1000 }), EVERY);
  const [active, setActive] = useState(-1);
  const query = address.value.query;
  const chosen = query.get("schedule");
  const making = query.has("new");
  const schedules = read.data?.schedules ?? [];
  const go = (by: number) => {
    const next = Math.max(0, Math.min(schedules.length - 1, active + by));
    setActive(next);
    const schedule = schedules[next];
    if (schedule) setQuery({ schedule: schedule.id });
  };
  useShortcuts([
    { keys: "c", what: "New schedule", group: "Schedules", run: () => setQuery({ new: "1" }) },
    { keys: "j", what: "Next", group: "Schedules", run: () => go(1) },
    { keys: "k", what: "Previous", group: "Schedules", run: () => go(-1) },
    { keys: "Escape", what: "Close the details", group: "Schedules", run: () => setQuery({ schedule: null }) },
  ]);
  if (read.error && !read.data) return <Failure error={read.error} retry={read.reload} />;
  if (!read.data) return <section class="screen"><Loading /></section>;
  const create = <Button kind="primary" icon="plus" onClick={() => setQuery({ new: "1" })}>New schedule</Button>;
  return (
    <section class="screen">
      <header class="screen-head"><h1>Schedules {schedules.length > 0 && <span class="faint count">{number(schedules.length)}</span>}</h1>{schedules.length > 0 && create}</header>
      {schedules.length === 0 ? (
        <Empty icon="calendar" title="Nothing is scheduled" action={create}>
          <p>A schedule starts a task at a moment, or again and again by a cron pattern in a time zone. Each fire time starts one task, however many workers there are.</p>
          <pre>{"longhaul schedule add --cron '0 9 * * 1-5' \\\n  --time-zone Europe/Berlin \"Write a report on the open TODOs\""}</pre>
        </Empty>
      ) : (
        <div class={`split${chosen ? " is-open" : ""}`}>
          <div class="card is-flush scroll-x" role="region" aria-label="All schedules" tabIndex={0}><table class="plain-table is-rows">
            <thead><tr><th>Name</th><th>When</th><th>Next</th><th>Last task</th><th class="num">Runs</th><th class="num">Skipped</th></tr></thead>
            <tbody>{schedules.map((schedule) => (
              <tr key={schedule.id} class={schedule.id === chosen ? "is-chosen" : ""}>
                <td><button type="button" class="link" aria-pressed={schedule.id === chosen} onClick={() => setQuery({ schedule: schedule.id === chosen ? null : schedule.id })}>{schedule.name}</button></td>
                <td><When schedule={schedule} /></td>
                <td><NextTime schedule={schedule} /></td>
                <td>{schedule.taskId ? <a href={`/tasks/${schedule.taskId}`}>{schedule.firedAt ? <Ago at={schedule.firedAt} /> : "task"}</a> : <span class="faint">–</span>}</td>
                <td class="num mono">{number(schedule.runs)}</td><td class="num mono">{schedule.skipped > 0 ? number(schedule.skipped) : <span class="faint">0</span>}</td>
              </tr>
            ))}</tbody>
          </table></div>
          {chosen && <Detail key={chosen} id={chosen} changed={read.reload} />}
        </div>
      )}
      {making && <ScheduleDialog close={() => setQuery({ new: null, template: null })} done={(made) => { read.reload(); setQuery({ new: null, template: null, schedule: made.id }); }} />}
    </section>
  );
}

function When({ schedule }: { schedule: Schedule }) {
  const pattern = patternOf(schedule);
  return pattern ? <><code>{pattern.cron}</code> <span class="faint">{pattern.timeZone}</span></> : <span>once, {"at" in schedule ? day(schedule.at) : ""}</span>;
}

function NextTime({ schedule }: { schedule: Schedule }) {
  if (schedule.fault) return <Badge status="failed" label="Cannot start" />;
  if (schedule.paused) return <Badge status="paused" />;
  if (!schedule.nextAt) return <span class="faint">never again</span>;
  const left = Date.parse(schedule.nextAt) - nowSecond.value;
  return <time dateTime={schedule.nextAt} title={schedule.nextAt}>{left > 0 ? `in ${duration(left)}` : "now"}</time>;
}

function Detail({ id, changed }: { id: string; changed: () => void }) {
  const read = useResource(getSchedule(id), EVERY);
  const [busy, run] = useAction();
  const [asking, setAsking] = useState<"remove" | "change" | null>(null);
  const schedule = read.data;
  const thread = schedule ? (schedule.task.threadId ?? `schedule-${schedule.id}`) : null;
  const tasks = useResource(thread ? listTasks({ limit: 20, threadId: thread }) : null, EVERY);
  const after = () => { forget(listSchedules()); read.reload(); changed(); };
  const act = (what: typeof pauseSchedule, words: string) => run(async () => { await ask(what(id)); notify(words); after(); });
  const once = useOnce();
  const trigger = () => run(async () => { const task = await ask(once(triggerSchedule(id))); after(); notify("Its task is started"); navigate(`/tasks/${task.id}`); });
  const remove = () => run(async () => { await ask(deleteSchedule(id)); setAsking(null); setQuery({ schedule: null }); forget(listSchedules()); changed(); notify("The schedule is gone; its tasks stay"); });
  useShortcuts([{ keys: "p", what: schedule?.paused ? "Resume the schedule" : "Pause the schedule", group: "Schedules", run: () => void (schedule?.paused ? act(resumeSchedule, "It goes on") : act(pauseSchedule, "It rests")) }]);
  if (read.error && !schedule) return <article class="card"><Failure error={read.error} retry={read.reload} /></article>;
  if (!schedule) return <article class="card"><Loading rows={5} /></article>;
  const { goal: _, template: __, parameters: ___, chatModel: ____, ...asked } = schedule.task;
  return (
    <article class="card detail stack" aria-label={`Schedule ${schedule.name}`}>
      <header class="card-head"><h2>{schedule.name}</h2><Button kind="ghost" icon="cross" aria-label="Close" onClick={() => setQuery({ schedule: null })} /></header>
      <div class="row-of-buttons">
        <Button kind="primary" icon="play" busy={busy} onClick={() => void trigger()}>Run now</Button>
        {schedule.paused ? <Button icon="play" busy={busy} onClick={() => void act(resumeSchedule, "It goes on")}>Resume</Button> : <Button icon="pause" busy={busy} onClick={() => void act(pauseSchedule, "It rests")}>Pause</Button>}
        <Button onClick={() => setAsking("change")}>Change</Button>
        <Button kind="danger" icon="stop" onClick={() => setAsking("remove")}>Remove</Button>
      </div>
      {schedule.fault && <div class="callout is-bad"><Icon name="alert" /><div><strong>Its task cannot be started</strong><p>{schedule.fault}</p></div></div>}
      <dl class="facts is-tight"><Fact name="When"><When schedule={schedule} /></Fact><Fact name="While the last one runs">{schedule.overlap === "allow" ? "start another" : "skip"}</Fact>{schedule.task.chatModel && <Fact name="Model"><code>{schedule.task.chatModel}</code></Fact>}<Fact name="Made"><Ago at={schedule.createdAt} /></Fact></dl>
      {schedule.task.template ? <section><h3>Template <a href={`/templates?template=${encodeURIComponent(schedule.task.template)}`}><code>{schedule.task.template}</code></a></h3><Value value={schedule.task.parameters ?? {}} /></section>
        : <section><h3>Goal</h3><p class="goal-text">{schedule.task.goal}</p></section>}
      {Object.keys(asked).length > 0 && <section><h3>On these terms</h3><Value value={asked} /></section>}
      <section><h3>Next times <span class="faint">{patternOf(schedule)?.timeZone}</span></h3><Times times={schedule.upcoming} zone={patternOf(schedule)?.timeZone} empty={schedule.paused ? "None while it is paused." : "None."} /></section>
      <section><h3>Tasks it started</h3>
        {!tasks.data ? <Loading rows={2} /> : tasks.data.tasks.length === 0 ? <p class="faint">None yet. “Run now” starts one at once.</p> : (
          <div class="lines">{tasks.data.tasks.map((task) => <a key={task.id} class="line" href={`/tasks/${task.id}`}><TaskBadge task={task} now={nowSecond.value} /><span class="line-text">{task.completedSteps}/{counted(task.totalSteps, "step")}</span><span class="faint"><Ago at={task.createdAt} /></span></a>)}</div>
        )}
      </section>
      {asking === "remove" && (
        <Dialog title="Remove this schedule?" close={() => setAsking(null)}>
          <p>It starts nothing any more. The tasks that it started stay, those at work included.</p>
          <div class="dialog-foot"><Button onClick={() => setAsking(null)}>Keep it</Button><Button kind="danger" icon="stop" busy={busy} onClick={() => void remove()}>Remove the schedule</Button></div>
        </Dialog>
      )}
      {asking === "change" && <ScheduleDialog schedule={schedule} close={() => setAsking(null)} done={() => { setAsking(null); after(); }} />}
    </article>
  );
}

/** Moments by the clock that they are about; by that of the browser if there is no such clock. */
function Times({ times, zone, empty }: { times: string[]; zone?: string | undefined; empty: string }) {
  const clock = (time: string) => {
    try { return day(time, { weekday: "short", ...(zone ? { timeZone: zone } : {}) }); } catch { return day(time, { weekday: "short" }); }
  };
  if (times.length === 0) return <p class="faint">{empty}</p>;
  return <ol class="times">{times.map((time) => <li key={time}><time dateTime={time}>{clock(time)}</time><span class="faint">in {duration(Date.parse(time) - nowSecond.value)}</span></li>)}</ol>;
}

/** A new schedule, or another shape for one that exists. */
function ScheduleDialog({ schedule, close, done }: { schedule?: Schedule; close: () => void; done: (schedule: Schedule) => void }) {
  const templates = useResource(listTemplates({ limit: 1000 }));
  const [template, setTemplate] = useState(schedule?.task.template ?? address.value.query.get("template") ?? "");
  const [typed, setTyped] = useState<Typed | null>(null);
  const chosen = templates.data?.templates.find((one) => one.name === template);
  const parameters = asSchema(chosen?.parameters);
  const filled = typed ?? { ...typedDefaults(parameters), ...typedOf(parameters, template === schedule?.task.template ? (schedule.task.parameters ?? {}) : {}) };
  const { values, problems } = valuesOf(parameters, filled);
  const before = schedule ? patternOf(schedule) : null;
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const [name, setName] = useState(schedule?.name ?? "");
  const [goal, setGoal] = useState(schedule?.task.goal ?? address.value.query.get("goal") ?? "");
  const [kind, setKind] = useState<"cron" | "at">(schedule && !before ? "at" : "cron");
  const [cron, setCron] = useState(before?.cron ?? "0 9 * * 1-5");
  const [zone, setZone] = useState(before?.timeZone ?? own);
  const [at, setAt] = useState("");
  const [overlap, setOverlap] = useState(schedule?.overlap ?? "skip");
  const [terms, setTerms] = useState(() => termsOf(schedule?.task ?? {}));
  const change = (more: Partial<Terms>) => setTerms({ ...terms, ...more });
  // Tools are what they were until somebody picks others: not all that can be written can be picked.
  const [picks, setPicks] = useState<Picks | null>(null);
  const had = usePicksOf(schedule?.task ?? {});
  const toolWish = useToolWish(picks ?? had);
  const once = useOnce();
  const [busy, run] = useAction();
  const preview = useResource(kind === "cron" && cron.trim() ? previewSchedule({ cron: cron.trim(), timeZone: zone.trim() || "UTC" }) : null);
  const problem = kind === "cron" && preview.error instanceof ApiError ? message(preview.error).replace(/^(cron|timeZone): /, "") : null;
  const save = () => run(async () => {
    const { allowedMcpServers, allowedAppDefaultToolkit, mentions, plan } = schedule?.task ?? { goal: "" };
    const { mentions: picked, allowedAppDefaultToolkit: toolkits } = picks ? toolWish : { ...(mentions ? { mentions } : {}), ...(allowedAppDefaultToolkit ? { allowedAppDefaultToolkit } : {}) };
    const tools = { ...(picked ? { mentions: picked } : {}), ...(toolkits ? { allowedAppDefaultToolkit: toolkits } : {}) };
    const what = template ? { template, parameters: values } : { goal: goal.trim(), ...(plan ? { plan } : {}) };
    const thread = terms.thread.trim();
    const wish: ScheduleWish = { task: { ...what, ...wishOf(terms), ...tools, ...(thread ? { threadId: thread } : {}), ...(allowedMcpServers ? { allowedMcpServers } : {}) }, overlap };
    if (name.trim()) wish.name = name.trim();
    if (kind === "cron") Object.assign(wish, { cron: cron.trim(), timeZone: zone.trim() || "UTC" });
    else if (at) wish.at = new Date(at).toISOString();
    const made = await ask(schedule ? changeSchedule(schedule.id, wish) : once(createSchedule(wish)));
    forget(listSchedules());
    notify(schedule ? "The schedule is changed" : "It is scheduled");
    done(made);
  });
  const incomplete = (template ? !chosen || Object.keys(problems).length > 0 : goal.trim() === "") || (kind === "cron" ? cron.trim() === "" || problem !== null : at === "" && !schedule);
  return (
    <Dialog title={schedule ? "Change the schedule" : "New schedule"} close={close} wide>
      <form class="stack" onSubmit={(event) => { event.preventDefault(); if (!incomplete) void save(); }}>
        {(templates.data?.templates.length ?? 0) > 0 && <Field label="Start"><select value={template} onChange={(event) => { setTemplate(event.currentTarget.value); setTyped(null); }}><option value="">a goal</option>{templates.data?.templates.map((one) => <option key={one.name} value={one.name}>template {one.name}</option>)}</select></Field>}
        {template ? <SchemaForm schema={parameters} typed={filled} onChange={setTyped} problems={problems} /> : <Field label="Goal"><textarea rows={3} autoFocus value={goal} placeholder="What each of its tasks is to reach" onInput={(event) => setGoal(event.currentTarget.value)} /></Field>}
        <Choice label="When" options={[["cron", "Again and again"], ["at", "Once"]] as const} value={kind} choose={setKind} />
        {kind === "cron" ? (
          <>
            <div class="chips" role="group" aria-label="Usual patterns">{usual.map(([words, pattern]) => <Chip key={pattern} on={cron.trim() === pattern} onClick={() => setCron(pattern)}>{words}</Chip>)}</div>
            <div class="fields">
              <Field label="Cron pattern" hint="minute, hour, day, month, weekday"><input class="mono" value={cron} aria-invalid={problem !== null} onInput={(event) => setCron(event.currentTarget.value)} /></Field>
              <Field label="Time zone"><input list="zones" value={zone} onInput={(event) => setZone(event.currentTarget.value)} /></Field>
              <datalist id="zones">{zones(own).map((one) => <option key={one} value={one} />)}</datalist>
            </div>
            <div class="preview" aria-live="polite">{problem ? <p class="problem">{problem}</p> : <><h3>It would start at</h3><Times times={preview.data?.upcoming ?? []} zone={zone.trim()} empty={preview.loading ? "…" : "No time fits."} /></>}</div>
          </>
        ) : <Field label="Moment" hint={`By the clock of this browser (${own})`}><input type="datetime-local" value={at} onInput={(event) => setAt(event.currentTarget.value)} /></Field>}
        <div class="fields">
          <Field label="Name" hint="The beginning of the goal, if you give none"><input value={name} maxLength={200} onInput={(event) => setName(event.currentTarget.value)} /></Field>
          <Field label="While the last task runs"><select value={overlap} onChange={(event) => setOverlap(event.currentTarget.value as typeof overlap)}><option value="skip">skip</option><option value="allow">start another</option></select></Field>
        </div>
        <Who terms={terms} change={change} />
        <div class="options">
          <BudgetFields terms={terms} change={change} />
          <ToolPicks picks={picks ?? had} change={setPicks} />
          <ApprovalFields terms={terms} change={change} />
          <ThreadField terms={terms} change={change} />
        </div>
        <label class="check"><input type="checkbox" checked={terms.plan} onChange={(event) => change({ plan: event.currentTarget.checked })} /> Approve each plan first</label>
        <div class="dialog-foot"><Button onClick={close}>Close</Button><Button kind="primary" type="submit" busy={busy} disabled={incomplete}>{schedule ? "Save" : "Schedule it"}</Button></div>
      </form>
    </Dialog>
  );
}

function zones(own: string): string[] {
  const all = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
  return [...new Set(["UTC", own, ...all])];
}

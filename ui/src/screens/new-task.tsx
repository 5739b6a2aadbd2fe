/** Starts a task outright. */
import { detect, draftPlan, listModels, listTemplates, listTools, startTask, type StartTask } from "#api";
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, message } from "../api/client";
import { useOnce } from "../api/once";
import { useResource } from "../api/resource";
import type { Detection, MessagePart, PlanDraft } from "../api/types";
import { Button, copy, Dialog, Field } from "../components/basics";
import { Icon } from "../components/icons";
import { address, navigate } from "../router";
import { useShortcuts } from "../state/keys";
import { planned, type EditedStep } from "../state/plan-steps";
import { newId } from "../state/session";
import { curl } from "./actions";
import { attach, AttachedFiles, attachments, takesFiles } from "./files";
import { blankPlan, edited, PlanEditor, usePlan } from "./plan-editor";
import { ApprovalFields, BudgetFields, ThreadField, usualTerms, Who, wishOf, type Terms } from "./terms";
import { ToolPicks, useToolWish, type Picks } from "./tool-picks";

/** The rules are asked while somebody types, but not at every letter. */
const PAUSE_MS = 350;

function useVerdict(goal: string): Detection | null {
  const [verdict, setVerdict] = useState<Detection | null>(null);
  useEffect(() => {
    if (goal.trim().length < 3) { setVerdict(null); return; }
    let gone = false;
    const timer = setTimeout(() => { ask(detect({ text: goal })).then((one) => { if (!gone) setVerdict(one); }, () => { if (!gone) setVerdict(null); }); }, PAUSE_MS);
    return () => { gone = true; clearTimeout(timer); };
  }, [goal]);
  return verdict;
}

const DRAFT = "longhaul.draft";

/** The goal as it is typed: kept in this tab until a task is started with it. One that the address names comes first. */
function useDraft(given: string): [string, (goal: string) => void] {
  const [goal, setGoal] = useState(() => {
    try {
      const kept = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null") as { given: string; goal: string } | null;
      return kept?.given === given ? kept.goal : given;
    } catch { return given; }
  });
  return [goal, (next) => {
    setGoal(next);
    if (next === "") sessionStorage.removeItem(DRAFT);
    else sessionStorage.setItem(DRAFT, JSON.stringify({ given, goal: next }));
  }];
}

/** All that somebody can change of a plan. */
const wording = (list: readonly EditedStep[]) => JSON.stringify([planned(list), list.map(({ typed }) => typed)]);

export function NewTaskScreen() {
  const models = useResource(listModels());
  const tools = useResource(listTools());
  const templates = useResource(listTemplates({ limit: 1000 }));
  const [goal, setGoal] = useDraft(address.value.query.get("goal") ?? "");
  const [terms, setTerms] = useState(() => {
    const given = (name: string) => address.value.query.get(name) ?? "";
    const priority = Number(given("priority"));
    return usualTerms({ thread: given("thread"), preset: given("preset"), agent: given("agent"), model: given("model"), ...(priority >= 1 && priority <= 5 ? { priority } : {}) });
  });
  const change = (more: Partial<Terms>) => setTerms({ ...terms, ...more });
  const [files, setFiles] = useState<MessagePart[]>([]);
  const [picks, setPicks] = useState<Picks>({ only: [], subTasks: false });
  const toolWish = useToolWish(picks);
  const [steps, setSteps] = useState<EditedStep[] | null>(null);
  const plan = usePlan(steps ?? [], setSteps);
  const form = useRef<HTMLFormElement>(null);
  const [by, setBy] = useState<PlanDraft["by"] | null>(null);
  /** The plan as it came from the planner, or from nobody: what was done to it since would be lost with it. */
  const [came, setCame] = useState("");
  const [asking, setAsking] = useState<"plan" | "drop" | null>(null);
  const [key] = useState(newId);
  const once = useOnce();
  const [busy, setBusy] = useState<"start" | "plan" | null>(null);
  const [problem, setProblem] = useState("");
  const verdict = useVerdict(goal);
  const body = (): StartTask => {
    const given: StartTask = { goal: goal.trim(), threadId: terms.thread.trim() || `ui-${key}`, ...wishOf(terms), ...toolWish, ...attachments(files) };
    if (steps) given.plan = planned(steps);
    return given;
  };
  /** What goes wrong is said under the goal, and stays there until it is tried again. */
  const run = async (what: "start" | "plan", act: () => Promise<void>) => {
    if (busy) return;
    setBusy(what);
    setProblem("");
    try { await act(); } catch (error) { if (what !== "start" || !plan.refused(message(error))) setProblem(message(error)); }
    setBusy(null);
  };
  const preview = () => run("plan", async () => {
    const { plan: _, ...wish } = body();
    const draft = await ask(draftPlan(wish));
    put(edited(draft.plan), draft.by);
  });
  const put = (list: EditedStep[], by: PlanDraft["by"] | null) => { setSteps(list); setCame(wording(list)); setBy(by); };
  const write = () => put(blankPlan(), null);
  /** Takes the plan away, or another for it: asks first where somebody worked on it. */
  const replace = (how: "plan" | "drop") => {
    if (busy) return;
    if (asking === null && steps && wording(steps) !== came) { setAsking(how); return; }
    setAsking(null);
    if (how === "drop") setSteps(null);
    else void preview();
  };
  const start = () => run("start", async () => {
    if (steps && !plan.send()) return;
    const task = await ask(once(startTask(body())));
    setGoal("");
    navigate(`/tasks/${task.taskId}`);
  });
  const unfinished = steps?.some(({ step }) => step.description.trim() === "") ?? false;
  useShortcuts([{ keys: "Mod+p", what: "Preview the plan", group: "New task", run: () => { if (goal.trim()) replace("plan"); } }, { keys: "Mod+enter", what: "Start the task", group: "New task", run: () => form.current?.requestSubmit() }]);
  return (
    <section class="screen is-narrow">
      <header class="screen-head"><h1>New task</h1>
        {(templates.data?.templates.length ?? 0) > 0 && <select class="inline-select" aria-label="From a template" value="" onChange={(event) => navigate(`/templates?template=${encodeURIComponent(event.currentTarget.value)}`)}><option value="" disabled>From a template…</option>{templates.data?.templates.map((one) => <option key={one.name} value={one.name}>{one.name}</option>)}</select>}
      </header>
      <form class="stack" ref={form} onSubmit={(event) => { event.preventDefault(); if (goal.trim()) void start(); else event.currentTarget.querySelector("textarea")?.focus(); }}>
        <Field label="Goal"><textarea autoFocus rows={4} value={goal} placeholder="Find every TODO comment in this repository and write a report" onInput={(event) => setGoal(event.currentTarget.value)} {...takesFiles((added) => void attach(files, added, setFiles))} /></Field>
        {problem && <div class="callout is-bad" role="alert"><Icon name="alert" /><div><strong>{busy ? "" : "This did not start"}</strong><p class="problem-text">{problem}</p></div></div>}
        <AttachedFiles files={files} put={setFiles} />
        <Verdict verdict={verdict} />
        {models.data?.offline && <p class="callout is-wait"><Icon name="alert" /><span>No language model is in use. The rules plan goals of the kinds find, list, count, read, fetch, compare and report.</span></p>}
        <Who terms={terms} change={change} />
        <div class="options">
          <BudgetFields terms={terms} change={change} />
          <ToolPicks picks={picks} change={setPicks} />
          <ApprovalFields terms={terms} change={change} />
          <ThreadField terms={terms} change={change} />
        </div>
        <label class="check"><input type="checkbox" checked={terms.plan} onChange={(event) => change({ plan: event.currentTarget.checked })} /> Approve the plan first</label>
        {steps && (
          <section class="stack" aria-label="Preview of the plan">
            <header class="card-head"><h2>Plan</h2><span class="faint">{by?.model ? <>by <code>{by.model}</code></> : null}{by?.degraded ? " · only the best that could be done" : ""}</span><Button kind="ghost" icon="retry" busy={busy === "plan"} disabled={goal.trim() === ""} onClick={() => replace("plan")}>Plan anew</Button><Button kind="ghost" icon="cross" aria-label="Without this plan" title="Let it be planned when it starts" onClick={() => replace("drop")} /></header>
            {by?.reason && <p class="faint">{by.reason}</p>}
            <PlanEditor plan={plan} tools={tools.data?.tools ?? []} begin={by === null} />
          </section>
        )}
        <div class="form-foot">
          <Button kind="primary" type="submit" icon="play" busy={busy === "start"} disabled={goal.trim() === "" || unfinished}>{busy === "start" ? (steps ? "Starting…" : "Planning…") : steps ? "Start with this plan" : "Start"}</Button>
          {!steps && <Button icon="tasks" busy={busy === "plan"} disabled={goal.trim() === ""} onClick={() => void preview()}>{busy === "plan" ? "Planning…" : "Preview the plan"}</Button>}
          {!steps && <Button icon="edit" onClick={write}>Write the plan yourself</Button>}
          <Button icon="copy" kind="ghost" onClick={() => void copy(curl(startTask(body())), "Copied as curl")}>Copy as curl</Button>
        </div>
      </form>
      {asking && (
        <Dialog title={asking === "plan" ? "Plan anew?" : "Without this plan?"} close={() => setAsking(null)}>
          <p>{by ? "You have changed this plan since it was made." : "You have written this plan."} {asking === "plan" ? "The new one takes its place, and what you did is lost." : "What you did is lost with it."}</p>
          <div class="dialog-foot"><Button onClick={() => setAsking(null)}>Keep it</Button><Button kind="danger" icon={asking === "plan" ? "retry" : "cross"} onClick={() => replace(asking)}>{asking === "plan" ? "Plan anew" : "Without it"}</Button></div>
        </Dialog>
      )}
    </section>
  );
}

/** What the detector would say of this text in a chat. */
function Verdict({ verdict }: { verdict: Detection | null }) {
  if (!verdict) return <p class="verdict faint">In a chat, rules and, if in doubt, a model decide whether a message becomes a task. Here you decide.</p>;
  return (
    <div class={`verdict${verdict.orchestrate ? " is-task" : ""}`} role="status">
      <span class="meter" role="img" aria-label={`Score ${verdict.score.toFixed(2)}, threshold ${verdict.threshold.toFixed(2)}`}><i style={{ width: `${verdict.score * 100}%` }} /><b style={{ left: `${verdict.threshold * 100}%` }} /></span>
      <span><strong>{verdict.orchestrate ? "In a chat this would become a task" : "In a chat this would be answered at once"}</strong> <span class="faint">score {verdict.score.toFixed(2)}, threshold {verdict.threshold.toFixed(2)}, by {verdict.by}{verdict.features.length > 0 ? `: ${verdict.features.join(", ")}` : ""}</span></span>
    </div>
  );
}

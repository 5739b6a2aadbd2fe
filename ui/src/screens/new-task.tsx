/** Starts a task outright. */
import { detect, draftPlan, listModels, listTemplates, listTools, startTask, type StartTask } from "#api";
import { useEffect, useState } from "preact/hooks";
import { ask } from "../api/client";
import { useResource } from "../api/resource";
import type { Detection, PlanDraft, PlannedStep } from "../api/types";
import { Button, copy, Field, useAction } from "../components/basics";
import { Icon } from "../components/icons";
import { address, navigate } from "../router";
import { useShortcuts } from "../state/keys";
import { newId } from "../state/session";
import { curl } from "./actions";
import { PlanEditor } from "./plan-editor";
import { useTerms } from "./terms";

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

export function NewTaskScreen() {
  const models = useResource(listModels());
  const tools = useResource(listTools());
  const templates = useResource(listTemplates({ limit: 1000 }));
  const [goal, setGoal] = useState(address.value.query.get("goal") ?? "");
  const [thread, setThread] = useState(address.value.query.get("thread") ?? "");
  const [model, setModel] = useState("");
  const [priority, setPriority] = useState(3);
  const [budget, setBudget] = useState<Record<string, string>>({});
  const [plan, setPlan] = useState(false);
  const [only, setOnly] = useState(new Set<string>());
  const { presets, agents } = useTerms();
  const [preset, setPreset] = useState(address.value.query.get("preset") ?? "");
  const [agent, setAgent] = useState(address.value.query.get("agent") ?? "");
  const [steps, setSteps] = useState<PlannedStep[] | null>(null);
  const [by, setBy] = useState<PlanDraft["by"] | null>(null);
  const [key] = useState(newId);
  const [busy, run] = useAction();
  const [planning, think] = useAction();
  const verdict = useVerdict(goal);
  const body = (): StartTask => {
    const given: StartTask = { goal: goal.trim(), threadId: thread.trim() || `ui-${key}` };
    if (model) given.chatModel = model;
    if (preset) given.preset = preset;
    if (agent) given.agentId = agent;
    if (priority !== 3) given.priority = priority;
    const limits = Object.fromEntries(Object.entries(budget).filter(([, value]) => value !== "").map(([name, value]) => [name, Number(value) * (name === "wallTimeMs" ? 60_000 : 1)]));
    if (Object.keys(limits).length > 0) given.budget = limits;
    if (plan) given.approval = { plan: true };
    if (only.size > 0) {
      given.mentions = (tools.data?.tools ?? []).filter((tool) => only.has(tool.name)).map((tool) => (tool.origin.type === "mcp"
        ? { type: "mcpTool", name: tool.origin.tool, serverId: tool.origin.server }
        : { type: "defaultTool", name: tool.name, label: tool.name }));
    }
    if (steps) given.plan = steps;
    return given;
  };
  const preview = () => think(async () => {
    const { plan: _, ...wish } = body();
    const draft = await ask(draftPlan(wish));
    setSteps(draft.plan);
    setBy(draft.by);
  });
  const start = () => run(async () => {
    const task = await ask(startTask(body()));
    navigate(`/tasks/${task.taskId}`);
  });
  const unfinished = steps?.some((step) => step.description.trim() === "") ?? false;
  useShortcuts([{ keys: "Mod+p", what: "Preview the plan", group: "New task", run: () => { if (goal.trim()) void preview(); } }, { keys: "Mod+enter", what: "Start the task", group: "New task", run: () => { if (goal.trim()) void start(); } }]);
  const limit = (name: string, label: string, step = "1") => (
    <Field label={label}><input type="number" min="0" step={step} value={budget[name] ?? ""} placeholder="as configured" onInput={(event) => setBudget({ ...budget, [name]: event.currentTarget.value })} /></Field>
  );
  return (
    <section class="screen is-narrow">
      <header class="screen-head"><h1>New task</h1>
        {(templates.data?.templates.length ?? 0) > 0 && <select class="inline-select" aria-label="From a template" value="" onChange={(event) => navigate(`/templates?template=${encodeURIComponent(event.currentTarget.value)}`)}><option value="" disabled>From a template…</option>{templates.data?.templates.map((one) => <option key={one.name} value={one.name}>{one.name}</option>)}</select>}
      </header>
      <form class="stack" onSubmit={(event) => { event.preventDefault(); void start(); }}>
        <Field label="Goal"><textarea autoFocus rows={4} value={goal} placeholder="Find every TODO comment in this repository and write a report" onInput={(event) => setGoal(event.currentTarget.value)} /></Field>
        <Verdict verdict={verdict} />
        {models.data?.offline && <p class="callout is-wait"><Icon name="alert" /><span>No language model is in use. The rules plan goals of the kinds find, list, count, read, fetch, compare and report.</span></p>}
        <div class="grid-2">
          <Field label="Model"><select value={model} onChange={(event) => setModel(event.currentTarget.value)}><option value="">{models.data?.default ?? "default"}</option>{models.data?.models.filter((name) => name !== models.data?.default).map((name) => <option key={name}>{name}</option>)}</select></Field>
          <Field label="Priority" hint="A level is worth a minute of waiting"><select value={priority} onChange={(event) => setPriority(Number(event.currentTarget.value))}><option value={1}>1 – most urgent</option><option value={2}>2</option><option value={3}>3 – usual</option><option value={4}>4</option><option value={5}>5 – whenever</option></select></Field>
        </div>
        {(presets.length > 0 || agents.length > 0) && (
          <div class="grid-2">
            {agents.length > 0 && <Field label="Agent" hint={agents.find((one) => one.id === agent)?.description}><select value={agent} onChange={(event) => setAgent(event.currentTarget.value)}><option value="">nobody in particular</option>{agents.map((one) => <option key={one.id} value={one.id}>{one.id}</option>)}</select></Field>}
            {presets.length > 0 && <Field label="Preset" hint={presets.find((one) => one.name === preset)?.description}><select value={preset} onChange={(event) => setPreset(event.currentTarget.value)}><option value="">none</option>{presets.map((one) => <option key={one.name} value={one.name}>{one.name}</option>)}</select></Field>}
          </div>
        )}
        <div class="options">
        <details class="more"><summary>Budget</summary>
          <div class="grid-3">{limit("tokens", "Tokens")}{limit("costUsd", "US dollars", "0.01")}{limit("wallTimeMs", "Minutes")}{limit("modelCalls", "Model calls")}{limit("toolCalls", "Tool calls")}{limit("steps", "Steps")}</div>
          <p class="faint">A task that has used its budget up pauses and asks. 0 is without limit.</p>
        </details>
        <details class="more"><summary>Tools{only.size > 0 ? `: only ${only.size}` : ": all"}</summary>
          <div class="tool-picks">{tools.data?.tools.map((tool) => (
            <label key={tool.name} class="check" title={tool.description}><input type="checkbox" checked={only.has(tool.name)} onChange={() => { const next = new Set(only); if (!next.delete(tool.name)) next.add(tool.name); setOnly(next); }} /><code>{tool.name}</code>{tool.effect !== "read-only" && <span class="tag">{tool.effect}</span>}</label>
          ))}</div>
        </details>
        <details class="more"><summary>Conversation</summary><Field label="Thread" hint="Its earlier messages are given to the planner. A new one if this is empty."><input value={thread} onInput={(event) => setThread(event.currentTarget.value)} /></Field></details>
        </div>
        <label class="check"><input type="checkbox" checked={plan} onChange={(event) => setPlan(event.currentTarget.checked)} /> Approve the plan first</label>
        {steps && (
          <section class="stack" aria-label="Preview of the plan">
            <header class="card-head"><h2>Plan</h2><span class="faint">{by?.model ? <>by <code>{by.model}</code></> : null}{by?.degraded ? " · only the best that could be done" : ""}</span><Button kind="ghost" icon="retry" busy={planning} onClick={() => void preview()}>Plan anew</Button><Button kind="ghost" icon="cross" aria-label="Without this plan" title="Let it be planned when it starts" onClick={() => setSteps(null)} /></header>
            {by?.reason && <p class="faint">{by.reason}</p>}
            <PlanEditor steps={steps} change={setSteps} tools={tools.data?.tools ?? []} />
          </section>
        )}
        <div class="form-foot">
          <Button kind="primary" type="submit" icon="play" busy={busy} disabled={goal.trim() === "" || unfinished}>{busy ? (steps ? "Starting…" : "Planning…") : steps ? "Start with this plan" : "Start"}</Button>
          {!steps && <Button icon="tasks" busy={planning} disabled={goal.trim() === ""} onClick={() => void preview()}>{planning ? "Planning…" : "Preview the plan"}</Button>}
          <Button icon="copy" kind="ghost" onClick={() => void copy(curl(startTask(body())), "Copied as curl")}>Copy as curl</Button>
        </div>
      </form>
    </section>
  );
}

/** What the detector would say of this text in a chat. */
function Verdict({ verdict }: { verdict: Detection | null }) {
  if (!verdict) return <p class="verdict faint">In a chat, rules and, if in doubt, a model decide whether a message becomes a task. Here you decide.</p>;
  return (
    <div class={`verdict${verdict.orchestrate ? " is-task" : ""}`} role="status">
      <span class="meter" role="img" aria-label={`Score ${verdict.score.toFixed(2)}, threshold ${verdict.threshold.toFixed(2)}`}><i style={{ width: `${verdict.score * 100}%` }} /><b style={{ left: `${verdict.threshold * 100}%` }} /></span>
      <span><strong>{verdict.orchestrate ? "In a chat this would become a task" : "In a chat this would be answered at once"}</strong> <span class="faint">score {verdict.score.toFixed(2)} of {verdict.threshold.toFixed(2)}, by {verdict.by}{verdict.features.length > 0 ? `: ${verdict.features.join(", ")}` : ""}</span></span>
    </div>
  );
}

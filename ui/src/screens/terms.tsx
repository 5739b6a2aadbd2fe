/** On what terms a task begins: its model, who does the work, what it may consume, and what it has to ask first. */
import { listAgents, listModels, listPresets, listTools, type ScheduledTask, type StartTask } from "#api";
import { useResource } from "../api/resource";
import type { Effect } from "../api/types";
import { Field } from "../components/basics";

/** The presets and agents of the configuration. */
export function useTerms() {
  const presets = useResource(listPresets());
  const agents = useResource(listAgents());
  return { presets: presets.data?.presets ?? [], agents: agents.data?.agents ?? [] };
}

/** What somebody chose; what is empty is as configured. */
export interface Terms {
  model: string; preset: string; agent: string; priority: number; thread: string; budget: Record<string, string>;
  plan: boolean; classes: Effect[]; tools: string[]; hours: string; onExpiry: string;
}

export function usualTerms(more: Partial<Terms> = {}): Terms {
  return { model: "", preset: "", agent: "", priority: 3, thread: "", budget: {}, plan: false, classes: [], tools: [], hours: "", onExpiry: "", ...more };
}

/** The terms that a schedule has: `wishOf` the other way round. */
export function termsOf(task: Partial<ScheduledTask>): Terms {
  const { budget, approval } = task;
  const limits = Object.entries(budget ?? {}).filter(([, value]) => typeof value === "number");
  return usualTerms({
    model: task.chatModel ?? "", preset: task.preset ?? "", agent: task.agentId ?? "", priority: task.priority ?? 3, thread: task.threadId ?? "",
    budget: Object.fromEntries(limits.map(([name, value]) => [name, String(Number(value) / (name === "wallTimeMs" ? 60_000 : 1))])),
    plan: approval?.plan === true, classes: approval?.classes ?? [], tools: Object.entries(approval?.tools ?? {}).filter(([, asks]) => asks === true).map(([name]) => name),
    hours: approval?.expiresAfterMs ? String(approval.expiresAfterMs / 3_600_000) : "", onExpiry: approval?.onExpiry ?? "",
  });
}

type Wish = Pick<StartTask, "chatModel" | "preset" | "agentId" | "priority" | "budget" | "approval">;

/** The terms as the API takes them. */
export function wishOf(terms: Terms): Wish {
  const wish: Wish = {};
  if (terms.model) wish.chatModel = terms.model;
  if (terms.preset) wish.preset = terms.preset;
  if (terms.agent) wish.agentId = terms.agent;
  if (terms.priority !== 3) wish.priority = terms.priority;
  const limits = Object.fromEntries(Object.entries(terms.budget).filter(([, value]) => value !== "").map(([name, value]) => [name, Number(value) * (name === "wallTimeMs" ? 60_000 : 1)]));
  if (Object.keys(limits).length > 0) wish.budget = limits;
  const approval: NonNullable<StartTask["approval"]> = {};
  if (terms.plan) approval.plan = true;
  if (terms.classes.length > 0) approval.classes = terms.classes;
  if (terms.tools.length > 0) approval.tools = Object.fromEntries(terms.tools.map((name) => [name, true]));
  if (Number(terms.hours) > 0) approval.expiresAfterMs = Math.round(Number(terms.hours) * 3_600_000);
  if (terms.onExpiry) approval.onExpiry = terms.onExpiry as "deny" | "fail" | "cancel";
  if (Object.keys(approval).length > 0) wish.approval = approval;
  return wish;
}

interface Props { terms: Terms; change: (more: Partial<Terms>) => void }

export function Who({ terms, change }: Props) {
  const models = useResource(listModels());
  // The one that is chosen is there before the list is, and if it is not on it any more.
  const named = new Set([terms.model, ...(models.data?.models ?? []).filter((name) => name !== models.data?.default)].filter(Boolean));
  const { presets, agents } = useTerms();
  return (
    <>
      <div class="grid-2">
        <Field label="Model"><select value={terms.model} onChange={(event) => change({ model: event.currentTarget.value })}><option value="">{models.data?.default ?? "default"}</option>{[...named].map((name) => <option key={name}>{name}</option>)}</select></Field>
        <Field label="Priority" hint="Each level up overtakes what has waited up to a minute longer"><select value={terms.priority} onChange={(event) => change({ priority: Number(event.currentTarget.value) })}><option value={1}>1 – most urgent</option><option value={2}>2</option><option value={3}>3 – usual</option><option value={4}>4</option><option value={5}>5 – whenever</option></select></Field>
      </div>
      {(presets.length > 0 || agents.length > 0) && (
        <div class="grid-2">
          {agents.length > 0 && <Field label="Agent" hint={agents.find((one) => one.id === terms.agent)?.description}><select value={terms.agent} onChange={(event) => change({ agent: event.currentTarget.value })}><option value="">none</option>{agents.map((one) => <option key={one.id} value={one.id}>{one.id}</option>)}</select></Field>}
          {presets.length > 0 && <Field label="Preset" hint={presets.find((one) => one.name === terms.preset)?.description}><select value={terms.preset} onChange={(event) => change({ preset: event.currentTarget.value })}><option value="">none</option>{presets.map((one) => <option key={one.name} value={one.name}>{one.name}</option>)}</select></Field>}
        </div>
      )}
    </>
  );
}

export function BudgetFields({ terms, change }: Props) {
  const limit = (name: string, label: string, step = "1") => (
    <Field label={label}><input type="number" min="0" step={step} value={terms.budget[name] ?? ""} placeholder="as configured" onInput={(event) => change({ budget: { ...terms.budget, [name]: event.currentTarget.value } })} /></Field>
  );
  return (
    <details class="more"><summary>Budget</summary>
      <div class="grid-3">{limit("tokens", "Tokens")}{limit("costUsd", "US dollars", "0.01")}{limit("wallTimeMs", "Minutes")}{limit("modelCalls", "Model calls")}{limit("toolCalls", "Tool calls")}{limit("steps", "Steps")}</div>
      <p class="faint">A task that has used its budget up pauses and asks. 0 is without limit.</p>
    </details>
  );
}

export function ThreadField({ terms, change }: Props) {
  return <details class="more"><summary>Conversation</summary><Field label="Thread" hint="Its earlier messages are given to the planner. A new one if this is empty."><input value={terms.thread} onInput={(event) => change({ thread: event.currentTarget.value })} /></Field></details>;
}

const classes: [Effect, string][] = [["read-only", "Calls that change nothing"], ["idempotent", "Calls that may be repeated"], ["unsafe", "Calls that may not be repeated"]];

const toggled = <T,>(list: T[], one: T) => (list.includes(one) ? list.filter((other) => other !== one) : [...list, one]);

/** What needs somebody's word before it is done, beyond what the configuration says. */
export function ApprovalFields({ terms, change }: Props) {
  const tools = useResource(listTools());
  const count = terms.classes.length + terms.tools.length;
  return (
    <details class="more"><summary>Approval{count > 0 ? `: ${count} of calls` : ": as configured"}</summary>
      <div class="stack approval">
        <p class="faint">These calls wait in the inbox until somebody approves them, beyond those that the configuration names.</p>
        <div class="chips" role="group" aria-label="By effect">{classes.map(([effect, name]) => <label key={effect} class="check"><input type="checkbox" checked={terms.classes.includes(effect)} onChange={() => change({ classes: toggled(terms.classes, effect) })} />{name}<span class="tag">{effect}</span></label>)}</div>
        <div class="tool-picks" role="group" aria-label="By tool">{tools.data?.tools.map((tool) => <label key={tool.name} class="check" title={tool.description}><input type="checkbox" aria-label={`Approve calls of ${tool.name}`} checked={terms.tools.includes(tool.name)} onChange={() => change({ tools: toggled(terms.tools, tool.name) })} /><code>{tool.name}</code></label>)}</div>
        <div class="grid-2">
          <Field label="Hours to answer in"><input type="number" min="0" step="any" placeholder="as configured" value={terms.hours} onInput={(event) => change({ hours: event.currentTarget.value })} /></Field>
          <Field label="If nobody answers"><select value={terms.onExpiry} onChange={(event) => change({ onExpiry: event.currentTarget.value })}><option value="">as configured</option><option value="deny">it counts as denied</option><option value="fail">the step fails</option><option value="cancel">the task is cancelled</option></select></Field>
        </div>
      </div>
    </details>
  );
}

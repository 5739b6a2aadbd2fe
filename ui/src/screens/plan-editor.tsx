/** A plan before it runs: steps that can be rewritten, moved, removed and added. */
import { useState } from "preact/hooks";
import type { PlannedStep, StepType, ToolInfo } from "../api/types";
import { Button, Chip } from "../components/basics";
import { Icon } from "../components/icons";
import { stepIcons, stepWords } from "./task/steps";

/** Moves what steps refer to along with them: `places` tells where the step is now that was at an index, or null. */
function rewired(steps: PlannedStep[], places: (before: number) => number | null): PlannedStep[] {
  return steps.map((step, at) => {
    const needs = (step.dependsOn ?? []).map(places).filter((on): on is number => on !== null && on < at);
    return { ...step, dependsOn: [...new Set(needs)].sort((one, other) => one - other) };
  });
}

export function withoutStep(steps: PlannedStep[], gone: number): PlannedStep[] {
  const heirs = steps[gone]?.dependsOn ?? [];
  // Who needed the step that is gone needs what it needed.
  const inherited = steps.map((step) => (step.dependsOn?.includes(gone) ? { ...step, dependsOn: [...step.dependsOn, ...heirs] } : step));
  return rewired(inherited.filter((_, at) => at !== gone), (on) => (on === gone ? null : on > gone ? on - 1 : on));
}

export function swapped(steps: PlannedStep[], at: number): PlannedStep[] {
  const moved = [...steps];
  const [one, other] = [steps[at], steps[at + 1]];
  if (!one || !other) return steps;
  [moved[at], moved[at + 1]] = [other, one];
  return rewired(moved, (on) => (on === at ? at + 1 : on === at + 1 ? at : on));
}

export function freshId(steps: PlannedStep[]): string {
  const taken = new Set(steps.map((step) => step.id));
  for (let number = steps.length + 1; ; number += 1) if (!taken.has(`step-${number}`)) return `step-${number}`;
}

/** What a step has that is not edited here. */
function beyond({ forEach, when, checks, model }: PlannedStep): string[] {
  return [forEach && "for each", when && "only if", checks?.length && "checked", model && `by ${typeof model === "string" ? model : "a model"}`].filter((one): one is string => Boolean(one));
}

export function PlanEditor({ steps, change, tools }: { steps: PlannedStep[]; change: (steps: PlannedStep[]) => void; tools: ToolInfo[] }) {
  const [open, setOpen] = useState<number | null>(null);
  const put = (at: number, more: Partial<PlannedStep>) => change(steps.map((step, index) => (index === at ? { ...step, ...more } : step)));
  const add = () => {
    const last = steps.length - 1;
    change([...steps, { id: freshId(steps), description: "", type: "llm-reasoning", dependsOn: last >= 0 ? [last] : [] }]);
    setOpen(steps.length);
  };
  return (
    <section class="plan-editor" aria-label="Plan">
      <ol class="plain">
        {steps.map((step, at) => (
          <li key={step.id} class={`card plan-step${open === at ? " is-open" : ""}`}>
            <div class="plan-step-head">
              <span class="mono faint">{at + 1}</span><Icon name={stepIcons[step.type] ?? "dot"} size={14} />
              <input aria-label={`What step ${at + 1} does`} value={step.description} placeholder="What to do" aria-invalid={step.description.trim() === ""} onInput={(event) => put(at, { description: event.currentTarget.value })} />
              {step.tool && <code class="tag">{step.tool.name}</code>}{step.optional && <span class="tag">optional</span>}{beyond(step).map((one) => <span key={one} class="tag" title="Kept as it is; it is changed as JSON">{one}</span>)}
              <span class="plan-step-acts">
                <Button kind="ghost" aria-label={`Move step ${at + 1} up`} title="Up" disabled={at === 0} onClick={() => { change(swapped(steps, at - 1)); setOpen(null); }}>↑</Button>
                <Button kind="ghost" aria-label={`Move step ${at + 1} down`} title="Down" disabled={at === steps.length - 1} onClick={() => { change(swapped(steps, at)); setOpen(null); }}>↓</Button>
                <Button kind="ghost" icon="settings" aria-label={`More of step ${at + 1}`} aria-expanded={open === at} title="More" onClick={() => setOpen(open === at ? null : at)} />
                <Button kind="ghost" icon="cross" aria-label={`Remove step ${at + 1}`} title="Remove" disabled={steps.length === 1} onClick={() => { change(withoutStep(steps, at)); setOpen(null); }} />
              </span>
            </div>
            {(step.dependsOn ?? []).length > 0 && open !== at && <p class="plan-step-needs faint">after {(step.dependsOn ?? []).map((on) => on + 1).join(", ")}</p>}
            {open === at && <Details step={step} at={at} steps={steps} tools={tools} put={(more) => put(at, more)} />}
          </li>
        ))}
      </ol>
      <Button icon="plus" onClick={add}>Add a step</Button>
    </section>
  );
}

function Details({ step, at, steps, tools, put }: { step: PlannedStep; at: number; steps: PlannedStep[]; tools: ToolInfo[]; put: (more: Partial<PlannedStep>) => void }) {
  const [typed, setTyped] = useState(() => JSON.stringify(step.tool?.arguments ?? {}, null, 2));
  const [problem, setProblem] = useState(false);
  const needs = new Set(step.dependsOn ?? []);
  const kinds: StepType[] = ["llm-reasoning", "tool-call", "checkpoint", "summarization"];
  const kind = (type: StepType) => put({ type, tool: type === "tool-call" ? (step.tool ?? null) : null });
  const name = (tool: string) => {
    if (tool === "") { put({ tool: null }); return; }
    put({ tool: { name: tool, arguments: step.tool?.arguments ?? {} } });
  };
  const fill = (text: string) => {
    setTyped(text);
    try { put({ tool: { name: step.tool?.name ?? "", arguments: JSON.parse(text) as unknown } }); setProblem(false); } catch { setProblem(true); }
  };
  return (
    <div class="plan-step-more">
      <div class="fields">
        <label class="field"><span class="field-label">Kind</span><select value={step.type} onChange={(event) => kind(event.currentTarget.value as StepType)}>{kinds.map((one) => <option key={one} value={one}>{stepWords[one]}</option>)}</select></label>
        {step.type === "tool-call" && <label class="field"><span class="field-label">Tool</span><select value={step.tool?.name ?? ""} onChange={(event) => name(event.currentTarget.value)}><option value="">a model chooses</option>{tools.map((tool) => <option key={tool.name} value={tool.name}>{tool.name}</option>)}</select></label>}
        <label class="check"><input type="checkbox" checked={step.optional ?? false} onChange={(event) => put({ optional: event.currentTarget.checked })} /> optional</label>
      </div>
      {step.tool && <label class="field"><span class="field-label">Arguments</span><textarea class="mono" rows={3} value={typed} aria-invalid={problem} onInput={(event) => fill(event.currentTarget.value)} />{problem && <span class="field-hint problem">This is not JSON; the arguments are still as before.</span>}</label>}
      {at > 0 && <div class="chips" role="group" aria-label="Needs"><span class="faint">Starts after</span>{steps.slice(0, at).map((other, on) => <Chip key={other.id} on={needs.has(on)} label={`Step ${on + 1}: ${other.description}`} onClick={() => { if (!needs.delete(on)) needs.add(on); put({ dependsOn: [...needs].sort((one, two) => one - two) }); }}>{on + 1}</Chip>)}</div>}
    </div>
  );
}

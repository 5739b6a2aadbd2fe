/** A new template, or a new version of one: its goal, its parameters, and its steps if they are the same each time. */
import { createTemplate, listTemplates, listTools } from "#api";
import { useRef, useState } from "preact/hooks";
import { ask, message } from "../api/client";
import { forget, useResource } from "../api/resource";
import type { PlannedStep, TemplateVersion, TemplateWish } from "../api/types";
import { Button, Choice, Dialog, Field, useAction } from "../components/basics";
import { useShortcuts } from "../state/keys";
import { freeName, planned, type EditedStep } from "../state/plan-steps";
import { notify } from "../state/session";
import { blankPlan, edited, PlanEditor, usePlan } from "./plan-editor";
import { useTerms } from "./terms";

const example = { type: "object", properties: { place: { type: "string", description: "Where to look" } }, required: ["place"] };

/** The object that somebody typed, or why it is none. */
function typedJson(text: string): { value?: unknown; problem?: string } {
  if (text.trim() === "") return {};
  try { return { value: JSON.parse(text) as unknown }; } catch (error) { return { problem: message(error) }; }
}

/** Steps as somebody may write them, as the editor has them: with ids, and with the numbers of the steps that they need. */
function asSteps(value: unknown): PlannedStep[] {
  const steps: PlannedStep[] = [];
  const written = (Array.isArray(value) ? value : []) as (Omit<Partial<PlannedStep>, "dependsOn"> & { dependsOn?: (number | string)[] })[];
  const taken = new Set(written.flatMap((one) => one.id ?? []));
  for (const [at, one] of written.entries()) {
    const needs = one.dependsOn ?? (at > 0 ? [at - 1] : []);
    const numbers = needs.map((on) => (typeof on === "number" ? on : written.findIndex((other) => other.id === on)));
    const usual = `step-${at + 1}`;
    steps.push({ ...one, id: one.id ?? (taken.has(usual) ? freeName(taken) : usual), description: one.description ?? "", type: one.type ?? "llm-reasoning", dependsOn: numbers.filter((on) => on >= 0 && on < at) });
  }
  return steps;
}

type Way = "planned" | "steps" | "json";
const ways: [Way, string][] = [["planned", "Planned anew"], ["steps", "Always these"], ["json", "As JSON"]];

export function TemplateDialog({ template, close, done }: { template?: TemplateVersion; close: () => void; done: (template: TemplateVersion) => void }) {
  const [name, setName] = useState(template?.name ?? "");
  const [description, setDescription] = useState(template?.description ?? "");
  const [goal, setGoal] = useState(template?.goal ?? "");
  const [parameters, setParameters] = useState(JSON.stringify(template?.parameters ?? example, null, 2));
  const [preset, setPreset] = useState(template?.preset ?? "");
  const [way, setWay] = useState<Way>(template?.steps?.length ? "steps" : "planned");
  const [steps, setSteps] = useState<EditedStep[]>(() => edited(template?.steps ?? []));
  const editor = usePlan(steps, setSteps);
  const form = useRef<HTMLFormElement>(null);
  const [typed, setTyped] = useState("");
  const [busy, run] = useAction();
  const tools = useResource(listTools());
  const { presets } = useTerms();
  const schema = typedJson(parameters);
  const json = way === "json" ? typedJson(typed) : {};
  const plan = way === "planned" ? [] : way === "steps" ? planned(steps) : json.value;
  const problem = json.problem ?? (way === "json" && json.value !== undefined && !Array.isArray(json.value) ? "This is no list." : undefined);
  const unfinished = way === "steps" && (steps.length === 0 || steps.some(({ step }) => step.description.trim() === ""));
  const incomplete = !/^[a-z0-9_-]{1,50}$/.test(name) || goal.trim() === "" || Boolean(schema.problem) || Boolean(problem) || unfinished;
  const choose = (next: Way) => {
    const known = way === "json" && !problem ? edited(asSteps(json.value)) : steps;
    setSteps(known.length === 0 && next === "steps" ? blankPlan() : known);
    if (next === "json") setTyped(known.length > 0 ? JSON.stringify(planned(known), null, 2) : "");
    setWay(next);
  };
  useShortcuts([{ keys: "Mod+enter", what: "Save the template", group: "Templates", run: () => form.current?.requestSubmit() }]);
  const save = () => run(async () => {
    if (way === "steps" && !editor.send()) return;
    const wish: TemplateWish = { name, description: description.trim(), goal: goal.trim(), parameters: (schema.value as TemplateWish["parameters"]) ?? null, steps: (plan as TemplateWish["steps"]) ?? [] };
    if (preset) wish.preset = preset;
    const made = await ask(createTemplate(wish)).catch((error: unknown) => {
      if (way === "steps" && editor.refused(message(error))) return null;
      throw error;
    });
    if (!made) return;
    forget(listTemplates());
    notify(`${made.name} is version ${made.version} now`);
    done(made);
  });
  return (
    <Dialog title={template ? `New version of ${template.name}` : "New template"} close={close} wide>
      <form class="stack" ref={form} onSubmit={(event) => { event.preventDefault(); if (!incomplete) void save(); }}>
        <div class="fields">
          <Field label="Name" hint="Small letters, digits, - and _"><input class="mono" autoFocus={!template} disabled={Boolean(template)} value={name} onInput={(event) => setName(event.currentTarget.value)} aria-invalid={name !== "" && !/^[a-z0-9_-]{1,50}$/.test(name)} /></Field>
          <Field label="Description" hint="People and models choose it by this"><input value={description} onInput={(event) => setDescription(event.currentTarget.value)} /></Field>
        </div>
        <Field label="Goal" hint={"{{name}} stands for a parameter"}><textarea rows={3} value={goal} placeholder={"Look for open questions in {{place}} and write a report"} onInput={(event) => setGoal(event.currentTarget.value)} /></Field>
        <Field label="Parameters" hint={schema.problem ? <span class="problem">{schema.problem}</span> : "A JSON Schema of an object"}><textarea class="mono" rows={8} value={parameters} aria-invalid={Boolean(schema.problem)} onInput={(event) => setParameters(event.currentTarget.value)} /></Field>
        {(presets.length > 0 || preset) && <Field label="Preset" hint="What its tasks begin from, if who runs it names none"><select value={preset} onChange={(event) => setPreset(event.currentTarget.value)}><option value="">none</option>{preset && !presets.some((one) => one.name === preset) && <option value={preset}>{preset}</option>}{presets.map((one) => <option key={one.name} value={one.name}>{one.name}</option>)}</select></Field>}
        <section class="stack" aria-label="Steps">
          <Choice label="Steps" options={ways} value={way} choose={choose} off={(value) => Boolean(problem) && value !== "json"} />
          {way === "steps" && <PlanEditor plan={editor} tools={tools.data?.tools ?? []} />}
          {way === "json" && <Field label="List of steps" hint={problem ? <span class="problem">{problem}</span> : "As plans have them, with lists, conditions and checks"}><textarea class="mono" rows={10} value={typed} aria-invalid={Boolean(problem)} placeholder={'[{"id": "look", "description": "Look into {{place}}", "type": "llm-reasoning"}]'} onInput={(event) => setTyped(event.currentTarget.value)} /></Field>}
        </section>
        <div class="dialog-foot"><Button onClick={close}>Close</Button><Button kind="primary" type="submit" busy={busy} disabled={incomplete}>{template ? "Write the version" : "Make the template"}</Button></div>
      </form>
    </Dialog>
  );
}

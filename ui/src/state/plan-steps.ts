/** The steps of a plan while somebody changes them: what is moved, renamed or removed takes along whatever refers to it. */
import type { PlannedStep } from "../api/types";

/** A step that is changed. */
export interface EditedStep {
  /** Names it while it is edited, whatever it is called and wherever it stands. */
  readonly key: string;
  /** The keys of the steps that it waits for. Those that stand behind it count again once they stand before it. */
  readonly after: readonly string[];
  /** All else of it, as it is sent: what is not edited stays as it came. */
  readonly step: Readonly<Omit<PlannedStep, "dependsOn">>;
  /** What was typed into a field and cannot be sent as it is, with the reason, by the path of the field. */
  readonly typed: Readonly<Record<string, Typed>>;
}

export interface Typed { text: string; words: string }

/** Something that stands against a step, and which of its fields it is about. */
export interface Problem { key: string; field: string; words: string }

/** The fields in which references stand for what other steps bring. */
const REFERRING = ["tool", "when", "forEach"] as const;

let count = 0;
const newKey = () => `s${(count += 1)}`;

/** Steps as the API has them. */
export function edited(steps: readonly PlannedStep[]): EditedStep[] {
  const keys = steps.map(newKey);
  return steps.map(({ dependsOn, ...step }, at) => ({
    key: keys[at] as string, after: [...new Set((dependsOn ?? []).flatMap((on) => keys[on] ?? []))], step, typed: {},
  }));
}

/** Steps as the API takes them: with the numbers of those that they wait for, and with ids that belong to no other place. */
export function planned(list: readonly EditedStep[]): PlannedStep[] {
  const names = settledNames(list);
  const places = new Map(list.map((one, at) => [one.key, at]));
  return list.map(({ step, after }, at) => {
    const needs = after.flatMap((key) => places.get(key) ?? []).filter((on) => on < at).sort((one, other) => one - other);
    const { id, description, type, ...rest } = names.size > 0 ? withNames(step, (name) => names.get(name) ?? name) : step;
    return { id: names.get(id) ?? id, description, type, dependsOn: needs, ...rest };
  });
}

/** Whether an id stands for a place in the plan: later revisions go on counting with such. */
const placeOf = (id: string) => /^step-\+?\d+$/.test(id);

/** New names for the steps that are called by another place than theirs. */
function settledNames(list: readonly EditedStep[]): Map<string, string> {
  const names = new Map<string, string>();
  const taken = new Set(list.map(({ step }) => step.id));
  for (const [at, { step }] of list.entries()) {
    if (!placeOf(step.id) || step.id === `step-${at + 1}`) continue;
    const name = freeName(taken);
    taken.add(name);
    names.set(step.id, name);
  }
  return names;
}

/** `step-a`, `step-b`, … `step-aa`: a name that says nothing of a place, for places change. */
export function freeName(taken: ReadonlySet<string>): string {
  for (let number = 0; ; number += 1) {
    let letters = "";
    for (let rest = number; rest >= 0; rest = Math.floor(rest / 26) - 1) letters = String.fromCharCode(97 + (rest % 26)) + letters;
    if (!taken.has(`step-${letters}`)) return `step-${letters}`;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

/** `{"$value": …}` stands for what is in it, in which nothing refers to anything. */
const isLiteral = (value: Record<string, unknown>) => "$value" in value && Object.keys(value).length === 1;

/** The id of the step whose output a value stands for. */
export function outputOf(value: unknown): string | null {
  if (!isObject(value) || typeof value.$output !== "string") return null;
  const keys = Object.keys(value).length;
  return keys === 1 || (keys === 2 && typeof value.pointer === "string") ? value.$output : null;
}

/** The ids of the steps whose outputs a value refers to. */
export function outputsIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(outputsIn);
  if (!isObject(value) || isLiteral(value)) return [];
  const id = outputOf(value);
  return id === null ? Object.values(value).flatMap(outputsIn) : [id];
}

function withOutputs(value: unknown, name: (id: string) => string): unknown {
  if (Array.isArray(value)) return value.map((one) => withOutputs(one, name));
  if (!isObject(value) || isLiteral(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, key === "$output" && typeof one === "string" ? name(one) : withOutputs(one, name)]));
}

function withNames<T extends Partial<PlannedStep>>(step: T, name: (id: string) => string): T {
  const fields = REFERRING.filter((field) => outputsIn(step[field]).some((id) => name(id) !== id));
  return fields.length === 0 ? step : { ...step, ...Object.fromEntries(fields.map((field) => [field, withOutputs(step[field], name)])) };
}

const placeIn = (list: readonly EditedStep[], key: string) => list.findIndex((one) => one.key === key);
const replaced = (list: readonly EditedStep[], key: string, change: (one: EditedStep) => EditedStep) => list.map((one) => (one.key === key ? change(one) : one));

/** With a blank step behind all others; it waits for the last of them. */
export function added(list: readonly EditedStep[]): EditedStep[] {
  const last = list.at(-1);
  const id = freeName(new Set(list.map(({ step }) => step.id)));
  return [...list, { key: newKey(), after: last ? [last.key] : [], step: { id, description: "", type: "llm-reasoning" }, typed: {} }];
}

/** Other values for fields of a step; a field that becomes `undefined` is gone. What was typed into the fields that are settled by it is forgotten. */
export function changed(list: readonly EditedStep[], key: string, more: Partial<PlannedStep>, ...settled: string[]): EditedStep[] {
  const isIn = (path: string, field: string) => path === field || path.startsWith(`${field}.`);
  const gone = [...Object.entries(more).flatMap(([field, value]) => (value === undefined || value === null ? [field] : [])), ...settled];
  return replaced(list, key, (one) => ({
    ...one,
    step: Object.fromEntries(Object.entries({ ...one.step, ...more }).filter(([, value]) => value !== undefined)) as unknown as EditedStep["step"],
    typed: Object.fromEntries(Object.entries(one.typed).filter(([path]) => !gone.some((field) => isIn(path, field)))),
  }));
}

/** With something in a field that cannot be sent. */
export function typedInto(list: readonly EditedStep[], key: string, path: string, typed: Typed): EditedStep[] {
  return replaced(list, key, (one) => ({ ...one, typed: { ...one.typed, [path]: typed } }));
}

/** Under another id, by which all others refer to it from then on. An id that cannot be one is kept as something typed. */
export function renamed(list: readonly EditedStep[], key: string, id: string): EditedStep[] {
  const before = list.find((one) => one.key === key)?.step.id;
  const name = id.trim();
  if (before === undefined) return [...list];
  if (name === "") return typedInto(list, key, "id", { text: id, words: "A step has a name." });
  if (list.some((one) => one.key !== key && one.step.id === name)) return typedInto(list, key, "id", { text: id, words: `Another step is called ${name}.` });
  const all = list.map((one) => ({ ...one, step: withNames(one.step, (known) => (known === before ? name : known)) }));
  return changed(all, key, { id: name }, "id");
}

/** One place up or down. Who waits for whom stays. */
export function moved(list: readonly EditedStep[], key: string, by: -1 | 1): EditedStep[] {
  const from = placeIn(list, key);
  const to = from + by;
  const next = [...list];
  const [one, other] = [list[from], list[to]];
  if (one && other) [next[from], next[to]] = [other, one];
  return next;
}

/** Without a step: who waited for it waits for what it waited for. */
export function removed(list: readonly EditedStep[], key: string): EditedStep[] {
  const heirs = list.find((one) => one.key === key)?.after ?? [];
  return list.filter((one) => one.key !== key).map((one) => (one.after.includes(key) ? { ...one, after: [...new Set(one.after.flatMap((on) => (on === key ? heirs : [on])))] } : one));
}

/** Waits for another step, or does not any more. */
export function awaiting(list: readonly EditedStep[], key: string, other: string, on: boolean): EditedStep[] {
  return replaced(list, key, (one) => ({ ...one, after: on ? [...one.after, other] : one.after.filter((known) => known !== other) }));
}

/** The places of the steps that it waits for: those that are named, and those whose outputs it uses. */
export function waitsFor(list: readonly EditedStep[], one: EditedStep): number[] {
  const uses = usesOf(one.step);
  const end = placeIn(list, one.key);
  return list.slice(0, end).flatMap((other, place) => (one.after.includes(other.key) || uses.includes(other.step.id) ? [place] : []));
}

/** The ids of the steps whose outputs a step uses. */
export function usesOf(step: EditedStep["step"]): string[] {
  return [...new Set(REFERRING.flatMap((field) => outputsIn(step[field])))];
}

/** What stands against the steps as they are, as far as that is known before they are sent. */
export function problemsOf(list: readonly EditedStep[]): Problem[] {
  const all = new Set(list.map(({ step }) => step.id));
  const before = new Set<string>();
  return list.flatMap(({ key, step, typed }) => {
    const problems: Problem[] = Object.entries(typed).map(([field, { words }]) => ({ key, field, words }));
    if (step.description.trim() === "") problems.push({ key, field: "description", words: "Say what is to be done." });
    if (before.has(step.id)) problems.push({ key, field: "id", words: `Another step is called ${step.id}.` });
    for (const field of REFERRING) {
      const missing = outputsIn(step[field]).find((id) => !before.has(id));
      if (missing !== undefined) problems.push({ key, field, words: all.has(missing) ? `It uses what ${missing} brings, which stands behind it.` : `It uses what ${missing} brings, and there is no such step.` });
    }
    before.add(step.id);
    return problems;
  });
}

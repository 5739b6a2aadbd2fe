/** Fields of a step of a plan: what is typed into them stays there, also while it cannot be sent. */
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";
import type { PlannedStep } from "../api/types";
import { Field } from "../components/basics";
import type { EditedStep, Problem, Typed } from "../state/plan-steps";

/** What the fields of a step know of it, and do with it. */
export interface StepForm {
  one: EditedStep;
  /** Its place in the plan, from 0. */
  place: number;
  list: readonly EditedStep[];
  problems: readonly Problem[];
  put(more: Partial<PlannedStep>, ...settled: string[]): void;
  type(path: string, typed: Typed): void;
}

/** What stands against a field, or a part of it. */
export function Problems({ form, path }: { form: StepForm; path: string }) {
  const mine = form.problems.filter(({ field }) => field === path);
  return mine.length === 0 ? null : <div id={problemsId(form, path)}>{mine.map(({ words }) => <p key={words} class="field-hint problem" role="alert">{words}</p>)}</div>;
}

const problemsId = ({ one }: StepForm, path: string) => `${one.key}-${path}`;

/** What says of a field that it is wrong, and where it stands why. */
export const wrong = (form: StepForm, path: string) => (isWrong(form, path) ? { "aria-invalid": true, "aria-describedby": problemsId(form, path) } : { "aria-invalid": false });

const isWrong = ({ problems }: StepForm, path: string) => problems.some(({ field }) => field === path);

/** A value as text: as it was typed for as long as that says the same. */
export function useText<T>(value: T, show: (value: T) => string, read: (text: string) => T): [string, (text: string) => void] {
  const [text, setText] = useState(() => show(value));
  return [JSON.stringify(read(text)) === JSON.stringify(value) ? text : show(value), setText];
}

const pretty = (value: unknown) => (value === undefined ? "" : JSON.stringify(value, null, 2));
const parsed = (text: string): unknown => { try { return JSON.parse(text) as unknown; } catch { return undefined; } };

/** A value as JSON. What is none is kept, and the value stays as it was. */
export function JsonField({ form, path, label, hint, value, put, placeholder }: { form: StepForm; path: string; label: string; hint?: ComponentChildren; value: unknown; put: (value: unknown) => void; placeholder?: string }) {
  const [text, setText] = useText(value, pretty, parsed);
  const broken = form.one.typed[path];
  const fill = (next: string) => {
    setText(next);
    const found = parsed(next);
    if (found === undefined) form.type(path, { text: next, words: "This is not JSON." });
    else put(found);
  };
  const written = broken?.text ?? text;
  return (
    <div class="field-group" data-field={path}>
      <Field label={label} hint={hint}><textarea class="mono" rows={Math.min(14, Math.max(2, written.split("\n").length))} spellcheck={false} value={written} placeholder={placeholder} {...wrong(form, path)} onInput={(event) => fill(event.currentTarget.value)} /></Field>
      <Problems form={form} path={path} />
    </div>
  );
}

/** A number; nothing is as configured. `unit` is what one of what is typed stands for. */
export function NumberField({ form, path, label, value, put, unit = 1, placeholder }: { form: StepForm; path: string; label: string; value: number | null | undefined; put: (value: number | undefined) => void; unit?: number; placeholder?: string }) {
  const read = (text: string) => (text.trim() === "" ? undefined : unit === 1 ? Number(text) : Math.round(Number(text) * unit));
  const [text, setText] = useText<number | undefined>(value ?? undefined, (known) => (known === undefined ? "" : String(known / unit)), read);
  const broken = form.one.typed[path];
  const fill = (next: string) => {
    setText(next);
    const found = read(next);
    if (found !== undefined && !Number.isFinite(found)) form.type(path, { text: next, words: `${label}: this is not a number.` });
    else put(found);
  };
  return (
    <div class="field-group" data-field={path}>
      <Field label={label}><input inputMode="decimal" value={broken?.text ?? text} placeholder={placeholder} {...wrong(form, path)} onInput={(event) => fill(event.currentTarget.value)} /></Field>
      <Problems form={form} path={path} />
    </div>
  );
}

/** What is seldom said of a step: its summary tells what is set while it is closed. */
export function Group({ form, path, also = path, name, said, children }: { form: StepForm; path: string; also?: string; name: string; said: string; children: ComponentChildren }) {
  const bad = form.problems.some(({ field }) => field === path || field === also || field.startsWith(`${path}.`));
  const [open, setOpen] = useState(bad);
  // Before the next frame, in which the keyboard is led there.
  useLayoutEffect(() => { if (bad) setOpen(true); }, [bad]);
  return (
    <details class="more" data-field={path} open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{name}<span class="plan-said">: {said}</span></summary>
      <div class="stack plan-group" role="group" aria-label={name}>{children}<Problems form={form} path={path} /></div>
    </details>
  );
}

/** Which of the steps before brings it, and which part of that. */
export function OutputFields({ form, output, pointer, put }: { form: StepForm; output: string; pointer: string; put: (output: string, pointer: string) => void }) {
  const before = form.list.slice(0, form.place);
  const known = before.some(({ step }) => step.id === output);
  return (
    <>
      <Field label="What this step brings"><select value={output} aria-invalid={!known} onChange={(event) => put(event.currentTarget.value, pointer)}>
        {!known && <option value={output}>{output || "–"}</option>}
        {before.map(({ key, step }, at) => <option key={key} value={step.id}>{at + 1} · {step.description || step.id}</option>)}
      </select></Field>
      <Field label="Which part"><input class="mono" spellcheck={false} value={pointer} placeholder="all of it, or /entries" onInput={(event) => put(output, event.currentTarget.value)} /></Field>
    </>
  );
}

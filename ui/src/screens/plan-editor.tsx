/** A plan before it runs: steps that can be rewritten, moved, removed and added, with all that a step can have. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { PlannedStep, ToolInfo } from "../api/types";
import { Button } from "../components/basics";
import { Icon } from "../components/icons";
import { refusalsIn } from "../state/plan-refusal";
import { added, awaiting, changed, edited, moved, planned, problemsOf, removed, renamed, typedInto, type EditedStep, type Problem } from "../state/plan-steps";
import type { StepForm } from "./plan-fields";
import { chipsOf, StepDetails } from "./plan-step";
import { stepIcons } from "./task/steps";

/** A plan that is edited: its steps, what stands against them, and what is to be looked at. */
export interface PlanDraft {
  list: readonly EditedStep[];
  problems: Problem[];
  /** What is in the way, once somebody wanted to send it or it was refused; a new one each time. */
  shown: Problem | null;
  change(list: EditedStep[]): void;
  /** The steps as they are sent; none, with the first problem shown, if something stands against them. */
  send(): PlannedStep[] | null;
  /** Shows why it was refused at the steps that this is about; whether it is about any. */
  refused(message: string): boolean;
}

export function usePlan(list: readonly EditedStep[], put: (list: EditedStep[]) => void): PlanDraft {
  const [refusals, setRefusals] = useState<Problem[]>([]);
  const [shown, setShown] = useState<Problem | null>(null);
  const own = problemsOf(list);
  return {
    list, shown, problems: [...own, ...refusals],
    change: (next) => { setRefusals([]); put(next); },
    send: () => {
      setRefusals([]);
      setShown(own[0] ? { ...own[0] } : null);
      return own.length > 0 ? null : planned(list);
    },
    refused: (message) => {
      const found = refusalsIn(list, message);
      setRefusals(found);
      setShown(found[0] ? { ...found[0] } : null);
      return found.length > 0;
    },
  };
}

/** A plan of one step that says nothing yet. */
export const blankPlan = () => added([]);
export { edited };

type Act = "up" | "down" | "text" | "more";

export function PlanEditor({ plan, tools, begin }: { plan: PlanDraft; tools: ToolInfo[]; begin?: boolean }) {
  const { list, shown } = plan;
  /** The steps before one of them was removed, until something else is done. */
  const [removing, setRemoving] = useState<{ at: number; list: readonly EditedStep[] } | null>(null);
  const change = (next: EditedStep[]) => { setRemoving(null); plan.change(next); };
  const [open, setOpen] = useState<string | null>(null);
  const [told, setTold] = useState("");
  const editor = useRef<HTMLElement>(null);
  /** Where the keyboard is to be once the steps are drawn. */
  const wanted = useRef<{ key: string; act: Act } | null>(begin ? { key: list[0]?.key ?? "", act: "text" } : null);
  useLayoutEffect(() => {
    const want = wanted.current;
    const row = want && editor.current?.querySelector(`[data-step="${want.key}"]`);
    if (!want || !row) return;
    wanted.current = null;
    const part = (act: Act) => row.querySelector<HTMLButtonElement | HTMLTextAreaElement>(`[data-act="${act}"]:not(:disabled)`);
    (part(want.act) ?? part(want.act === "up" ? "down" : "up") ?? part("text"))?.focus();
  });
  useLayoutEffect(() => {
    if (!shown) return;
    if (shown.field !== "description") setOpen(shown.key);
    // By then what was folded away is drawn.
    const frame = requestAnimationFrame(() => {
      const row = editor.current?.querySelector(`[data-step="${shown.key}"]`);
      const field = [...(row?.querySelectorAll<HTMLElement>("[data-field]") ?? [])].find((one) => one.dataset.field === shown.field) ?? row;
      const place = (field?.querySelector<HTMLElement>("[aria-invalid=true]") ?? field?.querySelector<HTMLElement>(".plan-group :is(input, textarea, select)") ?? field?.querySelector<HTMLElement>("input, textarea, select, button"));
      place?.focus();
      place?.scrollIntoView({ block: "center" });
    });
    return () => cancelAnimationFrame(frame);
  }, [shown]);
  const move = (key: string, by: -1 | 1, act: Act) => {
    const to = list.findIndex((one) => one.key === key) + by;
    if (to < 0 || to >= list.length) return;
    wanted.current = { key, act };
    setTold(`Step ${to - by + 1} is step ${to + 1} of ${list.length} now`);
    change(moved(list, key, by));
  };
  const remove = (at: number) => {
    const next = list[at + 1] ?? list[at - 1];
    if (next) wanted.current = { key: next.key, act: "text" };
    setTold(`Step ${at + 1} is removed`);
    change(removed(list, list[at]?.key ?? ""));
    setRemoving({ at, list });
  };
  const restore = () => {
    if (!removing) return;
    wanted.current = { key: removing.list[removing.at]?.key ?? "", act: "text" };
    setTold(`Step ${removing.at + 1} is back`);
    change([...removing.list]);
  };
  const add = () => {
    const next = added(list);
    const key = next.at(-1)?.key ?? "";
    wanted.current = { key, act: "text" };
    setOpen(null);
    change(next);
  };
  const formOf = (one: EditedStep, place: number): StepForm => ({
    one, place, list, problems: plan.problems.filter(({ key }) => key === one.key),
    put: (more, ...settled) => change(changed(list, one.key, more, ...settled)),
    type: (path, typed) => change(typedInto(list, one.key, path, typed)),
  });
  return (
    <section class="plan-editor" aria-label="Plan" ref={editor}>
      <p class="sr-only" role="status">{told}</p>
      <ol class="plain">
        {list.map((one, at) => {
          const form = formOf(one, at);
          const isOpen = open === one.key;
          const silent = one.step.description.trim() === "";
          const hidden = form.problems.filter(({ field }) => field !== "description").length;
          const keys = (event: KeyboardEvent) => {
            const by = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
            if (!event.altKey || by === 0) return;
            event.preventDefault();
            move(one.key, by, "text");
          };
          return (
            <li key={one.key} data-step={one.key} class={`card plan-step${isOpen ? " is-open" : ""}`}>
              <div class="plan-step-head">
                <span class="mono faint">{at + 1}</span><Icon name={stepIcons[one.step.type] ?? "dot"} size={14} />
                <textarea rows={1} data-act="text" aria-label={`What step ${at + 1} does`} value={one.step.description} placeholder="What to do" aria-invalid={silent} onKeyDown={keys} onInput={(event) => form.put({ description: event.currentTarget.value })} />
                <span class="plan-step-acts">
                  <Button kind="ghost" data-act="up" aria-label={`Move step ${at + 1} up`} title="Up (Alt ↑)" disabled={at === 0} onClick={() => move(one.key, -1, "up")}>↑</Button>
                  <Button kind="ghost" data-act="down" aria-label={`Move step ${at + 1} down`} title="Down (Alt ↓)" disabled={at === list.length - 1} onClick={() => move(one.key, 1, "down")}>↓</Button>
                  <Button kind="ghost" data-act="more" icon="settings" aria-label={`More of step ${at + 1}`} aria-expanded={isOpen} title="More" onClick={() => setOpen(isOpen ? null : one.key)} />
                  <Button kind="ghost" icon="cross" aria-label={`Remove step ${at + 1}`} title="Remove" disabled={list.length === 1} onClick={() => remove(at)} />
                </span>
              </div>
              {form.problems.filter(({ field, words }) => field === "description" && (!silent || words === shown?.words)).map(({ words }) => <p key={words} class="field-hint problem plan-step-line" role="alert">{words}</p>)}
              {!isOpen && <div class="plan-step-line">{hidden > 0 && <button type="button" class="tag is-bad" onClick={() => setOpen(one.key)}>{form.problems.find(({ field }) => field !== "description")?.words}</button>}{chipsOf(list, one).map(({ words, title }) => <span key={words} class="tag" title={title ?? words}>{words}</span>)}</div>}
              {isOpen && <StepDetails form={form} tools={tools} rename={(id) => change(renamed(list, one.key, id))} wait={(other, on) => change(awaiting(list, one.key, other, on))} />}
            </li>
          );
        })}
      </ol>
      <div class="row-of-buttons"><Button icon="plus" onClick={add}>Add a step</Button>{removing && <Button kind="ghost" icon="retry" onClick={restore}>{`Bring step ${removing.at + 1} back`}</Button>}</div>
    </section>
  );
}

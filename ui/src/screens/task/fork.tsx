/** Goes on from what a task recorded: as a fork from any moment, or as a retry of one that has ended. */
import { forkTask, listModels, retryTask } from "#api";
import { useState } from "preact/hooks";
import { ApiError, ask, message } from "../../api/client";
import { useOnce } from "../../api/once";
import { useResource } from "../../api/resource";
import type { ForkTask, TaskDetail } from "../../api/types";
import { Button, Dialog, Field } from "../../components/basics";
import { Icon } from "../../components/icons";
import { text } from "../../format";
import { navigate } from "../../router";
import { notify } from "../../state/session";

/** Where a fork begins, and how that is said. */
export interface ForkPlace { seq?: number; step?: number; result?: { step: number; call: number; value: unknown }; words: string }

/** A request that may be refused for what it would do to the world once more; then it can be sent with that said. */
export function useRepeatable(send: (repeatEffects: boolean, once: ReturnType<typeof useOnce>) => Promise<unknown>) {
  const once = useOnce();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>(null);
  const [repeat, setRepeat] = useState(false);
  const asks = problem instanceof ApiError && problem.code === "effects_would_repeat";
  const go = async () => {
    setBusy(true);
    try { await send(repeat, once); setProblem(null); } catch (error) { setProblem(error); }
    setBusy(false);
  };
  const said = problem === null ? null : (
    <div class={`callout ${asks ? "is-wait" : "is-bad"}`} role="alert"><Icon name="alert" /><div><p>{message(problem)}</p>
      {asks && <label class="check"><input type="checkbox" checked={repeat} onChange={(event) => setRepeat(event.currentTarget.checked)} /> Do it once more nevertheless</label>}</div></div>
  );
  return { busy, go, said, blocked: asks && !repeat };
}

export function ForkDialog({ task, place, close }: { task: TaskDetail; place: ForkPlace; close: () => void }) {
  const models = useResource(listModels());
  const [model, setModel] = useState("");
  const [goal, setGoal] = useState(task.goal);
  const [prompt, setPrompt] = useState("");
  const [value, setValue] = useState(place.result ? text(place.result.value) : "");
  const fork = useRepeatable(async (repeatEffects, once) => {
    const body: ForkTask = { repeatEffects };
    if (place.seq !== undefined) body.seq = place.seq;
    if (place.step !== undefined) body.step = place.step;
    if (place.result) body.result = { step: place.result.step, call: place.result.call, value: parsed(value, place.result.value) };
    if (model) body.model = model;
    if (goal.trim() && goal.trim() !== task.goal) body.goal = goal.trim();
    if (prompt.trim()) body.prompt = prompt.trim();
    const made = await ask(once(forkTask(task.id, body)));
    notify("Forked: what came before is not done again");
    close();
    navigate(`/tasks/${made.id}`);
  });
  return (
    <Dialog title={`Fork ${place.words}`} close={close} wide>
      <form class="stack" onSubmit={(event) => { event.preventDefault(); void fork.go(); }}>
        <p class="faint">A new task begins with what this one had recorded by then. Nothing of that is asked, called or paid for again; what follows may differ.</p>
        {place.result && <Field label="What the tool returned, instead" hint="JSON, or plain text"><textarea class="mono" rows={6} value={value} onInput={(event) => setValue(event.currentTarget.value)} /></Field>}
        <Field label="Goal"><textarea rows={2} value={goal} onInput={(event) => setGoal(event.currentTarget.value)} /></Field>
        <Field label="Told to its models besides (optional)"><textarea rows={2} value={prompt} placeholder="Be brief this time" onInput={(event) => setPrompt(event.currentTarget.value)} /></Field>
        <Field label="Model from there on"><select value={model} onChange={(event) => setModel(event.currentTarget.value)}><option value="">as before</option>{models.data?.models.map((one) => <option key={one} value={one}>{one}</option>)}</select></Field>
        {fork.said}
        <div class="dialog-foot"><Button onClick={close}>Close</Button><Button kind="primary" type="submit" icon="fork" busy={fork.busy} disabled={fork.blocked}>Fork</Button></div>
      </form>
    </Dialog>
  );
}

/** The value that was typed: JSON where the one before was no text. */
function parsed(typed: string, before: unknown): unknown {
  if (typeof before === "string") return typed;
  try { return JSON.parse(typed) as unknown; } catch { return typed; }
}

export function RetryDialog({ task, step, close }: { task: TaskDetail; step: number | null; close: () => void }) {
  const retry = useRepeatable(async (repeatEffects, once) => {
    const made = await ask(once(retryTask(task.id, { ...(step === null ? {} : { step }), repeatEffects })));
    notify("Tried again, as a task of its own");
    close();
    navigate(`/tasks/${made.id}`);
  });
  return (
    <Dialog title={step === null ? "Try again what failed?" : `Retry from step ${step + 1}?`} close={close}>
      <p>A new task is linked to this one. {step === null ? "The steps that failed" : `Step ${step + 1}`} and all that wait for {step === null ? "them" : "it"} are done anew; what was completed before stays.</p>
      {retry.said}
      <div class="dialog-foot"><Button onClick={close}>Close</Button><Button kind="primary" icon="retry" busy={retry.busy} disabled={retry.blocked} onClick={() => void retry.go()}>Retry</Button></div>
    </Dialog>
  );
}

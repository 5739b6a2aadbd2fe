/** What a paused task waits for, with the way on: in a page of its own and in a conversation. */
import { listRequests, getTask, raiseBudget } from "#api";
import { useState } from "preact/hooks";
import { ask } from "../../api/client";
import { useResource } from "../../api/resource";
import type { Pause, TaskDetail } from "../../api/types";
import { Button, Field, useAction } from "../../components/basics";
import { Icon } from "../../components/icons";
import { budgetNeed, pauseFact, pauseText, pauseWord } from "../../state/pause";
import { notify } from "../../state/session";
import { RequestCard } from "../inbox";

export function Waiting({ task, done }: { task: TaskDetail; done: (task: TaskDetail) => void }) {
  const inbox = useResource(listRequests({ taskId: task.id }), 2000);
  const requests = inbox.data?.requests ?? [];
  const refresh = async () => { inbox.reload(); done(await ask(getTask(task.id))); };
  const fact = task.pause && pauseFact(task.pause);
  return (
    <div class="callout is-wait" role="status">
      <Icon name="pause" />
      <div class="grow">
        <strong>{task.pause ? pauseWord(task.pause.reason) : "Waits for somebody"}</strong>
        {task.pause && requests.length === 0 && <p>{pauseText(task.pause)}</p>}
        {fact && requests.length === 0 && <p class="faint">{fact}</p>}
        {task.pause?.reason === "budget" && <MoreBudget id={task.id} pause={task.pause} done={done} />}
        {requests.map((request) => <RequestCard key={request.id} request={request} answered={() => void refresh()} inTask />)}
      </div>
    </div>
  );
}

/** Adds to the limit that is in the way; as much as the next call may take, if nobody says otherwise. */
function MoreBudget({ id, pause, done }: { id: string; pause: Pause; done: (task: TaskDetail) => void }) {
  const need = budgetNeed(pause);
  const [typed, setTyped] = useState<string | null>(null);
  const [busy, run] = useAction();
  if (!need) return null;
  const amount = Number(typed ?? need.add);
  const add = () => run(async () => {
    done(await ask(raiseBudget(id, { add: { [need.key]: amount * need.unit } })));
    notify("The budget is raised");
  });
  return (
    <form class="more-budget" onSubmit={(event) => { event.preventDefault(); void add(); }}>
      <Field label={`${need.name} to add`}><input type="number" min="0" step="any" value={typed ?? String(need.add)} onInput={(event) => setTyped(event.currentTarget.value)} /></Field>
      <Button kind="primary" icon="plus" type="submit" busy={busy} disabled={!(amount > 0)}>Add budget</Button>
    </form>
  );
}

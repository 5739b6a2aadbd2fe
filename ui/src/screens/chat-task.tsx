/** A task in the conversation: where it stands now, what it waits for, and its result when there is one. */
import { getTask, getTaskStatus } from "#api";
import { useEffect, useState } from "preact/hooks";
import { forget, useResource } from "../api/resource";
import { isEnded } from "../api/types";
import { Button, Loading, Progress, useAction } from "../components/basics";
import { Icon } from "../components/icons";
import { Value } from "../components/json";
import { Markdown } from "../components/markdown";
import { spent } from "../format";
import { plannedSteps } from "../state/journal";
import { canBeResumed } from "../state/pause";
import { now } from "../state/session";
import { useStory } from "../state/story";
import { act, canCancel, canPause, canResume, type Action } from "./actions";
import { Words } from "./task/speech";
import { Waiting } from "./task/waiting";
import { TaskBadge } from "./tasks";

export function TaskCard({ id }: { id: string }) {
  const [live, setLive] = useState<boolean | null>(null);
  const read = useResource(getTask(id), live === false ? undefined : 1000);
  const task = read.data;
  // A task that has ended is shown as it is; the journal is for those that go on.
  const over = task ? isEnded(task.status) : null;
  useEffect(() => { if (over !== null && live !== false) setLive(live === null ? !over : live && !over); }, [over]);
  const { story } = useStory(live ? id : null);
  const status = useResource(live === false ? getTaskStatus({ taskId: id }) : null);
  const [sure, setSure] = useState(false);
  const [busy, run] = useAction();
  if (!task) return read.error ? <p class="faint">The task {id} is not there any more.</p> : <Loading rows={2} />;
  const fresh = () => { forget(getTask(id)); read.reload(); };
  const doIt = (action: Action) => run(async () => { setSure(false); await act(id, action); fresh(); });
  const took = (task.completedAt ? Date.parse(task.completedAt) : now.value) - Date.parse(task.createdAt);
  const steps = live === false ? (status.data?.steps ?? []) : plannedSteps(story);
  const spoken = [...story.speech.values()].at(-1);
  const waits = task.status === "paused" && (task.pause !== null || (task.asking?.open ?? 0) > 0);
  return (
    <div class="card task-card">
      <header class="card-head"><TaskBadge task={task as never} now={now.value} /><a href={`/tasks/${id}`} title={task.goal}>{task.goal}</a></header>
      <Progress value={task.progress} status={task.status} />
      <ol class="task-card-steps">{steps.slice(0, 12).map((step) => <li key={step.index} class={`is-${step.status}`}><i class={`spot is-${step.status}`} />{step.description}<span class="sr-only">, {step.status}</span></li>)}{steps.length > 12 && <li class="faint">and {steps.length - 12} more</li>}</ol>
      {spoken && <Words spoken={spoken} />}
      {waits && <Waiting task={task} done={fresh} />}
      {task.fault && <p class="callout is-bad"><Icon name="alert" />{task.fault.message}</p>}
      {task.output !== null && task.output !== undefined && <div class="task-card-output"><Brought output={task.output} /></div>}
      <footer class="task-card-foot faint">
        <span>{spent(took, task.usage)} · <a href={`/tasks/${id}`}>Open the task</a></span>
        <span class="task-card-acts">
          {canPause(task.status) && <Button kind="ghost" icon="pause" busy={busy} onClick={() => void doIt("pause")}>Pause</Button>}
          {canResume(task.status) && canBeResumed(task.pause) && <Button kind="ghost" icon="play" busy={busy} onClick={() => void doIt("resume")}>Resume</Button>}
          {canCancel(task.status) && (sure
            ? <><span>What it did is not undone.</span><Button kind="danger" icon="stop" busy={busy} onClick={() => void doIt("cancel")}>Cancel the task</Button><Button kind="ghost" onClick={() => setSure(false)}>Let it run</Button></>
            : <Button kind="ghost" icon="stop" onClick={() => setSure(true)}>Cancel</Button>)}
        </span>
      </footer>
    </div>
  );
}

/** Text is Markdown unless it is JSON; all else is a value. */
function Brought({ output }: { output: unknown }) {
  if (typeof output !== "string") return <Value value={output} />;
  if (/^\s*[[{]/.test(output)) {
    try { return <Value value={JSON.parse(output) as unknown} />; } catch { /* It only begins like JSON. */ }
  }
  return <Markdown text={output} />;
}

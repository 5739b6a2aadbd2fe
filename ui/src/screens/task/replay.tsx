/** Carries a task out again from what is recorded of it, and says how far it goes the same way. */
import { replayTask } from "#api";
import { useEffect, useState } from "preact/hooks";
import { ask } from "../../api/client";
import type { Replay, TaskDetail } from "../../api/types";
import { Button, Dialog, Failure, Loading } from "../../components/basics";
import { Icon } from "../../components/icons";
import { counted } from "../../format";
import { setQuery } from "../../router";

export function ReplayDialog({ task, close }: { task: TaskDetail; close: () => void }) {
  const [found, setFound] = useState<Replay>();
  const [problem, setProblem] = useState<unknown>(null);
  useEffect(() => { ask(replayTask(task.id)).then(setFound, setProblem); }, [task.id]);
  return (
    <Dialog title="Replay" close={close} wide>
      <div class="stack">
        <p class="faint">The engine of this server carries the task out again. Models, tools and people only repeat what is recorded: nothing runs, and nothing is changed.</p>
        {problem ? <Failure error={problem} /> : found ? <Found found={found} close={close} /> : <Loading rows={3} />}
        <div class="dialog-foot"><Button onClick={close}>Close</Button></div>
      </div>
    </Dialog>
  );
}

function Found({ found, close }: { found: Replay; close: () => void }) {
  const calls = `${counted(found.modelCalls, "model call")} and ${counted(found.toolCalls, "tool call")} went the same way`;
  const other = found.divergence;
  if (!other) {
    const so = found.endsAt == null ? `It is the same, ${found.status}: ` : `It is the same until its recording ends at entry ${found.endsAt}: `;
    return <div class="callout" role="status"><Icon name="check" /><p>{so}{calls}.</p></div>;
  }
  const place = [`entry ${other.seq}`, other.step == null ? "" : `step ${other.step + 1}`, other.call == null ? "" : `call ${other.call}`].filter(Boolean).join(", ");
  return (
    <div class="callout is-bad" role="status"><Icon name="alert" />
      <div>
        <p><strong>It diverges at {place}.</strong> {calls} before.</p>
        <dl class="stack"><dt>Recorded</dt><dd><code>{other.expected}</code></dd><dt>Now</dt><dd><code>{other.came}</code></dd></dl>
        <Button icon="link" onClick={() => { close(); setQuery({ seq: String(other.seq), step: null }); }}>Show the entry</Button>
      </div>
    </div>
  );
}

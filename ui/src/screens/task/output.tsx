/** What the task brought: its result, and the files that it wrote on the way there. */
import { getTrace } from "#api";
import { useResource } from "../../api/resource";
import { content, isBlob, isEnded } from "../../api/types";
import { CopyButton, Empty } from "../../components/basics";
import { Icon } from "../../components/icons";
import { LongText, Value } from "../../components/json";
import { Markdown } from "../../components/markdown";
import { text } from "../../format";
import type { Call, Story } from "../../state/journal";
import type { ViewProps } from "./task";

/** A file as a call wrote it: the call has its content, what came back of the call only says where it is. */
interface Written { path: string; call: Call }

const pathOf = (value: unknown): string | null => {
  const path = typeof value === "object" && value !== null ? (value as { path?: unknown }).path : null;
  return typeof path === "string" ? path : null;
};

/** The files that were written, each as it was written last. */
function written(story: Story): Written[] {
  const files = new Map<string, Written>();
  for (const call of story.calls.values()) {
    if (call.kind !== "tool" || call.state !== "done" || call.isError || call.effect === "read-only" || !call.arguments) continue;
    const path = pathOf(content(call.arguments)) ?? pathOf(content(call.result));
    if (path === null) continue;
    if (isBlob(call.arguments) || typeof (content(call.arguments) as { content?: unknown }).content === "string") files.set(path, { path, call });
  }
  return [...files.values()];
}

export function OutputTab({ id, story, task }: ViewProps) {
  const files = written(story);
  const none = task.output === null || task.output === undefined;
  const named = pathOf(task.output);
  if (none && files.length === 0) {
    return isEnded(task.status)
      ? <Empty icon="cross" title="There is no result"><p>{task.fault?.message ?? "The task ended before it had one."}</p></Empty>
      : <Empty icon="clock" title="Not there yet"><p>The result is written when every required step is completed. Findings of single steps are in the inspector.</p></Empty>;
  }
  return (
    <div class="pad output stack">
      {/* A result that only says where a file is stands behind the file itself. */}
      {files.filter((file) => file.path === named).map((file) => <File key={file.path} id={id} file={file} open />)}
      {!none && (
        <div class="output-value">
          <div class="output-copy"><CopyButton text={text(task.output)} /></div>
          {typeof task.output === "string" ? <Markdown text={task.output} /> : <Value value={task.output} />}
        </div>
      )}
      {files.filter((file) => file.path !== named).map((file) => <File key={file.path} id={id} file={file} open={none && files.length === 1} />)}
    </div>
  );
}

function File({ id, file: { path, call }, open }: { id: string; file: Written; open: boolean }) {
  const large = isBlob(call.arguments);
  const read = useResource(large ? getTrace(id, call.seq) : null);
  const given = large ? content((read.data?.data as { arguments?: unknown } | undefined)?.arguments) : content(call.arguments);
  const words = (given as { content?: unknown } | undefined)?.content;
  return (
    <details class="written" open={open}>
      <summary><Icon name="file" size={14} /><code>{path}</code><span class="faint">written in step {call.step + 1}</span></summary>
      <div class="written-content">{typeof words !== "string" ? <p class="faint">{read.data ? "What was written is not in the journal." : "Reading…"}</p> : /\.(md|markdown)$/i.test(path) ? <><Markdown text={words} /><div class="output-copy"><CopyButton text={words} /></div></> : <LongText text={words} />}</div>
    </details>
  );
}

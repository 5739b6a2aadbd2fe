/** What the task brought. */
import { isEnded } from "../../api/types";
import { CopyButton, Empty } from "../../components/basics";
import { Value } from "../../components/json";
import { Markdown } from "../../components/markdown";
import { text } from "../../format";
import type { ViewProps } from "./task";

export function OutputTab({ task }: ViewProps) {
  if (task.output === null || task.output === undefined) {
    return isEnded(task.status)
      ? <Empty icon="cross" title="There is no result"><p>{task.fault?.message ?? "The task ended before it had one."}</p></Empty>
      : <Empty icon="clock" title="Not there yet"><p>The result is written when every required step is completed. Findings of single steps are in the inspector.</p></Empty>;
  }
  return (
    <div class="pad output">
      <div class="output-copy"><CopyButton text={text(task.output)} /></div>
      {typeof task.output === "string" ? <Markdown text={task.output} /> : <Value value={task.output} />}
    </div>
  );
}

/** The tasks that carry out calls of the task. */
import { listChildren } from "#api";
import { useResource } from "../../api/resource";
import { Empty, Failure, Loading } from "../../components/basics";
import { clock, cost, short, shortId, tokens } from "../../format";
import { nowSecond } from "../../state/session";
import { TaskBadge } from "../tasks";
import type { ViewProps } from "./task";

export function ChildrenTab({ id, story }: ViewProps) {
  const live = story.to === null;
  const read = useResource(listChildren(id), live ? 2000 : undefined, story.entries.length);
  if (read.error && !read.data) return <Failure error={read.error} retry={read.reload} />;
  if (!read.data) return <Loading />;
  if (read.data.tasks.length === 0) return <Empty icon="template" title="No sub-tasks"><p>A call of a workflow is carried out by a task of its own, which is listed here.</p></Empty>;
  const called = new Map([...story.calls.values()].filter((call) => call.child).map((call) => [call.child, call]));
  return (
    <div class="scroll-x" role="region" aria-label="Table" tabIndex={0}><table class="plain-table">
      <thead><tr><th>Task</th><th>Status</th><th>Goal</th><th>Called by</th><th>Steps</th><th>Tokens</th><th>Cost</th><th>Created</th></tr></thead>
      <tbody>{[...read.data.tasks].reverse().map((task) => {
        const call = called.get(task.id);
        return (
          <tr key={task.id}>
            <td class="mono"><a href={`/tasks/${task.id}`}>{shortId(task.id)}</a></td><td><TaskBadge task={task} now={nowSecond.value} /></td><td>{task.goal}</td>
            <td>{call && <><a href={`?step=${call.step}`}>step {call.step + 1}</a> · <code>{call.name}</code></>}</td>
            <td class="mono">{task.completedSteps}/{task.totalSteps}</td><td class="mono">{short(tokens(task.usage))}</td><td class="mono">{cost(task.usage)}</td><td class="mono">{clock(task.createdAt)}</td>
          </tr>
        );
      })}</tbody>
    </table></div>
  );
}

/** What the task did to the world. */
import { listEffects } from "#api";
import { useResource } from "../../api/resource";
import { Badge, Empty, Failure, Loading } from "../../components/basics";
import { Value } from "../../components/json";
import { clock, shortId } from "../../format";
import type { ViewProps } from "./task";

const badges = { prepared: "pending", dispatched: "running", committed: "completed", failed: "failed", unknown: "paused" } as const;
const words = { prepared: "waits", dispatched: "in flight", committed: "happened", failed: "did not happen", unknown: "unknown" } as const;

export function EffectsTab({ id, story }: ViewProps) {
  const read = useResource(listEffects(id), undefined, story.entries.length);
  if (read.error && !read.data) return <Failure error={read.error} retry={read.reload} />;
  if (!read.data) return <Loading />;
  if (read.data.effects.length === 0) return <Empty icon="bolt" title="Nothing was changed"><p>Calls that change something outside the task are listed here, each with the key under which it was made and whether it happened.</p></Empty>;
  return (
    <div class="scroll-x" role="region" aria-label="Table" tabIndex={0}><table class="plain-table">
      <thead><tr><th>Step</th><th>Tool</th><th>State</th><th>When</th><th>Key</th><th>Arguments</th></tr></thead>
      <tbody>{read.data.effects.map((one) => (
        <tr key={`${one.key}.${one.attempt}`}>
          <td class="mono">{one.step + 1}{one.child && <> of <a href={`/tasks/${one.child}?step=${one.step}`}>{shortId(one.child)}</a></>}</td><td><code>{one.tool}</code> <span class={`tag${one.effect === "unsafe" ? " is-warn" : ""}`}>{one.effect}</span></td>
          <td><Badge status={badges[one.state]} label={words[one.state]} /></td><td class="mono">{clock(one.at)}</td><td class="mono faint">{one.key}</td>
          <td><details><summary>show</summary><Value value={one.arguments} />{one.result !== null && <><h4>Result</h4><Value value={one.result} /></>}</details></td>
        </tr>
      ))}</tbody>
    </table></div>
  );
}

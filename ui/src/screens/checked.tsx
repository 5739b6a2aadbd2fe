/** What a step brought that did not pass its checks: which of them, what was seen, and the output itself. */
import { getTrace } from "#api";
import { useResource } from "../api/resource";
import type { Payload } from "../api/types";
import { content } from "../api/types";
import { Badge } from "../components/basics";
import { Value } from "../components/json";
import { Markdown } from "../components/markdown";

interface Made { check: string; required?: boolean; passed: boolean; seq: number }
interface Checked { output?: unknown; checks?: Made[] }

export function CheckedOutput({ task, checked: { output, checks = [] } }: { task: string; checked: Checked }) {
  return (
    <>
      <ul class="plain checks" aria-label="Checks">{checks.map((made) => <Verdict key={made.seq} task={task} made={made} />)}</ul>
      <h3>What the step brought</h3>
      <div class="request-arguments" role="region" aria-label="What the step brought" tabIndex={0}>{typeof output === "string" ? <div class="pad"><Markdown text={output} /></div> : <Value value={output} />}</div>
    </>
  );
}

function Verdict({ task, made }: { task: string; made: Made }) {
  const read = useResource(getTrace(task, made.seq));
  const evidence = (read.data?.data as { evidence?: Payload } | undefined)?.evidence;
  return (
    <li>
      <div class="check-head"><Badge small status={made.passed ? "completed" : "failed"} label={made.passed ? "holds" : "does not hold"} /><strong>{made.check}</strong><span class="faint">{made.passed ? "holds" : "does not hold"}{made.required === false ? ", and need not" : ""}</span><a href={`/tasks/${task}/trace?seq=${made.seq}`}>entry {made.seq}</a></div>
      {evidence !== undefined && <div class="check-evidence"><Seen check={made.check} value={content(evidence)} /></div>}
    </li>
  );
}

/** A judge writes Markdown; a schema and a probe quote what they saw, which is text. */
export function Seen({ check, value }: { check: string; value: unknown }) {
  return check === "judge" && typeof value === "string" ? <Markdown text={value} /> : <Value value={value} />;
}

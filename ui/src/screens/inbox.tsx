/** What tasks ask people, and the answers. */
import { decideRequest, listRequests, type Decision } from "#api";
import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "../api/client";
import { forget, useResource } from "../api/resource";
import type { InboxRequest } from "../api/types";
import { Ago, Button, Choice, Empty, Failure, Field, Loading, useAction } from "../components/basics";
import { Diff } from "../components/diff";
import { Icon, type IconName } from "../components/icons";
import { Value } from "../components/json";
import { Markdown } from "../components/markdown";
import { duration, text } from "../format";
import { address, setQuery } from "../router";
import { useShortcuts } from "../state/keys";
import { notify, nowSecond } from "../state/session";
import { CheckedOutput } from "./checked";

/** What may be asked, and how it is called. */
export const kinds: Record<string, { name: string; icon: IconName; ask: string }> = {
  check: { name: "Not verified", icon: "alert", ask: "This step did not pass its checks. Is what it brought good enough?" },
  approval: { name: "Approval", icon: "check", ask: "May this call be made, with exactly these arguments?" },
  input: { name: "Question", icon: "chat", ask: "A model asks" },
  outcome: { name: "Unknown outcome", icon: "alert", ask: "Did this call take effect? Nobody knows." },
  tool: { name: "Tool changed", icon: "alert", ask: "This tool is not what it was when the plan was made. May it be called as it is now?" },
  plan: { name: "Plan", icon: "tasks", ask: "May these steps be carried out?" },
};

const words: Record<string, string> = { approve: "Approve", deny: "Deny", skip: "Skip the step", fail: "Give the step up", answer: "Answer", happened: "It happened", did_not_happen: "It did not happen", accept: "Accept it", retry: "Try again" };

/** Tasks whose requests the server lists, if nobody says otherwise. */
const LOOKED_AT = 100;

export function InboxScreen() {
  const read = useResource(listRequests(), 2000);
  const requests = read.data?.requests ?? [];
  const chosen = address.value.query.get("request");
  const isCut = new Set(requests.map((one) => one.taskId)).size >= LOOKED_AT;
  const go = (by: number) => {
    const at = requests.findIndex((one) => one.id === chosen);
    setQuery({ request: requests[at < 0 ? 0 : Math.max(0, Math.min(requests.length - 1, at + by))]?.id ?? null }, true);
  };
  useShortcuts([
    { keys: "j", what: "Next", group: "Inbox", run: () => go(1) },
    { keys: "k", what: "Previous", group: "Inbox", run: () => go(-1) },
  ]);
  return (
    <section class="screen">
      <header class="screen-head"><h1>Inbox {requests.length > 0 && <span class="faint count">{requests.length}</span>}</h1></header>
      {chosen && read.data && !requests.some((one) => one.id === chosen) && <Closed id={chosen} />}
      {read.error && !read.data ? <Failure error={read.error} retry={read.reload} /> : !read.data ? <Loading /> : requests.length === 0 ? (
        <Empty icon="inbox" title="Nobody needs you">
          <p>Tasks ask here before calls that need approval, when a tool has changed under them, when a model has a question, and when a crash left open whether a call took effect.</p>
          <p>To be asked before a task begins, tick “Approve the plan first” when you start it.</p>
        </Empty>
      ) : <div class="stack">{requests.map((request) => <RequestCard key={request.id} request={request} answered={() => { if (request.id === chosen) setQuery({ request: null }, true); read.reload(); }} active={request.id === chosen} />)}{isCut && <p class="faint">What the newest {LOOKED_AT} tasks ask is shown; that of older ones follows as these are answered, and stands with each task.</p>}</div>}
    </section>
  );
}

/** What an address names that is not asked any more. */
function Closed({ id }: { id: string }) {
  const task = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(id)?.[0];
  return (
    <div class="callout" role="status"><Icon name="inbox" /><div><strong>This request is not open any more</strong>
      <p>It was answered, it has expired, or its task does not wait for it now.{task && <> What became of it stands with <a href={`/tasks/${task}/trace`}>the task that asked</a>.</>}</p>
    </div><Button kind="ghost" icon="cross" aria-label="Close" onClick={() => setQuery({ request: null }, true)} /></div>
  );
}

/** What a tool was and what it is, as one text each: descriptions may be long, and a schema is one object. */
function ChangedTool({ change }: { change: NonNullable<InboxRequest["change"]> }) {
  const told = ({ effect, description, schema }: typeof change.now) => `effect: ${effect}\n\n${description}\n\n${JSON.stringify(schema, null, 2)}`;
  return <div class="request-arguments" role="group" aria-label="What has changed"><Diff one={told(change.before)} other={told(change.now)} /></div>;
}

/** The arguments as somebody typed them, or why they are no JSON. */
function parsed(typed: string): { value?: unknown; problem?: string } {
  try { return { value: JSON.parse(typed) as unknown }; } catch { return { problem: "This is not JSON." }; }
}

export function RequestCard({ request, answered, inTask, active }: { request: InboxRequest; answered: () => void; inTask?: boolean; active?: boolean }) {
  const card = useRef<HTMLElement>(null);
  useEffect(() => { if (active) card.current?.focus(); }, [active]);
  const kind = kinds[request.kind] ?? { name: request.kind, icon: "alert" as const, ask: request.description };
  const [busy, run] = useAction();
  const [reason, setReason] = useState("");
  const [answer, setAnswer] = useState("");
  const [edited, setEdited] = useState<string | null>(null);
  const [result, setResult] = useState("");
  const change = edited === null ? null : parsed(edited);
  const question = request.kind === "input" ? (request.arguments as { question?: string; choices?: string[]; schema?: { type?: string } } | undefined) : undefined;
  const decide = (decision: string) => run(async () => {
    const body: Record<string, unknown> = { decision };
    if (decision === "approve" && change && "value" in change) body.arguments = change.value;
    if (decision === "deny" && reason.trim()) body.reason = reason.trim();
    if (decision === "answer") body.answer = question?.schema?.type && question.schema.type !== "string" ? (parsed(answer).value ?? answer) : answer;
    if (decision === "happened" && result.trim()) { const given = parsed(result); body.result = given.problem ? result : given.value; }
    await ask(decideRequest(request.id, body as Decision));
    forget(listRequests());
    notify(`${words[decision] ?? decision}: done`);
    answered();
  });
  const decides = (decision: string, keys: string) => (active && request.decisions.includes(decision as never) ? [{ keys, what: words[decision] ?? decision, group: "Inbox", run: () => void decide(decision) }] : []);
  useShortcuts([...decides("approve", "a"), ...decides("accept", "a"), ...decides("deny", "d"), ...decides("retry", "r"), ...decides("skip", "s")]);
  const left = request.expiresAt ? Date.parse(request.expiresAt) - nowSecond.value : null;
  const steps = request.kind === "plan" && Array.isArray(request.arguments) ? (request.arguments as { id?: string; description?: string; type?: string; tool?: { name: string } }[]) : null;
  return (
    <article ref={card} tabIndex={-1} class={`card request${active ? " is-active" : ""}`} aria-label={`${kind.name}: ${request.goal}`}>
      <header class="card-head">
        <span class={`request-kind is-${request.kind}`}><Icon name={kind.icon} size={13} />{kind.name}</span>
        {!inTask && <a class="request-goal" dir="auto" href={`/tasks/${request.taskId}${request.step === undefined ? "" : `?step=${request.step}`}`}>{request.goal}</a>}
        <span class="faint grow end request-when">asked <Ago at={request.askedAt} />{left !== null && left < 864e5 * 365 ? `, ${left > 0 ? `${duration(left)} left` : "expired"}` : ""}</span>
      </header>
      <p>{question?.question ? "" : kind.ask}</p>
      {question?.question && <div class="question"><Markdown text={question.question} /></div>}
      {request.tool && request.kind !== "input" && <p><code>{request.tool}</code> {request.effect && <span class={`tag${request.effect === "unsafe" ? " is-warn" : ""}`}>{request.effect}</span>} <span class="faint">in step {(request.step ?? 0) + 1}: {request.description}</span></p>}
      {request.reason && <div class="callout is-wait"><Icon name="alert" /><div><p>This call would tell somebody outside, and {request.reason}.</p></div></div>}
      {request.change && <ChangedTool change={request.change} />}
      {steps ? <ol class="plan-steps">{steps.map((step, at) => <li key={at}>{step.description} {step.tool && <code>{step.tool.name}</code>}</li>)}</ol>
        : request.kind === "check" ? <CheckedOutput task={request.taskId} checked={(request.arguments ?? {}) as object} />
        : request.kind === "input" ? null : edited === null ? request.arguments !== undefined && <div class="request-arguments"><Value value={request.arguments} /></div>
        : <Field label="Arguments" hint={change?.problem}><textarea class="mono" rows={8} value={edited} onInput={(event) => setEdited(event.currentTarget.value)} aria-invalid={Boolean(change?.problem)} /></Field>}
      {request.kind === "input" && (question?.choices?.length
        ? <Choice class="chips" item="chip" label="Choices" options={question.choices.map((choice) => [choice, choice] as const)} value={answer} choose={setAnswer} />
        : <Field label="Your answer"><textarea rows={3} value={answer} onInput={(event) => setAnswer(event.currentTarget.value)} /></Field>)}
      {request.kind === "outcome" && <Field label="What it returned, if it happened" hint="JSON, or plain text"><textarea class="mono" rows={2} value={result} onInput={(event) => setResult(event.currentTarget.value)} /></Field>}
      {request.decisions.includes("deny") && <Field label="Reason, if you deny"><input value={reason} onInput={(event) => setReason(event.currentTarget.value)} placeholder="The model is told of it" /></Field>}
      <footer class="request-foot">
        {request.decisions.map((decision, at) => (
          <Button key={decision} busy={busy} kind={at === 0 && request.kind !== "outcome" ? "primary" : decision === "deny" || decision === "fail" ? "danger" : "plain"} onClick={() => void decide(decision)}
            disabled={(decision === "answer" && text(answer).trim() === "") || (decision === "approve" && Boolean(change?.problem))}>{decision === "approve" && change && !change.problem ? "Approve with these" : (words[decision] ?? decision)}</Button>
        ))}
        {request.kind === "approval" && <Button kind="ghost" onClick={() => setEdited(edited === null ? text(request.arguments ?? {}) : null)}>{edited === null ? "Change the arguments" : "As they were"}</Button>}
      </footer>
    </article>
  );
}

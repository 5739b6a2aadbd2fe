/** Everything about one step or one entry. */
import { getTrace, listSteps } from "#api";
import { useState } from "preact/hooks";
import { useResource } from "../../api/resource";
import type { Entry, Payload } from "../../api/types";
import { content, isBlob } from "../../api/types";
import { Badge, Button, Chip, CopyButton, Fact } from "../../components/basics";
import { Diff } from "../../components/diff";
import { Icon } from "../../components/icons";
import { Value } from "../../components/json";
import { Markdown } from "../../components/markdown";
import { bytes, clock, cost, counted, duration, number, shortId, text, tokens } from "../../format";
import { address, setQuery } from "../../router";
import { checkWords, conditionWords, listWords } from "../../state/condition";
import { promptOf, type Attempt, type Call, type StepState, type Story } from "../../state/journal";
import { now } from "../../state/session";
import type { ForkPlace } from "./fork";
import { Seen } from "../checked";
import { Words } from "./speech";
import { stepWords } from "./steps";

/** What can be done from a place that is looked at. */
interface Acts { fork: (place: ForkPlace) => void; retry?: ((step: number) => void) | undefined }

export function Inspector({ id, story, step, seq, version, fork, retry }: { id: string; story: Story; step: number | null; seq: number | null; version: number } & Acts) {
  const entry = seq === null ? undefined : story.entries[seq - 1];
  const shown = step === null ? undefined : story.steps[step];
  const close = <Button kind="ghost" icon="cross" aria-label="Close the inspector" title="Close (Escape)" onClick={() => setQuery({ step: null, seq: null })} />;
  return (
    <aside class="inspector" aria-label="Inspector">
      {entry ? <EntryView id={id} story={story} entry={entry} close={close} fork={fork} /> : shown ? <StepView key={shown.index} id={id} story={story} step={shown} close={close} version={version} fork={fork} retry={retry} /> : <header class="inspector-head"><h2>Nothing there</h2>{close}</header>}
    </aside>
  );
}

/** A content of the journal; large ones are read when somebody wants them whole. */
export function Content({ id, seq, payload, path, markdown, as, show }: { id: string; seq: number; payload: Payload | null; path: (data: Entry["data"]) => unknown; markdown?: boolean; as?: (value: unknown) => unknown; show?: (value: unknown) => preact.VNode }) {
  const [whole, setWhole] = useState(false);
  const large = isBlob(payload) ? payload.blob : null;
  const read = useResource(large && whole ? getTrace(id, seq) : null);
  const held = large && read.data ? content(path(read.data.data)) : content(payload);
  const value = as ? as(held) : held;
  return (
    <>
      {show ? show(value) : markdown && typeof value === "string" ? <Markdown text={value} /> : <Value value={value} />}
      {large && !read.data && <Button kind="ghost" icon="plus" busy={whole && read.loading} onClick={() => setWhole(true)}>{`Read all ${bytes(large.size)}`}</Button>}
    </>
  );
}

function StepView({ id, story, step, close, version, fork, retry }: { id: string; story: Story; step: StepState; close: preact.VNode; version: number } & Acts) {
  const chosen = Number(address.value.query.get("attempt"));
  const [compare, setCompare] = useState(false);
  const attempt = step.attempts.find((one) => one.number === chosen) ?? step.attempts.at(-1);
  const steps = useResource(listSteps(id), undefined, step.endedAt === null ? version : "end");
  const detail = steps.data?.steps[step.index];
  const time = step.attempts[0] ? (step.endedAt ?? now.value) - step.attempts[0].from : null;
  const before = attempt ? step.attempts[step.attempts.indexOf(attempt) - 1] : undefined;
  return (
    <>
      <header class="inspector-head"><h2><span class="mono faint">{step.index + 1}</span> {step.description}</h2>{close}</header>
      <div class="inspector-body">
        <dl class="facts is-tight">
          <Fact name="Status"><Badge status={step.status === "failed" && attempt?.retryAt ? "retrying" : step.status} /></Fact>
          <Fact name="Kind">{stepWords[step.type] ?? step.type}</Fact>
          <Fact name="Took"><span class="mono">{time === null ? "–" : duration(time)}</span></Fact>
          <Fact name="Tokens"><span class="mono">{number(tokens(step.usage))}</span></Fact>
          <Fact name="Cost"><span class="mono">{cost(step.usage)}</span></Fact>
          <Fact name="Needs">{step.dependsOn.length === 0 ? "nothing" : step.dependsOn.map((on) => <a key={on} class="tag" href={`?step=${on}`} onClick={(event) => { event.preventDefault(); setQuery({ step: String(on) }); }}>{on + 1}</a>)}</Fact>
        </dl>
        {attempt && !step.item && !step.replaced && (
          <div class="row-of-buttons">{retry && <Button icon="retry" onClick={() => retry(step.index)}>Retry from here</Button>}<Button icon="fork" onClick={() => fork({ step: step.index, words: `before step ${step.index + 1}` })}>Fork before it</Button></div>
        )}
        {step.tool && <Section name={`Input of ${step.tool.name}`} copyOf={text(step.tool.arguments)}><Value value={step.tool.arguments} /></Section>}
        {step.item && <Section name="Item"><p class="faint">of <a href={`?step=${step.item.of}`} onClick={(event) => { event.preventDefault(); setQuery({ step: String(step.item?.of) }); }}>step {step.item.of + 1}</a></p><Content id={id} seq={attempt?.seq ?? 0} payload={step.item.value} path={(data) => data} /></Section>}
        {step.when !== null && <Section name="Only if"><p>{conditionWords(step.when)}</p></Section>}
        {step.forEach && <Section name="For each of"><p>{listWords(step.forEach.items)}{step.forEach.allowFailures ? <span class="faint"> · some may fail</span> : null}</p>{step.items.length > 0 && <Items story={story} step={step} />}</Section>}
        {step.checks.length > 0 && <Checks id={id} step={step} />}
        {step.skipped && <Section name="Skipped because"><p>{step.skipped}</p></Section>}
        {(detail?.output !== undefined && detail.output !== null) && (
          <Section name={`Output${detail.outputBytes ? ` (${bytes(detail.outputBytes)}, its beginning)` : ""}`} copyOf={text(detail.output)}>{typeof detail.output === "string" ? <Markdown text={detail.output} /> : <Value value={detail.output} />}</Section>
        )}
        {step.attempts.length > 1 && (
          <div class="chips" role="group" aria-label="Attempt">
            {step.attempts.map((one) => <Chip key={one.seq} on={one === attempt} onClick={() => setQuery({ attempt: one === step.attempts.at(-1) ? null : String(one.number) })}>attempt {one.number}</Chip>)}
            {before && <Chip on={compare} onClick={() => setCompare(!compare)}>differences</Chip>}
          </div>
        )}
        {compare && before && attempt && <Section name={`From attempt ${before.number} to ${attempt.number}`}><Diff one={told(before)} other={told(attempt)} /></Section>}
        {attempt?.fault && <div class="callout is-bad"><Icon name="alert" /><div><strong>{attempt.fault.code}</strong> <span class="tag">{attempt.fault.class}</span><p>{attempt.fault.message}</p>{attempt.retryAt && <p class="faint">Next attempt at {clock(attempt.retryAt)}</p>}</div></div>}
        {attempt?.calls.map((call) => <CallView key={call.key + call.attempt + call.seq} id={id} story={story} call={call} fork={fork} />)}
        {!attempt && <p class="faint pad">This step has not begun.</p>}
      </div>
    </>
  );
}

/** The items of a step, each as one square. */
function Items({ story, step }: { story: Story; step: StepState }) {
  return (
    <div class="items" role="group" aria-label="Items">
      {step.items.map((index) => story.steps[index]).filter((item) => item !== undefined).map((item) => <button key={item.index} type="button" class={`item is-${item.status}`} title={`${item.description}: ${item.status}`} aria-label={`${item.description}: ${item.status}`} onClick={() => setQuery({ step: String(item.index), seq: null })} />)}
    </div>
  );
}

/** What has to hold of what the step brings, and what was seen. */
function Checks({ id, step }: { id: string; step: StepState }) {
  const claim = step.claims.at(-1);
  return (
    <Section name={`Checks${step.claims.length > 1 ? ` (claim ${step.claims.length})` : ""}`}>
      <ul class="plain checks">
        {step.checks.map((check, number) => {
          const { name, detail } = checkWords(check);
          const verdict = claim?.verdicts.find((one) => one.check === number);
          return (
            <li key={number}>
              <div class="check-head"><Badge small status={verdict ? (verdict.passed ? "completed" : "failed") : claim ? "running" : "pending"} label={verdict ? (verdict.passed ? "holds" : "does not hold") : "not yet"} /><strong>{name}</strong><span class="faint">{verdict ? `by ${verdict.by}` : detail}</span></div>
              {verdict && <div class="check-evidence"><Content id={id} seq={verdict.seq} payload={verdict.evidence} path={(data) => data.evidence} show={(value) => <Seen check={name} value={value} />} /></div>}
            </li>
          );
        })}
      </ul>
      {claim?.decided && <p class="faint">{claim.decided.by} decided: {claim.decided.decision}</p>}
    </Section>
  );
}

/** What a model thought, in its words: the seals of its provider say nothing to people. */
function thoughts(thinking: unknown): unknown {
  const pieces = (thinking as { thoughts?: unknown } | null)?.thoughts;
  if (!Array.isArray(pieces)) return thinking;
  return pieces.map((piece) => (typeof piece?.words === "string" ? piece.words : "")).filter(Boolean).join("\n\n") || "(sealed by its provider)";
}

/** An attempt as text, for comparing it with another. */
function told(attempt: Attempt): string {
  const calls = attempt.calls.map((call) => [`${call.kind} ${call.name}`, call.arguments && `arguments ${text(content(call.arguments))}`, call.result && `→ ${text(content(call.result))}`, call.fault && `✗ ${call.fault.code}: ${call.fault.message}`].filter(Boolean).join("\n"));
  return [...calls, attempt.fault ? `failed: ${attempt.fault.code}: ${attempt.fault.message}` : `ended: ${attempt.end ?? "not yet"}`].join("\n\n");
}

const states: Record<Call["state"], { word: string; badge: "running" | "paused" | "completed" | "failed" }> = {
  running: { word: "in flight", badge: "running" }, asked: { word: "waits for somebody", badge: "paused" }, done: { word: "done", badge: "completed" },
  failed: { word: "failed", badge: "failed" }, lost: { word: "outcome unknown", badge: "failed" },
};

function CallView({ id, story, call, fork }: { id: string; story: Story; call: Call; fork: Acts["fork"] }) {
  const state = states[call.state];
  const end = call.to ?? now.value;
  const spoken = call.state === "running" ? story.speech.get(call.key) : undefined;
  return (
    <details class="call" open={call.state !== "done" || call.kind === "model"}>
      <summary>
        <Badge small status={call.isError ? "failed" : state.badge} label={state.word} /><Icon name={call.kind === "model" ? "model" : "tools"} size={13} /><strong>{call.name}</strong>
        {call.child && <a href={`/tasks/${call.child}`} title="The task that carries this call out"><code>{shortId(call.child)}</code></a>}
        {call.effect && call.effect !== "read-only" && <span class={`tag${call.effect === "unsafe" ? " is-warn" : ""}`}>{call.effect}</span>}
        {call.attempt > 1 && <span class="tag">attempt {call.attempt}</span>}
        <span class="mono faint grow end">{call.usage ? `${number(call.usage.inputTokens)} → ${number(call.usage.outputTokens)} · ` : ""}{duration(end - call.from)}</span>
      </summary>
      {call.kind === "tool" && <Section name="Arguments" copyOf={text(content(call.arguments))}><Content id={id} seq={call.seq} payload={call.arguments} path={(data) => data.arguments} /></Section>}
      {call.kind === "model" && <Prompt id={id} story={story} call={call} />}
      {spoken && <Section name="Answer, as it comes"><Words spoken={spoken} /></Section>}
      {call.thinking && <Section name="Thinking" copyOf={text(thoughts(content(call.thinking)))}><Content id={id} seq={call.endSeq ?? call.seq} payload={call.thinking} path={(data) => data.thinking} as={thoughts} /></Section>}
      {call.result && <Section name={call.kind === "model" ? "Answer" : call.isError ? "Error" : "Result"} copyOf={text(content(call.result))}><Content id={id} seq={call.endSeq ?? call.seq} payload={call.result} path={(data) => data.text ?? data.result ?? data.answer} markdown={call.kind === "model"} /></Section>}
      {call.kind === "tool" && call.state === "done" && call.result && <Button kind="ghost" icon="fork" onClick={() => fork({ result: { step: call.step, call: call.number, value: content(call.result) }, words: "with another result" })}>Fork with another result</Button>}
      {call.requests.map((request, at) => <Section key={request.id} name={`Wants to call ${request.tool}`}><Content id={id} seq={call.endSeq ?? call.seq} payload={request.arguments} path={(data) => (Array.isArray(data.requests) ? data.requests[at]?.arguments : null)} /></Section>)}
      {call.fault && <div class="callout is-bad"><Icon name="alert" /><div><strong>{call.fault.code}</strong><p>{call.fault.message}</p></div></div>}
      {call.detail && <p class="pad">{call.detail}</p>}
    </details>
  );
}

function Prompt({ id, story, call }: { id: string; story: Story; call: Call }) {
  const [open, setOpen] = useState(false);
  const said = promptOf(story, call);
  return (
    <div class="prompt">
      <button type="button" class="section-head is-button" aria-expanded={open} onClick={() => setOpen(!open)}><Icon name="chevron" size={12} />Prompt<span class="faint">{counted(said.length, "message")}</span></button>
      {open && said.map((one, at) => (
        <div key={at} class={`said is-${one.role}`}>
          <span class="said-who">{one.label}<span class="faint">{one.role}</span></span>
          <Content id={id} seq={one.seq} payload={one.content} path={(data) => (Array.isArray(data.parts) ? data.parts[at] : (data.text ?? data.result))} />
          {one.requests?.map((request) => <p key={request.id} class="faint">wants to call <code>{request.tool}</code></p>)}
        </div>
      ))}
    </div>
  );
}

export function Section({ name, copyOf, children }: { name: string; copyOf?: string; children: preact.ComponentChildren }) {
  return <section class="section"><h3 class="section-head">{name}<span class="grow" />{copyOf && <CopyButton text={copyOf} label={`Copy ${name.toLowerCase()}`} />}</h3>{children}</section>;
}

function EntryView({ id, story, entry, close, fork }: { id: string; story: Story; entry: Entry; close: preact.VNode; fork: Acts["fork"] }) {
  const whole = useResource(JSON.stringify(entry.data).includes('"blob":') ? getTrace(id, entry.seq) : null);
  const data = whole.data?.data ?? entry.data;
  const call = [...story.calls.values()].find((one) => one.seq === entry.seq || one.endSeq === entry.seq);
  return (
    <>
      <header class="inspector-head"><h2><span class="mono faint">{entry.seq}</span> {entry.kind.replaceAll("_", " ")}</h2>{close}</header>
      <div class="inspector-body">
        <p class="entry-message">{entry.message}</p>
        <dl class="facts is-tight">
          <Fact name="When"><span class="mono">{clock(entry.at)}</span></Fact><Fact name="Type">{entry.type}</Fact><Fact name="Epoch"><span class="mono">{entry.epoch}</span></Fact>
          {entry.step !== null && <Fact name="Step"><a href={`?step=${entry.step}`} onClick={(event) => { event.preventDefault(); setQuery({ step: String(entry.step), seq: null }); }}>{entry.step + 1}</a></Fact>}
        </dl>
        <div class="row-of-buttons"><Button icon="fork" onClick={() => fork({ seq: entry.seq, words: `behind entry ${entry.seq}` })}>Fork behind it</Button></div>
        {call && <CallView id={id} story={story} call={call} fork={fork} />}
        <Section name="Data" copyOf={JSON.stringify(data, null, 2)}><Value value={data} /></Section>
      </div>
    </>
  );
}

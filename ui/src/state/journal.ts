/** What a journal tells of a task: its plan, steps, attempts and calls, folded entry by entry. */
import type { Spoken } from "./speech";
import type { Effect, Entry, Fault, Pause, Payload, Status, StepStatus, StepType, Usage } from "../api/types";

export type CallState = "running" | "asked" | "done" | "failed" | "lost";

export interface Call {
  key: string; step: number; number: number; attempt: number; kind: "model" | "tool"; name: string; state: CallState;
  from: number; to: number | null; seq: number; endSeq: number | null; base: number | null; parts: Payload[];
  arguments: Payload | null; result: Payload | null; requests: { id: string; tool: string; arguments: Payload }[]; thinking: Payload | null;
  effect: Effect | null; isError: boolean; finish: string | null; usage: Usage | null; fault: Fault | null; detail: string | null;
  /** The task that carries it out, if one does. */
  child: string | null;
}

export interface Attempt {
  number: number; from: number; to: number | null; end: "completed" | "failed" | "skipped" | "cut" | null; fault: Fault | null;
  retryAt: number | null; seq: number; endSeq: number | null; calls: Call[];
}

export interface StepState {
  index: number; id: string; description: string; type: StepType; status: StepStatus; revision: number; replaced: boolean;
  optional: boolean; dependsOn: number[]; tool: { name: string; arguments: unknown } | null; estimated: number | null;
  plannedAt: number; attempts: Attempt[]; output: Payload | null; endedAt: number | null; skipped: string | null; usage: Usage;
  /** The step of the plan whose item it carries out, and the item. */
  item: { of: number; value: Payload } | null;
  /** The steps of its items, once they are known. */
  items: number[];
  forEach: { items: unknown; allowFailures?: boolean } | null; when: unknown; checks: unknown[]; claims: Claim[];
}

/** That a step is done, in its own words, and what its checks say of that. */
export interface Claim { seq: number; at: number; output: Payload | null; verdicts: Verdict[]; decided: { decision: string; by: string } | null }
export interface Verdict { seq: number; check: number; passed: boolean; evidence: Payload; by: string }

export interface Revision { number: number; at: number; seq: number; reason: string; model: string | null; degraded: boolean; steps: number[] }
export interface Pausing extends Pause { from: number; to: number | null }
export interface Checkpoint { seq: number; at: number; step: number | null; by: string | null; completed: number; context: Payload }
/** With a step, it stands for the turns of that step's conversation up to a call; else for the outputs of steps. */
export interface Summary { seq: number; at: number; step: number | null; through: number; text: Payload; by: string; before: number; after: number }
export interface Prompt { seq: number; at: number; step: number; model: string; input: number; output: number }

export interface Story {
  entries: Entry[]; goal: string; limits: Record<string, number>; steps: StepState[]; revisions: Revision[]; pauses: Pausing[];
  checkpoints: Checkpoint[]; summaries: Summary[]; prompts: Prompt[]; claims: { at: number; worker: string; crashes: number }[];
  status: Status; usage: Usage; from: number; to: number | null; output: Payload | null; fault: Fault | null;
  detected: { by: string; score: number; threshold: number; features: string[] } | null; calls: Map<string, Call>;
  /** What models are saying at this moment, by step and call. */
  speech: Map<string, Spoken>;
}

export function emptyUsage(): Usage {
  return { inputTokens: 0, outputTokens: 0, cachedTokens: 0, modelCalls: 0, toolCalls: 0, costUsd: 0, unpricedCalls: 0 };
}

export function emptyStory(): Story {
  return {
    entries: [], goal: "", limits: {}, steps: [], revisions: [], pauses: [], checkpoints: [], summaries: [], prompts: [], claims: [],
    status: "pending", usage: emptyUsage(), from: 0, to: null, output: null, fault: null, detected: null, calls: new Map(), speech: new Map(),
  };
}

function add(into: Usage, more: Usage | undefined): void {
  if (!more) return;
  for (const name of ["inputTokens", "outputTokens", "cachedTokens", "modelCalls", "toolCalls", "costUsd", "unpricedCalls"] as const) {
    into[name] = (into[name] ?? 0) + (more[name] ?? 0);
  }
}

/** Takes entries in, in order. The story is changed in place and belongs to one page. */
export function fold(story: Story, entries: Entry[]): void {
  for (const entry of entries) {
    story.entries.push(entry);
    take(story, entry, Date.parse(entry.at));
  }
}

// The shapes are those of the journal; an entry of a newer server that lacks a field must not stop the page.
/* eslint-disable-next-line @typescript-eslint/no-explicit-any */
type Data = any;

function take(story: Story, entry: Entry, at: number): void {
  const data = entry.data as Data;
  const step = entry.step === null ? undefined : story.steps[entry.step];
  switch (entry.kind) {
    case "created":
      story.goal = data.spec?.goal ?? "";
      story.limits = data.spec?.limits ?? {};
      story.from = at;
      return;
    case "forked": return forked(story, data.steps ?? [], at);
    case "detected":
      add(story.usage, data.usage);
      story.detected = { by: data.by, score: data.score, threshold: data.threshold, features: data.features ?? [] };
      return;
    case "planned": return planned(story, entry, data, at);
    case "restored": return restored(story, entry, data, at);
    case "claimed": story.claims.push({ at, worker: data.worker, crashes: data.crashes ?? 0 }); return;
    case "paused":
      story.status = "paused";
      story.pauses.push({ from: at, to: null, ...(data.pause as Pause) });
      return;
    case "resumed": return goesOn(story, at);
    case "completed": story.output = data.output ?? null; return ended(story, "completed", at);
    case "failed": story.fault = data.fault ?? null; return ended(story, "failed", at);
    case "cancelled": return ended(story, "cancelled", at);
    case "checkpoint_taken": story.checkpoints.push({ seq: entry.seq, at, step: data.step ?? null, by: data.by ?? null, completed: data.completed, context: data.context }); return;
    case "context_summarized":
      add(story.usage, data.usage);
      story.summaries.push({ seq: entry.seq, at, step: null, through: data.through, text: data.summary, by: data.by, before: data.tokensBefore, after: data.tokensAfter });
      return;
    case "evaluated": add(story.usage, data.usage); return;
    default:
      if (step) aboutStep(story, step, entry, data, at);
  }
}

/** What stands before was recorded for another task; these steps of it are done anew. */
function forked(story: Story, anew: number[], at: number): void {
  for (const step of story.steps) {
    if (anew.includes(step.index)) Object.assign(step, { status: "pending", attempts: [], output: null, endedAt: null, skipped: null, claims: [] });
    if (step.endedAt === null) step.plannedAt = at;
  }
}

function goesOn(story: Story, at: number): void {
  const pause = story.pauses.at(-1);
  if (pause && pause.to === null) pause.to = at;
  if (story.status === "paused") story.status = story.steps.some((step) => step.attempts.length > 0) ? "running" : "pending";
}

/** Whether nothing is left to do for it. */
function isSettled(step: StepState): boolean {
  if (step.status === "completed" || step.status === "skipped") return true;
  return step.replaced || (step.status === "failed" && step.optional && willRetry(step) === null);
}

function willRetry(step: StepState): number | null { return step.attempts.at(-1)?.retryAt ?? null; }

function planned(story: Story, entry: Entry, data: Data, at: number): void {
  for (const step of story.steps) {
    if (isSettled(step)) continue;
    step.replaced = true;
    if (step.status === "pending") { step.status = "skipped"; step.endedAt = at; }
  }
  append(story, data, at);
  add(story.usage, data.by?.usage);
  revise(story, entry, data.revision, at, { reason: data.by?.reason ?? "", model: data.by?.model ?? null, degraded: data.by?.degraded ?? false });
}

/** Steps since a checkpoint do not count any more; what was open then is done anew. */
function restored(story: Story, entry: Entry, data: Data, at: number): void {
  for (const [first, last] of (data.undone ?? []) as [number, number][]) {
    for (let index = first; index <= last; index += 1) {
      const step = story.steps[index];
      if (!step) continue;
      const attempt = step.attempts.at(-1);
      if (attempt && attempt.to === null) { attempt.to = at; attempt.end = "cut"; }
      // Also what was completed: it is done again, and would be counted twice.
      Object.assign(step, { replaced: true, status: "skipped", endedAt: step.endedAt ?? at });
    }
  }
  append(story, data, at);
  revise(story, entry, data.revision, at, { reason: `Put back to the checkpoint in entry ${data.checkpoint} by ${data.by}.`, model: null, degraded: false });
}

function append(story: Story, data: Data, at: number): void {
  const first = story.steps.length;
  const steps: Data[] = Array.isArray(data.plan) ? data.plan : (data.plan?.steps ?? []);
  story.steps.push(...steps.map((one: Data, offset: number): StepState => ({
    index: first + offset, id: one.id, description: one.description, type: one.type, status: "pending", revision: data.revision, replaced: false,
    optional: one.optional ?? false, dependsOn: one.dependsOn ?? [], tool: one.tool ?? null, estimated: one.estimatedDuration ?? null,
    plannedAt: at, attempts: [], output: null, endedAt: null, skipped: null, usage: emptyUsage(),
    item: null, items: [], forEach: one.forEach ?? null, when: one.when ?? null, checks: one.checks ?? [], claims: [],
  })));
}

function revise(story: Story, entry: Entry, number: number, at: number, by: Pick<Revision, "reason" | "model" | "degraded">): void {
  story.revisions.push({
    number, at, seq: entry.seq, ...by,
    steps: story.steps.filter((step) => !step.replaced && !step.item).map((step) => step.index),
  });
}

function ended(story: Story, status: Status, at: number): void {
  goesOn(story, at);
  story.status = status;
  story.to = at;
  story.speech.clear();
  for (const step of story.steps) {
    const attempt = step.attempts.at(-1);
    if (attempt) attempt.retryAt = null;
    if (step.status !== "running") continue;
    if (attempt && attempt.to === null) { attempt.to = at; attempt.end = "cut"; }
    if (!step.replaced) Object.assign(step, { status: "skipped", endedAt: at });
  }
}

function aboutStep(story: Story, step: StepState, entry: Entry, data: Data, at: number): void {
  switch (entry.kind) {
    case "step_started":
      if (story.status === "pending") story.status = "running";
      step.status = "running";
      step.attempts.push({ number: data.attempt, from: at, to: null, end: null, fault: null, retryAt: null, seq: entry.seq, endSeq: null, calls: [] });
      return;
    case "step_completed":
      step.status = "completed";
      step.endedAt = at;
      step.output = data.output ?? step.claims.at(-1)?.output ?? step.attempts.at(-1)?.calls.at(-1)?.result ?? null;
      return close(story, step, "completed", entry, at);
    case "step_failed":
      step.status = "failed";
      // A judge of its check had no usable answer.
      add(step.usage, data.fault?.usage);
      add(story.usage, data.fault?.usage);
      close(story, step, "failed", entry, at);
      { const attempt = step.attempts.at(-1);
        if (attempt) { attempt.fault = data.fault; attempt.retryAt = data.retryAt ? Date.parse(data.retryAt) : null; }
        if (!data.retryAt) step.endedAt = at; }
      return;
    case "conversation_summarized":
      add(step.usage, data.usage);
      add(story.usage, data.usage);
      story.summaries.push({ seq: entry.seq, at, step: step.index, through: data.through, text: data.summary, by: data.by, before: data.tokensBefore, after: data.tokensAfter });
      return;
    case "fanned_out": return fannedOut(story, step, data, at);
    case "step_claimed": step.claims.push({ seq: entry.seq, at, output: data.output ?? null, verdicts: [], decided: null }); return;
    case "step_verified":
      add(step.usage, data.usage);
      add(story.usage, data.usage);
      step.claims.at(-1)?.verdicts.push({ seq: entry.seq, check: data.check, passed: data.passed, evidence: data.evidence, by: data.by });
      return;
    case "check_decided": return checkDecided(story, step, data, at);
    case "step_skipped":
      step.status = "skipped";
      step.endedAt = at;
      step.skipped = data.reason;
      return close(story, step, "skipped", entry, at);
    default: return aboutCall(story, step, entry, data, at);
  }
}

/** A person says of a step that failed for its checks that it will do, or may try again. */
function checkDecided(story: Story, step: StepState, data: Data, at: number): void {
  const claim = step.claims.at(-1);
  if (claim) claim.decided = { decision: data.decision, by: data.by };
  if (data.decision === "accept") Object.assign(step, { status: "completed", endedAt: at, output: claim?.output ?? step.output });
  else tryAgain(step, at);
  const list = step.item && story.steps[step.item.of];
  // It looks at its items again.
  if (list && list.status === "failed" && willRetry(list) === null) tryAgain(list, at);
}

function tryAgain(step: StepState, at: number): void {
  step.endedAt = null;
  const attempt = step.attempts.at(-1);
  if (attempt) attempt.retryAt = at;
}

/** Each item of a list has a step of its own, at the end of all steps. */
function fannedOut(story: Story, step: StepState, data: Data, at: number): void {
  const items: Data[] = data.items ?? [];
  for (const [number, item] of items.entries()) {
    const index = story.steps.length;
    step.items.push(index);
    story.steps.push({
      ...step, index, id: `${step.id}.${number + 1}`, description: item.description, status: "pending", optional: true, plannedAt: at, attempts: [],
      output: null, endedAt: null, skipped: null, usage: emptyUsage(), item: { of: step.index, value: item.value }, items: [], forEach: null, when: null, claims: [],
    });
  }
}

/** The steps of the plan that counts: those of items are part of theirs. */
export function plannedSteps(story: Story): StepState[] {
  return story.steps.filter((step) => !step.replaced && !step.item);
}

function close(story: Story, step: StepState, end: Attempt["end"], entry: Entry, at: number): void {
  for (const [key, spoken] of story.speech) if (spoken.step === step.index) story.speech.delete(key);
  const attempt = step.attempts.at(-1);
  if (!attempt || attempt.to !== null) return;
  attempt.to = at;
  attempt.end = end;
  attempt.endSeq = entry.seq;
}

function aboutCall(story: Story, step: StepState, entry: Entry, data: Data, at: number): void {
  const key = `${step.index}.${data.call}`;
  const open = (kind: "model" | "tool", name: string): Call => {
    const call: Call = {
      key, step: step.index, number: data.call, attempt: data.attempt ?? 1, kind, name, state: "running", from: at, to: null, seq: entry.seq,
      endSeq: null, base: data.base ?? null, parts: data.parts ?? [], arguments: data.arguments ?? null, result: null, requests: [], thinking: null,
      effect: data.effect ?? null, isError: false, finish: null, usage: null, fault: null, detail: null, child: data.child ?? null,
    };
    story.calls.set(key, call);
    step.attempts.at(-1)?.calls.push(call);
    return call;
  };
  const call = story.calls.get(key);
  const end = (state: CallState) => {
    story.speech.delete(key);
    if (!call) return;
    call.state = state;
    call.to = at;
    call.endSeq = entry.seq;
  };
  switch (entry.kind) {
    case "model_requested": open("model", data.model); return;
    case "tool_dispatched":
      if (call?.state === "asked") { call.state = "running"; call.arguments = data.arguments ?? call.arguments; return; }
      open("tool", data.tool);
      return;
    case "child_started":
      if (call?.state === "asked") { Object.assign(call, { state: "running", child: data.child, arguments: data.arguments ?? call.arguments }); return; }
      open("tool", data.tool);
      return;
    case "child_ended":
      if (call) Object.assign(call, { result: data.result, isError: data.isError ?? false, usage: data.usage ?? null });
      add(step.usage, data.usage);
      add(story.usage, data.usage);
      return end("done");
    case "approval_requested": case "input_requested": case "tool_changed":
      // The same call may wait for one thing after the other.
      if (call?.state === "asked") { call.arguments = data.arguments ?? call.arguments; return; }
      open("tool", data.tool).state = "asked";
      return;
    case "approval_given": if (call && data.arguments) call.arguments = data.arguments; return;
    case "approval_denied": case "input_declined": if (call) call.detail = data.reason || `declined by ${data.by}`; return end("failed");
    case "input_given": if (call) call.result = data.answer; return end("done");
    case "model_answered":
      if (call) Object.assign(call, { result: data.text, requests: data.requests ?? [], thinking: data.thinking ?? null, finish: data.finish, usage: data.usage ?? null });
      add(step.usage, data.usage);
      add(story.usage, data.usage);
      if (data.usage) story.prompts.push({ seq: entry.seq, at, step: step.index, model: call?.name ?? "", input: data.usage.inputTokens, output: data.usage.outputTokens });
      return end("done");
    case "tool_returned":
      if (call) Object.assign(call, { result: data.result, isError: data.isError ?? false });
      return end("done");
    case "call_failed":
      if (call) Object.assign(call, { fault: data.fault, usage: data.fault?.usage ?? null });
      add(step.usage, data.fault?.usage);
      add(story.usage, data.fault?.usage);
      return end("failed");
    case "call_lost": if (call) call.detail = data.detail; return end("lost");
    case "outcome_decided":
      if (call) call.result = data.result ?? null;
      return end(data.result ? "done" : "failed");
  }
}

/** When a step could have begun: planned, and everything it needs is done. */
export function readyAt(story: Story, step: StepState): number {
  return Math.max(step.plannedAt, ...step.dependsOn.map((on) => story.steps[on]?.endedAt ?? 0));
}

/** How long the completed ones of these steps took on average, in milliseconds; null if there are none. */
function usualTime(steps: StepState[]): number | null {
  const took = steps.filter((step) => step.status === "completed").map((step) => (step.endedAt ?? 0) - (step.attempts[0]?.from ?? 0));
  return took.length > 0 ? took.reduce((sum, one) => sum + one, 0) / took.length : null;
}

/** How long the rest is likely to take, in milliseconds; null if nothing says so. */
export function remaining(story: Story, now: number): number | null {
  if (story.status !== "running" && story.status !== "pending") return null;
  const current = plannedSteps(story);
  const usual = usualTime(current);
  let rest = 0;
  for (const step of current) {
    if (step.endedAt !== null) continue;
    const whole = usual ?? step.estimated;
    if (whole === null) return null;
    const begun = step.attempts.at(-1);
    rest += begun && begun.to === null ? Math.max(whole - (now - begun.from), 0) : whole;
  }
  return rest;
}

/** Whether a step has been running for longer than was to be expected: then no more is known of when it ends. */
export function overdue(story: Story, now: number): boolean {
  const current = plannedSteps(story);
  const usual = usualTime(current);
  return current.some((step) => {
    const [begun, whole] = [step.attempts.at(-1), Math.max(usual ?? 0, step.estimated ?? 0)];
    return step.endedAt === null && begun?.to === null && whole > 0 && now - begun.from > whole;
  });
}

/** What a model was asked in a call: the conversation of its step up to then. */
export function promptOf(story: Story, call: Call): { role: "system" | "user" | "assistant" | "tool"; label: string; content: Payload | null; seq: number; requests?: Call["requests"] }[] {
  const said: ReturnType<typeof promptOf> = [];
  const step = story.steps[call.step];
  const first = call.base === null ? call : story.calls.get(`${call.step}.${call.base}`);
  const opening = (from: Call, at: number) => from.parts.forEach((part, number) => said.push({ role: at === 0 && number === 0 ? "system" : "user", label: at === 0 && number === 0 ? "Instructions" : "Message", content: part, seq: from.seq }));
  if (first) opening(first, 0);
  if (first && first !== call && step) {
    const summary = story.summaries.findLast((one) => one.step === step.index && one.through < call.number && one.seq < call.seq);
    if (summary) said.push({ role: "user", label: `Summary of calls up to ${summary.through}`, content: summary.text, seq: summary.seq });
    const from = Math.max(first.number, (summary?.through ?? 0) + 1);
    const between = step.attempts.flatMap((attempt) => attempt.calls).filter((one) => one.number >= from && one.number < call.number);
    for (const one of between) {
      if (one.kind === "model") said.push({ role: "assistant", label: one.name, content: one.result, seq: one.endSeq ?? one.seq, requests: one.requests });
      else said.push({ role: "tool", label: one.name, content: one.result ?? { inline: one.fault?.message ?? one.detail ?? "" }, seq: one.endSeq ?? one.seq });
    }
    opening(call, 1);
  }
  return said;
}

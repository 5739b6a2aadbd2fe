/** Where the time went: every step as waiting, running and backoff, attempt by attempt. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { isEnded } from "../../api/types";
import { Button, Empty } from "../../components/basics";
import { Virtual } from "../../components/virtual";
import { clock, duration } from "../../format";
import { address, setQuery } from "../../router";
import { readyAt, type StepState, type Story } from "../../state/journal";
import { pauseText, pauseWord } from "../../state/pause";
import { now } from "../../state/session";
import type { ViewProps } from "./task";

interface Segment { kind: string; from: number; to: number; title: string; seq?: number }

function segments(story: Story, step: StepState, end: number): Segment[] {
  const list: Segment[] = [];
  const first = step.attempts[0];
  const ready = readyAt(story, step);
  const waitsTo = first?.from ?? (step.endedAt ?? end);
  if (!step.replaced && waitsTo - ready > 0) list.push({ kind: "waiting", from: ready, to: waitsTo, title: `Waiting ${duration(waitsTo - ready)}` });
  for (const [at, attempt] of step.attempts.entries()) {
    const to = attempt.to ?? end;
    const kind = attempt.end === "failed" ? "failed" : attempt.end === "completed" ? "completed" : attempt.end === null ? "running" : "cut";
    list.push({ kind, from: attempt.from, to, title: `Attempt ${attempt.number}: ${duration(to - attempt.from)}${attempt.fault ? ` – ${attempt.fault.code}: ${attempt.fault.message}` : ""}`, seq: attempt.seq });
    for (const pause of story.pauses) {
      const [from, until] = [Math.max(pause.from, attempt.from), Math.min(pause.to ?? end, to)];
      if (until > from) list.push({ kind: "pause", from, to: until, title: `Paused ${duration(until - from)}` });
    }
    const next = step.attempts[at + 1];
    if (attempt.end === "failed" && (next || attempt.retryAt)) {
      const until = next?.from ?? Math.min(attempt.retryAt ?? to, Math.max(end, to));
      if (until > to) list.push({ kind: "backoff", from: to, to: until, title: `Backoff ${duration(until - to)}` });
    }
  }
  return list;
}

/** The part of the time that the address names, in milliseconds since the beginning of the task. */
function chosenPart(begin: number): [number, number] | null {
  const [from, to] = (address.value.query.get("time") ?? "").split("-").map(Number);
  return from !== undefined && to !== undefined && to > from ? [begin + from, begin + to] : null;
}

/** Round moments, no closer than their names are wide. */
function ticks(from: number, to: number, width: number): number[] {
  const about = (to - from) / Math.max(1, width / 84);
  const sizes = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 216e5, 864e5];
  const size = sizes.find((one) => one >= about) ?? 864e5 * Math.ceil(about / 864e5);
  const list = [];
  for (let at = 0; at <= to - from && list.length < 20; at += size) list.push(at);
  return list;
}

export function TimelineTab({ story, task, chosenStep }: ViewProps) {
  const zoom = chosenPart(story.from);
  const setZoom = (part: [number, number] | null) => setQuery({ time: part === null ? null : `${Math.round(part[0] - story.from)}-${Math.round(part[1] - story.from)}` });
  const axis = useRef<HTMLSpanElement>(null);
  const [width, setWidth] = useState(500);
  useLayoutEffect(() => {
    const element = axis.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, [story.steps.length > 0]);
  const live = !isEnded(task.status) && story.to === null;
  const last = Date.parse(story.entries.at(-1)?.at ?? task.updatedAt);
  const end = live ? Math.max(now.value, last) : last;
  const whole: [number, number] = [story.from, Math.max(end, story.from + 50)];
  const [from, to] = zoom ?? whole;
  const place = (at: number) => ((at - from) / (to - from)) * 100;
  // The items of a list stand below the step whose they are.
  const steps = story.steps.filter((step) => !step.item).flatMap((step) => [step, ...step.items.map((index) => story.steps[index]).filter((item) => item !== undefined)]);
  if (steps.length === 0) return <Empty icon="clock" title="No plan yet"><p>The steps appear here as soon as the plan is made.</p></Empty>;
  const bar = (step: StepState) => (
    <div key={step.index} role="listitem" class={`lane${step.replaced ? " is-replaced" : ""}${step.item ? " is-item" : ""}`}>
      <button type="button" class="lane-button" aria-pressed={chosenStep === step.index} onClick={() => setQuery({ step: String(step.index), seq: null })}>
        <span class="lane-name" title={step.description}><span class="mono faint">{step.index + 1}</span> {step.description}<span class="sr-only">, {step.status}, </span></span>
        <span class="lane-track" aria-hidden="true">
          {segments(story, step, end).map((one) => {
            const left = Math.max(place(one.from), 0);
            const right = Math.min(place(one.to), 100);
            if (right < 0 || left > 100) return null;
            return <span key={one.kind + one.from} class={`bar is-${one.kind}`} title={one.title} style={{ left: `${left}%`, width: `${Math.max(right - left, 0.25)}%` }} />;
          })}
        </span>
        <span class="lane-time mono faint">{step.attempts.length > 0 ? duration((step.endedAt ?? end) - (step.attempts[0]?.from ?? end)) : "–"}</span>
      </button>
    </div>
  );
  return (
    <div class="timeline">
      <Brush story={story} whole={whole} zoom={zoom} setZoom={setZoom} end={end} />
      <div class="lane-axis">
        <span class="lane-name">{zoom ? <Button kind="ghost" onClick={() => setZoom(null)}>Whole time</Button> : <span class="faint">{clock(story.from)}</span>}</span>
        <span class="lane-track" ref={axis} aria-hidden="true">
          {ticks(from, to, width).map((at) => <span key={at} class="tick" style={{ left: `${(at / (to - from)) * 100}%` }}>{duration(from - story.from + at)}</span>)}
          {live && place(end) <= 100 && place(end) >= 0 && <span class="now-mark" style={{ left: `${place(end)}%` }} title="Now" />}
          {story.pauses.map((pause) => {
            const [left, right] = [Math.max(place(pause.from), 0), Math.min(place(pause.to ?? end), 100)];
            return right <= 0 || left >= 100 || right <= left ? null : <span key={pause.from} class="pause-mark" title={`${pauseWord(pause.reason)}: ${pauseText(pause)}`} style={{ left: `${left}%`, width: `${right - left}%` }} />;
          })}
        </span>
        <span class="lane-time" />
      </div>
      {steps.length > 60
        ? <Virtual class="lanes" count={steps.length} rowHeight={30} label="Steps over time" row={(index) => bar(steps[index] as StepState)} />
        : <div class="lanes" role="list" aria-label="Steps over time">{steps.map(bar)}</div>}
      <div class="legend" aria-hidden="true">
        {[["waiting", "waiting"], ["running", "running"], ["completed", "completed"], ["failed", "failed attempt"], ["backoff", "backoff"], ["pause", "paused"]].map(([kind, name]) => <span key={kind}><i class={`bar is-${kind}`} />{name}</span>)}
        <span class="faint">Drag over the strip to look closer.</span>
      </div>
    </div>
  );
}

/** The whole time in little; dragging over it, or the arrow keys, choose a part. */
function Brush({ story, whole, zoom, setZoom, end }: { story: Story; whole: [number, number]; zoom: [number, number] | null; setZoom: (zoom: [number, number] | null) => void; end: number }) {
  const box = useRef<HTMLDivElement>(null);
  const begun = useRef<number | null>(null);
  const span = whole[1] - whole[0];
  const at = (event: PointerEvent) => {
    const rect = box.current?.getBoundingClientRect();
    return rect ? whole[0] + Math.max(0, Math.min(1, (event.clientX - rect.left) / rect.width)) * span : whole[0];
  };
  const moved = (event: PointerEvent) => {
    if (begun.current === null) return;
    const here = at(event);
    if (Math.abs(here - begun.current) > span / 200) setZoom([Math.min(here, begun.current), Math.max(here, begun.current)]);
  };
  const keys = (event: KeyboardEvent) => {
    const [from, to] = zoom ?? whole;
    const size = to - from;
    const shift = { ArrowLeft: -0.2, ArrowRight: 0.2 }[event.key];
    if (shift !== undefined) setZoom([Math.max(whole[0], from + size * shift), Math.min(whole[1], to + size * shift)]);
    else if (event.key === "+" || event.key === "=") setZoom([from + size / 4, to - size / 4]);
    else if (event.key === "-") { const next: [number, number] = [Math.max(whole[0], from - size / 2), Math.min(whole[1], to + size / 2)]; setZoom(next[1] - next[0] >= span * 0.99 ? null : next); }
    else if (event.key === "Escape") setZoom(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const part = (value: number) => `${((value - whole[0]) / span) * 100}%`;
  return (
    <div class="brush" ref={box} tabIndex={0} role="group" aria-label="Time range: drag, or use the arrow keys, plus and minus" onKeyDown={keys}
      onPointerDown={(event) => { begun.current = at(event); event.currentTarget.setPointerCapture(event.pointerId); }} onPointerMove={moved} onPointerUp={() => { begun.current = null; }} onDblClick={() => setZoom(null)}>
      {story.steps.flatMap((step) => step.attempts.map((attempt) => (
        <span key={attempt.seq} class={`bar is-${attempt.end === "failed" ? "failed" : attempt.end === null ? "running" : "completed"}`} style={{ left: part(attempt.from), width: `${Math.max(((attempt.to ?? end) - attempt.from) / span * 100, 0.15)}%`, top: `${4 + (step.index % 6) * 4}px` }} />
      ))).slice(0, 600)}
      {story.pauses.map((pause) => <span key={pause.from} class="brush-pause" title="Paused" style={{ left: part(pause.from), width: `${(((pause.to ?? end) - pause.from) / span) * 100}%` }} />)}
      {zoom && <span class="brush-range" style={{ left: part(zoom[0]), width: `${((zoom[1] - zoom[0]) / span) * 100}%` }} />}
    </div>
  );
}

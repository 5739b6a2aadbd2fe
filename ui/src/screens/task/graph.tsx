/** The plan as a graph, revision by revision. */
import { useState } from "preact/hooks";
import { Chip, Empty } from "../../components/basics";
import { Diff } from "../../components/diff";
import { Markdown } from "../../components/markdown";
import { clock, counted } from "../../format";
import { address, setQuery } from "../../router";
import type { Revision, StepState, Story } from "../../state/journal";
import { stepWords } from "./steps";
import type { ViewProps } from "./task";

const [WIDTH, HEIGHT, GAP_X, GAP_Y] = [236, 58, 22, 34];

interface Placed { step: StepState; x: number; y: number }

/** Each step stands one row below the last one it needs. */
function layout(steps: StepState[]): { placed: Map<number, Placed>; width: number; height: number } {
  const level = new Map<number, number>();
  const taken: number[] = [];
  for (const step of steps) {
    const at = Math.max(-1, ...step.dependsOn.map((on) => level.get(on) ?? -1)) + 1;
    taken[at] = (taken[at] ?? 0) + 1;
    level.set(step.index, at);
  }
  const widest = Math.max(1, ...taken);
  const filled: number[] = [];
  const placed = new Map<number, Placed>();
  for (const step of steps) {
    const at = level.get(step.index) ?? 0;
    const place = filled[at] ?? 0;
    filled[at] = place + 1;
    // A row with fewer steps than the widest one stands in the middle.
    placed.set(step.index, { step, x: (place + (widest - (taken[at] ?? 1)) / 2) * (WIDTH + GAP_X), y: at * (HEIGHT + GAP_Y) });
  }
  return { placed, width: widest * (WIDTH + GAP_X) - GAP_X, height: Math.max(1, taken.length) * (HEIGHT + GAP_Y) - GAP_Y };
}

/** A line from one step to another. One that would run behind a step in between goes round it. */
function way(x1: number, y1: number, x2: number, y2: number, placed: Placed[]): string {
  const bend = Math.max(GAP_Y / 2, (y2 - y1) / 2);
  const hidden = placed.filter(({ x, y }) => y > y1 && y + HEIGHT < y2 && x < (x1 + x2) / 2 && x + WIDTH > (x1 + x2) / 2);
  if (hidden.length === 0) return `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`;
  const aside = Math.max(...hidden.map(({ x }) => x)) + WIDTH + GAP_X / 2;
  const turn = GAP_Y * 0.8;
  return `M${x1} ${y1}C${x1} ${y1 + turn} ${aside} ${y1} ${aside} ${y1 + turn}L${aside} ${y2 - turn}C${aside} ${y2} ${x2} ${y2 - turn} ${x2} ${y2}`;
}

function lines(text: string): [string, string] {
  const most = 33;
  if (text.length <= most) return [text, ""];
  const cut = text.lastIndexOf(" ", most);
  const first = text.slice(0, cut > 10 ? cut : most);
  const rest = text.slice(first.length).trim();
  return [first, rest.length > most ? `${rest.slice(0, most - 1)}…` : rest];
}

/** A revision as lines, for comparing it with another. */
function asText(story: Story, revision: Revision): string {
  const ids = (step: StepState) => step.dependsOn.map((on) => story.steps[on]?.id ?? "?").join(", ");
  return revision.steps.map((index) => story.steps[index]).filter((step) => step !== undefined).map((step) => `${step.id}: ${step.description}${step.tool ? ` [${step.tool.name} ${JSON.stringify(step.tool.arguments)}]` : ""}${step.optional ? " (optional)" : ""}${step.dependsOn.length > 0 ? ` after ${ids(step)}` : ""}`).join("\n");
}

export function GraphTab({ story, chosenStep }: ViewProps) {
  const shown = Number(address.value.query.get("revision"));
  const setShown = (number: number) => setQuery({ revision: number === story.revisions.at(-1)?.number ? null : String(number) });
  const [compare, setCompare] = useState(false);
  const revision = story.revisions.find((one) => one.number === shown) ?? story.revisions.at(-1);
  if (!revision) return <Empty icon="bolt" title="No plan yet"><p>A model, or the rules, are asked for one.</p></Empty>;
  const steps = revision.steps.map((index) => story.steps[index]).filter((step): step is StepState => step !== undefined);
  const before = story.revisions.find((one) => one.number === revision.number - 1);
  const { placed, width, height } = layout(steps);
  const open = (index: number) => setQuery({ step: String(index), seq: null });
  return (
    <div class="graph">
      <div class="filters">
        {story.revisions.length > 1 && <div class="chips" role="group" aria-label="Revision">{story.revisions.map((one) => <Chip key={one.number} on={one.number === revision.number} onClick={() => setShown(one.number)}>revision {one.number}</Chip>)}{before && <Chip on={compare} onClick={() => setCompare(!compare)}>differences</Chip>}</div>}
        <span class="faint">{clock(revision.at)} · {counted(steps.length, "step")} · {revision.model ? <>by <code>{revision.model}</code></> : "as given"}{revision.degraded ? " · only the best that could be done" : ""}</span>
      </div>
      {revision.reason && <div class="graph-reason"><Markdown text={revision.reason} /></div>}
      {compare && before && <section class="graph-diff" aria-label={`From revision ${before.number} to ${revision.number}`}><Diff one={asText(story, before)} other={asText(story, revision)} /></section>}
      <div class="graph-scroll" tabIndex={0} role="region" aria-label="Plan">
        <svg width={width + GAP_X} height={height + 8} viewBox={`-4 -4 ${width + GAP_X} ${height + 8}`} role="group" aria-label={`Plan of ${counted(steps.length, "step")}`}>
          {steps.flatMap((step) => step.dependsOn.map((on) => {
            const [from, to] = [placed.get(on), placed.get(step.index)];
            if (!from || !to) return null;
            const [x1, y1, x2, y2] = [from.x + WIDTH / 2, from.y + HEIGHT, to.x + WIDTH / 2, to.y];
            return <path key={`${on}-${step.index}`} class={`edge is-${from.step.status}`} d={way(x1, y1, x2, y2, [...placed.values()])} />;
          }))}
          {steps.map((step) => {
            const at = placed.get(step.index);
            if (!at) return null;
            const [one, two] = lines(step.description);
            const gone = step.replaced || step.revision > revision.number;
            return (
              <g key={step.index} class={`node is-${step.status}${gone ? " is-replaced" : ""}${chosenStep === step.index ? " is-chosen" : ""}`} transform={`translate(${at.x} ${at.y})`} role="button" tabindex={0}
                onClick={() => open(step.index)} onKeyDown={(event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(step.index); } }}>
                <title>{`${step.description}, ${step.status}`}</title>
                <rect class="node-box" width={WIDTH} height={HEIGHT} rx="8" /><rect class="node-sign" x="0" y="10" width="3" height={HEIGHT - 20} rx="1.5" />
                <text x="14" y="19">{one}</text><text x="14" y="34">{two}</text>
                <text class="node-more" x="14" y="50">{step.index + 1} · {step.tool?.name ?? stepWords[step.type] ?? step.type}{step.items.length > 0 ? ` · ${counted(step.items.length, "item")}` : step.forEach ? " · for each" : ""}{step.when !== null ? " · if" : ""}{step.checks.length > 0 ? ` · ${step.checks.length} check${step.checks.length > 1 ? "s" : ""}` : ""}{step.attempts.length > 1 ? ` · ${counted(step.attempts.length, "attempt")}` : ""}</text>
              </g>
            );
          })}
        </svg>
      </div>
    </div>
  );
}

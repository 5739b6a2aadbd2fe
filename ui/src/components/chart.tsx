/** A chart over time. */
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { isDark } from "../state/session";

export interface Series { name: string; colour: string; values: (number | null)[]; bars?: boolean }

/** The colours are those of the style sheet. */
function colour(name: string): string { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

export function Chart({ title, times, series, format, height = 172, stacked }: { title: string; times: number[]; series: Series[]; format: (value: number) => string; height?: number; stacked?: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const dark = isDark.value;
  const shape = series.map((one) => one.name).join();
  const data = (): uPlot.AlignedData => {
    const columns = series.map((one) => [...one.values]);
    if (stacked) for (let at = columns.length - 2; at >= 0; at -= 1) columns[at] = (columns[at] ?? []).map((value, index) => (value ?? 0) + (columns[at + 1]?.[index] ?? 0));
    return [times.map((time) => time / 1000), ...columns];
  };
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const [grid, faint] = [colour("--line"), colour("--text-3")];
    const axis = { stroke: faint, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "11px Inter, system-ui, sans-serif" };
    const bars = uPlot.paths.bars?.({ size: [0.8, 40], radius: 0.15 });
    const made = new uPlot({
      width: element.clientWidth || 400, height,
      cursor: { y: false, points: { size: 6 } },
      legend: { show: false },
      scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
      axes: [{ ...axis, space: 70, size: 28, values: (_self, values, _axis, space, step) => values.map((value) => when(value * 1000, step, space)) }, { ...axis, size: 58, values: (_, values) => values.map((value) => format(value)) }],
      series: [{}, ...series.map((one): uPlot.Series => ({
        label: one.name, stroke: colour(one.colour), points: { show: !one.bars, size: 5, fill: colour(one.colour) }, spanGaps: false,
        ...(one.bars && bars ? { paths: bars, fill: colour(one.colour), width: 0 } : { fill: `${colour(one.colour)}18`, width: 1.5 }),
      }))],
    }, data(), element);
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => { observer.disconnect(); made.destroy(); plot.current = null; };
  }, [shape, dark, height, times.length]);
  useEffect(() => { plot.current?.setData(data()); }, [times, series]);
  const last = series.map((one) => `${one.name}: ${format(one.values.reduce<number>((sum, value) => sum + (value ?? 0), 0))}`).join(", ");
  return (
    <figure class="chart">
      <figcaption>{title}<span class="chart-legend">{series.map((one) => <span key={one.name}><i class={`swatch ${one.colour.slice(2)}`} />{one.name}</span>)}</span></figcaption>
      <div ref={box} class="chart-box" role="img" aria-label={`${title}. ${last}`} />
    </figure>
  );
}

function when(at: number, step: number, _space: number): string {
  const date = new Date(at);
  if (step >= 86_400) return date.toLocaleDateString(undefined, { month: "short", day: "numeric" });
  return date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", hour12: false, ...(step < 60 ? { second: "2-digit" } : {}) });
}

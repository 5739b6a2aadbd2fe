/** Numbers, times and amounts for people. */
import type { Usage } from "./api/types";

const whole = new Intl.NumberFormat("en-US");
const clockTime = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

/** Days in a year. */
const YEAR = 365.25;

export function number(value: number): string { return whole.format(value); }

/** 1 step, 2 steps, 1,200 entries */
export function counted(count: number, what: string): string {
  return `${number(count)} ${count === 1 ? what : what.endsWith("y") ? `${what.slice(0, -1)}ies` : `${what}s`}`;
}

/** 1234 → 1.2k */
export function short(value: number): string {
  if (Math.abs(value) < 1000) return Number.isInteger(value) ? String(value) : value.toFixed(1);
  for (const [size, unit] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]] as const) {
    if (Math.abs(value) >= size) return `${(value / size).toFixed(value / size >= 100 ? 0 : 1)}${unit}`;
  }
  return String(value);
}

export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  if (value < 1024 * 1024) return `${(value / 1024).toFixed(1)} KiB`;
  return `${(value / 1024 / 1024).toFixed(1)} MiB`;
}

/** Milliseconds: 340 ms, 4.2 s, 3 m 20 s, 2 h 5 m, 3 d 4 h, 2 y 40 d */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  const value = Math.max(0, ms);
  if (value < 1000) return `${Math.round(value)} ms`;
  const seconds = value / 1000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} m`;
  const days = Math.floor(hours / 24);
  if (days < YEAR) return `${days} d ${hours % 24} h`;
  const years = Math.floor(days / YEAR);
  return `${number(years)} y ${Math.floor(days - years * YEAR)} d`;
}

export function ago(at: string | number, now: number): string {
  const ms = now - new Date(at).getTime();
  if (ms < 5000) return "just now";
  const [size, unit] = ms < 60_000 ? [1000, "s"] : ms < 3_600_000 ? [60_000, "m"] : ms < 86_400_000 ? [3_600_000, "h"] : ms < YEAR * 86_400_000 ? [86_400_000, "d"] : [YEAR * 86_400_000, "y"];
  return `${Math.floor(ms / (size as number))} ${unit} ago`;
}

export function clock(at: string | number): string { return clockTime.format(new Date(at)); }

/** Day and time, in another shape or zone if one is named; with its year, unless that is this one. */
export function day(at: string | number, shape: Intl.DateTimeFormatOptions = {}): string {
  const when = new Date(at);
  const year = when.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" as const };
  return when.toLocaleString(undefined, { month: "short", day: "numeric", ...year, hour: "2-digit", minute: "2-digit", hour12: false, ...shape });
}

export function usd(value: number): string {
  if (value === 0) return "$0";
  if (value < 0.0001) return "< $0.0001";
  if (value < 0.01) return `$${value.toFixed(4)}`;
  return `$${value < 100 ? value.toFixed(2) : whole.format(Math.round(value))}`;
}

/** The cost as far as it is known: an unknown price is never shown as nothing. */
export function cost(usage: Usage): string {
  const known = usage.costUsd ?? 0;
  if (usage.unpricedCalls) return known > 0 ? `≥ ${usd(known)}` : "unknown";
  return known > 0 ? usd(known) : "–";
}

/** Time, tokens and cost in a line, of what there is. */
export function spent(ms: number, usage: Usage): string {
  const parts = [duration(ms), `${short(tokens(usage))} tokens`];
  if (usage.unpricedCalls || usage.costUsd) parts.push(usage.unpricedCalls && !usage.costUsd ? "cost unknown" : cost(usage));
  return parts.join(" · ");
}

export function tokens(usage: Usage): number { return usage.inputTokens + usage.outputTokens; }

export function percent(value: number): string {
  if (!Number.isFinite(value)) return "–";
  return `${value >= 0.9995 || value === 0 ? Math.round(value * 100) : (value * 100).toFixed(1)} %`;
}

/** A value as text: texts as they are, all else as JSON. */
export function text(value: unknown): string {
  if (value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

export function shortId(id: string): string { return id.slice(0, 4) + "…" + id.slice(-4); }
export function firstLine(value: string): string { return value.split("\n", 1)[0] ?? ""; }

/** Conditions as rows of comparisons, where they are no more than that. */
import type { PlannedStep } from "../api/types";

type Condition = NonNullable<PlannedStep["when"]>;

export type Sign = "equals" | "notEquals" | "greaterThan" | "atLeast" | "lessThan" | "atMost" | "contains" | "matches" | "exists" | "missing";

/** What a step brings, or a part of it, against a value. */
export interface Row { output: string; pointer: string; sign: Sign; value: unknown }

export interface Rows { how: "all" | "any"; rows: Row[] }

/** Each sign in words. The last two need no value. */
export const signs: readonly (readonly [Sign, string])[] = [
  ["equals", "is"], ["notEquals", "is not"], ["contains", "contains"], ["matches", "matches"], ["greaterThan", ">"], ["atLeast", "≥"], ["lessThan", "<"], ["atMost", "≤"], ["exists", "is there"], ["missing", "is not there"],
];

function placeOf(operand: unknown): Pick<Row, "output" | "pointer"> | null {
  if (typeof operand !== "object" || operand === null) return null;
  const { $output, pointer = "", ...more } = operand as Record<string, unknown>;
  return typeof $output === "string" && typeof pointer === "string" && Object.keys(more).length === 0 ? { output: $output, pointer } : null;
}

function rowOf(condition: unknown): Row | null {
  const entries = Object.entries(condition ?? {});
  const [name, value] = entries[0] ?? [];
  if (entries.length !== 1) return null;
  if (name === "not") {
    const row = rowOf(value);
    return row?.sign === "exists" ? { ...row, sign: "missing" } : null;
  }
  if (name === "exists") {
    const place = placeOf(value);
    return place && { ...place, sign: "exists", value: "" };
  }
  if (!signs.some(([sign]) => sign === name) || name === "missing" || !Array.isArray(value) || value.length !== 2) return null;
  const place = placeOf(value[0]);
  return place && { ...place, sign: name as Sign, value: value[1] as unknown };
}

/** The rows of a condition, or null if it is more than rows. */
export function rowsOf(condition: unknown): Rows | null {
  const [name, value] = Object.entries(condition ?? {})[0] ?? [];
  if ((name === "all" || name === "any") && Array.isArray(value) && value.length > 0) {
    const rows = value.map(rowOf);
    return rows.every((row) => row !== null) ? { how: name, rows } : null;
  }
  const row = rowOf(condition);
  return row && { how: "all", rows: [row] };
}

function single({ output, pointer, sign, value }: Row): Condition {
  const operand = pointer === "" ? { $output: output } : { $output: output, pointer };
  if (sign === "exists") return { exists: operand };
  if (sign === "missing") return { not: { exists: operand } };
  return { [sign]: [operand, sign === "matches" && typeof value !== "string" ? JSON.stringify(value) : value] } as unknown as Condition;
}

/** The condition of rows; none without any. */
export function conditionOf({ how, rows }: Rows): Condition | undefined {
  const parts = rows.map(single);
  return parts.length > 1 || (how === "any" && parts.length > 0) ? ({ [how]: parts } as unknown as Condition) : parts[0];
}

/** A value as somebody types it: a text without quotes, unless it would be read as something else. */
export function asTyped(value: unknown): string {
  return typeof value === "string" && typeof readTyped(value) === "string" && readTyped(value) === value ? value : JSON.stringify(value);
}

/** What somebody typed, as a value: what is JSON, and else the text. */
export function readTyped(text: string): unknown {
  try { return JSON.parse(text) as unknown; } catch { return text; }
}

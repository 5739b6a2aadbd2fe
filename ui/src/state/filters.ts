/** Filters of the task list that were kept under a name, in this browser. */
import { signal } from "@preact/signals";

export interface Filter { name: string; query: string }

const KEY = "longhaul.filters";
/** What of an address is the filter, in the order in which two of them are compared. */
const PARTS = ["status", "q", "thread", "roots", "retrying", "sort", "order"];

function read(): Filter[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((one): one is Filter => typeof one?.name === "string" && typeof one?.query === "string") : [];
  } catch { return []; }
}

export const filters = signal<Filter[]>(read());
// Another tab of this browser may keep or forget one meanwhile.
addEventListener("storage", (event) => { if (event.key === KEY) filters.value = read(); });

function write(all: Filter[]): void {
  filters.value = all.toSorted((one, other) => one.name.localeCompare(other.name));
  localStorage.setItem(KEY, JSON.stringify(filters.value));
}

/** The filter of an address; empty if it shows all. */
export function filterOf(query: URLSearchParams): string {
  const parts = new URLSearchParams();
  for (const part of PARTS) {
    const value = query.get(part);
    // A status chosen before or after another one is the same filter.
    if (value) parts.set(part, part === "status" ? value.split(",").sort().join() : value);
  }
  return parts.toString();
}

/** Keeps a filter; another one of this name is replaced. */
export function keepFilter(name: string, query: string): void {
  write([...filters.value.filter((one) => one.name !== name), { name, query }]);
}

export function forgetFilter(name: string): void { write(filters.value.filter((one) => one.name !== name)); }

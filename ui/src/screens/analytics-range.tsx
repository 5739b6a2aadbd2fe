/** Which time the analytics are about: the last hours or days, or from one moment to another. It stands in the address. */
import { Chip } from "../components/basics";
import { address, setQuery } from "../router";
import { useShortcuts } from "../state/keys";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** The longest time that the server counts at once. */
const LONGEST = 400 * DAY;

const recent = {
  "1h": { ms: HOUR, bucket: "1m" }, "24h": { ms: DAY, bucket: "15m" }, "7d": { ms: 7 * DAY, bucket: "6h" }, "30d": { ms: 30 * DAY, bucket: "1d" },
} as const;
type Recent = keyof typeof recent;
const names = Object.keys(recent) as Recent[];

/** What is asked of the server; a bucket is chosen by it where none is given. */
export interface Range { name: string; window: { from: string; to?: string }; bucket?: (typeof recent)[Recent]["bucket"] }

/** The range of an address, or what is wrong with it. */
export function rangeOf(query: URLSearchParams, now: number): Range | string {
  const [begin, end] = [query.get("from"), query.get("to")];
  if (begin === null && end === null) {
    const name = (query.get("range") ?? "24h") as Recent;
    const { ms, bucket } = recent[name] ?? recent["24h"];
    // To the minute, so that the same figures are asked for under the same address.
    return { name: name in recent ? name : "24h", window: { from: minute(now - ms) }, bucket };
  }
  const to = end === null ? now : Date.parse(end);
  const from = begin === null ? to - DAY : Date.parse(begin);
  if (Number.isNaN(from) || Number.isNaN(to)) return "Both ends are moments, such as 2026-11-22T09:00Z.";
  if (from >= to) return "The time ends before it begins.";
  if (to - from > LONGEST) return "At most 400 days are counted at once.";
  const day = (at: number) => new Date(at).toISOString().slice(0, 10);
  return { name: `${day(from)}-to-${day(to)}`, window: { from: minute(from), ...(end === null ? {} : { to: minute(to) }) } };
}

function minute(at: number): string { return new Date(Math.floor(at / MINUTE) * MINUTE).toISOString(); }

/** A moment as a field for local times has it, and back. */
function local(at: string | null): string {
  const time = at === null ? Number.NaN : Date.parse(at);
  return Number.isNaN(time) ? "" : new Date(time - new Date(time).getTimezoneOffset() * MINUTE).toISOString().slice(0, 16);
}
function moment(value: string): string | null { return value === "" ? null : `${new Date(value).toISOString().slice(0, 16)}Z`; }

export function RangePicker({ range, now }: { range: Range | string; now: number }) {
  const query = address.value.query;
  const free = query.has("from") || query.has("to");
  const within = (name: Recent) => setQuery({ range: name === "24h" ? null : name, from: null, to: null });
  // Begins with the time that is shown.
  const choose = () => { if (!free && typeof range !== "string") setQuery({ range: null, from: `${range.window.from.slice(0, 16)}Z`, to: `${minute(now).slice(0, 16)}Z` }); };
  useShortcuts([
    ...names.map((name, at) => ({ keys: String(at + 1), what: `The last ${name}`, group: "Analytics", run: () => within(name) })),
    { keys: String(names.length + 1), what: "From one moment to another", group: "Analytics", run: choose },
  ]);
  const end = (name: "from" | "to", label: string) => (
    <label class="range-end"><span>{label}</span>
      <input type="datetime-local" value={local(query.get(name))} aria-invalid={typeof range === "string"} onChange={(event) => { const value = moment(event.currentTarget.value); if (value !== null || name === "to") setQuery({ [name]: value }); }} />
    </label>
  );
  return (
    <>
      {free && <div class="range-ends" role="group" aria-label="Dates">{end("from", "from")}{end("to", "to")}</div>}
      <div class="chips" role="group" aria-label="Range">
        {names.map((name) => <Chip key={name} on={!free && typeof range !== "string" && range.name === name} onClick={() => within(name)}>{name}</Chip>)}
        <Chip on={free} onClick={choose}>dates</Chip>
      </div>
    </>
  );
}

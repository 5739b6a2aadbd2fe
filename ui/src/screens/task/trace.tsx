/** The journal, entry by entry. */
import { useMemo, useRef } from "preact/hooks";
import type { Entry, TraceType } from "../../api/types";
import { isEnded } from "../../api/types";
import { Chip, Empty } from "../../components/basics";
import { Icon, type IconName } from "../../components/icons";
import { Virtual } from "../../components/virtual";
import { counted, number } from "../../format";
import { address, setQuery } from "../../router";
import { useShortcuts } from "../../state/keys";
import type { ViewProps } from "./task";

const types: { type: TraceType; name: string; icon: IconName }[] = [
  { type: "tool-call", name: "Tools", icon: "tools" }, { type: "llm-request", name: "Prompts", icon: "send" }, { type: "llm-response", name: "Answers", icon: "model" },
  { type: "decision", name: "Decisions", icon: "bolt" }, { type: "checkpoint", name: "Checkpoints", icon: "flag" }, { type: "error", name: "Errors", icon: "alert" },
];
const icons = Object.fromEntries(types.map((one) => [one.type, one.icon])) as Record<string, IconName>;

/** Time since the beginning of the task, of one width. */
function since(at: number, from: number): string {
  const ms = Math.max(0, at - from);
  const minutes = Math.floor(ms / 60_000);
  return `${minutes}:${String(Math.floor((ms % 60_000) / 1000)).padStart(2, "0")}.${String(ms % 1000).padStart(3, "0")}`;
}

export function TraceTab({ story, version, chosenSeq, task }: ViewProps) {
  // What is looked for stands in the address, so that it can be sent to somebody.
  const kinds = address.value.query.get("kinds") ?? "";
  const wanted = useMemo(() => new Set(kinds.split(",").filter(Boolean)), [kinds]);
  const search = address.value.query.get("find") ?? "";
  const setSearch = (words: string) => setQuery({ find: words });
  const toggle = (type: TraceType) => { const next = new Set(wanted); if (!next.delete(type)) next.add(type); setQuery({ kinds: [...next].join(",") }); };
  const box = useRef<HTMLInputElement>(null);
  const entries = story.entries;
  const counts = useMemo(() => {
    const counted: Record<string, number> = {};
    for (const entry of entries) counted[entry.type] = (counted[entry.type] ?? 0) + 1;
    return counted;
  }, [version]);
  const shown = useMemo(() => {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length === 0 && wanted.size === 0) return entries;
    const fits = (entry: Entry) => {
      if (wanted.size > 0 && !wanted.has(entry.type)) return false;
      if (words.length === 0) return true;
      const text = `${entry.seq} ${entry.kind} ${entry.message} ${JSON.stringify(entry.data)}`.toLowerCase();
      return words.every((word) => text.includes(word));
    };
    return entries.filter(fits);
  }, [version, search, wanted, entries]);
  const at = shown.findIndex((entry) => entry.seq === chosenSeq);
  const go = (by: number) => {
    const entry = shown[Math.max(0, Math.min(shown.length - 1, at < 0 ? 0 : at + by))];
    if (entry) setQuery({ seq: String(entry.seq), step: null });
  };
  useShortcuts([
    { keys: "/", what: "Search the trace", group: "Trace", run: () => box.current?.focus() },
    { keys: "j", what: "Next entry", group: "Trace", run: () => go(1) },
    { keys: "k", what: "Previous entry", group: "Trace", run: () => go(-1) },
    { keys: "ArrowDown", what: "Next entry", group: "Trace", run: () => go(1) },
    { keys: "ArrowUp", what: "Previous entry", group: "Trace", run: () => go(-1) },
  ]);
  return (
    <div class="trace">
      <div class="filters">
        <label class="search"><Icon name="search" size={14} /><span class="sr-only">Search the trace</span><input ref={box} type="text" inputMode="search" placeholder="Search messages and data" value={search} onInput={(event) => setSearch(event.currentTarget.value)} onKeyDown={(event) => { if (event.key === "Escape") event.currentTarget.blur(); }} /></label>
        <span class="faint">{shown.length === entries.length ? `${counted(entries.length, "entry")}` : `${number(shown.length)} of ${number(entries.length)}`}</span>
        <div class="chips" role="group" aria-label="Kinds of entries">
          {types.map(({ type, name, icon }) => <Chip key={type} on={wanted.has(type)} onClick={() => toggle(type)}><Icon name={icon} size={12} />{name}<span class="faint">{number(counts[type] ?? 0)}</span></Chip>)}
        </div>
      </div>
      {shown.length === 0 ? <Empty icon="search" title="No entry fits" /> : (
        <Virtual class="trace-list" count={shown.length} rowHeight={30} label="Entries" role="list" active={at} follow={!isEnded(task.status)}
          row={(index) => {
            const entry = shown[index] as Entry;
            return (
              <div key={entry.seq} role="listitem" class={`entry is-${entry.type}${entry.seq === chosenSeq ? " is-active" : ""}`}>
                <button type="button" class="entry-button" aria-pressed={entry.seq === chosenSeq} onClick={() => setQuery({ seq: entry.seq === chosenSeq ? null : String(entry.seq), step: null })}>
                  <span class="mono faint entry-seq">{entry.seq}</span><span class="mono faint entry-time">{since(Date.parse(entry.at), story.from)}</span>
                  <span class="entry-icon"><Icon name={icons[entry.type] ?? "dot"} size={13} /></span>
                  <span class="entry-step mono">{entry.step === null ? "" : `step ${entry.step + 1}`}</span><span class="entry-text">{entry.message}</span><span class="entry-kind mono">{entry.kind}</span>
                </button>
              </div>
            );
          }} />
      )}
    </div>
  );
}

/** The command palette, and the list of shortcuts. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { listSchedules, listTasks, listTemplates, listThreads, listTools } from "#api";
import { useLatest, useResource } from "../api/resource";
import type { TaskSummary } from "../api/types";
import { navigate } from "../router";
import { filters } from "../state/filters";
import { shortcuts } from "../state/keys";
import { helpOpen, nextTheme, paletteOpen } from "../state/session";
import { LONGEST_SEARCH, taskList } from "../state/tasks";
import { Badge, Dialog } from "./basics";
import { Icon, type IconName } from "./icons";

interface Command { id: string; name: string; icon: IconName; hint?: string; kind?: string; task?: TaskSummary; run(): void }

const TASKS_SHOWN = 8;
/** Of each other kind of thing. */
const FOUND = 4;
/** As many of the newest conversations are looked through. */
const NEWEST = 200;
/** Somebody who types is waited for. */
const TYPING_MS = 120;

/** What is found by its name: read when somebody begins to search. */
function useThings(searching: boolean): Command[] {
  const templates = useResource(searching ? listTemplates({ limit: 1000 }) : null);
  const schedules = useResource(searching ? listSchedules({ limit: 1000 }) : null);
  const tools = useResource(searching ? listTools() : null);
  const threads = useResource(searching ? listThreads({ limit: NEWEST }) : null);
  return [
    ...(templates.data?.templates ?? []).map((one) => ({ id: `template ${one.name}`, name: one.name, kind: "template", icon: "template" as const, run: () => navigate(`/templates?template=${encodeURIComponent(one.name)}`) })),
    ...(schedules.data?.schedules ?? []).map((one) => ({ id: `schedule ${one.id}`, name: one.name, kind: "schedule", icon: "calendar" as const, run: () => navigate(`/schedules?schedule=${one.id}`) })),
    ...(tools.data?.tools ?? []).map((one) => ({ id: `tool ${one.name}`, name: one.name, kind: "tool", icon: "tools" as const, run: () => navigate(`/tools?tool=${encodeURIComponent(one.name)}`) })),
    ...(threads.data?.threads ?? []).map((one) => ({ id: `thread ${one.id}`, name: one.title, kind: "conversation", icon: "chat" as const, run: () => navigate(`/chat/${encodeURIComponent(one.id)}`) })),
  ];
}

/** The newest tasks, or those whose goals have what is searched for, whatever their age. */
function useTasks(query: string): TaskSummary[] {
  const [words, setWords] = useState("");
  useEffect(() => {
    const typing = setTimeout(() => setWords(query.trim().slice(0, LONGEST_SEARCH)), TYPING_MS);
    return () => clearTimeout(typing);
  }, [query]);
  return useLatest(useResource(listTasks(words ? { q: words, limit: TASKS_SHOWN } : { limit: TASKS_SHOWN }))).data?.tasks ?? [];
}

export function Palette({ places }: { places: { path: string; name: string; icon: IconName; key: string }[] }) {
  const [query, setQuery] = useState("");
  const [chosen, setChosen] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  const read = useTasks(query);
  const things = useThings(query.trim() !== "");
  const close = () => { paletteOpen.value = false; };
  const commands = useMemo(() => {
    const all: Command[] = [
      ...shortcuts().filter((one) => one.group === "This task" || one.group === "Selection").map((one) => ({ id: `do ${one.what}`, name: one.what, icon: "bolt" as const, ...(one.keys ? { hint: keyWords(one.keys) } : {}), run: one.run })),
      { id: "new", name: "New task", icon: "plus", hint: "n", run: () => navigate("/new") },
      ...places.map((place) => ({ id: place.path, name: `Go to ${place.name}`, icon: place.icon, hint: `g ${place.key}`, run: () => navigate(place.path) })),
      ...filters.value.map((one) => ({ id: `filter ${one.name}`, name: `Tasks: ${one.name}`, icon: "search" as const, run: () => navigate(`/tasks?${one.query}`) })),
      { id: "theme", name: "Switch between dark and light", icon: "sun", hint: "T", run: nextTheme },
      { id: "help", name: "Keyboard shortcuts", icon: "help", hint: "?", run: () => { helpOpen.value = true; } },
    ];
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (text: string) => words.every((word) => text.toLowerCase().includes(word));
    const found = all.filter((one) => fits(one.name));
    const byId = new Map([...read, ...taskList.value.tasks].map((task) => [task.id, task]));
    const known = [...byId.values()].sort((one, other) => (one.id < other.id ? 1 : -1));
    const kinds = new Map<string, number>();
    const others = things.filter((one) => {
      if (!fits(`${one.name} ${one.kind}`)) return false;
      const count = (kinds.get(one.kind ?? "") ?? 0) + 1;
      kinds.set(one.kind ?? "", count);
      return count <= FOUND;
    });
    const tasks: Command[] = known.filter((task) => fits(`${task.goal} ${task.id}`)).slice(0, TASKS_SHOWN).map((task) => ({
      id: task.id, name: task.goal, icon: "tasks", task, run: () => navigate(`/tasks/${task.id}`),
    }));
    const create: Command[] = query.trim().length > 3 ? [{ id: "create", name: `New task: ${query.trim()}`, icon: "plus", run: () => navigate(`/new?goal=${encodeURIComponent(query.trim())}`) }] : [];
    return words.length > 0 ? [...found, ...tasks, ...others, ...create] : [...found, ...tasks.slice(0, 4)];
  }, [query, taskList.value, read, things.length]);
  const at = Math.min(chosen, commands.length - 1);
  const run = (command: Command | undefined) => { if (!command) return; close(); setTimeout(() => command.run()); };
  const keys = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) {
      event.preventDefault();
      const next = (at + step + commands.length) % Math.max(commands.length, 1);
      setChosen(next);
      list.current?.children[next]?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") { event.preventDefault(); run(commands[at]); }
  };
  return (
    <Dialog title="Command palette" close={close} bare>
      <div class="palette">
        <label class="palette-input"><Icon name="search" /><span class="sr-only">Search or do</span>
          <input autoFocus role="combobox" aria-expanded="true" aria-controls="palette-list" aria-activedescendant={commands[at] ? `palette-${at}` : undefined} placeholder="Search tasks, go somewhere, do something"
            value={query} onInput={(event) => { setQuery(event.currentTarget.value); setChosen(0); }} onKeyDown={keys} />
        </label>
        <div id="palette-list" class="palette-list" role="listbox" aria-label="Commands" ref={list}>
          {commands.map((command, number) => (
            <div key={command.id} id={`palette-${number}`} role="option" aria-selected={number === at} class="palette-item" onMouseMove={() => setChosen(number)} onClick={() => run(command)}>
              <Icon name={command.icon} size={14} /><span class="palette-name">{command.name}</span>
              {command.task && <Badge status={command.task.status} />}
              {command.kind && <span class="tag">{command.kind}</span>}
              {command.hint && <kbd>{command.hint}</kbd>}
            </div>
          ))}
          {commands.length === 0 && <p class="faint pad">Nothing fits.</p>}
        </div>
      </div>
    </Dialog>
  );
}

const keyNames: Record<string, string> = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc", "Mod+enter": "Ctrl Enter" };

/** Keys as they stand on a keyboard. */
function keyWords(keys: string): string {
  return keyNames[keys] ?? keys.replace(/^Mod\+(.)$/, (_, key: string) => `Ctrl ${key.toUpperCase()}`);
}

export function Help() {
  const groups = new Map<string, { keys: string[]; what: string }[]>();
  for (const one of shortcuts()) {
    if (one.keys === "") continue;
    const group = groups.get(one.group) ?? [];
    groups.set(one.group, group);
    // What two keys do stands in one line.
    const same = group.find((other) => other.what === one.what);
    if (same) same.keys.push(one.keys);
    else group.push({ keys: [one.keys], what: one.what });
  }
  return (
    <Dialog title="Keyboard shortcuts" close={() => { helpOpen.value = false; }} wide>
      <div class="help">
        {[...groups].map(([group, list]) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>{list.map((one) => (
              <div key={one.what}><dt>{one.what}</dt><dd>{one.keys.map((keys, at) => <>{at > 0 && <span class="faint">or</span>}{keys.split(" ").map((key) => <kbd key={key}>{keyWords(key)}</kbd>)}</>)}</dd></div>
            ))}</dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}

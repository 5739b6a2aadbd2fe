/** The command palette, and the list of shortcuts. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { TaskSummary } from "../api/types";
import { navigate } from "../router";
import { filters } from "../state/filters";
import { shortcuts } from "../state/keys";
import { helpOpen, nextTheme, paletteOpen } from "../state/session";
import { taskList, watchTasks } from "../state/tasks";
import { Badge, Dialog } from "./basics";
import { Icon, type IconName } from "./icons";

interface Command { id: string; name: string; icon: IconName; hint?: string; task?: TaskSummary; run(): void }

const TASKS_SHOWN = 8;

export function Palette({ places }: { places: { path: string; name: string; icon: IconName; key: string }[] }) {
  const [query, setQuery] = useState("");
  const [chosen, setChosen] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  useEffect(watchTasks, []);
  const close = () => { paletteOpen.value = false; };
  const commands = useMemo(() => {
    const all: Command[] = [
      ...shortcuts().filter((one) => one.group === "This task" || one.group === "Selection").map((one) => ({ id: one.what, name: one.what, icon: "bolt" as const, hint: one.keys, run: one.run })),
      { id: "new", name: "New task", icon: "plus", hint: "n", run: () => navigate("/new") },
      ...places.map((place) => ({ id: place.path, name: `Go to ${place.name}`, icon: place.icon, hint: `g ${place.key}`, run: () => navigate(place.path) })),
      ...filters.value.map((one) => ({ id: `filter ${one.name}`, name: `Tasks: ${one.name}`, icon: "search" as const, run: () => navigate(`/tasks?${one.query}`) })),
      { id: "theme", name: "Switch between dark and light", icon: "sun", hint: "T", run: nextTheme },
      { id: "help", name: "Keyboard shortcuts", icon: "help", hint: "?", run: () => { helpOpen.value = true; } },
    ];
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (text: string) => words.every((word) => text.toLowerCase().includes(word));
    const found = all.filter((one) => fits(one.name));
    const tasks: Command[] = taskList.value.tasks.filter((task) => fits(`${task.goal} ${task.id}`)).slice(0, TASKS_SHOWN).map((task) => ({
      id: task.id, name: task.goal, icon: "tasks", task, run: () => navigate(`/tasks/${task.id}`),
    }));
    const create: Command[] = query.trim().length > 3 ? [{ id: "create", name: `New task: ${query.trim()}`, icon: "plus", run: () => navigate(`/new?goal=${encodeURIComponent(query.trim())}`) }] : [];
    return words.length > 0 ? [...found, ...tasks, ...create] : [...found, ...tasks.slice(0, 4)];
  }, [query, taskList.value]);
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
              {command.hint && <kbd>{command.hint}</kbd>}
            </div>
          ))}
          {commands.length === 0 && <p class="faint pad">Nothing fits.</p>}
        </div>
      </div>
    </Dialog>
  );
}

export function Help() {
  const groups = new Map<string, { keys: string; what: string }[]>();
  for (const one of shortcuts()) groups.set(one.group, [...(groups.get(one.group) ?? []), one]);
  return (
    <Dialog title="Keyboard shortcuts" close={() => { helpOpen.value = false; }} wide>
      <div class="help">
        {[...groups].map(([group, list]) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>{list.map((one) => (
              <div key={one.keys + one.what}><dt>{one.what}</dt><dd>{one.keys.split(" ").map((key) => <kbd key={key}>{key.replace("Mod+k", "Ctrl K").replace("Mod+", "Ctrl ")}</kbd>)}</dd></div>
            ))}</dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}

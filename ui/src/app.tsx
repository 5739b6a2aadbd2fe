/** The frame around every screen: navigation, banners, palette, and which screen an address shows. */
import { listModels, listRequests } from "#api";
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ask, comebacks, connection, hasKey, locked, message, setKey } from "./api/client";
import { useResource } from "./api/resource";
import { Button, Empty, Field } from "./components/basics";
import { Icon, type IconName } from "./components/icons";
import { Help, Palette } from "./components/palette";
import { address, match, navigate } from "./router";
import { AnalyticsScreen } from "./screens/analytics";
import { ChatScreen } from "./screens/chat";
import { CompareScreen } from "./screens/compare";
import { InboxScreen } from "./screens/inbox";
import { NewTaskScreen } from "./screens/new-task";
import { OverviewScreen } from "./screens/overview";
import { SchedulesScreen } from "./screens/schedules";
import { SettingsScreen } from "./screens/settings";
import { TaskScreen } from "./screens/task/task";
import { TasksScreen } from "./screens/tasks";
import { TemplatesScreen } from "./screens/templates";
import { ToolsScreen } from "./screens/tools";
import { WorkersScreen } from "./screens/workers";
import { useShortcuts } from "./state/keys";
import { dismiss, helpOpen, isDark, menuOpen, nextTheme, notices, paletteOpen } from "./state/session";

const places: { path: string; name: string; icon: IconName; key: string }[] = [
  { path: "/", name: "Overview", icon: "overview", key: "o" },
  { path: "/tasks", name: "Tasks", icon: "tasks", key: "t" },
  { path: "/inbox", name: "Inbox", icon: "inbox", key: "i" },
  { path: "/chat", name: "Chat", icon: "chat", key: "c" },
  { path: "/templates", name: "Templates", icon: "template", key: "m" },
  { path: "/schedules", name: "Schedules", icon: "calendar", key: "d" },
  { path: "/analytics", name: "Analytics", icon: "analytics", key: "a" },
  { path: "/workers", name: "Queues & workers", icon: "workers", key: "w" },
  { path: "/tools", name: "Tools", icon: "tools", key: "l" },
  { path: "/settings", name: "Settings", icon: "settings", key: "s" },
];

function screen(path: string): VNode {
  if (path === "/") return <OverviewScreen />;
  if (path === "/tasks") return <TasksScreen />;
  if (path === "/new") return <NewTaskScreen />;
  if (path === "/inbox") return <InboxScreen />;
  if (path === "/templates") return <TemplatesScreen />;
  if (path === "/schedules") return <SchedulesScreen />;
  if (path === "/analytics") return <AnalyticsScreen />;
  if (path === "/workers") return <WorkersScreen />;
  if (path === "/tools") return <ToolsScreen />;
  if (path === "/settings") return <SettingsScreen />;
  const compared = match("/tasks/:id/compare/:other", path);
  if (compared?.id && compared.other) return <CompareScreen id={compared.id} other={compared.other} />;
  const task = match("/tasks/:id", path) ?? match("/tasks/:id/:tab", path);
  if (task?.id) return <TaskScreen key={task.id} id={task.id} tab={task.tab ?? null} />;
  if (path === "/chat") return <ChatScreen thread={null} />;
  const chat = match("/chat/:thread", path);
  if (chat?.thread) return <ChatScreen thread={chat.thread} />;
  return <Empty icon="search" title="No such page" action={<a class="button is-plain" href="/">To the overview</a>}><p>The address does not belong to anything here.</p></Empty>;
}

export function App() {
  const path = address.value.path;
  useEffect(() => {
    menuOpen.value = false;
    const place = places.find((one) => one.path === path || (one.path !== "/" && path.startsWith(`${one.path}/`)));
    document.title = place ? `${place.name} · Longhaul` : path === "/new" ? "New task · Longhaul" : "Longhaul";
  }, [path]);
  useShortcuts([
    ...places.map((place) => ({ keys: `g ${place.key}`, what: place.name, group: "Go to", run: () => navigate(place.path) })),
    { keys: "n", what: "New task", group: "Everywhere", run: () => navigate("/new") },
    { keys: "Mod+k", what: "Command palette", group: "Everywhere", run: () => { paletteOpen.value = !paletteOpen.value; } },
    { keys: "?", what: "This list", group: "Everywhere", run: () => { helpOpen.value = true; } },
    { keys: "T", what: "Dark or light", group: "Everywhere", run: nextTheme },
  ]);
  if (locked.value !== null) return <Lock />;
  return (
    <div class={`app${menuOpen.value ? " is-menu-open" : ""}`}>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>To the content</a>
      <Sidebar path={path} />
      <div class="stage">
        {connection.value === "offline" && <div class="banner" role="alert"><Icon name="alert" size={14} /> The server cannot be reached. What you see is from before; it goes on by itself.</div>}
        <header class="phone-bar">
          <Button kind="ghost" icon="menu" aria-label="Menu" aria-expanded={menuOpen.value} onClick={() => { menuOpen.value = !menuOpen.value; }} />
          <a href="/" class="brand"><Mark /> Longhaul</a>
          <Button kind="ghost" icon="search" aria-label="Search" onClick={() => { paletteOpen.value = true; }} />
        </header>
        <main id="main" tabIndex={-1}>{screen(path)}</main>
      </div>
      {menuOpen.value && <button type="button" class="veil" aria-label="Close the menu" onClick={() => { menuOpen.value = false; }} />}
      {paletteOpen.value && <Palette places={places} />}
      {helpOpen.value && <Help />}
      <div class="notices" aria-live="polite">
        {notices.value.map((notice) => (
          <div key={notice.id} class={`notice${notice.bad ? " is-bad" : ""}`}>
            <Icon name={notice.bad ? "alert" : "check"} size={14} /><span>{notice.text}</span>
            <Button kind="ghost" icon="cross" aria-label="Dismiss" onClick={() => dismiss(notice.id)} />
          </div>
        ))}
      </div>
    </div>
  );
}

function Mark() {
  return (
    <svg width="20" height="20" viewBox="0 0 32 32" aria-hidden="true" class="mark">
      <rect width="32" height="32" rx="8" /><path d="M9 8v13a3 3 0 0 0 3 3h11" /><circle cx="16" cy="10" r="2" /><circle cx="22" cy="15" r="2" opacity=".75" />
    </svg>
  );
}

function Sidebar({ path }: { path: string }) {
  const inbox = useResource(listRequests(), 3000);
  const waiting = inbox.data?.requests.length ?? 0;
  return (
    <aside class="sidebar">
      <a href="/" class="brand"><Mark /> Longhaul</a>
      <button type="button" class="search-button" onClick={() => { paletteOpen.value = true; }}>
        <Icon name="search" size={14} /><span>Search or do</span><kbd>{/Mac|iPhone/.test(navigator.platform) ? "⌘" : "Ctrl"} K</kbd>
      </button>
      <a class="button is-primary new-task" href="/new"><Icon name="plus" size={14} /><span>New task</span></a>
      <nav aria-label="Main">
        {places.map((place) => {
          const here = place.path === path || (place.path !== "/" && path.startsWith(`${place.path}/`));
          return (
            <a key={place.path} href={place.path} class="nav" aria-current={here ? "page" : undefined}>
              <Icon name={place.icon} /><span>{place.name}</span>
              {place.path === "/inbox" && waiting > 0 && <span class="nav-count" aria-label={`${waiting} waiting`}>{waiting}</span>}
            </a>
          );
        })}
      </nav>
      <footer class="sidebar-foot">
        <span class={`live is-${connection.value}`} title={connection.value === "online" ? "Connected" : "Not connected"}><i />{connection.value === "online" ? "Live" : "Offline"}</span>
        <Button kind="ghost" icon="help" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" onClick={() => { helpOpen.value = true; }} />
        <Button kind="ghost" icon={isDark.value ? "sun" : "moon"} aria-label={isDark.value ? "Light colours" : "Dark colours"} title="Dark or light (Shift+T)" onClick={nextTheme} />
      </footer>
    </aside>
  );
}

/** Asks for the key; it stays in this tab. */
function Lock() {
  const [key, put] = useState("");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const enter = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setKey(key.trim());
    try {
      await ask(listModels());
      locked.value = null;
      comebacks.value += 1;
    } catch (error) {
      setKey(null);
      setProblem(message(error) === "Invalid API key" ? "This is not the key of this server." : message(error));
    }
    setBusy(false);
  };
  useEffect(() => { if (hasKey() && locked.value) setProblem(locked.value); }, []);
  return (
    <main class="lock">
      <form onSubmit={enter}>
        <h1><Mark /> Longhaul</h1>
        <p>This server asks for its key (<code>CHAT_API_KEY</code>). It is kept in this tab and forgotten with it.</p>
        <Field label="Key"><input type="password" autocomplete="current-password" value={key} autoFocus onInput={(event) => put(event.currentTarget.value)} aria-invalid={problem !== ""} /></Field>
        {problem && <p class="problem" role="alert">{problem}</p>}
        <Button kind="primary" type="submit" busy={busy} disabled={key.trim() === ""}>Unlock</Button>
      </form>
    </main>
  );
}

/** Addresses: which page is shown, and what of it. */
import { signal } from "@preact/signals";

export interface Address { path: string; query: URLSearchParams }

function read(): Address {
  return { path: location.pathname.replace(/(.)\/+$/, "$1"), query: new URLSearchParams(location.search) };
}

export const address = signal<Address>(read());

/** How far each address was scrolled when it was left, for whoever comes back to it. */
const scrolled = new Map<string, number>();
let came: "back" | "anew" = "anew";

const here = () => location.pathname + location.search;
let shown = here();

/** Keeps how far a list of this address is scrolled; a list that is drawn anew after "Back" begins there. */
export function keepScroll(of: string, top: number): void { scrolled.set(`${shown} ${of}`, top); }
export function keptScroll(of: string): number { return came === "back" ? (scrolled.get(`${shown} ${of}`) ?? 0) : 0; }

export function navigate(to: string, replace = false): void {
  if (to === location.pathname + location.search) return;
  const main = document.getElementById("main");
  keepScroll("main", main?.scrollTop ?? 0);
  history[replace ? "replaceState" : "pushState"](null, "", to);
  const before = address.value.path;
  came = "anew";
  shown = here();
  address.value = read();
  if (!replace && address.value.path !== before) main?.scrollTo(0, 0);
}

/** What is typed or dragged: "Back" does not undo it letter by letter. */
const FLOWING = new Set(["q", "find", "time"]);
/** What is looked at one after the other: opening it is a step in the history, going on to the next is none. */
const LEAFED = new Set(["step", "seq", "attempt"]);

/** Changes values of the query; null takes one away. "Back" leads to before it. */
export function setQuery(values: Record<string, string | null>, replace?: boolean): void {
  const query = new URLSearchParams(location.search);
  const open = [...LEAFED].some((name) => query.has(name));
  const closes = query.has("new") && values.new === null;
  replace ??= closes || Object.entries(values).every(([name, value]) => (query.get(name) ?? "") === (value ?? "") || FLOWING.has(name) || (LEAFED.has(name) && open && Object.values(values).some(Boolean)));
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  navigate(location.pathname + (text ? `?${text}` : ""), replace);
}

export function startRouter(): void {
  addEventListener("popstate", () => {
    keepScroll("main", document.getElementById("main")?.scrollTop ?? 0);
    came = "back";
    shown = here();
    address.value = read();
    requestAnimationFrame(() => document.getElementById("main")?.scrollTo(0, keptScroll("main")));
  });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.("a[href]");
    if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.getAttribute("href")?.startsWith("#") || link.pathname.startsWith("/api/") || link.pathname === "/metrics" || link.pathname === "/openapi.json") return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}

/** The named parts of a path, or null if it has another shape: `match("/tasks/:id", path)`. */
export function match(shape: string, path: string): Record<string, string> | null {
  const wanted = shape.split("/");
  const given = path.split("/");
  if (given.length !== wanted.length) return null;
  const parts: Record<string, string> = {};
  for (const [at, want] of wanted.entries()) {
    const part = given[at] ?? "";
    if (want.startsWith(":")) {
      try { parts[want.slice(1)] = decodeURIComponent(part); } catch { return null; }
    } else if (want !== part) return null;
  }
  return parts;
}

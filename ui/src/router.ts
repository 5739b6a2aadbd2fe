/** Addresses: which page is shown, and what of it. */
import { signal } from "@preact/signals";

export interface Address { path: string; query: URLSearchParams }

function read(): Address {
  return { path: location.pathname.replace(/(.)\/+$/, "$1"), query: new URLSearchParams(location.search) };
}

export const address = signal<Address>(read());

export function navigate(to: string, replace = false): void {
  if (to === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  const before = address.value.path;
  address.value = read();
  if (!replace && address.value.path !== before) document.getElementById("main")?.scrollTo(0, 0);
}

/** Changes values of the query; null takes one away. */
export function setQuery(values: Record<string, string | null>, replace = true): void {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  navigate(location.pathname + (text ? `?${text}` : ""), replace);
}

export function startRouter(): void {
  addEventListener("popstate", () => { address.value = read(); });
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

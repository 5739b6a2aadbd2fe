/** What belongs to this browser: colours, the clock, notices, and which panels are open. */
import { computed, effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const THEME = "longhaul.theme";
const stored = localStorage.getItem(THEME);

export const theme = signal<Theme>(stored === "light" || stored === "dark" ? stored : "system");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(prefersDark.matches);
prefersDark.addEventListener("change", (event) => { systemDark.value = event.matches; });

/** Whether it is dark now, for charts: they do not follow style sheets by themselves. */
export const isDark = computed(() => theme.value === "dark" || (theme.value === "system" && systemDark.value));

effect(() => {
  document.documentElement.dataset.theme = isDark.value ? "dark" : "light";
  if (theme.value === "system") localStorage.removeItem(THEME);
  else localStorage.setItem(THEME, theme.value);
});

export function nextTheme(): void {
  theme.value = isDark.value ? "light" : "dark";
}

/** Now, four times a second while the page is seen. */
export const now = signal(Date.now());
setInterval(() => { if (!document.hidden) now.value = Date.now(); }, 250);

/** Now, to the second: for texts such as "3 s ago". */
export const nowSecond = computed(() => Math.floor(now.value / 1000) * 1000);

export interface Notice { id: number; text: string; bad: boolean }
export const notices = signal<Notice[]>([]);
let count = 0;

export function notify(text: string, bad = false): void {
  const id = (count += 1);
  notices.value = [...notices.value.slice(-3), { id, text, bad }];
  setTimeout(() => dismiss(id), bad ? 8000 : 4000);
}

export function dismiss(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

export const paletteOpen = signal(false);
export const helpOpen = signal(false);
export const menuOpen = signal(false);

/** A new id for a thread or a message. */
export function newId(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

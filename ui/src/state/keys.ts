/** Keyboard shortcuts: registered by whoever is on the screen, listed by `?`. */
import { useLayoutEffect } from "preact/hooks";

export interface Shortcut {
  /** Nothing for what has no key and is in the palette alone. */
  keys: string; what: string; group: string; run(): void;
  /** Whether it can be done now; if absent, it can. */
  can?: boolean;
}

const active = new Set<Shortcut[]>();
let pending = "";
let timer: ReturnType<typeof setTimeout> | undefined;

/** What can be done on the screen at this moment. */
export function shortcuts(): Shortcut[] { return [...active].flat().filter((one) => one.can !== false); }

/** Registers shortcuts while the component is there. Keys are written `g t`, `Shift+X`, `/`. */
export function useShortcuts(list: Shortcut[]): void {
  // At once after each drawing: the next key of a quick hand must meet what is on the screen.
  useLayoutEffect(() => {
    active.add(list);
    return () => { active.delete(list); };
  });
}

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) && !(target instanceof HTMLInputElement && target.type === "checkbox");
}

/** Whether a key belongs to the button or the link that the keyboard has been led to. */
function pressing(event: KeyboardEvent): boolean {
  return event.key === "Enter" && event.target instanceof Element && event.target.matches(":is(button, a, summary):focus-visible");
}

export function startKeys(modal: () => boolean): void {
  /** Where the keyboard was when it moved on by a shortcut: there `Enter` is meant for what was moved to. */
  let left: EventTarget | null = null;
  document.addEventListener("focusin", () => { left = null; });
  document.addEventListener("keydown", (event) => {
    const chord = (event.metaKey || event.ctrlKey) && !event.altKey;
    if (event.defaultPrevented || (typing(event.target) && !chord) || (modal() && !chord)) return;
    if (event.altKey || (pressing(event) && !chord && event.target !== left)) return;
    const key = chord ? `Mod+${event.key.toLowerCase()}` : event.key;
    const known = shortcuts();
    const wanted = pending && !chord ? `${pending} ${key}` : key;
    clearTimeout(timer);
    pending = "";
    const found = known.findLast((one) => one.keys === wanted) ?? known.findLast((one) => one.keys === key);
    if (found) {
      event.preventDefault();
      left = event.target;
      found.run();
      return;
    }
    if (!chord && known.some((one) => one.keys.startsWith(`${key} `))) {
      pending = key;
      timer = setTimeout(() => { pending = ""; }, 1200);
    }
  });
}

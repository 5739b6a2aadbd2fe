/** The small parts that every screen is made of. */
import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { ApiError, message } from "../api/client";
import type { Status, StepStatus } from "../api/types";
import { ago } from "../format";
import { notify, nowSecond } from "../state/session";
import { Icon, type IconName } from "./icons";

const shapes: Record<Status | StepStatus | "retrying" | "queued", { label: string; icon: IconName }> = {
  pending: { label: "Pending", icon: "clock" },
  queued: { label: "Queued", icon: "clock" },
  running: { label: "Running", icon: "dot" },
  paused: { label: "Paused", icon: "pause" },
  completed: { label: "Completed", icon: "check" },
  failed: { label: "Failed", icon: "cross" },
  cancelled: { label: "Cancelled", icon: "stop" },
  skipped: { label: "Skipped", icon: "chevron" },
  retrying: { label: "Retrying", icon: "retry" },
};

/** A state by colour, sign and word: never by colour alone. */
export function Badge({ status, label, small }: { status: keyof typeof shapes; label?: string; small?: boolean }) {
  const shape = shapes[status];
  return (
    <span class={`badge is-${status}${small ? " is-small" : ""}`} title={label ?? shape.label}>
      <span class="badge-sign"><Icon name={shape.icon} size={11} /></span>
      {small ? <span class="sr-only">{label ?? shape.label}</span> : (label ?? shape.label)}
    </span>
  );
}

export function Button({ icon, children, kind = "plain", busy, ...rest }: { icon?: IconName; kind?: "plain" | "primary" | "danger" | "ghost"; busy?: boolean; children?: ComponentChildren } & Omit<JSX.IntrinsicElements["button"], "icon">) {
  return (
    <button type="button" {...rest} class={`button is-${kind}${rest.class ? ` ${String(rest.class)}` : ""}`} disabled={busy || rest.disabled} aria-busy={busy}>
      {icon && <Icon name={icon} size={14} />}
      {children !== undefined && <span>{children}</span>}
    </button>
  );
}

/** A time as people say it, with the exact one behind it. */
export function Ago({ at }: { at: string | number }) {
  const exact = typeof at === "string" ? at : new Date(at).toISOString();
  return <time dateTime={exact} title={exact}>{ago(at, nowSecond.value)}</time>;
}

export function Progress({ value, status }: { value: number; status?: Status }) {
  return (
    <span class={`progress${status ? ` is-${status}` : ""}`} role="progressbar" aria-valuenow={Math.round(value)} aria-valuemin={0} aria-valuemax={100} aria-label="Progress">
      <span style={{ width: `${Math.min(100, Math.max(0, value))}%` }} />
    </span>
  );
}

export function Empty({ icon, title, children, action }: { icon: IconName; title: string; children?: ComponentChildren; action?: ComponentChildren }) {
  return (
    <div class="empty">
      <span class="empty-icon"><Icon name={icon} size={22} /></span>
      <h2>{title}</h2>
      {children && <div class="empty-text">{children}</div>}
      {action}
    </div>
  );
}

export function Failure({ error, retry, way }: { error: unknown; retry?: () => void; way?: ComponentChildren }) {
  const status = error instanceof ApiError ? error.status : 0;
  if (status === 401) return null;
  const title = status === 404 ? "There is nothing here" : status === 403 ? "This belongs to somebody else" : status === 0 ? "The server cannot be reached" : "That did not work";
  return (
    <div class="empty" role="alert">
      <span class="empty-icon is-bad"><Icon name="alert" size={22} /></span>
      <h2>{title}</h2>
      <p class="empty-text">{message(error)}</p>
      {retry && <Button icon="retry" onClick={retry}>Try again</Button>}
      {way}
    </div>
  );
}

export function Loading({ rows = 6 }: { rows?: number }) {
  return <div class="skeleton" role="status" aria-label="Loading">{Array.from({ length: rows }, (_, row) => <span key={row} class={`skeleton-row w${row % 3}`} />)}</div>;
}

export async function copy(text: string, what = "Copied"): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    notify(what);
  } catch {
    notify("The browser does not let this page copy.", true);
  }
}

export function CopyButton({ text, label = "Copy" }: { text: string | (() => string); label?: string }) {
  return <Button kind="ghost" icon="copy" title={label} aria-label={label} onClick={() => void copy(typeof text === "string" ? text : text())} />;
}

/** A panel of its own above the page. Escape and a click beside it close it. */
export function Dialog({ title, close, children, wide, bare }: { title: string; close: () => void; children: ComponentChildren; wide?: boolean; bare?: boolean }) {
  const dialog = useRef<HTMLDialogElement>(null);
  // Before the next key: what a quick hand types belongs into the dialog.
  useLayoutEffect(() => {
    const element = dialog.current;
    if (!element) return;
    const before = document.activeElement;
    element.showModal();
    // Somebody who opens a dialog wants to use it, not to close it: the first field, or the text to be scrolled.
    const first = [...element.querySelectorAll<HTMLElement>("input, textarea, select")].find((one) => one.autofocus) ?? element.querySelector<HTMLElement>(".dialog-inside :is(input, textarea, select)") ?? element.querySelector<HTMLElement>(".dialog-foot button") ?? element;
    first.focus();
    return () => { element.close(); if (before instanceof HTMLElement) before.focus(); };
  }, []);
  return (
    <dialog ref={dialog} tabIndex={-1} class={`dialog${wide ? " is-wide" : ""}${bare ? " is-bare" : ""}`} aria-label={title}
      onCancel={(event) => { event.preventDefault(); close(); }}
      onClick={(event) => { if (event.target === dialog.current) close(); }}>
      <div class="dialog-inside">
        {!bare && <header class="dialog-head"><h2>{title}</h2><Button kind="ghost" icon="cross" aria-label="Close" onClick={close} /></header>}
        {children}
      </div>
    </dialog>
  );
}

/** Tabs whose names stand in the address: they are links. */
export function Tabs({ tabs, current, label }: { tabs: { id: string; name: string; href: string; count?: number }[]; current: string; label: string }) {
  const bar = useRef<HTMLElement>(null);
  // Where there is no room for all of them, the current one is among those that are seen.
  useLayoutEffect(() => {
    const tab = bar.current?.querySelector<HTMLElement>("[aria-current]");
    if (bar.current && tab) bar.current.scrollLeft = tab.offsetLeft - (bar.current.clientWidth - tab.offsetWidth) / 2;
  }, [current, label]);
  return (
    <nav class="tabs" aria-label={label} ref={bar}>
      {tabs.map((tab) => (
        <a key={tab.id} href={tab.href} class="tab" aria-current={tab.id === current ? "page" : undefined}>
          {tab.name}{tab.count !== undefined && tab.count > 0 && <span class="tab-count">{tab.count}</span>}
        </a>
      ))}
    </nav>
  );
}

export function Chip({ on, onClick, children, label }: { on: boolean; onClick: () => void; children: ComponentChildren; label?: string }) {
  return <button type="button" class="chip" aria-pressed={on} aria-label={label} onClick={onClick}>{children}</button>;
}

/** One of a few, all of which are seen; among them the arrow keys move. */
export function Choice<T extends string>({ label, options, value, choose, off, class: shape = "segmented", item }: { label: string; options: readonly (readonly [T, ComponentChildren])[]; value: T; choose: (value: T) => void; off?: (value: T) => boolean; class?: string; item?: string }) {
  const at = options.findIndex(([one]) => one === value);
  const keys = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : event.key === "ArrowLeft" || event.key === "ArrowUp" ? -1 : 0;
    const buttons = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>("[role=radio]")];
    const place = (buttons.findIndex((one) => one === document.activeElement) + step + options.length) % options.length;
    const next = options[place]?.[0];
    if (step === 0 || next === undefined || off?.(next)) return;
    event.preventDefault();
    event.stopPropagation();
    choose(next);
    buttons[place]?.focus();
  };
  return (
    <div class={shape} role="radiogroup" aria-label={label} onKeyDown={keys}>
      {options.map(([one, words], index) => <button key={one} type="button" class={item} role="radio" aria-checked={one === value} tabIndex={index === Math.max(at, 0) ? 0 : -1} disabled={off?.(one) ?? false} onClick={() => choose(one)}>{words}</button>)}
    </div>
  );
}

export function Field({ label, hint, children }: { label: string; hint?: ComponentChildren; children: ComponentChildren }) {
  return <label class="field"><span class="field-label">{label}</span>{children}{hint && <span class="field-hint">{hint}</span>}</label>;
}

export function Fact({ name, children, title }: { name: string; children: ComponentChildren; title?: string }) {
  return <div class="fact" title={title}><dt>{name}</dt><dd>{children}</dd></div>;
}

/** Runs an action once at a time and says so if it fails. */
export function useAction(): [boolean, (act: () => Promise<unknown>) => Promise<boolean>] {
  const [busy, setBusy] = useState(false);
  const run = async (act: () => Promise<unknown>) => {
    setBusy(true);
    try { await act(); return true; } catch (error) { notify(message(error), true); return false; } finally { setBusy(false); }
  };
  return [busy, run];
}

/** A long list of which only the rows on the screen exist. */
import { Component, type FunctionComponent, type VNode } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { keepScroll, keptScroll } from "../router";

/** A row that is drawn anew only if something of it has changed: a list that scrolls redraws the rows that it keeps. */
export function steady<P extends object>(Row: FunctionComponent<P>) {
  return class Steady extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      return (Object.keys(next) as (keyof P)[]).some((name) => name !== "children" && next[name] !== this.props[name]);
    }
    override render() { return <Row {...(this.props as P)} />; }
  };
}

const MARGIN = 8;
/** So many rows before the last one there should be more. */
const AHEAD = 60;

export interface VirtualProps {
  count: number; rowHeight: number; row(index: number): VNode; label: string; role?: "grid" | "list" | "none";
  /** This row is kept in sight. */
  active?: number; class?: string; follow?: boolean; columns?: number; head?: VNode;
  /** Called when the rows are about to run out. */
  more?(): void;
}

export function Virtual({ count, rowHeight, row, label, role = "list", active, class: name = "", follow, columns, head, more }: VirtualProps) {
  const box = useRef<HTMLDivElement>(null);
  const [height, setHeight] = useState(600);
  const [first, setFirst] = useState(0);
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const measure = () => setHeight(element.clientHeight || 600);
    measure();
    element.scrollTop = keptScroll(label);
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const scrolled = () => {
    const element = box.current;
    if (!element) return;
    keepScroll(label, element.scrollTop);
    atEnd.current = element.scrollTop + element.clientHeight >= element.scrollHeight - rowHeight * 2;
    // Rows are drawn anew only when the screen is about to run out of them.
    const next = Math.floor(element.scrollTop / rowHeight / 4) * 4;
    if (next !== first) setFirst(next);
  };
  useEffect(() => {
    const element = box.current;
    if (!element || active === undefined || active < 0) return;
    const headHeight = head ? rowHeight : 0;
    const top = active * rowHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + rowHeight + headHeight > element.scrollTop + element.clientHeight) element.scrollTop = top + rowHeight + headHeight - element.clientHeight;
  }, [active, rowHeight]);
  useLayoutEffect(() => {
    if (follow && atEnd.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [count, follow]);
  const from = Math.max(0, Math.min(first - MARGIN, count));
  const to = Math.min(count, first + Math.ceil(height / rowHeight) + MARGIN + 4);
  useEffect(() => { if (to + AHEAD >= count) more?.(); }, [to, count]);
  const rows = [];
  for (let index = from; index < to; index += 1) rows.push(row(index));
  const counts = role === "grid" ? { "aria-rowcount": count + 1, "aria-colcount": columns } : {};
  return (
    <div ref={box} class={`virtual ${name}`} onScroll={scrolled} role={role === "none" ? undefined : role} aria-label={label} tabIndex={0} {...counts}>
      {head}
      <div class="virtual-space" role="presentation" style={{ height: `${count * rowHeight}px` }}>
        <div class="virtual-rows" role={role === "grid" ? "rowgroup" : "presentation"} style={{ transform: `translateY(${from * rowHeight}px)` }}>{rows}</div>
      </div>
    </div>
  );
}

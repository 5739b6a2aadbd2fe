/** A box that stays at its end while what is in it grows, unless somebody has scrolled up in it to read. */
import type { RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

/** So near the end is at the end: a line or two. */
const NEAR = 48;

/** The box, what is in it, and a way back to the end. */
export function useAtEnd(): { box: RefObject<HTMLDivElement | null>; inside: RefObject<HTMLDivElement | null>; toEnd(): void } {
  const box = useRef<HTMLDivElement>(null);
  const inside = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const toEnd = () => {
    atEnd.current = true;
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  };
  useLayoutEffect(() => {
    const [outer, inner] = [box.current, inside.current];
    if (!outer || !inner) return;
    let last = outer.scrollTop;
    const scrolled = () => {
      const isNear = outer.scrollTop + outer.clientHeight >= outer.scrollHeight - NEAR;
      // Far from the end without a way up, it has only grown meanwhile.
      if (isNear || outer.scrollTop < last) atEnd.current = isNear;
      last = outer.scrollTop;
    };
    const observer = new ResizeObserver(() => { if (atEnd.current) toEnd(); });
    observer.observe(outer);
    observer.observe(inner);
    outer.addEventListener("scroll", scrolled, { passive: true });
    return () => { observer.disconnect(); outer.removeEventListener("scroll", scrolled); };
  }, []);
  return { box, inside, toEnd };
}

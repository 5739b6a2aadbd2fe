/** Reads of the API as hooks: shown from memory at once, read again in the background. */
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, comebacks, connection } from "./client";
import type { Operation } from "./operation";

const known = new Map<string, unknown>();
/** Addresses with a time in them come up anew every minute: what was read long ago is forgotten. */
const KNOWN = 300;

function learn(path: string, answer: unknown): void {
  known.delete(path);
  known.set(path, answer);
  for (const oldest of known.keys()) { if (known.size <= KNOWN) return; known.delete(oldest); }
}

export interface Resource<T> { data: T | undefined; error: unknown; loading: boolean; reload(): void }

/**
 * What an operation answers that only reads; nothing for null. With `every`, read again so often while the page is
 * seen; and whenever `version` is another one.
 */
export function useResource<T>(operation: Operation<T> | null, every?: number, version?: unknown): Resource<T> {
  const [, redraw] = useState(0);
  const [error, setError] = useState<unknown>(null);
  const [round, setRound] = useState(0);
  const loading = useRef(false);
  const path = operation?.path ?? null;
  useEffect(() => {
    setError(null);
    if (operation === null || path === null) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      if (!document.hidden && connection.value === "online") {
        loading.current = true;
        try {
          learn(path, await ask(operation, stop.signal));
          setError(null);
        } catch (cause) {
          if (!stop.signal.aborted) setError(cause);
        }
        loading.current = false;
        if (!stop.signal.aborted) redraw((count) => count + 1);
      }
      if (every && !stop.signal.aborted) timer = setTimeout(read, every);
    };
    void read();
    const again = () => { if (!document.hidden && !loading.current) { clearTimeout(timer); void read(); } };
    document.addEventListener("visibilitychange", again);
    const before = comebacks.value;
    const unsubscribe = comebacks.subscribe((count) => { if (count > before) again(); });
    return () => { stop.abort(); clearTimeout(timer); document.removeEventListener("visibilitychange", again); unsubscribe(); };
  }, [path, every, round, version]);
  const data = path === null ? undefined : (known.get(path) as T | undefined);
  return { data, error, loading: data === undefined && !error, reload: () => setRound((count) => count + 1) };
}

/**
 * What was read last of the same `shape` stands in until there is an answer: a screen whose question moves on with
 * the time does not blink.
 */
export function useLatest<T>(read: Resource<T>, shape = ""): Resource<T> {
  const last = useRef<{ shape: string; data: T } | null>(null);
  if (read.data !== undefined) last.current = { shape, data: read.data };
  if (read.data !== undefined || last.current?.shape !== shape) return read;
  return { ...read, data: last.current.data, loading: false };
}

/** Forgets what was read, after a change that it may show. */
export function forget(about: Operation<unknown>): void {
  for (const path of known.keys()) if (path.startsWith(about.path)) known.delete(path);
}

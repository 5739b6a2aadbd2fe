/** Reads of the API as hooks: shown from memory at once, read again in the background. */
import { useEffect, useRef, useState } from "preact/hooks";
import { comebacks, connection, get } from "./client";

const known = new Map<string, unknown>();

export interface Resource<T> { data: T | undefined; error: unknown; loading: boolean; reload(): void }

/** What is at a path; nothing for null. With `every`, read again so often while the page is seen. */
export function useResource<T>(path: string | null, every?: number): Resource<T> {
  const [, redraw] = useState(0);
  const [error, setError] = useState<unknown>(null);
  const [round, setRound] = useState(0);
  const loading = useRef(false);
  useEffect(() => {
    setError(null);
    if (path === null) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      if (!document.hidden && connection.value === "online") {
        loading.current = true;
        try {
          known.set(path, await get<T>(path, stop.signal));
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
  }, [path, every, round]);
  const data = path === null ? undefined : (known.get(path) as T | undefined);
  return { data, error, loading: data === undefined && !error, reload: () => setRound((count) => count + 1) };
}

/** Forgets what was read, after a change that it may show. */
export function forget(prefix: string): void {
  for (const path of known.keys()) if (path.startsWith(prefix)) known.delete(path);
}

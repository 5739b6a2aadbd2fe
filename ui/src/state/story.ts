/** The journal of a task as a story, live, and what its models say meanwhile. */
import { useEffect, useRef, useState } from "preact/hooks";
import { follow } from "../api/follow";
import { emptyStory, fold, type Story } from "./journal";
import { hear, type Said } from "./speech";

/** How often the page is drawn while entries pour in. */
const FRAME_MS = 60;

/** Follows the task with this id; nothing for null. */
export function useStory(id: string | null): { story: Story; version: number; ready: boolean; error: unknown } {
  const story = useRef<Story>(emptyStory());
  const [version, setVersion] = useState(0);
  const [ready, setReady] = useState(false);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    if (id === null) return;
    story.current = emptyStory();
    let timer: ReturnType<typeof setTimeout> | null = null;
    const draw = () => { timer ??= setTimeout(() => { timer = null; setVersion((count) => count + 1); }, FRAME_MS); };
    const stop = follow(id, {
      entries: (entries) => { fold(story.current, entries); draw(); },
      said: (extra) => { if (extra.event === "said" && hear(story.current, extra.data as Said)) draw(); },
      caughtUp: () => { setReady(true); setError(null); draw(); },
      failed: setError,
    });
    return () => { stop(); if (timer) clearTimeout(timer); };
  }, [id]);
  return { story: story.current, version, ready, error };
}

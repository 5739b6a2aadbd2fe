/** Follows the journal of a task: all of it, then whatever is added, across lost connections. */
import { followTask, listTraces } from "#api";
import { ApiError, ask, comebacks, lost, send } from "./client";
import { frames } from "./sse";
import type { Entry } from "./types";

const PAGE = 1000;

export interface Follower {
  /** New entries in order, each exactly once. */
  entries(entries: Entry[]): void;
  /** Words of a model while it speaks; they have no number and may be missed. */
  said?(extra: { event: string; data: unknown }): void;
  /** Everything up to now is there. */
  caughtUp(): void;
  failed(error: unknown): void;
}

/** Follows until it is stopped or the task has ended. */
export function follow(task: string, follower: Follower): () => void {
  const stop = new AbortController();
  let seq = 0;
  const take = (entries: Entry[]) => {
    const fresh = entries.filter((entry) => entry.seq > seq);
    const last = fresh.at(-1);
    if (!last) return;
    seq = last.seq;
    follower.entries(fresh);
  };
  const run = async () => {
    // The pages are read one after the other: behind each is known how far the journal goes.
    for (;;) {
      const page = await ask(listTraces(task, { after: seq, limit: PAGE }), stop.signal);
      take(page.traces);
      if (page.nextAfter === null) break;
    }
    follower.caughtUp();
    for (let tries = 0; !stop.signal.aborted; ) {
      const before = seq;
      try {
        const answer = await send(followTask(task, { after: seq }), { accept: "text/event-stream", signal: stop.signal });
        if (answer.status === 204 || !answer.body) return;
        for await (const group of frames(answer.body)) {
          take(group.filter((one) => one.id !== null).map((one) => JSON.parse(one.data) as Entry));
          for (const extra of group) if (extra.id === null) follower.said?.({ event: extra.event, data: safely(extra.data) });
        }
      } catch (error) {
        if (stop.signal.aborted) return;
        if (error instanceof ApiError && error.status >= 400 && error.status < 500) return follower.failed(error);
        lost();
      }
      tries = seq > before ? 0 : tries + 1;
      await pause(Math.min(250 * 2 ** tries, 4000), stop.signal);
    }
  };
  const begin = () => run().catch((error: unknown) => {
    if (stop.signal.aborted) return;
    follower.failed(error);
    // A server that was away when the page was opened may come back.
    const known = comebacks.value;
    const again = comebacks.subscribe((count) => { if (count > known) { queueMicrotask(() => again()); void begin(); } });
    stop.signal.addEventListener("abort", () => again());
  });
  void begin();
  return () => stop.abort();
}

function safely(text: string): unknown {
  try { return JSON.parse(text); } catch { return text; }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

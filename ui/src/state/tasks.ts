/**
 * The caller's tasks, so far as somebody looks at them: the newest ones of a filter, more as the list is scrolled, and what is
 * searched for. Kept fresh over a WebSocket, or by asking where none comes through.
 */
import { getTask, listTasks, type TaskList as Page } from "#api";
import { signal } from "@preact/signals";
import { ask, connection } from "../api/client";
import { watchStanding } from "../api/socket";
import type { TaskDetail, TaskSummary } from "../api/types";
import { isEnded } from "../api/types";

/** A first short page is on the screen before a long one would be read. */
const FIRST = 100;
const PAGE = 1000;
/** More rows than anybody scrolls through; older ones are found by words, or by their address. */
const MOST = 50_000;
const EVERY = 1500;
/** A task that left the list of live ones is asked for by name, but not a thousand at once. */
const LOOKED_UP = 40;
/** Somebody who types is waited for. */
const TYPING_MS = 150;
/** Longer words are not searched for. */
export const LONGEST_SEARCH = 200;

/** What of all tasks is wanted. */
export interface Wanted { status?: string; q?: string; threadId?: string; roots?: true }

/** Tasks behind `reach` of what is wanted have not been read; null if there are none, undefined if nothing was read yet. */
export interface TaskList { tasks: TaskSummary[]; reach: string | null | undefined; error: unknown; loaded: boolean }

export const taskList = signal<TaskList>({ tasks: [], reach: undefined, error: null, loaded: false });

const byId = new Map<string, TaskSummary>();
/** How often the list is drawn while changes pour in. */
const FRAME_MS = 120;
let drawing: ReturnType<typeof setTimeout> | null = null;
let users = 0;
let stop: AbortController | null = null;

function show(more: Partial<TaskList> = {}): void {
  const tasks = [...byId.values()].sort((one, other) => (one.id < other.id ? 1 : -1));
  taskList.value = { ...taskList.value, ...more, tasks, reach: reached()?.before, loaded: taskList.value.loaded || reached() !== undefined };
}

function showSoon(): void {
  drawing ??= setTimeout(() => { drawing = null; show(); }, FRAME_MS);
}

function merge(tasks: TaskSummary[]): boolean {
  let changed = false;
  for (const task of tasks) {
    const known = byId.get(task.id);
    if (known && known.seq > task.seq) continue;
    if (!known || known.seq !== task.seq || known.worker !== task.worker || known.wakeAt !== task.wakeAt || known.currentStep !== task.currentStep || known.status !== task.status) {
      byId.set(task.id, task);
      changed = true;
    }
  }
  return changed;
}

/** Puts the state of a task into the list that an action answered with. */
export function noteTask(task: TaskDetail): void {
  const known = byId.get(task.id);
  if (!known) return;
  byId.set(task.id, { ...known, status: task.status, pause: task.pause, priority: task.priority, seq: task.seq, updatedAt: task.updatedAt, completedAt: task.completedAt, completedSteps: task.completedSteps, totalSteps: task.totalSteps, usage: task.usage, fault: task.fault });
  show();
}

let wanted: Wanted = {};
/** Whether all of it is wanted, and not only its beginning: the order is another one. */
let wantsAll = false;
/** How far each filter was read. */
const reaches = new Map<string, { before: string | null; read: number }>();
const keyOf = (filter: Wanted) => JSON.stringify(filter);
const reached = () => reaches.get(keyOf(wanted));
let typing: ReturnType<typeof setTimeout> | undefined;
let reading: Promise<void> | null = null;

/** Says what of all tasks the list shows. */
export function wantTasks(filter: Wanted, all: boolean): void {
  wanted = filter;
  wantsAll = all;
  show();
  clearTimeout(typing);
  typing = setTimeout(() => { readEnough().catch((error: unknown) => show({ error })); }, TYPING_MS);
}

/** Reads the next page of what is wanted, if there is one. */
export function readOn(): Promise<void> {
  reading ??= readPage().finally(() => { reading = null; });
  return reading;
}

async function readPage(): Promise<void> {
  const [filter, known, watching] = [wanted, reached(), stop];
  if (!watching || known?.before === null) return;
  const page: Page = await ask(listTasks({ ...filter, limit: known ? PAGE : FIRST, ...(known ? { before: known.before } : {}) }), watching.signal);
  merge(page.tasks);
  if (!known && filter.q && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(filter.q)) await lookUp(filter.q, watching.signal);
  reaches.set(keyOf(filter), { before: page.nextBefore, read: (known?.read ?? 0) + page.tasks.length });
  show({ error: null });
}

/** So much of what is wanted that nobody who does not scroll misses any of it. */
async function readEnough(): Promise<void> {
  for (;;) {
    const known = reached();
    if (!stop || known?.before === null || (known && known.read >= (wantsAll ? MOST : PAGE))) return;
    await readOn();
  }
}

/** Asks for a task by its name. */
async function lookUp(id: string, signal: AbortSignal): Promise<boolean> {
  const detail = await ask(getTask(id), signal).catch(() => null);
  if (!detail) return false;
  const parentId = detail.parent?.task;
  byId.set(id, { ...byId.get(id), ...detail, worker: null, wakeAt: null, currentStep: null, ...(parentId ? { parentId } : {}) });
  return true;
}

async function refresh(signal: AbortSignal): Promise<void> {
  const [newest, live] = await Promise.all([
    ask(listTasks({ limit: 50 }), signal),
    ask(listTasks({ status: "pending,running,paused", limit: PAGE }), signal),
  ]);
  let changed = merge(newest.tasks);
  changed = merge(live.tasks) || changed;
  const still = new Set(live.tasks.map((task) => task.id));
  const oldest = live.nextBefore;
  const gone = [...byId.values()].filter((task) => !isEnded(task.status) && !still.has(task.id) && (oldest === null || task.id > oldest));
  await Promise.all(gone.slice(0, LOOKED_UP).map(async (task) => { changed = (await lookUp(task.id, signal)) || changed; }));
  if (changed || taskList.value.error) show({ error: null });
}

/** Keeps the list fresh until the returned function is called by everybody who wanted it. */
export function watchTasks(): () => void {
  users += 1;
  if (!stop) {
    const controller = new AbortController();
    stop = controller;
    void keepFresh(controller.signal);
  }
  return () => {
    users -= 1;
    if (users > 0) return;
    stop?.abort();
    stop = null;
  };
}

async function keepFresh(signal: AbortSignal): Promise<void> {
  let live = false;
  let begun = false;
  // What came while nobody looked lies before all that was read.
  reaches.clear();
  const close = watchStanding({
    tasks: (tasks) => { if (merge(tasks)) showSoon(); },
    live: (is) => {
      live = is;
      // What ended while nobody told of it is looked up once.
      if (is && begun) refresh(signal).catch(() => undefined);
    },
  });
  signal.addEventListener("abort", close);
  while (!signal.aborted) {
    try {
      if (!document.hidden && connection.value === "online") {
        await readEnough();
        // Of what has not ended all is known, however old it is.
        if (!begun && reached()?.before) await refresh(signal);
        else if (begun && !live) await refresh(signal);
        else if (taskList.value.error) show({ error: null });
        begun = true;
      }
    } catch (error) {
      if (signal.aborted) return;
      show({ error });
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

/** The caller's tasks, all of them: read in pages, then kept fresh over a WebSocket, or by asking where none comes through. */
import { getTask, listTasks, type TaskList as Page } from "#api";
import { signal } from "@preact/signals";
import { ask, connection } from "../api/client";
import { watchStanding } from "../api/socket";
import type { TaskDetail, TaskSummary } from "../api/types";
import { isEnded } from "../api/types";

const PAGE = 1000;
/** More rows than anybody scrolls through; older ones are found by their address. */
const MOST = 50_000;
const EVERY = 1500;
/** A task that left the list of live ones is asked for by name, but not a thousand at once. */
const LOOKED_UP = 40;

export interface TaskList { tasks: TaskSummary[]; complete: boolean; error: unknown; loaded: boolean }

export const taskList = signal<TaskList>({ tasks: [], complete: false, error: null, loaded: false });

const byId = new Map<string, TaskSummary>();
/** How often the list is drawn while changes pour in. */
const FRAME_MS = 120;
let drawing: ReturnType<typeof setTimeout> | null = null;
let users = 0;
let stop: AbortController | null = null;

function show(more: Partial<TaskList> = {}): void {
  const tasks = [...byId.values()].sort((one, other) => (one.id < other.id ? 1 : -1));
  taskList.value = { ...taskList.value, ...more, tasks, loaded: true };
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

async function readAll(signal: AbortSignal): Promise<void> {
  let before: string | null = null;
  let size = 100;
  do {
    const page: Page = await ask(listTasks(before === null ? { limit: size } : { limit: size, before }), signal);
    merge(page.tasks);
    before = page.nextBefore;
    // A first short page is on the screen before a long one would be read.
    size = PAGE;
    show({ complete: before === null, error: null });
  } while (before !== null && byId.size < MOST);
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
  await Promise.all(gone.slice(0, LOOKED_UP).map(async (task) => {
    const detail = await ask(getTask(task.id), signal).catch(() => null);
    if (detail) { byId.set(task.id, { ...task, ...detail, worker: null, wakeAt: null, currentStep: null }); changed = true; }
  }));
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
  let complete = false;
  const close = watchStanding({
    tasks: (tasks) => { if (merge(tasks)) showSoon(); },
    live: (is) => {
      live = is;
      // What ended while nobody told of it is looked up once.
      if (is && complete) refresh(signal).catch(() => undefined);
    },
  });
  signal.addEventListener("abort", close);
  while (!signal.aborted) {
    try {
      if (!document.hidden && connection.value === "online") {
        if (!complete) { await readAll(signal); complete = true; }
        else if (!live) await refresh(signal);
        else if (taskList.value.error) show({ error: null });
      }
    } catch (error) {
      if (signal.aborted) return;
      show({ error });
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

/** How all tasks stand, over one WebSocket, across lost connections. */
import { followTasksSocket } from "#api";
import { connection, keyOfTab, lost } from "./client";
import type { TaskSummary } from "./types";

export interface Standing {
  /** How tasks stand, some or all that are looked at. */
  tasks(tasks: TaskSummary[]): void;
  /** Whether changes are told from now on. */
  live(is: boolean): void;
}

const FIRST = 500;
const LONGEST = 15_000;

/** Tells how tasks stand until it is stopped. */
export function watchStanding(standing: Standing): () => void {
  let socket: WebSocket | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let pause = FIRST;
  let stopped = false;
  const open = () => {
    if (stopped) return;
    if (document.hidden || connection.value === "offline") { timer = setTimeout(open, FIRST); return; }
    const one = new WebSocket(`${location.origin.replace(/^http/, "ws")}${followTasksSocket().path}`, protocols());
    let opened = false;
    socket = one;
    one.onopen = () => { opened = true; pause = FIRST; one.send(JSON.stringify({ command: "subscribe-tasks" })); };
    one.onmessage = (event) => {
      const frame = JSON.parse(String(event.data)) as { control?: string; tasks?: TaskSummary[]; task?: TaskSummary };
      if (frame.control === "tasks" && frame.tasks) { standing.tasks(frame.tasks); standing.live(true); }
      else if (frame.control === "task" && frame.task) standing.tasks([frame.task]);
    };
    one.onclose = () => {
      standing.live(false);
      if (stopped) return;
      // A proxy may let no WebSocket through: then the list is asked for, and nobody is told of a lost server.
      if (opened) lost();
      timer = setTimeout(open, pause);
      pause = Math.min(pause * 2, LONGEST);
    };
  };
  open();
  return () => { stopped = true; clearTimeout(timer); socket?.close(); };
}

/** A browser cannot send a header with a WebSocket: the key goes among the names of protocols. */
function protocols(): string[] {
  const key = keyOfTab();
  if (key === null) return ["longhaul"];
  const digits = Array.from(new TextEncoder().encode(key), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return ["longhaul", `bearer.${digits}`];
}

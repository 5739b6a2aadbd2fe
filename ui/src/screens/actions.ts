/** What can be done with tasks, and what it leaves to read again. */
import { cancelTask, getTask, pauseTask, resumeTask, retryTask } from "#api";
import { forget } from "../api/resource";
import { ask } from "../api/client";
import type { Operation } from "../api/operation";
import type { TaskDetail, TaskSummary } from "../api/types";
import { canBeResumed } from "../state/pause";
import { noteTask } from "../state/tasks";

const actions = { pause: pauseTask, resume: resumeTask, cancel: cancelTask, retry: retryTask };

export type Action = keyof typeof actions;

export async function act(id: string, action: Action): Promise<TaskDetail> {
  const task = await ask(actions[action](id));
  noteTask(task);
  forget(getTask(id));
  return task;
}

/** The same for many, a few at a time; how many it worked for, and the first reason why not. */
export async function actOnAll(ids: string[], action: Action): Promise<{ done: number; failed: number; reason: string }> {
  const rest = [...ids];
  let [done, failed, reason] = [0, 0, ""];
  const one = async () => {
    for (let id = rest.shift(); id !== undefined; id = rest.shift()) {
      try { await act(id, action); done += 1; } catch (error) { failed += 1; reason ||= error instanceof Error ? error.message : String(error); }
    }
  };
  await Promise.all(Array.from({ length: 6 }, one));
  return { done, failed, reason };
}

/** A shell word. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** An operation as a command. */
export function curl({ method, path, body }: Operation<unknown>): string {
  const key = " -H \"Authorization: Bearer $CHAT_API_KEY\"";
  const verb = method === (body === undefined ? "GET" : "POST") ? "" : ` -X ${method}`;
  const data = body === undefined ? "" : ` -H 'content-type: application/json' -d ${quoted(JSON.stringify(body))}`;
  return `curl${verb} ${quoted(location.origin + path)}${key}${data}`;
}

export const canRetry = (status: string) => status === "failed" || status === "cancelled";
export const canPause = (status: string) => status === "pending" || status === "running";
export const canResume = (status: string) => status === "paused";
/** Whether a word is enough for this task to go on. */
export const resumable = ({ status, pause }: Pick<TaskSummary, "status" | "pause">) => canResume(status) && canBeResumed(pause);
export const canCancel = (status: string) => canPause(status) || canResume(status);

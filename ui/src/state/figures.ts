/** Figures over a list of tasks. */
import type { TaskSummary } from "../api/types";
import { tokens } from "../format";

export interface Bucket { from: number; created: number; completed: number; failed: number; cancelled: number; tokens: number; cost: number; times: number[] }

/** Tasks by time: created where they were created, all else where they ended. */
export function buckets(tasks: TaskSummary[], from: number, to: number, count: number): Bucket[] {
  const size = (to - from) / count;
  const list = Array.from({ length: count }, (_, at): Bucket => ({ from: from + at * size, created: 0, completed: 0, failed: 0, cancelled: 0, tokens: 0, cost: 0, times: [] }));
  const at = (time: number) => (time < from || time > to ? undefined : list[Math.min(count - 1, Math.floor((time - from) / size))]);
  for (const task of tasks) {
    const created = at(Date.parse(task.createdAt));
    if (created) created.created += 1;
    if (!task.completedAt) continue;
    const ended = at(Date.parse(task.completedAt));
    if (!ended) continue;
    if (task.status === "completed" || task.status === "failed" || task.status === "cancelled") ended[task.status] += 1;
    ended.tokens += tokens(task.usage);
    ended.cost += task.usage.costUsd ?? 0;
    if (task.status === "completed") ended.times.push(Date.parse(task.completedAt) - Date.parse(task.createdAt));
  }
  return list;
}

/** The value below which this share of the values lies; null of nothing. */
export function quantile(values: number[], share: number): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? null;
}

export interface Totals { created: number; completed: number; failed: number; cancelled: number; tokens: number; cost: number; unpriced: number; times: number[]; success: number | null }

export function totals(tasks: TaskSummary[], from: number): Totals {
  const sum: Totals = { created: 0, completed: 0, failed: 0, cancelled: 0, tokens: 0, cost: 0, unpriced: 0, times: [], success: null };
  for (const task of tasks) {
    if (Date.parse(task.createdAt) >= from) sum.created += 1;
    if (!task.completedAt || Date.parse(task.completedAt) < from) continue;
    if (task.status === "completed" || task.status === "failed" || task.status === "cancelled") sum[task.status] += 1;
    sum.tokens += tokens(task.usage);
    sum.cost += task.usage.costUsd ?? 0;
    sum.unpriced += task.usage.unpricedCalls ?? 0;
    if (task.status === "completed") sum.times.push(Date.parse(task.completedAt) - Date.parse(task.createdAt));
  }
  const ended = sum.completed + sum.failed;
  sum.success = ended > 0 ? sum.completed / ended : null;
  return sum;
}

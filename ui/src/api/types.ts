/** What the API sends, by the names that the pages have for it. The types are made from docs/openapi.json. */
import type * as api from "#api";

export type {
  Budget, Detection, Effect, EffectRecord, Exceeded, Fault, Job, Limits, McpServer, Overlap, Pause, PauseReason, Payload, PlannedStep, Schedule, ScheduleDetail,
  ScheduleWish, Status, StepStatus, StepType, TaskSummary, Thread, ThreadMessage, TraceType, Usage, WorkerSummary,
} from "#api";
export type { ContextView, ForkTask, PlanDraft, Replay, TaskDiff, TemplateVersion, TemplateWish, ToolTrial } from "#api";
export type { FailureGroup, ModelList as Models, OpenRequest as InboxRequest, Overview, Percentiles, Step as StepDetail, Task as TaskDetail, TaskPoint, Tool as ToolInfo, UsageRow, DurationRow, WorkerReport as WorkerStatus } from "#api";

type Status = api.Status;

/** One line of a task's journal. What it holds depends on its kind, of which newer servers may know more. */
export type Entry = Pick<api.Entry, "seq" | "at" | "epoch" | "type" | "message" | "step"> & { kind: string; data: Record<string, unknown> };

/** A part of a message in the AI SDK's shape, which the server keeps as it is. */
export interface MessagePart { type: string; text?: string; data?: unknown; url?: string; filename?: string; mediaType?: string; [key: string]: unknown }

export function isLive(status: Status): boolean { return status === "pending" || status === "running"; }
export function isEnded(status: Status): boolean { return status === "completed" || status === "failed" || status === "cancelled"; }

export function isBlob(payload: unknown): payload is { blob: { hash: string; size: number; preview: string } } {
  return typeof payload === "object" && payload !== null && "blob" in payload;
}

/** The content itself; of a large one its beginning. */
export function content(payload: unknown): unknown {
  if (typeof payload !== "object" || payload === null) return payload;
  if ("inline" in payload) return payload.inline;
  if (isBlob(payload)) return payload.blob.preview;
  return payload;
}

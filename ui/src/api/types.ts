/** What the API sends, as docs/api.md has it. Times are ISO texts in UTC. */

export type Status = "pending" | "running" | "paused" | "completed" | "failed" | "cancelled";
export type StepStatus = "pending" | "running" | "completed" | "failed" | "skipped";
export type StepType = "llm-reasoning" | "tool-call" | "checkpoint" | "summarization";
export type TraceType = "tool-call" | "llm-request" | "llm-response" | "checkpoint" | "error" | "decision";
export type Effect = "read-only" | "idempotent" | "unsafe";
export type PauseReason =
  | "user" | "approval" | "input" | "unknown-outcome" | "budget" | "provider" | "tool-changed" | "poison" | "no-progress";

export interface Fault { class: string; code: string; message: string; retryAfterMs?: number }
export interface Pause { reason: PauseReason; detail: string }

/** Tokens as providers reported them. Cost is in US dollars. */
export interface Usage {
  inputTokens: number; outputTokens: number; cachedTokens: number; modelCalls: number; toolCalls: number;
  costUsd?: number; unpricedCalls?: number;
}

export interface TaskSummary {
  id: string; userId: string; threadId: string; goal: string; status: Status; priority: number;
  pause?: Pause | null; completedSteps: number; totalSteps: number; usage: Usage; fault?: Fault | null;
  seq: number; createdAt: string; updatedAt: string; completedAt: string | null; worker?: string | null;
  /** When it wants attention again, while nobody works on it. */
  wakeAt?: string | null;
}

export interface Limits { maxSteps: number; contextWindowLimit: number; [name: string]: number }

export interface Budget {
  tokens?: number | null; costUsd?: number | null; wallTimeMs?: number | null; modelCalls?: number | null;
  toolCalls?: number | null; steps?: number | null; softPercent?: number | null;
}

export interface TaskDetail {
  id: string; userId: string; threadId: string; goal: string; status: Status; priority: number;
  pause: Pause | null; fault: Fault | null; progress: number; completedSteps: number; totalSteps: number;
  revision: number; output: unknown; chatModel: string | null; agentId: string | null; limits: Limits;
  usage: Usage; budget?: { limits: Budget; used: Budget }; asking?: { open: number; expiresAt: string };
  effects?: EffectRecord[]; seq: number; epoch: number; createdAt: string; updatedAt: string; completedAt: string | null;
}

export interface EffectRecord {
  step: number; call: number; attempt: number; key: string; tool: string; arguments: unknown; effect: Effect;
  state: "prepared" | "dispatched" | "committed" | "failed" | "unknown"; at: string; result: unknown; detail?: string | null;
}

export interface StepDetail {
  index: number; id: string; description: string; type: StepType; status: StepStatus; revision: number;
  replaced: boolean; optional: boolean; dependsOn: number[]; tool: { name: string; arguments: unknown } | null;
  attempts: number; retryAt: string | null; output: unknown; outputBytes?: number; fault: Fault | null; usage: Usage;
  calls: unknown[]; estimatedDuration: number | null; startedAt: string | null; completedAt: string | null;
}

/** One line of a task's journal. */
export interface Entry {
  seq: number; at: string; epoch: number; type: TraceType; kind: string; message: string; step: number | null;
  data: Record<string, unknown>;
}

/** A content of the journal: itself, or the name and the beginning of a large one. */
export type Payload = { inline: unknown } | { blob: { hash: string; size: number; preview: string } };

export interface InboxRequest {
  id: string; kind: "approval" | "input" | "outcome" | "plan"; taskId: string; goal: string; threadId: string;
  step?: number; description: string; call?: number; tool?: string; arguments?: unknown; effect?: Effect;
  askedAt: string; expiresAt?: string; decisions: string[];
}

export interface WorkerSummary {
  name: string; host: string; pid: number; version: string; concurrency: number; leaseMs: number;
  presence: "working" | "draining" | "gone"; startedAt: string; seenAt: string; tasks: string[];
}

export interface WorkerStatus {
  worker: {
    enabled: boolean; name: string; concurrency: number; active: string[]; draining: boolean;
    limiter: { max: number; durationMs: number } | null;
  };
  database: { engine: string; embedded: boolean };
  stats: { tasks: Partial<Record<Status, number>>; due: number; leased: number };
}

export interface ToolInfo {
  name: string; description: string; schema: unknown; effect: Effect;
  origin: { type: "app"; toolkit: string } | { type: "mcp"; server: string; tool: string };
}
export interface McpServer { name: string; transport: string; connected: boolean; tools: unknown; lastError: string | null }
export interface Models { default: string; offline: boolean; models: string[] }

export interface Job {
  id: string; name: string; state: string; attemptsMade: number; priority: number; delay: number; timestamp: number;
  processedOn: number | null; finishedOn: number | null; failedReason: string | null;
}

export interface Thread { id: string; title: string; createdAt: string }
export interface ThreadMessage { id: string; role: "user" | "assistant" | "system"; parts: MessagePart[]; taskId: string | null; createdAt: string }
export interface MessagePart { type: string; text?: string; data?: unknown; url?: string; filename?: string; [key: string]: unknown }

export interface Detection { orchestrate: boolean; score: number; threshold: number; features: string[]; by: string }

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

/** What is said in a conversation, in the parts that the server keeps and streams: one shape, whether it is stored or on its way. */
import type { MessagePart, ThreadMessage } from "../api/types";

export interface Said { id: string; role: string; parts: MessagePart[]; taskId: string | null; busy: boolean; at: string }

/** A piece of the AI SDK's UI message stream. */
export interface Chunk { type: string; id?: string; messageId?: string; delta?: string; errorText?: string; messageMetadata?: { taskId?: string }; toolCallId?: string; toolName?: string; input?: unknown; output?: unknown }

/** Why an answer ends where it does; nothing if it is whole. */
export interface Cut { stopped: boolean; text: string }

const ERROR = "data-error";

function partsOf(message: ThreadMessage): MessagePart[] {
  return Array.isArray(message.parts) ? (message.parts as MessagePart[]) : [];
}

/** Whether it only holds the place of an answer that is being given. */
export function isAnswering(message: ThreadMessage): boolean {
  return partsOf(message).some((part) => part.type === "data-answering");
}

export function stored(message: ThreadMessage): Said {
  return { id: message.id, role: message.role, parts: partsOf(message), taskId: message.taskId, busy: false, at: message.createdAt };
}

/** The text of a message: its parts are paragraphs of their own. */
export function textOf(parts: MessagePart[]): string {
  return parts.filter((part) => part.type === "text").map((part) => part.text ?? "").join("\n\n");
}

export function messageText(message: ThreadMessage): string { return textOf(partsOf(message)); }

export function cutOf(parts: MessagePart[]): Cut | null {
  const part = parts.find((one) => one.type === ERROR);
  if (!part) return null;
  const { code, message } = (part.data ?? {}) as { code?: string; message?: string };
  return { stopped: code === "stopped", text: message ?? "The answer was cut." };
}

/** The message with the end that came to it before it was whole. */
export function cut(said: Said, text: string, code = "cut"): Said {
  return { ...said, busy: false, parts: [...said.parts.filter((part) => part.type !== ERROR), { type: ERROR, data: { code, message: text } }] };
}

/** The message with what a piece of its stream adds. */
export function heard(said: Said, chunk: Chunk): Said {
  const tool = (more: Partial<MessagePart>) => ({ ...said, parts: said.parts.map((part) => (part.toolCallId === chunk.toolCallId && part.toolCallId !== undefined ? { ...part, ...more } : part)) });
  switch (chunk.type) {
    case "start": return { ...said, id: chunk.messageId ?? said.id, taskId: chunk.messageMetadata?.taskId ?? said.taskId };
    case "message-metadata": return { ...said, taskId: chunk.messageMetadata?.taskId ?? said.taskId };
    case "text-start": return { ...said, parts: [...said.parts, { type: "text", text: "", id: chunk.id }] };
    case "reasoning-start": return { ...said, parts: [...said.parts, { type: "reasoning", text: "", id: chunk.id }] };
    case "text-delta": case "reasoning-delta":
      return { ...said, parts: said.parts.map((part) => (part.id === chunk.id && part.type === chunk.type.slice(0, -6) ? { ...part, text: (part.text ?? "") + (chunk.delta ?? "") } : part)) };
    case "tool-input-available": return { ...said, parts: [...said.parts, { type: `tool-${chunk.toolName ?? ""}`, toolCallId: chunk.toolCallId, state: "input-available", input: chunk.input }] };
    case "tool-output-available": return tool({ state: "output-available", output: chunk.output });
    case "tool-output-error": return tool({ state: "output-error", errorText: chunk.errorText ?? "failed" });
    case "error": return { ...cut(said, chunk.errorText ?? "The answer was cut."), busy: said.busy };
    default: return said;
  }
}

/** Asks the server: with the key where there is one, and knows whether the server can be reached. */
import { getHealth } from "#api";
import { signal } from "@preact/signals";
import type { Operation } from "./operation";

const KEY = "longhaul.key";

/** Whether the server answers. */
export const connection = signal<"online" | "offline">("online");
/** Counts how often the server came back; what was read before then may be old. */
export const comebacks = signal(0);
/** Why a key is asked for; null while requests come through. */
export const locked = signal<string | null>(null);

export class ApiError extends Error {
  constructor(readonly status: number, readonly code: string, message: string) { super(message); }
}

/** The key stays in this tab and is forgotten with it. */
export function setKey(key: string | null): void {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export function keyOfTab(): string | null { return sessionStorage.getItem(KEY); }
export function hasKey(): boolean { return keyOfTab() !== null; }

export function headers(more: Record<string, string> = {}): Record<string, string> {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...more, authorization: `Bearer ${key}` } : more;
}

let probing: ReturnType<typeof setTimeout> | null = null;

/** Notes that the server cannot be reached, and asks until it can. */
export function lost(): void {
  connection.value = "offline";
  if (probing) return;
  const probe = async () => {
    probing = null;
    try {
      const answer = await fetch(getHealth().path, { cache: "no-store" });
      if (!answer.ok) throw new Error("not yet");
      connection.value = "online";
      comebacks.value += 1;
    } catch {
      probing = setTimeout(probe, 1000);
    }
  };
  probing = setTimeout(probe, 500);
}

/** Sends an operation. Fails with an ApiError, whose status is 0 if the server cannot be reached. */
export async function send({ method, path, body, key }: Operation<unknown>, init: { accept?: string; signal?: AbortSignal } = {}): Promise<Response> {
  const given: RequestInit = { method, headers: headers({ accept: init.accept ?? "application/json" }), cache: "no-store" };
  if (key) given.headers = { ...given.headers, "idempotency-key": key };
  if (init.signal) given.signal = init.signal;
  if (body instanceof Blob) {
    given.body = body;
  } else if (body !== undefined) {
    given.body = JSON.stringify(body);
    given.headers = { ...given.headers, "content-type": "application/json" };
  }
  let answer: Response;
  try {
    answer = await fetch(path, given);
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    lost();
    throw new ApiError(0, "unreachable", "The server cannot be reached.");
  }
  if (answer.ok) {
    if (locked.value !== null && path.startsWith("/api/")) locked.value = null;
    return answer;
  }
  const refusal = await refusalOf(answer);
  if (refusal.status === 401) locked.value = hasKey() ? "This key is not the right one." : "";
  throw refusal;
}

async function refusalOf(answer: Response): Promise<ApiError> {
  const text = await answer.text().catch(() => "");
  try {
    const body = JSON.parse(text) as { detail?: string; error?: string; code?: string };
    return new ApiError(answer.status, body.code ?? "error", body.detail ?? body.error ?? answer.statusText);
  } catch {
    return new ApiError(answer.status, "error", text.slice(0, 300) || `${answer.status} ${answer.statusText}`);
  }
}

/** Sends an operation and returns what it is answered with. */
export async function ask<T>(operation: Operation<T>, signal?: AbortSignal): Promise<T> {
  const answer = await send(operation, signal ? { signal } : {});
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

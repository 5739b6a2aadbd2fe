/** Server-sent events through fetch: an EventSource cannot send the key. */

export interface Frame { id: string | null; event: string; data: string }

/** The frames of a stream, in the groups in which they arrive. */
export async function* frames(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame[]> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
      rest = blocks.pop() ?? "";
      const group = blocks.map(frame).filter((one): one is Frame => one !== null);
      if (group.length > 0) yield group;
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

/** One block of lines; null for comments, which are heartbeats. */
export function frame(block: string): Frame | null {
  let id: string | null = null;
  let event = "message";
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    const at = line.indexOf(":");
    if (at === 0) continue;
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "id") id = value;
    else if (name === "event") event = value;
    else if (name === "data") data.push(value);
  }
  return data.length > 0 ? { id, event, data: data.join("\n") } : null;
}

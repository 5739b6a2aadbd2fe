// What `useChat` does, without a page: the class behind the hook, over an array of messages.

/** A chat of one major version of the package `ai`. */
export function chat(ai, { id, messages = [], transport }) {
  const state = {
    status: "ready",
    error: undefined,
    messages,
    pushMessage: (message) => (state.messages = [...state.messages, message]),
    popMessage: () => (state.messages = state.messages.slice(0, -1)),
    replaceMessage: (index, message) =>
      (state.messages = state.messages.map((known, at) => (at === index ? structuredClone(message) : known))),
    snapshot: (thing) => structuredClone(thing),
  };
  return new (class extends ai.AbstractChat {})({ id, state, transport });
}

export const text = (message) =>
  message.parts
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("");

export async function collect(stream, each = () => {}) {
  const chunks = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
    each(chunk);
  }
  return chunks;
}

export const user = (id, text) => ({ id, role: "user", parts: [{ type: "text", text }] });

/** Asks until the server answers, for a client that outlives it. */
export async function patientFetch(input, init) {
  for (;;) {
    try {
      return await fetch(input, init);
    } catch (error) {
      if (init?.signal?.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

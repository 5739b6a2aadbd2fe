/** A chat over `/api/chat`: simple messages are answered, complex ones become tasks that are seen live. */
import { chat, type ChatBody, listMessages, listModels, resumeChat, stopChat } from "#api";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, ask, message as words, send } from "../api/client";
import { useResource } from "../api/resource";
import { frames } from "../api/sse";
import type { MessagePart, ThreadMessage } from "../api/types";
import { useAtEnd } from "../components/at-end";
import { Button, Loading } from "../components/basics";
import { Icon } from "../components/icons";
import { Markdown } from "../components/markdown";
import { counted, text } from "../format";
import { navigate } from "../router";
import { useShortcuts } from "../state/keys";
import { newId } from "../state/session";
import { taskList, watchTasks } from "../state/tasks";
import { TaskCard } from "./chat-task";
import { Threads } from "./chat-threads";
import { useTerms } from "./terms";

/** One message of the conversation, stored or on its way. */
interface Said { id: string; role: string; text: string; reasoning: string; tools: ToolUse[]; taskId: string | null; error: string | null; busy: boolean; at: string }
interface ToolUse { id: string; name: string; input: unknown; output: unknown; error: string | null }

/** The parts of a message in the AI SDK's shape; the server keeps them as they came. */
function partsOf(message: ThreadMessage): MessagePart[] {
  return Array.isArray(message.parts) ? (message.parts as MessagePart[]) : [];
}

export function messageText(message: ThreadMessage): string {
  return partsOf(message).filter((part) => part.type === "text").map((part) => part.text ?? "").join("");
}

/** Whether it only holds the place of an answer that is being given. */
function isAnswering(message: ThreadMessage): boolean {
  return partsOf(message).some((part) => part.type === "data-answering");
}

function stored(message: ThreadMessage): Said {
  const failed = partsOf(message).find((part) => part.type === "data-error");
  const reason = failed?.data as { message?: string } | undefined;
  return {
    id: message.id, role: message.role, text: messageText(message), reasoning: "", tools: [], taskId: message.taskId,
    error: failed ? (reason?.message ?? "The answer was cut.") : null, busy: false, at: message.createdAt,
  };
}

export function ChatScreen({ thread }: { thread: string | null }) {
  // Another one each time somebody comes back from a conversation to begin one.
  const fresh = useMemo(newId, [thread === null]);
  const id = thread ?? fresh;
  return <Conversation key={id} id={id} isNew={thread === null} />;
}

function Conversation({ id, isNew }: { id: string; isNew: boolean }) {
  const models = useResource(listModels());
  const [said, setSaid] = useState<Said[] | null>(isNew ? [] : null);
  const [draft, setDraft] = useState("");
  const [model, setModel] = useState("");
  const { agents } = useTerms();
  const [agent, setAgent] = useState("");
  const [asTask, setAsTask] = useState<"auto" | "none">("auto");
  const [stop, setStop] = useState<AbortController | null>(null);
  const [turns, setTurns] = useState(0);
  const log = useAtEnd();
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    if (isNew) return;
    let gone = false;
    ask(listMessages(id))
      .then((read) => {
        if (gone) return;
        const there = read.messages.filter((one) => one.role !== "system" && !isAnswering(one));
        setSaid((known) => known ?? there.map(stored));
        if (read.messages.some(isAnswering) || there.at(-1)?.role === "user") void resume();
      })
      .catch((error: unknown) => { if (!gone) setSaid(error instanceof ApiError && error.status === 404 ? [] : [problem(error)]); });
    return () => { gone = true; };
  }, [id]);
  useShortcuts([
    { keys: "/", what: "Write a message", group: "Chat", run: () => box.current?.focus() },
    { keys: "N", what: "New conversation", group: "Chat", run: () => navigate("/chat") },
  ]);
  const change = (message: string, by: (said: Said) => Partial<Said>) => setSaid((all) => (all ?? []).map((one) => (one.id === message ? { ...one, ...by(one) } : one)));
  /** An answer that is still being given: this page was loaded again meanwhile, or another one asked. */
  const resume = async () => {
    const controller = new AbortController();
    try {
      const response = await send(resumeChat(id), { accept: "text/event-stream", signal: controller.signal });
      if (response.status === 204 || !response.body) return;
      const answer = newId();
      setSaid((all) => [...(all ?? []), { id: answer, role: "assistant", text: "", reasoning: "", tools: [], taskId: null, error: null, busy: true, at: new Date().toISOString() }]);
      setStop(controller);
      await listen(response.body, (by) => change(answer, by), controller).catch((error: unknown) => { if (!controller.signal.aborted) change(answer, () => ({ error: words_of(error) })); });
      change(answer, () => ({ busy: false }));
      setStop(null);
    } catch { /* What was said is there; that more may come is not known. */ }
  };
  const halt = (controller: AbortController) => {
    // The server goes on answering for whoever comes back, unless it is told not to.
    send(stopChat(id)).catch(() => undefined);
    controller.abort();
  };
  const say = async () => {
    const words = draft.trim();
    if (!words || stop) return;
    const [own, answer] = [newId(), newId()];
    const at = new Date().toISOString();
    const blank = { reasoning: "", tools: [], taskId: null, error: null, at };
    setSaid([...(said ?? []), { ...blank, id: own, role: "user", text: words, busy: false }, { ...blank, id: answer, role: "assistant", text: "", busy: true }]);
    setDraft("");
    log.toEnd();
    // The address names the conversation from its first word on: whoever loads the page again finds it.
    if (isNew) navigate(`/chat/${encodeURIComponent(id)}`, true);
    const controller = new AbortController();
    setStop(controller);
    try {
      const body: ChatBody = { id, message: { id: own, role: "user", parts: [{ type: "text", text: words }] }, toolChoice: asTask };
      if (model) body.chatModel = model;
      if (agent) body.agentId = agent;
      const response = await send(chat(body), { accept: "text/event-stream", signal: controller.signal });
      if (response.body) await listen(response.body, (by) => change(answer, by), controller);
    } catch (error) {
      change(answer, () => ({ error: controller.signal.aborted ? null : words_of(error) }));
    }
    change(answer, () => ({ busy: false }));
    setTurns((count) => count + 1);
    setStop(null);
    box.current?.focus();
  };
  return (
    <section class={`chat-screen${isNew && said?.length === 0 ? " is-new" : ""}`}>
      <Threads current={id} version={turns} />
      <div class="chat">
        <a class="chat-back" href="/chat"><Icon name="chat" size={14} />All conversations</a>
        <div class="messages" ref={log.box} role="log" aria-live="polite" aria-label="Conversation" tabIndex={0}><div class="messages-inside" ref={log.inside}>
          {said === null ? <Loading /> : said.length === 0 ? <Welcome offline={models.data?.offline ?? false} ask={(goal) => { setDraft(goal); box.current?.focus(); }} /> : said.map((one) => <Message key={one.id} said={one} />)}
        </div></div>
        <form class="composer" onSubmit={(event) => { event.preventDefault(); void say(); }}>
          <label class="sr-only" for="draft">Message</label>
          <textarea id="draft" ref={box} rows={2} placeholder="Ask something, or name a goal" value={draft} onInput={(event) => setDraft(event.currentTarget.value)}
            onKeyDown={(event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); void say(); } }} />
          <div class="composer-foot">
            <select aria-label="Model" class="inline-select" value={model} onChange={(event) => setModel(event.currentTarget.value)}>
              <option value="">{models.data ? `${models.data.default}` : "model"}</option>
              {models.data?.models.filter((name) => name !== models.data?.default).map((name) => <option key={name} value={name}>{name}</option>)}
            </select>
            {agents.length > 0 && <select aria-label="Agent" class="inline-select" value={agent} onChange={(event) => setAgent(event.currentTarget.value)}><option value="">no agent</option>{agents.map((one) => <option key={one.id} value={one.id} title={one.description ?? ""}>{one.id}</option>)}</select>}
            <label class="check"><input type="checkbox" checked={asTask === "auto"} onChange={(event) => setAsTask(event.currentTarget.checked ? "auto" : "none")} /> may become a task</label>
            <span class="grow" />
            {stop ? <Button icon="stop" onClick={() => halt(stop)}>Stop</Button> : <Button kind="primary" icon="send" type="submit" disabled={draft.trim() === ""}>Send</Button>}
          </div>
        </form>
      </div>
    </section>
  );
}

const words_of = words;

function problem(error: unknown): Said {
  return { id: "problem", role: "assistant", text: "", reasoning: "", tools: [], taskId: null, error: words(error), busy: false, at: new Date().toISOString() };
}

/** The chunks of the AI SDK's UI message stream, as they change a message. */
async function listen(body: ReadableStream<Uint8Array>, change: (by: (said: Said) => Partial<Said>) => void, stop: AbortController): Promise<void> {
  for await (const group of frames(body)) {
    for (const { data } of group) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data) as { type: string; delta?: string; errorText?: string; messageMetadata?: { taskId?: string }; toolCallId?: string; toolName?: string; input?: unknown; output?: unknown };
      const tool = (more: Partial<ToolUse>) => change((said) => ({ tools: said.tools.map((one) => (one.id === chunk.toolCallId ? { ...one, ...more } : one)) }));
      switch (chunk.type) {
        case "text-delta": change((said) => ({ text: said.text + (chunk.delta ?? "") })); break;
        case "reasoning-delta": change((said) => ({ reasoning: said.reasoning + (chunk.delta ?? "") })); break;
        case "tool-input-available": change((said) => ({ tools: [...said.tools, { id: chunk.toolCallId ?? "", name: chunk.toolName ?? "", input: chunk.input, output: undefined, error: null }] })); break;
        case "tool-output-available": tool({ output: chunk.output }); break;
        case "tool-output-error": tool({ error: chunk.errorText ?? "failed" }); break;
        case "error": change(() => ({ error: chunk.errorText ?? "The answer was cut." })); break;
        case "start": case "message-metadata": {
          const task = chunk.messageMetadata?.taskId;
          if (task) {
            change(() => ({ taskId: task, busy: false }));
            // From here the card follows the task by itself, also after this page was closed.
            stop.abort();
            return;
          }
        }
      }
    }
  }
}

function Message({ said }: { said: Said }) {
  if (said.role === "user") return <article class="message is-user" aria-label="You"><Markdown text={said.text} /></article>;
  return (
    <article class="message is-assistant" aria-label="Longhaul" aria-busy={said.busy}>
      {said.reasoning && <details class="reasoning"><summary>Reasoning</summary><Markdown text={said.reasoning} /></details>}
      {said.taskId ? <TaskCard id={said.taskId} /> : said.text ? <Markdown text={said.text} /> : said.busy ? <span class="typing" role="status" aria-label="Thinking"><i /><i /><i /></span> : null}
      {!said.taskId && said.tools.map((tool) => <details key={tool.id} class="call"><summary><Icon name="tools" size={13} /><strong>{tool.name}</strong></summary><pre>{text(tool.input)}</pre>{tool.error ? <p class="problem">{tool.error}</p> : <pre>{text(tool.output)}</pre>}</details>)}
      {said.error && !said.taskId && <div class="callout is-bad"><Icon name="alert" /><p>{said.error}</p></div>}
    </article>
  );
}

function Welcome({ offline, ask }: { offline: boolean; ask: (goal: string) => void }) {
  useEffect(watchTasks, []);
  const ideas = offline
    ? ["Find every TODO comment in this repository and write a report", "List all files and count their lines, and write a report", "What is 6 * 7"]
    : ["Compare the error handling of all modules and write down what differs", "Find every TODO comment in this repository and write a report", "What is a durable task?"];
  return (
    <div class="welcome">
      <h1>What do you want done?</h1>
      <p class="faint">A question is answered here. A goal that takes many steps becomes a task: it goes on when you close this page, and after any crash.</p>
      {offline && <p class="callout is-wait"><Icon name="alert" />No language model is in use: rules answer, and only what they understand. Set <code>ANTHROPIC_API_KEY</code>, <code>OPENAI_API_KEY</code> or another provider's key, or start Ollama.</p>}
      <div class="ideas">{ideas.map((idea) => <button type="button" key={idea} class="idea" onClick={() => ask(idea)}>{idea}</button>)}</div>
      {taskList.value.tasks.length > 0 && <p class="faint"><a href="/tasks">{counted(taskList.value.tasks.length, "task")}</a> so far.</p>}
    </div>
  );
}

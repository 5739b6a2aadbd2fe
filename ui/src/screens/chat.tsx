/** A chat over `/api/chat`: simple messages are answered, complex ones become tasks that are seen live. */
import { chat, type ChatBody, listMessages, listModels, listTasks, resumeChat, stopChat } from "#api";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, ask, connection, message as words, send } from "../api/client";
import { useResource } from "../api/resource";
import { frames } from "../api/sse";
import type { MessagePart, TaskSummary, ThreadMessage } from "../api/types";
import { useAtEnd } from "../components/at-end";
import { Button, Loading } from "../components/basics";
import { Icon } from "../components/icons";
import { navigate } from "../router";
import { cut, cutOf, heard, isAnswering, stored, textOf, type Chunk, type Said } from "../state/conversation";
import { useShortcuts } from "../state/keys";
import { named, useOffers } from "../state/mentions";
import { newId } from "../state/session";
import { Composer, type Draft } from "./chat-composer";
import { Message, type MessageActs } from "./chat-message";
import { TaskCard } from "./chat-task";
import { Threads } from "./chat-threads";
import { useTerms } from "./terms";

/** How often a conversation is read again: somebody may go on with it elsewhere. */
const EVERY = 2500;
/** Tasks of the conversation that no message names: the newest of them. */
const TASKS = 20;

/** What is being said at this moment: the message of the user, if it is this page that asked, and the answer. */
interface Turn { own: Said | null; answer: Said; stop: AbortController }

export function ChatScreen({ thread }: { thread: string | null }) {
  // Another one each time somebody comes back from a conversation to begin one.
  const fresh = useMemo(newId, [thread === null]);
  const id = thread ?? fresh;
  return <Conversation key={id} id={id} isNew={thread === null} />;
}

/** What is kept, with what is being said in its place: behind the message that is answered anew nothing is left. */
function withTurn(kept: Said[], { own, answer }: Turn): Said[] {
  const at = kept.findIndex((one) => one.id === (own ?? answer).id);
  return [...(at < 0 ? kept : kept.slice(0, at)), ...(own ? [own] : []), answer];
}

/** Messages in the order that they have; a task that none of them names stands behind those that are older. */
function inOrder(said: Said[], tasks: TaskSummary[]): (Said | TaskSummary)[] {
  const rest = [...tasks];
  const before = (at: string) => rest.splice(0, rest.filter((task) => task.createdAt < at).length);
  return [...said.flatMap((one) => [...before(one.at), one]), ...rest];
}

function Conversation({ id, isNew }: { id: string; isNew: boolean }) {
  const models = useResource(listModels());
  const [kept, setKept] = useState<Said[] | null>(isNew ? [] : null);
  const [turn, setTurn] = useState<Turn | null>(null);
  const [draft, setDraft] = useState<Draft>({ text: "", files: [] });
  const offers = useOffers();
  const [refused, setRefused] = useState<string | null>(null);
  const [model, setModel] = useState("");
  const { agents, presets } = useTerms();
  const [agent, setAgent] = useState("");
  const [preset, setPreset] = useState("");
  const [asTask, setAsTask] = useState<"auto" | "none">("auto");
  const [turns, setTurns] = useState(0);
  const log = useAtEnd();
  const box = useRef<HTMLTextAreaElement>(null);
  const current = useRef({ turn: null as Turn | null, last: "", resumed: "", gone: false, halted: Promise.resolve() });
  const tasks = useResource(isNew || turn ? null : listTasks({ threadId: id, roots: true, limit: TASKS }), 4000);
  const lastTasks = useRef(tasks.data?.tasks ?? []);
  if (tasks.data) lastTasks.current = tasks.data.tasks;

  /** Reads what is kept; null if the server is away. */
  const look = async (): Promise<ThreadMessage[] | null> => {
    try {
      return (await ask(listMessages(id))).messages.filter((one) => one.role !== "system");
    } catch (error) {
      return error instanceof ApiError && error.status === 404 ? [] : null;
    }
  };
  const show = (messages: ThreadMessage[]) => {
    const seen = JSON.stringify(messages);
    if (seen !== current.current.last) { current.current.last = seen; setKept(messages.filter((one) => !isAnswering(one)).map(stored)); }
  };
  /** What this page knows stands for what is kept until the server tells it. */
  const keep = (last: Turn | null) => {
    current.current.last = "";
    if (last) setKept((known) => withTurn(known ?? [], { ...last, answer: { ...last.answer, busy: false } }));
  };
  // An answer goes on while its reader looks at another screen: the stream is read to its end.
  useEffect(() => () => { current.current.gone = true; }, []);
  useEffect(() => {
    if (isNew || turn) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let gone = false;
    let wait = EVERY;
    const again = async () => {
      if (!document.hidden && connection.value === "online") {
        const messages = await look();
        if (gone || current.current.turn) return;
        if (messages) {
          show(messages);
          // Where nothing was said yet, somebody seldom begins.
          wait = messages.length > 0 ? EVERY : EVERY * 4;
          const last = messages.at(-1);
          // An answer that is being given, for a page that was loaded meanwhile or for another one that asked.
          if (messages.some(isAnswering) || (last?.role === "user" && current.current.resumed !== last.id)) { current.current.resumed = last?.id ?? ""; void resume(); }
        } else setKept((known) => known ?? []);
      }
      timer = setTimeout(() => void again(), wait);
    };
    void again();
    return () => { gone = true; clearTimeout(timer); };
  }, [id, isNew, turn === null]);
  useShortcuts([
    { keys: "/", what: "Write a message", group: "Chat", run: () => box.current?.focus() },
    { keys: "N", what: "New conversation", group: "Chat", run: () => navigate("/chat") },
  ]);

  const put = (next: Turn | null) => { current.current.turn = next; setTurn(next); };
  const change = (by: (said: Said) => Said) => { const now = current.current.turn; if (now) put({ ...now, answer: by(now.answer) }); };
  /** The pieces of the answer, until it ends or is a task: its card follows that by itself. */
  const listen = async (body: ReadableStream<Uint8Array>) => {
    for await (const group of frames(body)) {
      for (const { data } of group) {
        if (data === "[DONE]") return;
        change((said) => heard(said, JSON.parse(data) as Chunk));
        if (current.current.turn?.answer.taskId) return current.current.turn.stop.abort();
      }
    }
  };
  /** What is kept once the answer has its place there. */
  const settled = async (): Promise<ThreadMessage[] | null> => {
    let messages = await look();
    for (let tries = 0; tries < 10 && messages?.some(isAnswering); tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 150));
      messages = await look();
    }
    return messages;
  };
  const resume = async () => {
    const stop = new AbortController();
    try {
      const response = await send(resumeChat(id), { accept: "text/event-stream", signal: stop.signal });
      if (response.status === 204 || !response.body || current.current.turn || current.current.gone) return;
      put({ own: null, answer: blank("assistant", [], true), stop });
      await listen(response.body);
    } catch { /* What was said is there; that more may come is not known. */ }
    if (current.current.turn?.stop !== stop) return;
    await current.current.halted;
    const messages = await settled();
    if (messages) show(messages);
    else keep(current.current.turn);
    put(null);
    setTurns((count) => count + 1);
  };
  const halt = (stop: AbortController) => {
    // The server goes on answering for whoever comes back, unless it is told not to.
    current.current.halted = send(stopChat(id)).then(() => undefined, () => undefined);
    change((said) => cut(said, "", "stopped"));
    stop.abort();
  };
  /** Says something, or says it again; `restore` takes back what could not be sent. */
  const say = async (own: Said, more: Partial<ChatBody>, restore: () => void) => {
    if (current.current.turn) return;
    const stop = new AbortController();
    setRefused(null);
    put({ own, answer: blank("assistant", [], true), stop });
    log.toEnd();
    // The address names the conversation from its first word on: whoever loads the page again finds it.
    if (isNew) navigate(`/chat/${encodeURIComponent(id)}`, true);
    let problem: string | null = null;
    let sent = false;
    try {
      const body: ChatBody = { id, message: { id: own.id, role: "user", parts: own.parts }, toolChoice: asTask, words: false, ...more };
      const mentions = named(textOf(own.parts), offers).map(({ mention }) => mention);
      if (mentions.length > 0) body.mentions = mentions;
      if (model) body.chatModel = model;
      if (agent) body.agentId = agent;
      if (preset) body.preset = preset;
      const response = await send(chat(body), { accept: "text/event-stream", signal: stop.signal });
      sent = true;
      if (response.body) await listen(response.body);
    } catch (error) {
      if (!stop.signal.aborted) { problem = words(error); change((said) => cut(said, problem ?? "")); }
    }
    if (current.current.gone) return;
    await current.current.halted;
    const messages = await settled();
    const last = current.current.turn as Turn | null;
    problem ??= last && !stop.signal.aborted ? (cutOf(last.answer.parts)?.text ?? null) : null;
    const hasOwn = messages?.some((one) => one.id === own.id && textOf(stored(one).parts) === textOf(own.parts)) ?? sent;
    if (messages) show(messages);
    else if (hasOwn) keep(last);
    // What failed without a trace in the conversation is told beside it.
    if (problem !== null && !(hasOwn && (messages === null || messages.some((one) => cutOf(stored(one).parts))))) setRefused(problem);
    if (problem !== null && !hasOwn) restore();
    put(null);
    setTurns((count) => count + 1);
    box.current?.focus();
  };
  const write = () => {
    const { files } = draft;
    const text = draft.text.trim();
    if (!text || turn) return;
    setDraft({ text: "", files: [] });
    void say(blank("user", [{ type: "text", text }, ...files]), {}, () => setDraft((typed) => ({ text: typed.text.trim() ? `${text}\n${typed.text}` : text, files: [...files, ...typed.files] })));
  };
  const edit = (said: Said, text: string) => say({ ...said, parts: [{ type: "text", text }, ...said.parts.filter((part) => part.type === "file")] }, {}, () => setDraft((typed) => (typed.text ? typed : { ...typed, text })));

  const said = kept && turn ? withTurn(kept, turn) : kept;
  const begun = new Set(said?.map((one) => one.taskId));
  const others = isNew ? [] : lastTasks.current.filter((task) => !begun.has(task.id)).reverse();
  const shown = said && inOrder(said, others);
  const lastSaid = said?.at(-1);
  const asker = said?.findLast((one) => one.role === "user");
  const actsOn = (one: Said): MessageActs => {
    const isLast = one === lastSaid && !one.taskId && asker !== undefined && (one.role !== "user" || current.current.resumed === one.id);
    return {
      edit: one.role === "user" ? (text) => void edit(one, text) : undefined, replaces: one !== lastSaid,
      again: isLast ? () => void say(asker, { trigger: "regenerate-message" }, () => undefined) : undefined,
    };
  };
  return (
    <section class={`chat-screen${isNew && said?.length === 0 ? " is-new" : ""}`}>
      <Threads current={id} version={turns} />
      <div class="chat">
        <a class="chat-back" href="/chat"><Icon name="chat" size={14} />All conversations</a>
        {shown && shown.length > 0 && <h1 class="sr-only">Conversation</h1>}
        <div class="messages" ref={log.box} role="log" aria-live="polite" aria-label="Conversation" tabIndex={0}><div class="messages-inside" ref={log.inside}>
          {!shown || (shown.length === 0 && !isNew && tasks.loading && !turn) ? <Loading /> : shown.length === 0 ? <Welcome offline={models.data?.offline ?? false} ask={(goal) => { setDraft({ ...draft, text: goal }); box.current?.focus(); }} />
            : shown.map((one) => ("goal" in one ? <article key={one.id} class="message is-assistant" aria-label="Task"><TaskCard id={one.id} /></article> : <Message key={one.id} said={one} acts={turn ? {} : actsOn(one)} />))}
        </div></div>
        {refused && <div class="callout is-bad chat-refused" role="alert"><Icon name="alert" /><p class="grow">{refused}</p><Button kind="ghost" icon="cross" aria-label="Dismiss" onClick={() => setRefused(null)} /></div>}
        <Composer box={box} draft={draft} put={setDraft} send={write} offers={offers} mayBeTask={asTask === "auto"} halt={turn ? () => halt(turn.stop) : null}>
          <select aria-label="Model" class="inline-select" value={model} onChange={(event) => setModel(event.currentTarget.value)}>
            <option value="">{models.data ? `${models.data.default}` : "model"}</option>
            {models.data?.models.filter((name) => name !== models.data?.default).map((name) => <option key={name} value={name}>{name}</option>)}
          </select>
          {agents.length > 0 && <select aria-label="Agent" class="inline-select" value={agent} onChange={(event) => setAgent(event.currentTarget.value)}><option value="">no agent</option>{agents.map((one) => <option key={one.id} value={one.id} title={one.description ?? ""}>{one.id}</option>)}</select>}
          {presets.length > 0 && <select aria-label="Preset" class="inline-select" value={preset} onChange={(event) => setPreset(event.currentTarget.value)}><option value="">no preset</option>{presets.map((one) => <option key={one.name} value={one.name} title={one.description ?? ""}>{one.name}</option>)}</select>}
          <label class="check"><input type="checkbox" checked={asTask === "auto"} onChange={(event) => setAsTask(event.currentTarget.checked ? "auto" : "none")} /> may become a task</label>
        </Composer>
      </div>
    </section>
  );
}

function blank(role: string, parts: MessagePart[], busy = false): Said {
  return { id: newId(), role, parts, taskId: null, busy, at: new Date().toISOString() };
}

function Welcome({ offline, ask }: { offline: boolean; ask: (goal: string) => void }) {
  const newest = useResource(listTasks({ limit: 1 }));
  const ideas = offline
    ? ["Find every TODO comment in this repository and write a report", "List all files and count their lines, and write a report", "What is 6 * 7"]
    : ["Compare the error handling of all modules and write down what differs", "Find every TODO comment in this repository and write a report", "What is a durable task?"];
  return (
    <div class="welcome">
      <h1>What do you want done?</h1>
      <p class="faint">A question is answered here. A goal that takes many steps becomes a task: it goes on when you close this page, and after any crash.</p>
      {offline && <p class="callout is-wait"><Icon name="alert" />No language model is in use: rules answer, and only what they understand. Set <code>ANTHROPIC_API_KEY</code>, <code>OPENAI_API_KEY</code> or another provider's key, or start Ollama.</p>}
      <div class="ideas">{ideas.map((idea) => <button type="button" key={idea} class="idea" onClick={() => ask(idea)}>{idea}</button>)}</div>
      {(newest.data?.tasks.length ?? 0) > 0 && <p class="faint"><a href="/tasks">All tasks</a> so far.</p>}
    </div>
  );
}

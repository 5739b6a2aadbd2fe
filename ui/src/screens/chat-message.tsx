/** One message of a conversation: its parts in the order in which they came. */
import { useState } from "preact/hooks";
import type { MessagePart } from "../api/types";
import { Button } from "../components/basics";
import { Icon } from "../components/icons";
import { Value } from "../components/json";
import { Markdown } from "../components/markdown";
import { cutOf, textOf, type Said } from "../state/conversation";
import { picture } from "./files";
import { TaskCard } from "./chat-task";

/** What can be done about a message, where it can. */
export interface MessageActs {
  /** Asks for another answer to the same message. */
  again?: (() => void) | undefined;
  /** Says it again in other words, from what was typed last if that was not sent. */
  edit?: ((text: string) => void) | undefined;
  /** Whether something was said behind it that an edit replaces. */
  replaces?: boolean;
}

/** Only what stands in the message itself is shown: nothing is fetched from elsewhere. */
function isShown({ mediaType, url }: MessagePart): boolean {
  return picture.test(mediaType ?? "") && (url ?? "").startsWith("data:image/");
}

export function Message({ said, acts }: { said: Said; acts: MessageActs }) {
  return said.role === "user" ? <Own said={said} acts={acts} /> : <Answer said={said} acts={acts} />;
}

function Own({ said, acts }: { said: Said; acts: MessageActs }) {
  const [typed, setTyped] = useState<string | null>(null);
  const words = textOf(said.parts);
  const files = said.parts.filter((part) => part.type === "file");
  const send = () => { if (typed?.trim() && acts.edit) { acts.edit(typed.trim()); setTyped(null); } };
  if (typed !== null) {
    return (
      <article class="message is-user is-edited" aria-label="You">
        <form class="edit" onSubmit={(event) => { event.preventDefault(); send(); }}>
          <textarea aria-label="Edit your message" rows={2} autoFocus value={typed} onInput={(event) => setTyped(event.currentTarget.value)}
            onKeyDown={(event) => { if (event.key === "Escape") setTyped(null); else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); } }} />
          <div class="edit-foot">{acts.replaces && <span class="faint">What follows is replaced by the new answer; a task goes on.</span>}<span class="grow" />
            <Button kind="ghost" onClick={() => setTyped(null)}>Leave it</Button><Button kind="primary" icon="send" type="submit" disabled={typed.trim() === "" || !acts.edit}>Ask this</Button></div>
        </form>
      </article>
    );
  }
  return (
    <article class="message is-user" aria-label="You">
      <Markdown text={words} />
      {files.length > 0 && <div class="files">{files.map((file, at) => isShown(file) ? <img key={at} class="shown" src={file.url ?? ""} alt={file.filename ?? "picture"} title={file.filename ?? undefined} /> : <span key={at} class="chip"><Icon name="file" size={12} />{file.filename ?? "file"}</span>)}</div>}
      {acts.again && <p class="stopped faint">Not answered<Button kind="ghost" icon="retry" onClick={acts.again}>Try again</Button></p>}
      {acts.edit && <div class="message-acts"><Button kind="ghost" icon="edit" onClick={() => setTyped(words)}>Edit</Button></div>}
    </article>
  );
}

function Answer({ said, acts }: { said: Said; acts: MessageActs }) {
  // Why it ends is told once it has ended: until then what is kept of it may say more.
  const end = said.taskId || said.busy ? null : cutOf(said.parts);
  return (
    <article class="message is-assistant" aria-label="Longhaul" aria-busy={said.busy}>
      {said.taskId ? <TaskCard id={said.taskId} /> : said.parts.map((part, at) => <Part key={at} part={part} />)}
      {!said.taskId && said.busy && textOf(said.parts.slice(-1)) === "" && <span class="typing" role="status" aria-label="Thinking"><i /><i /><i /></span>}
      {end?.stopped && <p class="stopped faint"><Icon name="stop" size={12} />Stopped</p>}
      {end && !end.stopped && <div class="callout is-bad"><Icon name="alert" /><p class="grow">{end.text}</p>{acts.again && <Button icon="retry" onClick={acts.again}>Try again</Button>}</div>}
      {acts.again && (!end || end.stopped) && <div class="message-acts"><Button kind="ghost" icon="retry" onClick={acts.again}>Answer again</Button></div>}
    </article>
  );
}

function Part({ part }: { part: MessagePart }) {
  if (part.type === "text") return part.text ? <Markdown text={part.text} /> : null;
  if (part.type === "reasoning") return part.text ? <details class="reasoning"><summary>Reasoning</summary><Markdown text={part.text} /></details> : null;
  if (!part.type.startsWith("tool-")) return null;
  return (
    <details class="call">
      <summary><Icon name="tools" size={13} /><strong>{part.type.slice(5)}</strong>{part.errorText ? <span class="problem">failed</span> : part.state === "input-available" ? <span class="faint">at work</span> : null}</summary>
      <Value value={part.input} />
      {part.errorText ? <p class="problem">{String(part.errorText)}</p> : <Value value={part.output} />}
    </details>
  );
}

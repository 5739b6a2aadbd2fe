/** Where a message is written: its words, what it names, and the files that go with it. */
import type { ComponentChildren, RefObject } from "preact";
import { useRef, useState } from "preact/hooks";
import type { MessagePart } from "../api/types";
import { Button } from "../components/basics";
import { Icon } from "../components/icons";
import { bytes } from "../format";
import { beingNamed, named, type Offer } from "../state/mentions";
import { notify } from "../state/session";

export interface Draft { text: string; files: MessagePart[] }

/** A message has 16 megabytes (`server.chat.maxBodyBytes`), of which files take a third more than they have. */
const MOST = 10 * 1024 * 1024;

export function Composer({ box, draft, put, send, offers, mayBeTask, halt, children }: { box: RefObject<HTMLTextAreaElement | null>; draft: Draft; put: (draft: Draft) => void; send: () => void; offers: Offer[]; mayBeTask: boolean; halt: (() => void) | null; children: ComponentChildren }) {
  const picker = useRef<HTMLInputElement>(null);
  const [caret, setCaret] = useState<number | null>(null);
  const [active, setActive] = useState(0);
  const naming = caret === null ? null : beingNamed(draft.text.slice(0, caret), offers);
  const choices = naming?.offers ?? [];
  const chosen = choices[Math.min(active, choices.length - 1)];
  const words = named(draft.text, offers);
  const narrows = words.some(({ kind }) => kind === "tool" || kind === "server");
  const look = () => { setCaret(box.current?.selectionStart ?? null); setActive(0); };
  const pick = ({ token }: Offer) => {
    if (!naming || caret === null) return;
    const before = `${draft.text.slice(0, naming.from)}@${token} `;
    put({ ...draft, text: before + draft.text.slice(caret).replace(/^ /, "") });
    setCaret(null);
    requestAnimationFrame(() => { box.current?.focus(); box.current?.setSelectionRange(before.length, before.length); });
  };
  const add = async (files: File[]) => {
    const read = [...draft.files];
    for (const file of files) {
      const part = await asPart(file, read);
      if (typeof part === "string") notify(part, true); else read.push(part);
    }
    put({ ...draft, files: read });
  };
  const keys = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    if (chosen && ["ArrowDown", "ArrowUp", "Enter", "Tab", "Escape"].includes(event.key)) {
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Escape") setCaret(null);
      else if (event.key === "ArrowDown") setActive((active + 1) % choices.length);
      else if (event.key === "ArrowUp") setActive((active + choices.length - 1) % choices.length);
      else pick(chosen);
    } else if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); setCaret(null); send(); }
  };
  return (
    <form class="composer" onSubmit={(event) => { event.preventDefault(); setCaret(null); send(); }} onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => { const files = [...(event.dataTransfer?.files ?? [])]; if (files.length > 0) { event.preventDefault(); void add(files); } }}>
      {chosen && (
        <div class="mentions" id="mentions" role="listbox" aria-label="What can be named">
          {choices.map((one) => <div key={one.token} id={`mention-${one.token}`} role="option" aria-selected={one === chosen} class="mention" onMouseDown={(event) => { event.preventDefault(); pick(one); }}><code>@{one.token}</code><span class="tag">{one.kind}</span><span class="faint">{one.about}</span></div>)}
        </div>
      )}
      <label class="sr-only" for="draft">Message</label>
      <textarea id="draft" ref={box} rows={2} placeholder="Ask something, or name a goal; @ names a tool" value={draft.text} aria-controls={chosen ? "mentions" : undefined} aria-autocomplete="list" aria-activedescendant={chosen ? `mention-${chosen.token}` : undefined}
        onInput={(event) => { put({ ...draft, text: event.currentTarget.value }); look(); }} onClick={look} onBlur={() => setCaret(null)} onKeyDown={keys}
        onPaste={(event) => { const files = [...(event.clipboardData?.files ?? [])]; if (files.length > 0) { event.preventDefault(); void add(files); } }} />
      {(words.length > 0 || draft.files.length > 0) && (
        <div class="files">
          {words.map(({ token, kind }) => <span key={token} class="tag">{kind} <code>{token}</code></span>)}
          {narrows && <span class="faint">No other tools are offered.</span>}
          {draft.files.map((file, at) => <button type="button" key={at} class="chip" aria-label={`Leave out ${file.filename ?? "file"}`} onClick={() => put({ ...draft, files: draft.files.filter((one) => one !== file) })}><Icon name="file" size={12} />{file.filename}<Icon name="cross" size={11} /></button>)}
          {draft.files.some(({ mediaType }) => picture.test(mediaType ?? "")) && mayBeTask && <span class="faint">A task would be told the texts and shown the pictures.</span>}
        </div>
      )}
      <div class="composer-foot">
        {children}
        <span class="composer-acts">
          <input ref={picker} class="sr-only" type="file" multiple tabIndex={-1} aria-label="Files" onChange={(event) => { void add([...(event.currentTarget.files ?? [])]); event.currentTarget.value = ""; }} />
          <Button kind="ghost" icon="clip" aria-label="Attach files" title="Attach text files and pictures" onClick={() => picker.current?.click()} />
          {halt ? <Button icon="stop" onClick={halt}>Stop</Button> : <Button kind="primary" icon="send" type="submit" disabled={draft.text.trim() === ""}>Send</Button>}
        </span>
      </div>
    </form>
  );
}

const text = /^(text\/|application\/(json|xml|yaml|x-yaml|toml|javascript|sql|x-sh)$)/;

/** What models are shown as pictures. */
export const picture = /^image\/(png|jpeg|gif|webp)$/;

/** A file as a part of a message, or why it is none: models are shown text and pictures. */
async function asPart(file: File, beside: MessagePart[]): Promise<MessagePart | string> {
  const taken = beside.reduce((sum, part) => sum + (part.url?.length ?? 0) * 0.75, 0);
  if (taken + file.size > MOST) return `${file.name} is too large: a message takes ${bytes(MOST)} of files. Put it where a tool can read it.`;
  const content = new Uint8Array(await file.arrayBuffer());
  const shown = picture.test(file.type);
  try { if (!shown) new TextDecoder("utf-8", { fatal: true }).decode(content); } catch { return `${file.name} is neither text nor a picture (PNG, JPEG, GIF, WebP): models are shown nothing else.`; }
  const mediaType = shown || text.test(file.type) ? file.type : "text/plain";
  let binary = "";
  for (const byte of content) binary += String.fromCharCode(byte);
  return { type: "file", filename: file.name, mediaType, url: `data:${mediaType};base64,${btoa(binary)}` };
}

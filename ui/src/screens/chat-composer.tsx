/** Where a message is written: its words, what it names, and the files that go with it. */
import type { ComponentChildren, RefObject } from "preact";
import { useState } from "preact/hooks";
import type { MessagePart } from "../api/types";
import { Button } from "../components/basics";
import { beingNamed, named, type Offer } from "../state/mentions";
import { attach, AttachButton, FileChips, picture, takesFiles } from "./files";

export interface Draft { text: string; files: MessagePart[] }

export function Composer({ box, draft, put, send, offers, mayBeTask, halt, children }: { box: RefObject<HTMLTextAreaElement | null>; draft: Draft; put: (draft: Draft) => void; send: () => void; offers: Offer[]; mayBeTask: boolean; halt: (() => void) | null; children: ComponentChildren }) {
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
  const putFiles = (files: MessagePart[]) => put({ ...draft, files });
  const add = (files: File[]) => void attach(draft.files, files, putFiles);
  const { onPaste, ...drops } = takesFiles(add);
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
    <form class="composer" onSubmit={(event) => { event.preventDefault(); setCaret(null); send(); }} {...drops}>
      {chosen && (
        <div class="mentions" id="mentions" role="listbox" aria-label="What can be named">
          {choices.map((one) => <div key={one.token} id={`mention-${one.token}`} role="option" aria-selected={one === chosen} class="mention" onMouseDown={(event) => { event.preventDefault(); pick(one); }}><code>@{one.token}</code><span class="tag">{one.kind}</span><span class="faint">{one.about}</span></div>)}
        </div>
      )}
      <label class="sr-only" for="draft">Message</label>
      <textarea id="draft" ref={box} rows={2} placeholder="Ask something, or name a goal; @ names a tool" value={draft.text} aria-controls={chosen ? "mentions" : undefined} aria-autocomplete="list" aria-activedescendant={chosen ? `mention-${chosen.token}` : undefined}
        onInput={(event) => { put({ ...draft, text: event.currentTarget.value }); look(); }} onClick={look} onBlur={() => setCaret(null)} onKeyDown={keys} onPaste={onPaste} />
      {(words.length > 0 || draft.files.length > 0) && (
        <div class="files">
          {words.map(({ token, kind }) => <span key={token} class="tag">{kind} <code>{token}</code></span>)}
          {narrows && <span class="faint">No other tools are offered.</span>}
          <FileChips files={draft.files} put={putFiles} />
          {draft.files.some(({ mediaType }) => picture.test(mediaType ?? "")) && mayBeTask && <span class="faint">A task would be told the texts and shown the pictures.</span>}
        </div>
      )}
      <div class="composer-foot">
        {children}
        <span class="composer-acts">
          <AttachButton add={add} />
          {halt ? <Button icon="stop" onClick={halt}>Stop</Button> : <Button kind="primary" icon="send" type="submit" disabled={draft.text.trim() === ""}>Send</Button>}
        </span>
      </div>
    </form>
  );
}

/** The conversations of the caller, the one that was written to last first. */
import { changeThread, deleteThread, listThreads } from "#api";
import { useState } from "preact/hooks";
import { ask } from "../api/client";
import { forget, useResource } from "../api/resource";
import type { Thread } from "../api/types";
import { Ago, Button, Dialog, Field, useAction } from "../components/basics";
import { Icon } from "../components/icons";
import { navigate } from "../router";
import { notify } from "../state/session";

const SHOWN = 100;

export function Threads({ current, version }: { current: string; version: number }) {
  const read = useResource(listThreads({ limit: SHOWN }), 8000, version);
  const [search, setSearch] = useState("");
  const [editing, setEditing] = useState<Thread | null>(null);
  const threads = read.data?.threads ?? [];
  const shown = threads.filter((one) => one.title.toLowerCase().includes(search.toLowerCase()));
  return (
    <aside class="threads" aria-label="Conversations">
      <a class="button is-plain" href="/chat"><Icon name="plus" size={14} /><span>New conversation</span></a>
      {threads.length > 8 && <label class="search"><Icon name="search" size={14} /><span class="sr-only">Search conversations</span><input type="text" inputMode="search" placeholder="Search conversations" value={search} onInput={(event) => setSearch(event.currentTarget.value)} /></label>}
      <nav aria-label="Conversations">
        {shown.map((one) => (
          <div key={one.id} class="thread-row">
            <a href={`/chat/${encodeURIComponent(one.id)}`} class="thread-link" aria-current={one.id === current ? "page" : undefined} title={one.title}><span class="thread-title" dir="auto">{one.title || "untitled"}</span><span class="faint"><Ago at={one.updatedAt} /></span></a>
            <Button kind="ghost" icon="settings" aria-label={`Rename or forget ${one.title}`} title="Rename or forget" onClick={() => setEditing(one)} />
          </div>
        ))}
        {read.data && threads.length === 0 && <p class="faint pad">What you talk about is kept here.</p>}
      </nav>
      {editing && <ThreadDialog thread={editing} close={() => setEditing(null)} done={(gone) => { setEditing(null); forget(listThreads()); read.reload(); if (gone && editing.id === current) navigate("/chat"); }} />}
    </aside>
  );
}

function ThreadDialog({ thread, close, done }: { thread: Thread; close: () => void; done: (gone: boolean) => void }) {
  const [title, setTitle] = useState(thread.title);
  const [busy, run] = useAction();
  const rename = () => run(async () => { await ask(changeThread(thread.id, { title: title.trim() })); done(false); });
  const remove = () => run(async () => { await ask(deleteThread(thread.id)); notify("The conversation is forgotten; its tasks stay"); done(true); });
  return (
    <Dialog title="Conversation" close={close}>
      <form class="stack" onSubmit={(event) => { event.preventDefault(); void rename(); }}>
        <Field label="Title"><input autoFocus maxLength={200} value={title} onInput={(event) => setTitle(event.currentTarget.value)} /></Field>
        <div class="dialog-foot"><Button kind="danger" icon="stop" busy={busy} onClick={() => void remove()}>Forget it</Button><span class="grow" /><Button onClick={close}>Close</Button><Button kind="primary" type="submit" busy={busy} disabled={title.trim() === ""}>Rename</Button></div>
      </form>
    </Dialog>
  );
}

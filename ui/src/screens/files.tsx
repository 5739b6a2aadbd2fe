/** Files that go with what somebody writes: texts are told to models, pictures are shown to them. */
import { useRef } from "preact/hooks";
import type { MessagePart } from "../api/types";
import { Button } from "../components/basics";
import { Icon } from "../components/icons";
import { bytes } from "../format";
import { notify } from "../state/session";

/** A request has 16 megabytes (`server.chat.maxBodyBytes`), of which files take a third more than they have. */
const MOST = 10 * 1024 * 1024;

const text = /^(text\/|application\/(json|xml|yaml|x-yaml|toml|javascript|sql|x-sh)$)/;

/** What models are shown as pictures. */
export const picture = /^image\/(png|jpeg|gif|webp)$/;

/** Adds files to those that are there, and says of each that is left out why. */
export async function attach(there: MessagePart[], files: File[], put: (files: MessagePart[]) => void) {
  const read = [...there];
  for (const file of files) {
    const part = await asPart(file, read);
    if (typeof part === "string") notify(part, true); else read.push(part);
  }
  put(read);
}

/** What takes files from a drop or from the clipboard, where there are any. */
export function takesFiles(add: (files: File[]) => void) {
  const take = (event: Event, list: FileList | undefined) => {
    const files = [...(list ?? [])];
    if (files.length > 0) { event.preventDefault(); add(files); }
  };
  return {
    onDragOver: (event: DragEvent) => event.preventDefault(),
    onDrop: (event: DragEvent) => take(event, event.dataTransfer?.files),
    onPaste: (event: ClipboardEvent) => take(event, event.clipboardData?.files),
  };
}

export function AttachButton({ add, named = false }: { add: (files: File[]) => void; named?: boolean }) {
  const picker = useRef<HTMLInputElement>(null);
  return (
    <>
      <input ref={picker} class="sr-only" type="file" multiple tabIndex={-1} aria-label="Files" onChange={(event) => { add([...(event.currentTarget.files ?? [])]); event.currentTarget.value = ""; }} />
      <Button kind="ghost" icon="clip" aria-label="Attach files" title="Attach text files and pictures" onClick={() => picker.current?.click()}>{named ? "Attach files" : undefined}</Button>
    </>
  );
}

export function FileChips({ files, put }: { files: MessagePart[]; put: (files: MessagePart[]) => void }) {
  return <>{files.map((file, at) => <button type="button" key={at} class="chip" aria-label={`Leave out ${file.filename ?? "file"}`} onClick={() => put(files.filter((one) => one !== file))}><Icon name="file" size={12} />{file.filename}<Icon name="cross" size={11} /></button>)}</>;
}

/** The same in a form, below what is written. */
export function AttachedFiles({ files, put }: { files: MessagePart[]; put: (files: MessagePart[]) => void }) {
  return <div class="attached"><AttachButton named add={(added) => void attach(files, added, put)} /><FileChips files={files} put={put} /></div>;
}

/** Files as a request names them, if there are any. */
export const attachments = (files: MessagePart[]) => files.length > 0 ? { attachments: files.map(({ url, mediaType, filename }) => ({ url, mediaType, filename })) } : {};

/** A file as a part of a message, or why it is none: models are shown text and pictures. */
async function asPart(file: File, beside: MessagePart[]): Promise<MessagePart | string> {
  const taken = beside.reduce((sum, part) => sum + (part.url?.length ?? 0) * 0.75, 0);
  if (taken + file.size > MOST) return `${file.name} is too large: ${bytes(MOST)} of files go with one request. Put it where a tool can read it.`;
  const content = new Uint8Array(await file.arrayBuffer());
  const shown = picture.test(file.type);
  try { if (!shown) new TextDecoder("utf-8", { fatal: true }).decode(content); } catch { return `${file.name} is neither text nor a picture (PNG, JPEG, GIF, WebP): models are shown nothing else.`; }
  const mediaType = shown || text.test(file.type) ? file.type : "text/plain";
  let binary = "";
  for (const byte of content) binary += String.fromCharCode(byte);
  return { type: "file", filename: file.name, mediaType, url: `data:${mediaType};base64,${btoa(binary)}` };
}

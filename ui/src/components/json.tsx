/** A value as a tree that opens where somebody looks. Everything in it is text. */
import { useState } from "preact/hooks";
import { bytes, text as asText } from "../format";
import { Button, CopyButton } from "./basics";

const MANY = 100;
const LONG = 4000;

export function Value({ value, open = 2 }: { value: unknown; open?: number }) {
  if (value === undefined || value === null || value === "") return <span class="faint">nothing</span>;
  if (typeof value === "string") return <LongText text={value} />;
  if (typeof value !== "object") return <code class="json-scalar">{String(value)}</code>;
  return <div class="json"><Node value={value} depth={open} /></div>;
}

export function LongText({ text }: { text: string }) {
  const [whole, setWhole] = useState(false);
  const isLong = text.length > LONG;
  return (
    <div class="longtext">
      <pre>{isLong && !whole ? text.slice(0, LONG) : text}</pre>
      {isLong && <Button kind="ghost" onClick={() => setWhole(!whole)}>{whole ? "Show less" : `Show all ${bytes(text.length)}`}</Button>}
      <span class="longtext-copy"><CopyButton text={text} /></span>
    </div>
  );
}

function Node({ name, value, depth }: { name?: string; value: unknown; depth: number }) {
  const [open, setOpen] = useState(depth > 0);
  const [most, setMost] = useState(MANY);
  const key = name === undefined ? null : <span class="json-key">{name}: </span>;
  if (typeof value !== "object" || value === null) return <div class="json-line">{key}<Scalar value={value} /></div>;
  const items = Array.isArray(value) ? value.map((item, at) => [String(at), item] as const) : Object.entries(value);
  const [left, right] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  if (items.length === 0) return <div class="json-line">{key}<span class="faint">{left}{right}</span></div>;
  return (
    <div class="json-node">
      <button type="button" class="json-line json-fold" aria-expanded={open} onClick={() => setOpen(!open)}>
        {key}<span class="faint">{left}{open ? "" : `… ${items.length} ${right}`}</span>
      </button>
      {open && (
        <div class="json-inside">
          {items.slice(0, most).map(([item, inner]) => <Node key={item} name={item} value={inner} depth={depth - 1} />)}
          {items.length > most && <Button kind="ghost" onClick={() => setMost(most * 10)}>{`${items.length - most} more`}</Button>}
        </div>
      )}
    </div>
  );
}

function Scalar({ value }: { value: unknown }) {
  if (typeof value === "string") return <span class="json-text">{value.length > LONG ? `${value.slice(0, LONG)}…` : value}</span>;
  return <span class="json-scalar">{asText(value)}</span>;
}

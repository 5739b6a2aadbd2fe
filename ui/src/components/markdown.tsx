/** The part of Markdown that models write, as elements. There is no way from text to markup. */
import type { ComponentChildren, VNode } from "preact";

/** Beyond this nobody reads; it is shown as plain text. */
const MOST = 200_000;

export function Markdown({ text }: { text: string }) {
  if (text.length > MOST) return <pre class="markdown">{text}</pre>;
  return <div class="markdown">{blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0)}</div>;
}

const fence = /^ {0,3}(```+|~~~+)\s*([\w+-]*)/;
const bullet = /^( *)([-*+]|\d{1,9}[.)]) +(.*)$/;

function blocks(lines: string[], depth: number): VNode[] {
  const out: VNode[] = [];
  let at = 0;
  const take = (fits: (line: string) => boolean) => {
    const from = at;
    while (at < lines.length && fits(lines[at] as string)) at += 1;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at] as string;
    const key = out.length;
    const fenced = fence.exec(line);
    const heading = /^(#{1,6}) +(.*?)#* *$/.exec(line);
    if (line.trim() === "") { at += 1; continue; }
    if (fenced) {
      at += 1;
      const code = take((next) => !next.trimStart().startsWith(fenced[1] as string));
      at += 1;
      out.push(<pre key={key}><code>{code.join("\n")}</code></pre>);
    } else if (heading) {
      at += 1;
      const Level = `h${Math.min(6, (heading[1] as string).length + 2)}` as "h3";
      out.push(<Level key={key}>{inline(heading[2] as string)}</Level>);
    } else if (/^ {0,3}([-*_])( *\1){2,} *$/.test(line)) {
      at += 1;
      out.push(<hr key={key} />);
    } else if (/^ {0,3}>/.test(line)) {
      const quoted = take((next) => /^ {0,3}>/.test(next)).map((next) => next.replace(/^ {0,3}> ?/, ""));
      out.push(<blockquote key={key}>{depth < 8 ? blocks(quoted, depth + 1) : quoted.join("\n")}</blockquote>);
    } else if (bullet.test(line)) {
      out.push(list(take((next) => bullet.test(next) || /^ {2,}\S/.test(next)), key, depth));
    } else if (line.includes("|") && /^[\s|:-]+$/.test(lines[at + 1] ?? "") && (lines[at + 1] ?? "").includes("-")) {
      out.push(table(take((next) => next.includes("|")), key));
    } else {
      const paragraph = take((next) => next.trim() !== "" && !fence.test(next) && !/^(#{1,6} | {0,3}>)/.test(next) && !bullet.test(next));
      if (paragraph.length === 0) { paragraph.push(line); at += 1; }
      out.push(<p key={key}>{paragraph.flatMap((one, number) => (number === 0 ? inline(one) : [<br key={`b${number}`} />, ...inline(one)]))}</p>);
    }
  }
  return out;
}

function list(lines: string[], key: number, depth: number): VNode {
  const items: string[][] = [];
  const indent = bullet.exec(lines[0] as string)?.[1]?.length ?? 0;
  for (const line of lines) {
    const found = bullet.exec(line);
    if (found && (found[1] as string).length <= indent) items.push([(found[3] as string).replace(/^\[ \] /, "☐ ").replace(/^\[[xX]\] /, "☑ ")]);
    else items.at(-1)?.push(line.replace(/^ {1,4}/, ""));
  }
  const inside = items.map((item, at) => <li key={at}>{item.length === 1 || depth > 7 ? inline(item.join(" ")) : blocks(item, depth + 1)}</li>);
  const start = /^ *(\d+)/.exec(lines[0] as string)?.[1];
  return start === undefined ? <ul key={key}>{inside}</ul> : <ol key={key} start={Number(start)}>{inside}</ol>;
}

function table(lines: string[], key: number): VNode {
  const cells = (line: string) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const [head, , ...body] = lines;
  return (
    <div class="scroll-x" key={key} role="region" aria-label="Table" tabIndex={0}><table>
      <thead><tr>{cells(head ?? "").map((cell, at) => <th key={at}>{inline(cell)}</th>)}</tr></thead>
      <tbody>{body.map((line, row) => <tr key={row}>{cells(line).map((cell, at) => <td key={at}>{inline(cell)}</td>)}</tr>)}</tbody>
    </table></div>
  );
}

// Each alternative is bounded by what it excludes: no input makes it look twice at the same text.
const marks = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|__([^_\n]+)__|\*([^*\s][^*\n]*)\*|\[([^\]\n]{1,500})\]\(([^)\s]{1,2000})\)|(https?:\/\/[^\s<>"')\]]{1,2000})/g;

function inline(text: string): ComponentChildren[] {
  const out: ComponentChildren[] = [];
  let from = 0;
  for (const found of text.matchAll(marks)) {
    if (found.index > from) out.push(text.slice(from, found.index));
    from = found.index + found[0].length;
    const key = out.length;
    const [whole, code, bold, strong, italic, label, target, bare] = found;
    if (code !== undefined) out.push(<code key={key}>{code}</code>);
    else if (bold !== undefined || strong !== undefined) out.push(<strong key={key}>{bold ?? strong}</strong>);
    else if (italic !== undefined) out.push(<em key={key}>{italic}</em>);
    else if (label !== undefined && target !== undefined) out.push(link(label, target, key) ?? whole);
    else if (bare !== undefined) out.push(link(bare, bare, key) ?? whole);
  }
  if (from < text.length) out.push(text.slice(from));
  return out;
}

/** Only addresses of pages and mail: a link must not carry out anything. */
function link(label: string, target: string, key: number): VNode | null {
  if (!URL.canParse(target)) return null;
  const url = new URL(target);
  if (!["http:", "https:", "mailto:"].includes(url.protocol)) return null;
  return <a key={key} href={url.href} target="_blank" rel="noopener noreferrer nofollow">{label}</a>;
}

/** What differs between two texts, line by line. */
interface Line { sign: " " | "-" | "+"; text: string }

/** Beyond this the comparison would hold up the page. */
const MOST = 1200;

export function diff(one: string, other: string): Line[] {
  const a = one.split("\n").slice(0, MOST);
  const b = other.split("\n").slice(0, MOST);
  const width = b.length + 1;
  const longest = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = a[i] === b[j] ? (longest[(i + 1) * width + j + 1] as number) + 1 : Math.max(longest[(i + 1) * width + j] as number, longest[i * width + j + 1] as number);
    }
  }
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { lines.push({ sign: " ", text: a[i] as string }); i += 1; j += 1; }
    else if (j >= b.length || (i < a.length && (longest[(i + 1) * width + j] as number) >= (longest[i * width + j + 1] as number))) { lines.push({ sign: "-", text: a[i] as string }); i += 1; }
    else { lines.push({ sign: "+", text: b[j] as string }); j += 1; }
  }
  return lines;
}

export function Diff({ one, other }: { one: string; other: string }) {
  if (one === other) return <p class="faint">No difference.</p>;
  return (
    <pre class="diff">
      {diff(one, other).map((line, at) => (
        <span key={at} class={line.sign === "+" ? "diff-new" : line.sign === "-" ? "diff-old" : undefined}>{`${line.sign} ${line.text}\n`}</span>
      ))}
    </pre>
  );
}

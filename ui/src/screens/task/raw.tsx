/** The task and its journal as the API has them. */
import { followTask } from "#api";
import { Button, copy } from "../../components/basics";
import { Value } from "../../components/json";
import { curl } from "../actions";
import type { ViewProps } from "./task";

export function save(name: string, text: string, type: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function RawTab({ id, task, story }: ViewProps) {
  return (
    <div class="pad stack">
      <div class="row-of-buttons">
        <Button icon="copy" onClick={() => void copy(curl(followTask(id)), "Copied as curl")}>Follow it with curl</Button>
        <Button icon="copy" onClick={() => void copy(`longhaul task trace ${id}`)}>Command line</Button>
        <Button onClick={() => save(`${id}.jsonl`, story.entries.map((entry) => JSON.stringify(entry)).join("\n"), "application/x-ndjson")}>Save the journal</Button>
      </div>
      <Value value={task} open={1} />
    </div>
  );
}

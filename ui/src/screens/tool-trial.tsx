/** Calls a tool outside of any task, to see what it does. */
import { tryTool } from "#api";
import { useState } from "preact/hooks";
import { ApiError, ask, message } from "../api/client";
import type { ToolInfo, ToolTrial } from "../api/types";
import { Badge, Button, CopyButton } from "../components/basics";
import { Icon } from "../components/icons";
import { Value } from "../components/json";
import { asSchema, SchemaForm, typedDefaults, valuesOf } from "../components/schema-form";
import { duration, text } from "../format";

export function TryTool({ tool }: { tool: ToolInfo }) {
  const schema = asSchema(tool.schema);
  const [typed, setTyped] = useState(() => typedDefaults(schema));
  const [sure, setSure] = useState(false);
  const [busy, setBusy] = useState(false);
  const [ended, setEnded] = useState<ToolTrial | null>(null);
  const [refused, setRefused] = useState<unknown>(null);
  const { values, problems } = valuesOf(schema, typed);
  const harmless = tool.effect === "read-only";
  const call = async () => {
    setBusy(true);
    setRefused(null);
    setEnded(null);
    try {
      setEnded(await ask(tryTool(tool.name, { arguments: values, ...(harmless ? {} : { confirm: sure }) })));
    } catch (error) { setRefused(error); }
    setSure(false);
    setBusy(false);
  };
  return (
    <section class="trial" aria-label={`Try ${tool.name}`}>
      <h3>Try it</h3>
      <form class="stack" onSubmit={(event) => { event.preventDefault(); void call(); }}>
        <SchemaForm schema={schema} typed={typed} onChange={setTyped} problems={problems} />
        {!harmless && (
          <div class="callout is-wait"><Icon name="alert" /><div><p>This tool is {tool.effect}: what it does outside of a task is in no journal and in no ledger of effects, and nobody is asked for approval.</p>
            <label class="check"><input type="checkbox" checked={sure} onChange={(event) => setSure(event.currentTarget.checked)} /> Call it with these arguments, for real</label></div></div>
        )}
        <div class="row-of-buttons"><Button kind={harmless ? "primary" : "danger"} type="submit" icon="play" busy={busy} disabled={Object.keys(problems).length > 0 || (!harmless && !sure)}>Call it</Button></div>
      </form>
      {refused !== null && <div class="callout is-bad" role="alert"><Icon name="alert" /><div>{refused instanceof ApiError && <strong>{refused.code}</strong>}<p>{message(refused)}</p></div></div>}
      {ended && (
        <div class="trial-end" role="status">
          <header class="section-head"><Badge status={ended.fault || ended.isError ? "failed" : "completed"} label={ended.fault?.code ?? (ended.isError ? "The tool says error" : "Returned")} /><span class="mono faint grow end">{duration(ended.durationMs)}</span>{ended.fault === undefined && <CopyButton text={text(ended.result)} />}</header>
          {ended.fault ? <p class="problem">{ended.fault.message}</p> : <Value value={ended.result} open={2} />}
        </div>
      )}
    </section>
  );
}

/** Strategies with parameters: run with a form, written anew as another version, made of a task that went well. */
import { createTemplate, deleteTemplate, getTemplate, listTemplates, runTemplate } from "#api";
import { useState } from "preact/hooks";
import { ask } from "../api/client";
import { useOnce } from "../api/once";
import { forget, useResource } from "../api/resource";
import type { TemplateVersion, TemplateWish } from "../api/types";
import { Ago, Button, Chip, CopyButton, Dialog, Empty, Fact, Failure, Field, Loading, useAction } from "../components/basics";
import { Diff } from "../components/diff";
import { Icon } from "../components/icons";
import { Value } from "../components/json";
import { Markdown } from "../components/markdown";
import { asSchema, SchemaForm, typedDefaults, valuesOf } from "../components/schema-form";
import { counted, number } from "../format";
import { address, navigate, setQuery } from "../router";
import { useShortcuts } from "../state/keys";
import { notify } from "../state/session";
import { curl } from "./actions";
import { copy } from "../components/basics";
import { stepIcons, stepWords } from "./task/steps";
import { TemplateDialog } from "./template-dialog";
import { ApprovalFields, BudgetFields, ThreadField, usualTerms, Who, wishOf, type Terms } from "./terms";

export function TemplatesScreen() {
  const read = useResource(listTemplates({ limit: 1000 }), 5000);
  const [search, setSearch] = useState("");
  const query = address.value.query;
  const chosen = query.get("template");
  const all = read.data?.templates ?? [];
  const shown = all.filter((one) => `${one.name} ${one.description} ${one.goal}`.toLowerCase().includes(search.toLowerCase()));
  const go = (by: number) => {
    const at = shown.findIndex((one) => one.name === chosen);
    const next = shown[Math.max(0, Math.min(shown.length - 1, at < 0 ? 0 : at + by))];
    if (next) setQuery({ template: next.name, version: null });
  };
  useShortcuts([
    { keys: "c", what: "New template", group: "Templates", run: () => setQuery({ new: "1" }) },
    { keys: "j", what: "Next", group: "Templates", run: () => go(1) },
    { keys: "k", what: "Previous", group: "Templates", run: () => go(-1) },
    { keys: "Escape", what: "Close the details", group: "Templates", run: () => setQuery({ template: null, version: null }) },
  ]);
  if (read.error && !read.data) return <Failure error={read.error} retry={read.reload} />;
  if (!read.data) return <section class="screen"><Loading /></section>;
  const create = <Button kind="primary" icon="plus" onClick={() => setQuery({ new: "1" })}>New template</Button>;
  return (
    <section class="screen">
      <header class="screen-head"><h1>Templates {all.length > 0 && <span class="faint count">{number(all.length)}</span>}</h1>{all.length > 0 && create}</header>
      {all.length === 0 ? (
        <Empty icon="template" title="No templates yet" action={create}>
          <p>A template is a strategy with parameters: a goal, and steps if you want the same ones each time. Models may use it as a tool, and people run it with a form.</p>
          <p>The quickest way to one: open a task that went well and choose “Save as template”.</p>
        </Empty>
      ) : (
        <>
          <div class="filters"><label class="search"><Icon name="search" size={14} /><span class="sr-only">Search templates</span><input type="text" inputMode="search" placeholder="Search templates" value={search} onInput={(event) => setSearch(event.currentTarget.value)} /></label></div>
          <div class={`split${chosen ? " is-open" : ""}`}>
            <ul class="plain tool-list">{shown.map((one) => (
              <li key={one.name}><button type="button" class="template" aria-pressed={one.name === chosen} onClick={() => setQuery({ template: one.name === chosen ? null : one.name, version: null })}>
                <code>{one.name}</code><span class="tool-text">{one.description || one.goal}</span><span class="tag">v{one.version}</span><span class="faint">{one.steps?.length ? `${counted(one.steps.length, "step")}` : "planned"}</span>
              </button></li>
            ))}{shown.length === 0 && <li class="pad faint">None fits.</li>}</ul>
            {chosen && <Detail key={chosen} name={chosen} newest={all.find((one) => one.name === chosen)?.version} changed={read.reload} />}
          </div>
        </>
      )}
      {query.has("new") && <TemplateDialog close={() => setQuery({ new: null })} done={(made) => { read.reload(); setQuery({ new: null, template: made.name, version: null }); }} />}
    </section>
  );
}

function Detail({ name, newest, changed }: { name: string; newest: number | undefined; changed: () => void }) {
  const wanted = address.value.query.get("version");
  const read = useResource(getTemplate(name, wanted ? { version: Number(wanted) } : {}));
  const [compare, setCompare] = useState(false);
  const [asking, setAsking] = useState<"remove" | "change" | null>(null);
  const [busy, run] = useAction();
  const template = read.data;
  const before = useResource(compare && template && template.version > 1 ? getTemplate(name, { version: template.version - 1 }) : null);
  if (read.error && !template) return <article class="card"><Failure error={read.error} retry={read.reload} /></article>;
  if (!template) return <article class="card"><Loading rows={5} /></article>;
  const last = newest ?? template.version;
  const versions = Array.from({ length: Math.min(last, 12) }, (_, at) => last - at);
  const remove = () => run(async () => { await ask(deleteTemplate(name)); forget(listTemplates()); setAsking(null); setQuery({ template: null, version: null }); changed(); notify("The template is gone; its tasks stay"); });
  return (
    <article class="card detail stack" aria-label={`Template ${template.name}`}>
      <header class="card-head"><h2><code>{template.name}</code></h2><CopyButton text={JSON.stringify(template, null, 2)} /><Button kind="ghost" icon="cross" aria-label="Close" onClick={() => setQuery({ template: null, version: null })} /></header>
      {template.description && <Markdown text={template.description} />}
      <div class="row-of-buttons"><Button onClick={() => setAsking("change")}>New version</Button><a class="button is-plain" href={`/schedules?new=1&template=${encodeURIComponent(template.name)}`}><Icon name="calendar" size={14} /><span>Schedule it</span></a><Button kind="danger" icon="stop" onClick={() => setAsking("remove")}>Remove</Button></div>
      <RunForm key={template.version} template={template} />
      <dl class="facts is-tight"><Fact name="Written"><Ago at={template.createdAt} /></Fact>{template.preset && <Fact name="Preset"><code>{template.preset}</code></Fact>}</dl>
      <div class="chips" role="group" aria-label="Version">{versions.map((one) => <Chip key={one} on={one === template.version} onClick={() => setQuery({ version: one === last ? null : String(one) })}>version {one}</Chip>)}{template.version > 1 && <Chip on={compare} onClick={() => setCompare(!compare)}>differences</Chip>}</div>
      {compare && before.data && <Diff one={asText(before.data)} other={asText(template)} />}
      <section><h3>Goal</h3><p class="goal-text">{template.goal}</p></section>
      <section><h3>Steps</h3>{template.steps?.length ? <ol class="plain template-steps">{template.steps.map((step, at) => <li key={step.id}><span class="mono faint">{at + 1}</span><Icon name={stepIcons[step.type] ?? "dot"} size={13} /><span>{step.description}</span>{step.tool ? <code class="tag">{step.tool.name}</code> : <span class="faint">{stepWords[step.type]}</span>}</li>)}</ol> : <p class="faint">A plan is made each time it is run.</p>}</section>
      <details><summary>Schema of the parameters</summary><Value value={template.parameters} open={3} /></details>
      {asking === "remove" && (
        <Dialog title="Remove this template?" close={() => setAsking(null)}>
          <p>All its versions go. Tasks that were started from it stay.</p>
          <div class="dialog-foot"><Button onClick={() => setAsking(null)}>Keep it</Button><Button kind="danger" icon="stop" busy={busy} onClick={() => void remove()}>Remove the template</Button></div>
        </Dialog>
      )}
      {asking === "change" && <TemplateDialog template={template} close={() => setAsking(null)} done={() => { setAsking(null); forget(listTemplates()); read.reload(); setQuery({ version: null }); changed(); }} />}
    </article>
  );
}

/** A version as text, for comparing it with another. */
function asText({ description, goal, parameters, steps, preset }: TemplateVersion): string {
  return JSON.stringify({ description, goal, parameters, steps, preset }, null, 2);
}

function RunForm({ template }: { template: TemplateVersion }) {
  const schema = asSchema(template.parameters);
  const [typed, setTyped] = useState(() => typedDefaults(schema));
  const [terms, setTerms] = useState(() => usualTerms());
  const change = (more: Partial<Terms>) => setTerms({ ...terms, ...more });
  const once = useOnce();
  const [busy, run] = useAction();
  const { values, problems } = valuesOf(schema, typed);
  const wish = () => runTemplate(template.name, { parameters: values, version: template.version, ...(terms.thread.trim() ? { threadId: terms.thread.trim() } : {}), ...wishOf(terms) });
  const start = () => run(async () => { const task = await ask(once(wish())); navigate(`/tasks/${task.taskId}`); });
  return (
    <form class="trial stack" aria-label={`Run ${template.name}`} onSubmit={(event) => { event.preventDefault(); void start(); }}>
      <h3>Run it</h3>
      <SchemaForm schema={schema} typed={typed} onChange={setTyped} problems={problems} />
      <details class="more"><summary>On what terms</summary><div class="stack terms"><Who terms={terms} change={change} /><BudgetFields terms={terms} change={change} /><ApprovalFields terms={terms} change={change} /><ThreadField terms={terms} change={change} /></div></details>
      <label class="check"><input type="checkbox" checked={terms.plan} onChange={(event) => change({ plan: event.currentTarget.checked })} /> Approve the plan first</label>
      <div class="row-of-buttons"><Button kind="primary" type="submit" icon="play" busy={busy} disabled={Object.keys(problems).length > 0}>Run</Button><Button kind="ghost" icon="copy" onClick={() => void copy(curl(wish()), "Copied as curl")}>Copy as curl</Button></div>
    </form>
  );
}

/** Makes a template of a task that went well: texts of it become parameters. */
export function SaveAsTemplate({ task, goal, close }: { task: string; goal: string; close: () => void }) {
  const [name, setName] = useState(goal.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-+|-+$/g, "").slice(0, 40));
  const [description, setDescription] = useState("");
  const [rows, setRows] = useState<{ name: string; text: string }[]>([]);
  const [busy, run] = useAction();
  const put = (at: number, more: Partial<{ name: string; text: string }>) => setRows(rows.map((row, index) => (index === at ? { ...row, ...more } : row)));
  const save = () => run(async () => {
    const replace = Object.fromEntries(rows.filter((row) => row.name.trim() && row.text).map((row) => [row.name.trim(), row.text]));
    const wish: TemplateWish = { name, fromTask: task, replace };
    if (description.trim()) wish.description = description.trim();
    const made = await ask(createTemplate(wish));
    forget(listTemplates());
    navigate(`/templates?template=${encodeURIComponent(made.name)}`);
  });
  return (
    <Dialog title="Save as template" close={close} wide>
      <form class="stack" onSubmit={(event) => { event.preventDefault(); void save(); }}>
        <p class="faint">Goal and steps of this task, to be run again. Texts of it can become parameters; what they are now is the default.</p>
        <div class="fields"><Field label="Name"><input class="mono" autoFocus value={name} onInput={(event) => setName(event.currentTarget.value)} /></Field><Field label="Description"><input value={description} placeholder={goal} onInput={(event) => setDescription(event.currentTarget.value)} /></Field></div>
        <p class="goal-text card">{goal}</p>
        {rows.map((row, at) => (
          <div key={at} class="fields"><Field label={`Text ${at + 1} of the task`}><input value={row.text} onInput={(event) => put(at, { text: event.currentTarget.value })} /></Field><Field label="becomes the parameter"><input class="mono" value={row.name} onInput={(event) => put(at, { name: event.currentTarget.value })} /></Field></div>
        ))}
        <div class="row-of-buttons"><Button icon="plus" onClick={() => setRows([...rows, { name: "", text: "" }])}>Add a parameter</Button></div>
        <div class="dialog-foot"><Button onClick={close}>Close</Button><Button kind="primary" type="submit" busy={busy} disabled={!/^[a-z0-9_-]{1,50}$/.test(name)}>Make the template</Button></div>
      </form>
    </Dialog>
  );
}

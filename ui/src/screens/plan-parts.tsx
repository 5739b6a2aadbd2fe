/** What a step of a plan may have besides: a list, a condition, checks, and attempts of its own. */
import { useState } from "preact/hooks";
import type { PlannedStep } from "../api/types";
import { Button, Field } from "../components/basics";
import { duration } from "../format";
import { checkWords, conditionWords, listWords } from "../state/condition";
import { asTyped, conditionOf, readTyped, rowsOf, signs, type Row, type Rows, type Sign } from "../state/condition-rows";
import { outputOf } from "../state/plan-steps";
import { Group, JsonField, NumberField, OutputFields, useText, type StepForm } from "./plan-fields";

type List = NonNullable<PlannedStep["forEach"]>;
type Check = NonNullable<PlannedStep["checks"]>[number];
type Retry = NonNullable<PlannedStep["retry"]>;

/** The same without what says nothing. */
const filled = <T extends object>(value: T): T => Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T;

const reference = (output: string, pointer: string) => (pointer === "" ? { $output: output } : { $output: output, pointer });

/** The step right before, whose output is most often meant. */
const usual = ({ list, place }: StepForm) => list[place - 1]?.step.id ?? "";

/** For what a step is done, in words. */
export const listChip = (items: unknown) => `for each ${Array.isArray(items) ? "of" : "in"} ${listWords(items)}`;

export function ListGroup({ form }: { form: StepForm }) {
  const list = form.one.step.forEach ?? null;
  const output = list && outputOf(list.items);
  const put = (more: Partial<List>) => form.put({ forEach: filled({ items: [], ...list, ...more }) });
  const choose = (way: string) => {
    if (way === "once") form.put({ forEach: undefined });
    else form.put({ forEach: filled({ ...list, items: way === "output" ? reference(usual(form), "") : [] }) }, "forEach.items");
  };
  return (
    <Group form={form} path="forEach" name="List" said={list ? listChip(list.items) : "done once"}>
      <Field label="Done"><select value={list ? (output === null ? "written" : "output") : "once"} onChange={(event) => choose(event.currentTarget.value)}>
        <option value="once">once</option>{(form.place > 0 || output !== null) && <option value="output">for each of a list that a step brings</option>}<option value="written">for each of a list that is written here</option>
      </select></Field>
      {list && output !== null && <div class="fields"><OutputFields form={form} output={output} pointer={(list.items as { pointer?: string }).pointer ?? ""} put={(id, pointer) => put({ items: reference(id, pointer) })} /></div>}
      {list && output === null && <JsonField form={form} path="forEach.items" label="Items" placeholder={'["one", "two"]'} value={list.items} put={(items) => form.put({ forEach: { ...list, items } }, "forEach.items")} />}
      {list && <>
        <div class="plan-pairs">
          <NumberField form={form} path="forEach.maxItems" label="Items at most" placeholder="as configured" value={list.maxItems} put={(maxItems) => form.put({ forEach: filled({ ...list, maxItems }) }, "forEach.maxItems")} />
          <NumberField form={form} path="forEach.parallel" label="Side by side at most" placeholder="as configured" value={list.parallel} put={(parallel) => form.put({ forEach: filled({ ...list, parallel }) }, "forEach.parallel")} />
        </div>
        <label class="check"><input type="checkbox" checked={list.allowFailures ?? false} onChange={(event) => put({ allowFailures: event.currentTarget.checked || undefined })} /> Done although some items fail</label>
        <p class="faint"><code>{"{{item}}"}</code> in what it does and in its arguments stands for the item, <code>{"{{item/name}}"}</code> for a part of it.</p>
      </>}
    </Group>
  );
}

export function ConditionGroup({ form }: { form: StepForm }) {
  const when = form.one.step.when ?? null;
  const [asJson, setJson] = useState(false);
  const rows = when && rowsOf(when);
  const way = !when ? "always" : asJson || !rows || form.one.typed["when.json"] ? "json" : rows.how;
  const put = (next: Rows) => form.put({ when: conditionOf(next) }, "when.json");
  const blank: Row = { output: usual(form), pointer: "", sign: "exists", value: "" };
  const choose = (next: string) => {
    setJson(next === "json");
    if (next === "always") form.put({ when: undefined }, "when.json");
    else if (next === "json") form.put({ when: when ?? { equals: ["", ""] } });
    else put({ how: next as Rows["how"], rows: rows?.rows ?? [blank] });
  };
  return (
    <Group form={form} path="when" name="Condition" said={when ? `only if ${conditionWords(when)}` : "always done"}>
      <Field label="Done"><select value={way} onChange={(event) => choose(event.currentTarget.value)}>
        <option value="always">always</option>{(form.place > 0 || rows) && <><option value="all">if all of these hold</option><option value="any">if one of these holds</option></>}<option value="json">if this holds, as JSON</option>
      </select></Field>
      {(way === "all" || way === "any") && rows && <>
        {rows.rows.map((row, at) => <ConditionRow key={at} form={form} row={row} number={at + 1} put={(more) => put({ ...rows, rows: rows.rows.map((one, index) => (index === at ? { ...one, ...more } : one)) })} remove={() => put({ ...rows, rows: rows.rows.filter((_, index) => index !== at) })} />)}
        <Button icon="plus" class="is-start" onClick={() => put({ ...rows, rows: [...rows.rows, blank] })}>Add a condition</Button>
      </>}
      {way === "json" && <JsonField form={form} path="when.json" label="Condition" hint="equals, notEquals, greaterThan, atLeast, lessThan, atMost, contains, matches, exists; all, any, not" value={when} put={(value) => form.put({ when: value as PlannedStep["when"] }, "when.json")} />}
      {when && <p class="faint">A step whose condition does not hold is skipped; those behind it go on.</p>}
    </Group>
  );
}

function ConditionRow({ form, row, number, put, remove }: { form: StepForm; row: Row; number: number; put: (more: Partial<Row>) => void; remove: () => void }) {
  const isText = row.sign === "matches";
  const [value, setValue] = useText(row.value, (known) => (isText && typeof known === "string" ? known : asTyped(known)), (text) => (isText ? text : readTyped(text)));
  const turn = (sign: Sign) => put(sign === "matches" && typeof row.value !== "string" ? { sign, value: JSON.stringify(row.value) } : { sign });
  return (
    <div class="plan-row" role="group" aria-label={`Condition ${number}`}>
      <div class="plan-pairs">
        <OutputFields form={form} output={row.output} pointer={row.pointer} put={(output, pointer) => put({ output, pointer })} />
        <Field label="Comparison"><select value={row.sign} onChange={(event) => turn(event.currentTarget.value as Sign)}>{signs.map(([sign, words]) => <option key={sign} value={sign}>{words}</option>)}</select></Field>
        {row.sign !== "exists" && row.sign !== "missing" && <Field label={isText ? "Regular expression" : "Value"}><input class="mono" spellcheck={false} value={value} placeholder={isText ? "^v\\d+" : "a text, 3, true or JSON"} onInput={(event) => { setValue(event.currentTarget.value); put({ value: isText ? event.currentTarget.value : readTyped(event.currentTarget.value) }); }} /></Field>}
      </div>
      <Button kind="ghost" icon="cross" aria-label={`Remove condition ${number}`} title="Remove" onClick={remove} />
    </div>
  );
}

const kinds: [string, string][] = [["judge", "a model judges it"], ["schema", "it fits a JSON Schema"], ["probe", "a probe says so"]];

export function CheckGroup({ form }: { form: StepForm }) {
  const checks = form.one.step.checks ?? [];
  const put = (next: Check[], ...settled: string[]) => form.put({ checks: next.length > 0 ? next : undefined }, ...settled);
  const change = (at: number, check: Check, ...settled: string[]) => put(checks.map((one, index) => (index === at ? check : one)), ...settled);
  return (
    <Group form={form} path="checks" name="Checks" said={checks.length > 0 ? checks.map((check) => checkWords(check).name).join(", ") : "none"}>
      {checks.map((check, at) => <CheckFields key={at} form={form} check={check} at={at} change={(next, ...settled) => change(at, next, ...settled)} remove={() => put(checks.filter((_, index) => index !== at), "checks")} />)}
      <Button icon="plus" class="is-start" onClick={() => put([...checks, { judge: "" }])}>Add a check</Button>
      <p class="faint">The step is done when what it brings passes each check that is required{form.one.step.forEach ? ", item by item" : ""}. A model mends what did not pass.</p>
    </Group>
  );
}

function CheckFields({ form, check, at, change, remove }: { form: StepForm; check: Check; at: number; change: (check: Check, ...settled: string[]) => void; remove: () => void }) {
  const { required, ...rest } = check as Check & Record<string, unknown>;
  const kind = kinds.find(([name]) => name in rest)?.[0] ?? "other";
  const more = required === undefined ? {} : { required };
  const path = `checks.${at}`;
  const turn = (next: string) => change({ [next]: next === "schema" ? { type: "object", required: [] } : "", ...more } as unknown as Check, path);
  const text = String((rest as Record<string, unknown>)[kind] ?? "");
  return (
    <div class="plan-row" role="group" aria-label={`Check ${at + 1}`}>
      <div class="stack plan-check">
        <div class="fields">
          <Field label="Done if"><select value={kind} onChange={(event) => turn(event.currentTarget.value)}>{kinds.map(([name, words]) => <option key={name} value={name}>{words}</option>)}{kind === "other" && <option value="other">{Object.keys(rest)[0]}</option>}</select></Field>
          {kind === "probe" && <Field label="Probe" hint="As [checks.NAME] in the configuration has it"><input class="mono" spellcheck={false} value={text} placeholder="tests" onInput={(event) => change({ ...check, probe: event.currentTarget.value } as Check)} /></Field>}
        </div>
        {kind === "judge" && <Field label="Criteria"><textarea rows={2} value={text} placeholder="Every finding names a file and a line" onInput={(event) => change({ ...check, judge: event.currentTarget.value } as Check)} /></Field>}
        {kind === "schema" && <JsonField form={form} path={path} label="JSON Schema" hint="Of what it brings, or of the JSON in its text" value={(rest as { schema?: unknown }).schema} put={(schema) => change({ ...check, schema } as Check, path)} />}
        {kind === "other" && <JsonField form={form} path={path} label="Check" value={check} put={(value) => change(value as Check, path)} />}
        <label class="check"><input type="checkbox" checked={required ?? true} onChange={(event) => { const { required: _, ...bare } = check; change((event.currentTarget.checked ? bare : { ...bare, required: false }) as Check); }} /> required</label>
      </div>
      <Button kind="ghost" icon="cross" aria-label={`Remove check ${at + 1}`} title="Remove" onClick={remove} />
    </div>
  );
}

/** How often a step is tried, in words. */
export function retryWords(retry: Partial<Retry>): string {
  const { maxAttempts, baseMs } = retry;
  const tries = maxAttempts === undefined ? "" : maxAttempts === 1 ? "tried once" : `${maxAttempts} attempts`;
  return [tries, baseMs === undefined ? "" : `${duration(baseMs)} apart at first`].filter(Boolean).join(", ") || "attempts of its own";
}

export function AttemptGroup({ form }: { form: StepForm }) {
  const { retry, estimatedDuration } = form.one.step;
  const put = (name: keyof Retry) => (value: number | undefined) => {
    const next = filled({ ...retry, [name]: value });
    form.put({ retry: Object.keys(next).length > 0 ? (next as Retry) : undefined }, `retry.${name}`);
  };
  const field = (name: keyof Retry, label: string, placeholder: string, unit?: number) => <NumberField form={form} path={`retry.${name}`} label={label} placeholder={placeholder} value={retry?.[name]} put={put(name)} {...(unit ? { unit } : {})} />;
  return (
    <Group form={form} path="retry" also="estimatedDuration" name="Attempts" said={retry ? retryWords(retry) : "as configured"}>
      <div class="plan-pairs">
        {field("maxAttempts", "Attempts at most", retry ? "5" : "as configured")}{field("baseMs", "First wait (s)", retry ? "5" : "as configured", 1000)}
        {field("factor", "Each next one ×", retry ? "2" : "as configured")}{field("maxMs", "Longest wait (s)", retry ? "300" : "as configured", 1000)}
      </div>
      <p class="faint">{retry ? "What is left empty is as its field says." : "While all are empty, the step is tried as the others of the task are."}</p>
      <div class="plan-pairs"><NumberField form={form} path="estimatedDuration" label="Seconds it will take" placeholder="30" unit={1000} value={estimatedDuration} put={(value) => form.put({ estimatedDuration: value }, "estimatedDuration")} /></div>
    </Group>
  );
}
